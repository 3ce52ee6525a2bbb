//! Blocks of the published models with random weights: attention, MLP and convolution stages at their real sizes.

use candle_core::{Device, Module, Tensor};
use criterion::Criterion;
use dragunov_models::nn::{self, AttentionMask, Conv2d, Conv2dConfig};

fn random(shape: impl Into<candle_core::Shape>) -> Tensor {
    Tensor::randn(0f32, 0.5, shape, &Device::Cpu).unwrap()
}

fn conv(input: usize, output: usize, kernel: usize, config: Conv2dConfig) -> Conv2d {
    let weight = random((output, input / config.groups, kernel, kernel));
    Conv2d::new(weight, Some(random(output)), config)
}

/// Queries, keys and values as views of one fused projection, as the vision towers have them.
fn fused_qkv(batch: usize, tokens: usize, heads: usize, d: usize) -> [Tensor; 3] {
    let qkv = random((batch, tokens, 3, heads, d));
    [0, 1, 2].map(|i| {
        qkv.narrow(2, i, 1)
            .unwrap()
            .squeeze(2)
            .unwrap()
            .transpose(1, 2)
            .unwrap()
    })
}

fn attentions(c: &mut Criterion) {
    let [q, k, v] = fused_qkv(1, 4096, 12, 64);
    let (rel_h, rel_w) = (random((1, 12, 4096, 64)), random((1, 12, 4096, 64)));
    let mask = AttentionMask::RelPos {
        rel_h: &rel_h,
        rel_w: &rel_w,
    };
    c.bench_function("attention/sam_b_global", |b| {
        b.iter(|| nn::attention(&q, &k, &v, 0.125, &mask).unwrap())
    });
    let [q, k, v] = fused_qkv(25, 196, 12, 64);
    let (rel_h, rel_w) = (random((25, 12, 196, 14)), random((25, 12, 196, 14)));
    let mask = AttentionMask::RelPos {
        rel_h: &rel_h,
        rel_w: &rel_w,
    };
    c.bench_function("attention/sam_b_windows", |b| {
        b.iter(|| nn::attention(&q, &k, &v, 0.125, &mask).unwrap())
    });
    let [q, k, v] = fused_qkv(1, 1370, 6, 64);
    c.bench_function("attention/dav2_s", |b| {
        b.iter(|| nn::attention(&q, &k, &v, 0.125, &AttentionMask::None).unwrap())
    });
    let [q, k, v] = fused_qkv(1, 1024, 16, 80);
    let cu: Vec<usize> = (0..=16).map(|i| i * 64).collect();
    c.bench_function("attention/qwen_3b_vision_windows", |b| {
        b.iter(|| nn::attention(&q, &k, &v, 0.1118, &AttentionMask::Segments(&cu)).unwrap())
    });
    let (q, kv) = (random((1, 16, 512, 128)), random((1, 2, 512, 128)));
    c.bench_function("attention/qwen_3b_prefill", |b| {
        b.iter(|| nn::attention(&q, &kv, &kv, 0.0884, &AttentionMask::Causal { offset: 0 }).unwrap())
    });
    let (q, kv) = (random((1, 16, 1, 128)), random((1, 2, 1024, 128)));
    c.bench_function("attention/qwen_3b_decode", |b| {
        b.iter(|| nn::attention(&q, &kv, &kv, 0.0884, &AttentionMask::Causal { offset: 1023 }).unwrap())
    });
    let (q, kv) = (random((64, 8, 7, 16)), random((64, 8, 4096, 16)));
    c.bench_function("attention/sam_decoder_64_tokens_to_image", |b| {
        b.iter(|| nn::attention(&q, &kv, &kv, 0.25, &AttentionMask::None).unwrap())
    });
}

/// Name, input (height = width, channels), output channels, kernel, config.
fn convolutions(c: &mut Criterion) {
    let same = Conv2dConfig {
        padding: 1,
        ..Conv2dConfig::default()
    };
    let depthwise = Conv2dConfig { groups: 256, ..same };
    let patches = Conv2dConfig {
        stride: 14,
        ..Conv2dConfig::default()
    };
    for (name, size, input, output, kernel, config) in [
        ("dav2_s_fusion", 148, 64, 64, 3, same),
        ("dav2_s_head", 518, 32, 32, 3, same),
        ("sam_neck", 64, 256, 256, 3, same),
        ("mobile_sam_expand", 256, 64, 256, 1, Conv2dConfig::default()),
        ("mobile_sam_depthwise", 256, 256, 256, 3, depthwise),
        ("dav2_s_patches", 518, 3, 384, 14, patches),
    ] {
        let layer = conv(input, output, kernel, config);
        let x = random((1, input, size, size));
        // As the layer before hands it on: channels side by side in memory.
        let x = x
            .permute((0, 2, 3, 1))
            .unwrap()
            .contiguous()
            .unwrap()
            .permute((0, 3, 1, 2))
            .unwrap();
        c.bench_function(&format!("conv/{name}"), |b| b.iter(|| layer.forward(&x).unwrap()));
    }
    let x = random((1, 148, 148, 64)).permute((0, 3, 1, 2)).unwrap();
    c.bench_function("upsample/dav2_s_148_to_296", |b| {
        b.iter(|| nn::upsample_bilinear(&x, 296, 296, true).unwrap())
    });
}

pub(crate) fn register(c: &mut Criterion) {
    attentions(c);
    convolutions(c);
}
