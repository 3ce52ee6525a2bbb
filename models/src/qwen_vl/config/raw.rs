//! `config.json` as it is written; what is missing takes the defaults of transformers' classes.

use serde::Deserialize;

/// A number or a list of equal numbers (`patch_size: [14, 14]`).
#[derive(Deserialize, Clone)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(u64),
    Many(Vec<u64>),
}

impl OneOrMany {
    pub(super) fn list(&self) -> Vec<u64> {
        match self {
            Self::One(n) => vec![*n],
            Self::Many(all) => all.clone(),
        }
    }

    pub(super) fn single(&self) -> Option<usize> {
        let all = self.list();
        let first = *all.first()?;
        all.iter().all(|&n| n == first).then_some(first as usize)
    }
}

/// `rope_scaling` of published files, `rope_parameters` of transformers 5.
#[derive(Deserialize, Clone, Default)]
pub(super) struct RawRope {
    /// The older name of `rope_type`; many files have both.
    pub(super) r#type: Option<String>,
    pub(super) rope_type: Option<String>,
    pub(super) rope_theta: Option<f64>,
    pub(super) mrope_section: Option<Vec<usize>>,
}

#[derive(Deserialize, Clone, Default)]
pub(super) struct RawText {
    pub(super) vocab_size: Option<usize>,
    pub(super) hidden_size: Option<usize>,
    pub(super) intermediate_size: Option<usize>,
    pub(super) num_hidden_layers: Option<usize>,
    pub(super) num_attention_heads: Option<usize>,
    pub(super) num_key_value_heads: Option<usize>,
    pub(super) head_dim: Option<usize>,
    pub(super) hidden_act: Option<String>,
    pub(super) max_position_embeddings: Option<usize>,
    pub(super) rms_norm_eps: Option<f64>,
    pub(super) use_sliding_window: Option<bool>,
    pub(super) tie_word_embeddings: Option<bool>,
    pub(super) rope_theta: Option<f64>,
    pub(super) rope_scaling: Option<RawRope>,
    pub(super) rope_parameters: Option<RawRope>,
    pub(super) eos_token_id: Option<OneOrMany>,
}

#[derive(Deserialize)]
pub(super) struct RawVision {
    pub(super) depth: Option<usize>,
    pub(super) hidden_size: Option<usize>,
    pub(super) intermediate_size: Option<usize>,
    pub(super) num_heads: Option<usize>,
    pub(super) in_channels: Option<usize>,
    /// The older name; transformers 4.50 and later write both.
    pub(super) in_chans: Option<usize>,
    pub(super) patch_size: Option<OneOrMany>,
    pub(super) temporal_patch_size: Option<OneOrMany>,
    pub(super) spatial_merge_size: Option<usize>,
    pub(super) window_size: Option<usize>,
    pub(super) fullatt_block_indexes: Option<Vec<usize>>,
    pub(super) out_hidden_size: Option<usize>,
    pub(super) hidden_act: Option<String>,
    pub(super) rope_parameters: Option<RawRope>,
}

#[derive(Deserialize)]
pub(super) struct Raw {
    pub(super) model_type: Option<String>,
    pub(super) vision_config: RawVision,
    pub(super) text_config: Option<RawText>,
    pub(super) image_token_id: Option<u32>,
    pub(super) tie_word_embeddings: Option<bool>,
    pub(super) eos_token_id: Option<OneOrMany>,
    #[serde(flatten)]
    pub(super) flat: serde_json::Map<String, serde_json::Value>,
}
