//! The three models at their published sizes, with random weights.

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::VarBuilder;
use dragunov_models::RgbImage;
use dragunov_models::checkpoint::Checkpoint;
use dragunov_models::checkpoint::source::{self, TensorSource};
use dragunov_models::depth_anything::{DepthAnything, Policy, Preprocessor, config::Config as DepthConfig};
use dragunov_models::observer::Unobserved;
use dragunov_models::qwen_vl::KvCache;
use dragunov_models::qwen_vl::decoder::Decoder;
use dragunov_models::qwen_vl::grid::{Grid, Positions};
use dragunov_models::qwen_vl::{Config as QwenConfig, vision::VisionTower};
use dragunov_models::sam::{Preprocess, Prompt, Sam, SamConfig};

use crate::case::{Case, device};

/// Draws every tensor that a model asks for.
struct RandomWeights;

impl TensorSource for RandomWeights {
    fn tensor(&self, name: &str, shape: Option<&Shape>, dtype: DType, device: &Device) -> Result<Tensor> {
        let Some(shape) = shape else {
            candle_core::bail!("{name}: the shape is needed")
        };
        if name.ends_with("running_var") {
            return Tensor::ones(shape, dtype, device);
        }
        let width: usize = shape.dims().iter().skip(1).product();
        let deviation = 1. / (width.max(1) as f32).sqrt();
        // A device in software draws nothing.
        let drawn = Tensor::randn(0f32, deviation, shape, device)
            .or_else(|_| Tensor::randn(0f32, deviation, shape, &Device::Cpu)?.to_device(device))?;
        drawn.to_dtype(dtype)
    }

    fn has(&self, _: &str) -> bool {
        true
    }
}

pub(super) fn weights(dtype: DType) -> VarBuilder<'static> {
    source::builder(RandomWeights, dtype, device())
}

fn random(shape: impl Into<Shape>) -> Tensor {
    let drawn = Tensor::randn(0f32, 1., shape, &Device::Cpu).unwrap();
    drawn.to_device(device()).unwrap()
}

pub(super) fn random_as(dtype: DType, shape: impl Into<Shape>) -> Tensor {
    random(shape).to_dtype(dtype).unwrap()
}

/// `what` of the published models, in f32 or in bf16.
fn name(dtype: DType, what: &str) -> String {
    match dtype {
        DType::F32 => format!("model/{what}"),
        _ => format!("bf16/{what}"),
    }
}

fn sam(config: &str, dtype: DType) -> Sam {
    let config: SamConfig = serde_json::from_str(config).unwrap();
    let preprocess = Preprocess::original(config.image_size());
    Sam::load_weights(config, preprocess, weights(dtype)).unwrap()
}

/// The defaults of the configuration are ViT-B.
pub(super) const SAM_B: &str = "{}";
pub(super) const MOBILE_SAM: &str = r#"{"vision_config": {"model_type": "tiny_vit"}}"#;

pub(super) fn sam_encoder(name: String, dtype: DType, config: &'static str) -> Case {
    Case::new(name, move || {
        let model = sam(config, dtype);
        let pixels = random_as(dtype, (1, 3, 1024, 1024));
        move || model.encode(&pixels, &mut Unobserved).unwrap()
    })
}

/// 64 points, three masks each, from a small photo so that resizing masks to it costs nothing.
pub(super) fn sam_decoder(name: String, dtype: DType) -> Case {
    Case::new(name, move || {
        let model = sam(MOBILE_SAM, dtype);
        let photo = RgbImage::new(8, 8, vec![127; 8 * 8 * 3]).unwrap();
        let embedding = model.embed(&photo, &mut Unobserved).unwrap();
        let point = |i: usize| Prompt::point((i % 8) as f64, (i / 8) as f64);
        let prompts: Vec<Prompt> = (0..64).map(point).collect();
        move || {
            let masks = model
                .predict(&embedding, &prompts, true, &mut Unobserved)
                .unwrap();
            let iou: Vec<f32> = masks
                .iter()
                .flat_map(|p| p.candidates.iter().map(|c| c.iou))
                .collect();
            Tensor::from_vec(iou, 64 * 3, &Device::Cpu).unwrap()
        }
    })
}

/// A checkpoint without weights.
pub(super) type Files = &'static [(&'static str, &'static [u8])];

