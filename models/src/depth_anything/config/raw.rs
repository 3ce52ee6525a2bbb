//! `config.json` as it is written, with the defaults of transformers' classes.

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(default)]
pub(super) struct RawConfig {
    pub(super) backbone_config: Option<RawBackbone>,
    pub(super) patch_size: Side,
    pub(super) reassemble_hidden_size: usize,
    pub(super) reassemble_factors: Vec<f64>,
    pub(super) neck_hidden_sizes: Vec<usize>,
    pub(super) fusion_hidden_size: usize,
    pub(super) head_in_index: i64,
    pub(super) head_hidden_size: usize,
    pub(super) depth_estimation_type: Option<String>,
    pub(super) max_depth: Option<f64>,
}

impl Default for RawConfig {
    fn default() -> Self {
        Self {
            backbone_config: None,
            patch_size: Side::One(14),
            reassemble_hidden_size: 384,
            reassemble_factors: vec![4.0, 2.0, 1.0, 0.5],
            neck_hidden_sizes: vec![48, 96, 192, 384],
            fusion_hidden_size: 64,
            head_in_index: -1,
            head_hidden_size: 32,
            depth_estimation_type: None,
            max_depth: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(default)]
pub(super) struct RawBackbone {
    pub(super) model_type: String,
    pub(super) hidden_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    pub(super) head_dim: Option<usize>,
    pub(super) mlp_ratio: f64,
    pub(super) hidden_act: String,
    pub(super) layer_norm_eps: f64,
    pub(super) image_size: Side,
    pub(super) patch_size: Side,
    pub(super) num_channels: usize,
    pub(super) qkv_bias: bool,
    pub(super) use_swiglu_ffn: bool,
    pub(super) apply_layernorm: bool,
    pub(super) reshape_hidden_states: bool,
    pub(super) out_indices: Option<Vec<i64>>,
    pub(super) out_features: Option<Vec<String>>,
}

/// The defaults of `Dinov2Config`.
impl Default for RawBackbone {
    fn default() -> Self {
        Self {
            model_type: "dinov2".into(),
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            head_dim: None,
            mlp_ratio: 4.0,
            hidden_act: "gelu".into(),
            layer_norm_eps: 1e-6,
            image_size: Side::One(224),
            patch_size: Side::One(14),
            num_channels: 3,
            qkv_bias: true,
            use_swiglu_ffn: false,
            apply_layernorm: true,
            reshape_hidden_states: true,
            out_indices: None,
            out_features: None,
        }
    }
}

impl RawBackbone {
    /// What `DepthAnythingConfig` puts in place of an absent `backbone_config`.
    pub(super) fn of_class_default() -> Self {
        Self {
            hidden_size: 384,
            num_attention_heads: 6,
            image_size: Side::One(518),
            reshape_hidden_states: false,
            out_indices: Some(vec![9, 10, 11, 12]),
            ..Self::default()
        }
    }
}

/// A length, or (height, width).
#[derive(Deserialize, Clone, Copy)]
#[serde(untagged)]
pub(super) enum Side {
    One(usize),
    Two(usize, usize),
}

impl Side {
    pub(super) fn pair(self) -> (usize, usize) {
        match self {
            Self::One(n) => (n, n),
            Self::Two(h, w) => (h, w),
        }
    }
}
