//! Parts of the published models with random weights: attentions and convolutions at their real sizes.

use candle_core::{Device, Module, Tensor};
use dragunov_models::nn::{self, AttentionMask, Conv2d, Conv2dConfig, Segments};

use crate::case::Case;

fn random(shape: impl Into<candle_core::Shape>) -> Tensor {
    Tensor::randn(0f32, 0.5, shape, &Device::Cpu).unwrap()
}

/// Queries, keys and values as views of one fused projection, as the vision towers have them.
fn fused_qkv(batch: usize, tokens: usize, heads: usize, d: usize) -> [Tensor; 3] {
    let qkv = random((batch, tokens, 3, heads, d));
    [0, 1, 2].map(|i| {
        let part = qkv.narrow(2, i, 1).unwrap().squeeze(2).unwrap();
        part.transpose(1, 2).unwrap()
    })
}

/// SAM's attention over `windows` maps of `side` x `side` tokens.
fn sam(name: &str, windows: usize, side: usize) -> Case {
    Case::new(name, move || {
        let n = side * side;
        let [q, k, v] = fused_qkv(windows, n, 12, 64);
        let rel_h = random((windows, 12, n, side));
        let rel_w = random((windows, 12, n, side));
        move || {
            let mask = AttentionMask::RelPos {
                rel_h: &rel_h,
                rel_w: &rel_w,
            };
            nn::attention(&q, &k, &v, 0.125, mask).unwrap()
        }
    })
}

/// Queries (batch, heads, n, d) against keys and values (batch, kv heads, keys, d).
fn cross(
    name: &str,
    q: (usize, usize, usize, usize),
    kv: (usize, usize, usize, usize),
    causal: Option<usize>,
) -> Case {
    Case::new(name, move || {
        let (q, kv) = (random(q), random(kv));
        move || {
            let mask = causal.map_or(AttentionMask::None, |offset| AttentionMask::Causal { offset });
            nn::attention(&q, &kv, &kv, 0.1, mask).unwrap()
        }
    })
}

fn attentions() -> impl Iterator<Item = Case> {
    let depth = Case::new("attention/dav2_s", || {
        let [q, k, v] = fused_qkv(1, 1370, 6, 64);
        move || nn::attention(&q, &k, &v, 0.125, AttentionMask::None).unwrap()
    });
    let windows = Case::new("attention/qwen_3b_vision_windows", || {
        let [q, k, v] = fused_qkv(1, 1024, 16, 80);
        let segments = Segments::new((0..=16).map(|i| i * 64).collect::<Vec<usize>>());
        move || nn::attention(&q, &k, &v, 0.1118, AttentionMask::Segments(&segments)).unwrap()
    });
    [
        sam("attention/sam_b_global", 1, 64),
        sam("attention/sam_b_windows", 25, 14),
        depth,
        windows,
        cross(
            "attention/qwen_3b_prefill",
            (1, 16, 512, 128),
            (1, 2, 512, 128),
            Some(0),
        ),
        cross(
            "attention/qwen_3b_decode",
            (1, 16, 1, 128),
            (1, 2, 1024, 128),
            Some(1023),
        ),
        cross(
            "attention/sam_decoder_64_tokens_to_image",
            (64, 8, 7, 16),
            (64, 8, 4096, 16),
            None,
        ),
    ]
    .into_iter()
}

/// A convolution of an input with height = width = `size` and its channels side by side in memory, as the layer
/// before hands it on.
fn convolution(
    name: &'static str,
    size: usize,
    input: usize,
    output: usize,
    kernel: usize,
    config: Conv2dConfig,
) -> Case {
    Case::new(format!("conv/{name}"), move || {
        let weight = random((output, input / config.groups, kernel, kernel));
        let layer = Conv2d::new(&weight, Some(random(output)), config).unwrap();
        let x = random((1, size, size, input)).permute((0, 3, 1, 2)).unwrap();
        move || layer.forward(&x).unwrap()
    })
}

fn convolutions() -> impl Iterator<Item = Case> {
    let same = Conv2dConfig {
        padding: 1,
        ..Conv2dConfig::default()
    };
    let depthwise = Conv2dConfig { groups: 256, ..same };
    let patches = Conv2dConfig {
        stride: 14,
        ..Conv2dConfig::default()
    };
    let upsample = Case::new("upsample/dav2_s_148_to_296", || {
        let x = random((1, 148, 148, 64)).permute((0, 3, 1, 2)).unwrap();
        move || nn::upsample_bilinear(&x, 296, 296, true).unwrap()
    });
    [
        convolution("dav2_s_fusion", 148, 64, 64, 3, same),
        convolution("dav2_s_head", 518, 32, 32, 3, same),
        convolution("sam_neck", 64, 256, 256, 3, same),
        convolution("mobile_sam_expand", 256, 64, 256, 1, Conv2dConfig::default()),
        convolution("mobile_sam_depthwise", 256, 256, 256, 3, depthwise),
        convolution("dav2_s_patches", 518, 3, 384, 14, patches),
        upsample,
    ]
    .into_iter()
}

pub(crate) fn cases() -> impl Iterator<Item = Case> {
    attentions().chain(convolutions())
}