const DEPTH_SMALL: Files = &[(
    "config.json",
    br#"{
    "backbone_config": {"model_type": "dinov2", "hidden_size": 384, "num_attention_heads": 6, "image_size": 518,
        "patch_size": 14, "out_indices": [3, 6, 9, 12], "reshape_hidden_states": false},
    "reassemble_hidden_size": 384
}"#,
)];

pub(super) fn depth(name: String, dtype: DType, files: Files) -> Case {
    Case::new(name, move || {
        let checkpoint = Checkpoint::embedded("depth-anything-v2", files);
        let config = DepthConfig::read(&checkpoint).unwrap();
        let model = DepthAnything::load_weights(config, Preprocessor::default(), weights(dtype)).unwrap();
        let pixels = random((1, 3, 518, 518));
        move || model.forward(&pixels, Policy::Hf, &mut Unobserved).unwrap()
    })
}

/// One block of Qwen2.5-VL-3B's vision tower and one layer of its decoder.
const QWEN_3B: &[u8] = br#"{
    "model_type": "qwen2_5_vl", "image_token_id": 505, "video_token_id": 506, "vision_start_token_id": 502,
    "tie_word_embeddings": true, "eos_token_id": 501,
    "text_config": {"vocab_size": 512, "hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 1,
        "num_attention_heads": 16, "num_key_value_heads": 2, "max_position_embeddings": 4096, "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0, "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}},
    "vision_config": {"depth": 1, "hidden_size": 1280, "num_heads": 16, "intermediate_size": 3420,
        "out_hidden_size": 2048, "patch_size": 14, "temporal_patch_size": 2, "spatial_merge_size": 2,
        "window_size": 112, "fullatt_block_indexes": [], "tokens_per_second": 2}
}"#;

fn qwen_config() -> QwenConfig {
    QwenConfig::parse(QWEN_3B, "config.json".as_ref()).unwrap()
}

/// Patches in, merged tokens out, with one windowed block between.
fn qwen_vision(dtype: DType) -> Case {
    Case::new(name(dtype, "qwen_3b_vision_block"), move || {
        let config = qwen_config();
        let tower = VisionTower::load(&config.vision, weights(dtype)).unwrap();
        let patches = random_as(dtype, (32 * 32, config.vision.patch_len()));
        let grid = Grid { t: 1, h: 32, w: 32 };
        move || tower.forward(&patches, &[grid], &mut Unobserved).unwrap()
    })
}

/// `n` tokens behind `before` cached ones.
fn qwen_layer(dtype: DType, what: &str, before: usize, n: usize) -> Case {
    Case::new(name(dtype, what), move || {
        let config = qwen_config();
        let decoder = Decoder::load(&config.text, false, weights(dtype)).unwrap();
        let mut cache = KvCache::new(&config.text, vec![0], before + n, dtype, device()).unwrap();
        if before > 0 {
            let x = random_as(dtype, (1, before, 2048));
            decoder
                .forward(&x, &[Positions::text(0, before)], &mut cache, &mut Unobserved)
                .unwrap();
        }
        let x = random_as(dtype, (1, n, 2048));
        move || {
            cache.truncate(before);
            decoder
                .forward(
                    &x,
                    &[Positions::text(before as i64, n)],
                    &mut cache,
                    &mut Unobserved,
                )
                .unwrap()
        }
    })
}

/// Those that are timed in bf16 as well.
fn in_either(dtype: DType) -> [Case; 6] {
    [
        sam_encoder(name(dtype, "sam_b_encoder"), dtype, SAM_B),
        sam_encoder(name(dtype, "mobile_sam_encoder"), dtype, MOBILE_SAM),
        depth(name(dtype, "dav2_s_518"), dtype, DEPTH_SMALL),
        qwen_vision(dtype),
        qwen_layer(dtype, "qwen_3b_layer_prefill", 0, 512),
        qwen_layer(dtype, "qwen_3b_layer_decode", 512, 1),
    ]
}

pub(crate) fn cases() -> impl Iterator<Item = Case> {
    let half = in_either(DType::BF16);
    in_either(DType::F32)
        .into_iter()
        .chain([sam_decoder("model/sam_decoder_64_points".into(), DType::F32)])
        .chain(half)
}
