//! Single layers at the sizes the published models have.

use candle_core::{DType, Device, Module, Tensor};
use dragunov_models::nn;

use crate::case::Case;

fn random(shape: impl Into<candle_core::Shape>) -> Tensor {
    Tensor::randn(0f32, 1., shape, &Device::Cpu).unwrap()
}

/// (name, rows, in, out)
const LINEARS: [(&str, usize, usize, usize); 8] = [
    ("sam_b_fc1", 4096, 768, 3072),
    ("sam_b_fc2", 4096, 3072, 768),
    ("sam_b_qkv", 4096, 768, 2304),
    ("dav2_s_fc1", 1370, 384, 1536),
    ("qwen_3b_vision_gate", 1024, 1280, 3420),
    ("qwen_3b_prefill_gate", 256, 2048, 11008),
    ("qwen_3b_decode_gate", 1, 2048, 11008),
    ("qwen_3b_decode_down", 1, 11008, 2048),
];

pub(crate) fn cases() -> impl Iterator<Item = Case> {
    let linears = LINEARS.into_iter().map(|(name, m, k, n)| {
        Case::new(format!("linear/{name}"), move || {
            let layer = nn::Linear::new(random((n, k)), Some(random(n)));
            let x = random((1, m, k));
            move || layer.forward(&x).unwrap()
        })
    });
    let gelu = Case::new("gelu/4096x3072", || {
        let x = random((1, 4096, 3072));
        move || nn::gelu_erf(&x).unwrap()
    });
    let norm = Case::new("layer_norm/4096x768", || {
        let x = random((1, 4096, 768));
        let norm = nn::LayerNorm::new(
            Tensor::ones(768, DType::F32, &Device::Cpu).unwrap(),
            Tensor::zeros(768, DType::F32, &Device::Cpu).unwrap(),
            1e-6,
        );
        move || norm.forward(&x).unwrap()
    });
    linears.chain([gelu, norm])
}
