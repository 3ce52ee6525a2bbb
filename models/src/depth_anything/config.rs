//! `config.json` of a Depth Anything checkpoint: transformers' `DepthAnythingConfig`, checked.

mod infer;
mod raw;

use std::path::PathBuf;

use raw::{RawBackbone, RawConfig, Side};

use super::layout;
use crate::checkpoint::Checkpoint;
use crate::{ModelError, Result};

/// What the output means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Affine-invariant disparity.
    Relative,
    /// Metres.
    Metric,
}

/// How one tap is brought to its own resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reassemble {
    /// Transposed convolution with kernel = stride.
    Up(usize),
    Keep,
    /// 3x3 convolution with this stride.
    Down(usize),
}

/// `hidden_act` of the MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// erf
    Gelu,
    GeluTanh,
    Relu,
    Silu,
}

/// DINOv2.
#[derive(Debug, Clone, PartialEq)]
pub struct BackboneConfig {
    pub hidden_size: usize,
    pub layers: usize,
    pub heads: usize,
    pub head_dim: usize,
    /// Width of the MLP; of each half of it with SwiGLU.
    pub mlp_size: usize,
    pub swiglu: bool,
    pub activation: Activation,
    pub layer_norm_eps: f64,
    /// Height and width that the position embeddings were trained for, in pixels.
    pub image_size: (usize, usize),
    pub patch_size: usize,
    /// The position embeddings form a square of this side.
    pub position_side: usize,
    pub qkv_bias: bool,
    /// Final layer norm on every tap.
    pub apply_layernorm: bool,
    /// Taken hidden states: 0 is the embedding, `i` the output of block `i`; rising.
    pub taps: Vec<usize>,
}

/// The whole model.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub backbone: BackboneConfig,
    /// Channels of each tap after its projection.
    pub neck: Vec<usize>,
    pub reassemble: Vec<Reassemble>,
    pub fusion_size: usize,
    /// Which fused map feeds the head.
    pub head_index: usize,
    pub head_hidden_size: usize,
    pub kind: Kind,
    /// Scale of the output: metres at a sigmoid of 1.
    pub max_depth: f64,
}

/// Makes errors that name the file.
struct Checker {
    path: PathBuf,
}

impl Checker {
    fn fail<T>(
        &self,
        field: &'static str,
        value: impl std::fmt::Debug,
        reason: impl Into<String>,
    ) -> Result<T> {
        Err(ModelError::Config {
            path: self.path.clone(),
            field,
            value: format!("{value:?}"),
            reason: reason.into(),
        })
    }

    /// 1 to 2^20: no layer is wider, and products of sizes cannot overflow.
    fn size(&self, field: &'static str, value: usize) -> Result<usize> {
        if (1..=1 << 20).contains(&value) {
            return Ok(value);
        }
        self.fail(field, value, "must be between 1 and 1048576")
    }

    fn square(&self, field: &'static str, side: Side) -> Result<usize> {
        match side.pair() {
            (h, w) if h == w => self.size(field, h),
            pair => self.fail(field, pair, "only square patches are supported"),
        }
    }
}

impl Config {
    /// Reads and checks `config.json`. Files of the original repository come without one: their tensors tell the
    /// sizes, and their published name whether they give metres.
    ///
    /// # Errors
    /// [`ModelError::Json`] if it does not parse, [`ModelError::Config`] naming the field that cannot be.
    pub fn read(checkpoint: &Checkpoint) -> Result<Self> {
        const FILE: &str = "config.json";
        if !checkpoint.has(FILE) {
            let stored = checkpoint.stored_tensors()?;
            if layout::is_original(&stored) {
                let path = checkpoint.weights_path();
                let raw = infer::infer(checkpoint, &stored, &Checker { path: path.clone() })?;
                return Self::check(raw, &Checker { path });
            }
        }
        checkpoint.expect_type(&["depth_anything"])?;
        let raw: RawConfig = checkpoint.json(FILE)?;
        Self::check(
            raw,
            &Checker {
                path: checkpoint.path(FILE),
            },
        )
    }

