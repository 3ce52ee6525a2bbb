//! Sizes of a Segment Anything model, from `config.json`; defaults are those of `transformers.SamConfig`.

mod validate;

use candle_core::{Module, Tensor};
use serde::{Deserialize, Deserializer};

use crate::nn;

/// The whole model.
#[derive(Debug, Clone, PartialEq, Deserialize, Default)]
#[serde(default)]
pub struct SamConfig {
    pub vision_config: VisionConfig,
    pub prompt_encoder_config: PromptEncoderConfig,
    pub mask_decoder_config: MaskDecoderConfig,
}

/// The image encoder: SAM's ViT, or MobileSAM's TinyViT (`"model_type": "tiny_vit"`).
#[derive(Debug, Clone, PartialEq)]
pub enum VisionConfig {
    Vit(VitConfig),
    TinyVit(TinyVitConfig),
}

impl Default for VisionConfig {
    fn default() -> Self {
        Self::Vit(VitConfig::default())
    }
}

impl<'de> Deserialize<'de> for VisionConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let tiny = value.get("model_type").and_then(|v| v.as_str()) == Some("tiny_vit");
        let parsed = if tiny {
            serde_json::from_value(value).map(Self::TinyVit)
        } else {
            serde_json::from_value(value).map(Self::Vit)
        };
        parsed.map_err(serde::de::Error::custom)
    }
}

/// ViT with windowed and global attention and decomposed relative positions (ViT-B by default).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct VitConfig {
    pub hidden_size: usize,
    pub output_channels: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_channels: usize,
    /// Side of the square input, pixels.
    pub image_size: usize,
    pub patch_size: usize,
    pub hidden_act: Activation,
    pub layer_norm_eps: f64,
    pub qkv_bias: bool,
    pub mlp_ratio: f64,
    pub use_abs_pos: bool,
    pub use_rel_pos: bool,
    /// Side of an attention window, patches; 0: every block is global.
    pub window_size: usize,
    pub global_attn_indexes: Vec<usize>,
    /// Half the width of the positional encoding of prompts.
    pub num_pos_feats: usize,
    pub mlp_dim: Option<usize>,
}

impl Default for VitConfig {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            output_channels: 256,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: 1024,
            patch_size: 16,
            hidden_act: Activation::Gelu,
            layer_norm_eps: 1e-6,
            qkv_bias: true,
            mlp_ratio: 4.0,
            use_abs_pos: true,
            use_rel_pos: true,
            window_size: 14,
            global_attn_indexes: vec![2, 5, 8, 11],
            num_pos_feats: 128,
            mlp_dim: None,
        }
    }
}

impl VitConfig {
    /// Patches along a side.
    pub fn grid(&self) -> usize {
        self.image_size / self.patch_size
    }

    pub fn mlp_dim(&self) -> usize {
        self.mlp_dim
            .unwrap_or((self.hidden_size as f64 * self.mlp_ratio) as usize)
    }

    /// Window side of block `index`; 0 where attention is global.
    pub fn window(&self, index: usize) -> usize {
        if self.global_attn_indexes.contains(&index) {
            0
        } else {
            self.window_size
        }
    }
}

/// TinyViT-5M as MobileSAM uses it, by default. Stage 0 is convolutional, the others attend in windows.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct TinyVitConfig {
    pub image_size: usize,
    pub embed_dims: Vec<usize>,
    pub depths: Vec<usize>,
    pub num_heads: Vec<usize>,
    pub window_sizes: Vec<usize>,
    /// Stride of the convolution that ends stage `i`; there is none after the last stage.
    pub merge_strides: Vec<usize>,
    pub output_channels: usize,
    pub num_pos_feats: usize,
    pub mlp_ratio: f64,
    pub mbconv_expand_ratio: f64,
    pub layer_norm_eps: f64,
}

impl Default for TinyVitConfig {
    fn default() -> Self {
        Self {
            image_size: 1024,
            embed_dims: vec![64, 128, 160, 320],
            depths: vec![2, 2, 6, 2],
            num_heads: vec![2, 4, 5, 10],
            window_sizes: vec![7, 7, 14, 7],
            merge_strides: vec![2, 2, 1],
            output_channels: 256,
            num_pos_feats: 128,
            mlp_ratio: 4.0,
            mbconv_expand_ratio: 4.0,
            layer_norm_eps: 1e-5,
        }
    }
}

