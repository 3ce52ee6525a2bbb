//! Whole networks as `scripts/gpu-report` times them: those of a set, with a vision-language model whole, in both types.

use candle_core::{DType, Device, Tensor};
use dragunov_kernels::{TokenRules, argmax_tokens};
use dragunov_models::observer::Unobserved;
use dragunov_models::qwen_vl::decoder::Decoder;
use dragunov_models::qwen_vl::grid::{Grid, Positions};
use dragunov_models::qwen_vl::vision::VisionTower;
use dragunov_models::qwen_vl::{Config as QwenConfig, KvCache};

use super::models::{Files, MOBILE_SAM, SAM_B, depth, random_as, sam_decoder, sam_encoder, weights};
use crate::case::{Case, device};

const DEPTH_BASE: Files = &[(
    "config.json",
    br#"{
    "backbone_config": {"model_type": "dinov2", "hidden_size": 768, "num_attention_heads": 12, "image_size": 518,
        "patch_size": 14, "out_indices": [3, 6, 9, 12], "reshape_hidden_states": false},
    "reassemble_hidden_size": 768, "neck_hidden_sizes": [96, 192, 384, 768], "fusion_hidden_size": 128
}"#,
)];

const DEPTH_LARGE: Files = &[(
    "config.json",
    br#"{
    "backbone_config": {"model_type": "dinov2", "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
        "image_size": 518, "patch_size": 14, "out_indices": [5, 12, 18, 24], "reshape_hidden_states": false},
    "reassemble_hidden_size": 1024, "neck_hidden_sizes": [256, 512, 1024, 1024], "fusion_hidden_size": 256
}"#,
)];

const QWEN_3B: &[u8] = br#"{
    "model_type": "qwen2_5_vl", "image_token_id": 151655, "video_token_id": 151656, "vision_start_token_id": 151652,
    "tie_word_embeddings": true, "eos_token_id": 151645,
    "text_config": {"vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36,
        "num_attention_heads": 16, "num_key_value_heads": 2, "max_position_embeddings": 128000, "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0, "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}},
    "vision_config": {"depth": 32, "hidden_size": 1280, "num_heads": 16, "intermediate_size": 3420,
        "out_hidden_size": 2048, "patch_size": 14, "temporal_patch_size": 2, "spatial_merge_size": 2,
        "window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31], "tokens_per_second": 2}
}"#;

/// Tokens of a photo of 896 x 896 and of what is asked about it.
const PROMPT: usize = 1100;

fn qwen() -> QwenConfig {
    QwenConfig::parse(QWEN_3B, "config.json".as_ref()).unwrap()
}

/// A photo of 4096 patches through the vision tower.
fn see(name: String, dtype: DType) -> Case {
    Case::new(name, move || {
        let config = qwen();
        let tower = VisionTower::load(&config.vision, weights(dtype)).unwrap();
        let patches = random_as(dtype, (64 * 64, config.vision.patch_len()));
        let grid = Grid { t: 1, h: 64, w: 64 };
        move || tower.forward(&patches, &[grid], &mut Unobserved).unwrap()
    })
}

/// All layers over a prompt, or the step that writes one more token behind it: embedding, layers, scores, the likeliest.
fn text(name: String, dtype: DType, step: bool) -> Case {
    Case::new(name, move || {
        let config = qwen();
        let decoder = Decoder::load(&config.text, false, weights(dtype)).unwrap();
        let mut cache = KvCache::new(&config.text, vec![0], PROMPT + 1, dtype, device()).unwrap();
        let x = random_as(dtype, (1, PROMPT, config.text.hidden_size));
        let mut read = move |decoder: &Decoder, from: usize, x: &Tensor| {
            cache.truncate(from);
            let positions = [Positions::text(from as i64, x.dim(1).unwrap())];
            decoder
                .forward(x, &positions, &mut cache, &mut Unobserved)
                .unwrap()
        };
        if step {
            read(&decoder, 0, &x);
        }
        let mut token = 0;
        move || {
            if !step {
                return read(&decoder, 0, &x);
            }
            let x = decoder.embed(&[token]).unwrap().unsqueeze(0).unwrap();
            let hidden = read(&decoder, PROMPT, &x).squeeze(1).unwrap();
            let next = argmax_tokens(decoder.logits(&hidden).unwrap(), &[TokenRules::default()], 1.).unwrap();
            token = next[0];
            Tensor::new(next, &Device::Cpu).unwrap()
        }
    })
}

pub(crate) fn cases() -> impl Iterator<Item = Case> {
    [DType::F32, DType::BF16].into_iter().flat_map(|dtype| {
        let name = |what: &str| format!("published/{}/{what}", dtype.as_str());
        [
            sam_encoder(name("sam_b_encoder"), dtype, SAM_B),
            sam_encoder(name("mobile_sam_encoder"), dtype, MOBILE_SAM),
            sam_decoder(name("sam_decoder_64_points"), dtype),
            depth(name("dav2_b_518"), dtype, DEPTH_BASE),
            depth(name("dav2_l_518"), dtype, DEPTH_LARGE),
            see(name("qwen_3b_vision_4096"), dtype),
            text(name("qwen_3b_prefill_1100"), dtype, false),
            text(name("qwen_3b_token"), dtype, true),
        ]
    })
}