    fn check(raw: RawConfig, checker: &Checker) -> Result<Self> {
        let backbone = BackboneConfig::check(
            raw.backbone_config.unwrap_or_else(RawBackbone::of_class_default),
            checker,
        )?;
        let patch = checker.square("patch_size", raw.patch_size)?;
        if patch != backbone.patch_size {
            return checker.fail("patch_size", patch, "differs from that of the backbone");
        }
        if raw.reassemble_hidden_size != backbone.hidden_size {
            let value = raw.reassemble_hidden_size;
            return checker.fail(
                "reassemble_hidden_size",
                value,
                "differs from the backbone's hidden_size",
            );
        }
        let levels = backbone.taps.len();
        if raw.neck_hidden_sizes.len() != levels || raw.reassemble_factors.len() != levels {
            let value = (&raw.neck_hidden_sizes, &raw.reassemble_factors);
            let reason = format!("needs one size and one reassemble factor for each of {levels} taps");
            return checker.fail("neck_hidden_sizes", value, reason);
        }
        for &size in &raw.neck_hidden_sizes {
            checker.size("neck_hidden_sizes", size)?;
        }
        let reassemble = raw.reassemble_factors.iter().map(|&f| factor(f, checker));
        let reassemble = reassemble.collect::<Result<_>>()?;
        let fusion_size = checker.size("fusion_hidden_size", raw.fusion_hidden_size)?;
        if fusion_size < 2 {
            return checker.fail("fusion_hidden_size", fusion_size, "the head halves it");
        }
        let count = levels as i64;
        if !(-count..count).contains(&raw.head_in_index) {
            return checker.fail(
                "head_in_index",
                raw.head_in_index,
                format!("there are {levels} fused maps"),
            );
        }
        let kind = match raw.depth_estimation_type.as_deref() {
            None | Some("relative") => Kind::Relative,
            Some("metric") => Kind::Metric,
            Some(other) => {
                return checker.fail("depth_estimation_type", other, "neither relative nor metric");
            }
        };
        let max_depth = raw.max_depth.unwrap_or(1.0);
        if !max_depth.is_finite() || max_depth <= 0.0 {
            return checker.fail("max_depth", max_depth, "must be positive");
        }
        Ok(Self {
            backbone,
            neck: raw.neck_hidden_sizes,
            reassemble,
            fusion_size,
            head_index: raw.head_in_index.rem_euclid(count) as usize,
            head_hidden_size: checker.size("head_hidden_size", raw.head_hidden_size)?,
            kind,
            max_depth,
        })
    }
}

fn factor(value: f64, checker: &Checker) -> Result<Reassemble> {
    match value {
        f if f > 1.0 && f <= 64.0 && f.fract() == 0.0 => Ok(Reassemble::Up(f as usize)),
        1.0 => Ok(Reassemble::Keep),
        f if (1.0 / 64.0..1.0).contains(&f) => Ok(Reassemble::Down((1.0 / f) as usize)),
        f => checker.fail(
            "reassemble_factors",
            f,
            "must be a whole number up to 64 or a fraction of 1",
        ),
    }
}