impl TinyVitConfig {
    /// Side of the feature map that enters stage `stage` (after the last stage: of the output).
    pub fn grid(&self, stage: usize) -> usize {
        // every 3 x 3 convolution pads by one, so a stride of two rounds up
        let halve = |side: usize| side.div_ceil(2);
        self.merge_strides
            .iter()
            .take(stage)
            .fold(halve(halve(self.image_size)), |side, &stride| {
                if stride == 2 { halve(side) } else { side }
            })
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct PromptEncoderConfig {
    pub hidden_size: usize,
    pub image_size: usize,
    pub patch_size: usize,
    pub mask_input_channels: usize,
    pub num_point_embeddings: usize,
    pub hidden_act: Activation,
    pub layer_norm_eps: f64,
}

impl Default for PromptEncoderConfig {
    fn default() -> Self {
        Self {
            hidden_size: 256,
            image_size: 1024,
            patch_size: 16,
            mask_input_channels: 16,
            num_point_embeddings: 4,
            hidden_act: Activation::Gelu,
            layer_norm_eps: 1e-6,
        }
    }
}

impl PromptEncoderConfig {
    pub fn grid(&self) -> usize {
        self.image_size / self.patch_size
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct MaskDecoderConfig {
    pub hidden_size: usize,
    pub hidden_act: Activation,
    pub mlp_dim: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub attention_downsample_rate: usize,
    pub num_multimask_outputs: usize,
    pub iou_head_depth: usize,
    pub iou_head_hidden_dim: usize,
    /// Of the norms inside the two-way blocks: 1e-6 in `transformers`, 1e-5 in the original code.
    pub layer_norm_eps: f64,
}

impl Default for MaskDecoderConfig {
    fn default() -> Self {
        Self {
            hidden_size: 256,
            hidden_act: Activation::Relu,
            mlp_dim: 2048,
            num_hidden_layers: 2,
            num_attention_heads: 8,
            attention_downsample_rate: 2,
            num_multimask_outputs: 3,
            iou_head_depth: 3,
            iou_head_hidden_dim: 256,
            layer_norm_eps: 1e-6,
        }
    }
}

/// Names of `transformers.activations` that SAM checkpoints may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// With the exact normal distribution.
    Gelu,
    #[serde(alias = "gelu_pytorch_tanh", alias = "gelu_fast")]
    GeluNew,
    QuickGelu,
    Relu,
    #[serde(alias = "swish")]
    Silu,
}

impl Activation {
    /// `f(layer(x))`.
    pub(super) fn after(self, layer: &nn::Linear, x: &Tensor) -> candle_core::Result<Tensor> {
        match self.kernel() {
            Some(f) => layer.forward_activated(x, f),
            None => self.apply(&layer.forward(x)?),
        }
    }

    pub(super) fn apply(self, x: &Tensor) -> candle_core::Result<Tensor> {
        match (self.kernel(), self) {
            (Some(f), _) => nn::activation(x, f),
            (None, Self::QuickGelu) => x * candle_nn::ops::sigmoid(&(x * 1.702)?)?,
            // the tanh approximation, candle's plain name
            (None, _) => x.gelu(),
        }
    }

    /// The same among the kernels' own, which layers apply in passing.
    fn kernel(self) -> Option<nn::Activation> {
        match self {
            Self::Gelu => Some(nn::Activation::Gelu),
            Self::Relu => Some(nn::Activation::Relu),
            Self::Silu => Some(nn::Activation::Silu),
            Self::GeluNew | Self::QuickGelu => None,
        }
    }
}

impl SamConfig {
    /// Side of the square that the encoder is fed, pixels.
    pub fn image_size(&self) -> usize {
        match &self.vision_config {
            VisionConfig::Vit(v) => v.image_size,
            VisionConfig::TinyVit(v) => v.image_size,
        }
    }

    /// Side of the image embedding.
    pub fn grid(&self) -> usize {
        match &self.vision_config {
            VisionConfig::Vit(v) => v.grid(),
            VisionConfig::TinyVit(v) => v.grid(v.depths.len()),
        }
    }

    /// Side of the low-resolution masks: each embedding cell becomes 4 x 4 logits.
    pub fn mask_side(&self) -> usize {
        4 * self.grid()
    }

    fn num_pos_feats(&self) -> usize {
        match &self.vision_config {
            VisionConfig::Vit(v) => v.num_pos_feats,
            VisionConfig::TinyVit(v) => v.num_pos_feats,
        }
    }

    fn output_channels(&self) -> usize {
        match &self.vision_config {
            VisionConfig::Vit(v) => v.output_channels,
            VisionConfig::TinyVit(v) => v.output_channels,
        }
    }
}