impl BackboneConfig {
    fn check(raw: RawBackbone, checker: &Checker) -> Result<Self> {
        if raw.model_type != "dinov2" {
            return checker.fail(
                "backbone_config.model_type",
                raw.model_type,
                "only dinov2 is supported",
            );
        }
        let hidden_size = checker.size("backbone_config.hidden_size", raw.hidden_size)?;
        let layers = checker.size("backbone_config.num_hidden_layers", raw.num_hidden_layers)?;
        let heads = checker.size("backbone_config.num_attention_heads", raw.num_attention_heads)?;
        let head_dim = raw.head_dim.unwrap_or(hidden_size / heads);
        if head_dim == 0 {
            return checker.fail(
                "backbone_config.num_attention_heads",
                heads,
                "more heads than channels",
            );
        }
        checker.size("backbone_config.head_dim", head_dim)?;
        if raw.num_channels != 3 {
            return checker.fail(
                "backbone_config.num_channels",
                raw.num_channels,
                "photos have 3 channels",
            );
        }
        if raw.reshape_hidden_states {
            let reason = "the decoder takes token sequences: must be false";
            return checker.fail("backbone_config.reshape_hidden_states", true, reason);
        }
        if !(raw.mlp_ratio > 0.0 && raw.mlp_ratio <= 64.0) {
            return checker.fail("backbone_config.mlp_ratio", raw.mlp_ratio, "must be in (0, 64]");
        }
        if !(raw.layer_norm_eps >= 0.0 && raw.layer_norm_eps < 1.0) {
            return checker.fail(
                "backbone_config.layer_norm_eps",
                raw.layer_norm_eps,
                "must be in [0, 1)",
            );
        }
        let mut mlp_size = (hidden_size as f64 * raw.mlp_ratio) as usize;
        if raw.use_swiglu_ffn {
            // Two thirds, rounded up to a multiple of 8.
            mlp_size = ((mlp_size as f64 * 2.0 / 3.0) as usize).div_ceil(8) * 8;
        }
        let activation = match raw.hidden_act.as_str() {
            "gelu" => Activation::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" => Activation::GeluTanh,
            "relu" => Activation::Relu,
            "silu" | "swish" => Activation::Silu,
            other => return checker.fail("backbone_config.hidden_act", other, "unknown activation"),
        };
        let patch_size = checker.square("backbone_config.patch_size", raw.patch_size)?;
        let image_size = raw.image_size.pair();
        let positions = (image_size.0 / patch_size).saturating_mul(image_size.1 / patch_size);
        let position_side = positions.isqrt();
        if positions == 0 || position_side * position_side != positions || positions > 1 << 20 {
            let reason = format!("makes {positions} patches of {patch_size}, which do not form a square");
            return checker.fail("backbone_config.image_size", image_size, reason);
        }
        Ok(Self {
            hidden_size,
            layers,
            heads,
            head_dim,
            mlp_size: checker.size("backbone_config.mlp_ratio", mlp_size)?,
            swiglu: raw.use_swiglu_ffn,
            activation,
            layer_norm_eps: raw.layer_norm_eps,
            image_size,
            patch_size,
            position_side,
            qkv_bias: raw.qkv_bias,
            apply_layernorm: raw.apply_layernorm,
            taps: taps(raw.out_indices, raw.out_features, layers, checker)?,
        })
    }
}

/// Stage numbers from `out_indices` or from `out_features` (`stem`, `stage1`, ...), which must agree; or the last stage.
fn taps(
    indices: Option<Vec<i64>>,
    features: Option<Vec<String>>,
    layers: usize,
    checker: &Checker,
) -> Result<Vec<usize>> {
    const FIELD: &str = "backbone_config.out_indices";
    let stages = layers as i64 + 1;
    let by_index = |index: i64| match (-stages..stages).contains(&index) {
        true => Ok(index.rem_euclid(stages) as usize),
        false => checker.fail(FIELD, index, format!("there are {layers} blocks")),
    };
    let by_name = |name: String| {
        let stage = match name.as_str() {
            "stem" => Some(0),
            other => other.strip_prefix("stage").and_then(|n| n.parse().ok()),
        };
        match stage {
            Some(stage) if stage <= layers => Ok(stage),
            _ => checker.fail("backbone_config.out_features", name, "no such stage"),
        }
    };
    let indices = indices.map(|all| all.into_iter().map(by_index).collect::<Result<Vec<_>>>());
    let features = features.map(|all| all.into_iter().map(by_name).collect::<Result<Vec<_>>>());
    let taps = match (indices.transpose()?, features.transpose()?) {
        (Some(indices), Some(features)) if indices != features => {
            let reason = format!("out_features says {features:?}: two names of one setting that disagree");
            return checker.fail(FIELD, indices, reason);
        }
        (Some(taps), _) | (None, Some(taps)) => taps,
        (None, None) => vec![layers],
    };
    if taps.is_empty() || !taps.is_sorted_by(|a, b| a < b) {
        return checker.fail(FIELD, taps, "must rise");
    }
    Ok(taps)
}
