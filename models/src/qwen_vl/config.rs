//! `config.json` of Qwen2.5-VL, in both layouts: flat (transformers 4.x, the hub) and nested (`text_config`, 5.x).
//!
//! A missing field takes the default of transformers' config classes, because `save_pretrained` of 4.x leaves out
//! what equals them.

use std::path::Path;

use serde::Deserialize;

use crate::checkpoint::Checkpoint;
use crate::{ModelError, Result};

/// Sizes of the vision tower.
#[derive(Debug, Clone, PartialEq)]
pub struct VisionConfig {
    pub depth: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_heads: usize,
    pub in_channels: usize,
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Frames in a patch; a still is repeated that often.
    pub temporal_patch_size: usize,
    /// Patches along a side that become one token.
    pub spatial_merge_size: usize,
    /// Side of an attention window in pixels.
    pub window_size: usize,
    /// Blocks that attend to the whole image.
    pub fullatt_block_indexes: Vec<usize>,
    /// Width of the tokens given to the decoder.
    pub out_hidden_size: usize,
    pub rope_theta: f64,
}

impl VisionConfig {
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_heads
    }

    /// Values in one flattened patch.
    pub fn patch_len(&self) -> usize {
        self.in_channels * self.temporal_patch_size * self.patch_size * self.patch_size
    }

    /// Side of an attention window in merged tokens.
    pub fn window_tokens(&self) -> usize {
        self.window_size / self.spatial_merge_size / self.patch_size
    }
}

/// Sizes of the decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct TextConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub max_position_embeddings: usize,
    pub rms_norm_eps: f64,
    pub rope_theta: f64,
    /// Frequencies that turn with the temporal, vertical and horizontal position, in that order.
    pub mrope_section: Vec<usize>,
}

impl TextConfig {
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub vision: VisionConfig,
    pub text: TextConfig,
    pub image_token_id: u32,
    /// The output head is the token embedding.
    pub tie_word_embeddings: bool,
    /// Stop tokens for checkpoints without `generation_config.json`.
    pub eos_token_ids: Vec<u32>,
}

/// A number or a list of equal numbers (`patch_size: [14, 14]`).
#[derive(Deserialize, Clone)]
#[serde(untagged)]
enum OneOrMany {
    One(u64),
    Many(Vec<u64>),
}

impl OneOrMany {
    fn list(&self) -> Vec<u64> {
        match self {
            Self::One(n) => vec![*n],
            Self::Many(all) => all.clone(),
        }
    }

    fn single(&self) -> Option<usize> {
        let all = self.list();
        let first = *all.first()?;
        all.iter().all(|&n| n == first).then_some(first as usize)
    }
}

/// `rope_scaling` of published files, `rope_parameters` of transformers 5.
#[derive(Deserialize, Clone, Default)]
struct RawRope {
    /// The older name of `rope_type`; many files have both.
    r#type: Option<String>,
    rope_type: Option<String>,
    rope_theta: Option<f64>,
    mrope_section: Option<Vec<usize>>,
}

#[derive(Deserialize, Clone, Default)]
struct RawText {
    vocab_size: Option<usize>,
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    hidden_act: Option<String>,
    max_position_embeddings: Option<usize>,
    rms_norm_eps: Option<f64>,
    use_sliding_window: Option<bool>,
    tie_word_embeddings: Option<bool>,
    rope_theta: Option<f64>,
    rope_scaling: Option<RawRope>,
    rope_parameters: Option<RawRope>,
    eos_token_id: Option<OneOrMany>,
}

#[derive(Deserialize)]
struct RawVision {
    depth: Option<usize>,
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_heads: Option<usize>,
    in_channels: Option<usize>,
    /// The older name; transformers 4.50 and later write both.
    in_chans: Option<usize>,
    patch_size: Option<OneOrMany>,
    temporal_patch_size: Option<OneOrMany>,
    spatial_merge_size: Option<usize>,
    window_size: Option<usize>,
    fullatt_block_indexes: Option<Vec<usize>>,
    out_hidden_size: Option<usize>,
    hidden_act: Option<String>,
    rope_parameters: Option<RawRope>,
}

#[derive(Deserialize)]
struct Raw {
    model_type: Option<String>,
    vision_config: RawVision,
    text_config: Option<RawText>,
    image_token_id: Option<u32>,
    tie_word_embeddings: Option<bool>,
    eos_token_id: Option<OneOrMany>,
    #[serde(flatten)]
    flat: serde_json::Map<String, serde_json::Value>,
}

/// Makes [`ModelError::Config`] for one file.
struct Refuse<'a>(&'a Path);

impl Refuse<'_> {
    fn unless(&self, ok: bool, field: &'static str, value: impl ToString, reason: &str) -> Result<()> {
        if ok {
            return Ok(());
        }
        Err(ModelError::Config {
            path: self.0.to_owned(),
            field,
            value: value.to_string(),
            reason: reason.to_owned(),
        })
    }

    /// The one value of a field that may stand there under several names.
    fn one_of<T: PartialEq + std::fmt::Debug>(
        &self,
        field: &'static str,
        values: impl IntoIterator<Item = (&'static str, Option<T>)>,
    ) -> Result<Option<T>> {
        let mut found: Option<(&str, T)> = None;
        for (name, value) in values {
            match (&found, value) {
                (Some((other, first)), Some(value)) if *first != value => {
                    let both = format!("{first:?} as {other} and {value:?} as {name}");
                    self.unless(false, field, both, "two names of one setting that disagree")?;
                }
                (None, Some(value)) => found = Some((name, value)),
                _ => {}
            }
        }
        Ok(found.map(|(_, value)| value))
    }

    fn positive(&self, sizes: &[(&'static str, usize)]) -> Result<()> {
        for &(field, n) in sizes {
            self.unless((1..=1 << 24).contains(&n), field, n, "must lie in 1 ..= 2^24")?;
        }
        Ok(())
    }
}

impl Config {
    /// Reads and checks `config.json`.
    ///
    /// # Errors
    /// [`ModelError::Json`] for a file of another shape, [`ModelError::Config`] for values that cannot be built.
    pub fn read(checkpoint: &Checkpoint) -> Result<Self> {
        Self::from_raw(checkpoint.json("config.json")?, &checkpoint.path("config.json"))
    }

    /// Parses the text of a `config.json`; `path` is for messages.
    pub fn parse(json: &[u8], path: &Path) -> Result<Self> {
        let raw = serde_json::from_slice(json).map_err(|source| ModelError::Json {
            path: path.to_owned(),
            source,
        })?;
        Self::from_raw(raw, path)
    }

    fn from_raw(raw: Raw, path: &Path) -> Result<Self> {
        let refuse = Refuse(path);
        let kind = raw.model_type.as_deref().unwrap_or("qwen2_5_vl");
        refuse.unless(
            kind.starts_with("qwen2_5_vl"),
            "model_type",
            kind,
            "is not Qwen2.5-VL",
        )?;
        let nested = raw.text_config.is_some();
        let text = match raw.text_config {
            Some(text) => text,
            None => serde_json::from_value(raw.flat.into()).map_err(|source| ModelError::Json {
                path: path.to_owned(),
                source,
            })?,
        };
        let tied_inside = nested && text.tie_word_embeddings == Some(true);
        let eos = text.eos_token_id.clone().or(raw.eos_token_id);
        let config = Self {
            vision: vision(raw.vision_config, &refuse)?,
            text: decoder(text, &refuse)?,
            image_token_id: raw.image_token_id.unwrap_or(151_655),
            tie_word_embeddings: raw.tie_word_embeddings == Some(true) || tied_inside,
            eos_token_ids: eos
                .map_or_else(|| vec![151_645], |ids| ids.list())
                .into_iter()
                .map(|id| id as u32)
                .collect(),
        };
        refuse.unless(
            config.vision.out_hidden_size == config.text.hidden_size,
            "vision_config.out_hidden_size",
            config.vision.out_hidden_size,
            "must equal the hidden_size of the decoder",
        )?;
        refuse.unless(
            (config.image_token_id as usize) < config.text.vocab_size,
            "image_token_id",
            config.image_token_id,
            "lies outside the vocabulary",
        )?;
        Ok(config)
    }
}

fn vision(raw: RawVision, refuse: &Refuse<'_>) -> Result<VisionConfig> {
    let side = |field, value: Option<OneOrMany>, default| match value {
        None => Ok(default),
        Some(value) => value.single().ok_or_else(|| ModelError::Config {
            path: refuse.0.to_owned(),
            field,
            value: format!("{:?}", value.list()),
            reason: "must be one size".into(),
        }),
    };
    let config = VisionConfig {
        depth: raw.depth.unwrap_or(32),
        hidden_size: raw.hidden_size.unwrap_or(3584),
        intermediate_size: raw.intermediate_size.unwrap_or(3420),
        num_heads: raw.num_heads.unwrap_or(16),
        in_channels: refuse
            .one_of(
                "vision_config.in_channels",
                [("in_channels", raw.in_channels), ("in_chans", raw.in_chans)],
            )?
            .unwrap_or(3),
        patch_size: side("vision_config.patch_size", raw.patch_size, 14)?,
        temporal_patch_size: side("vision_config.temporal_patch_size", raw.temporal_patch_size, 2)?,
        spatial_merge_size: raw.spatial_merge_size.unwrap_or(2),
        window_size: raw.window_size.unwrap_or(112),
        fullatt_block_indexes: raw.fullatt_block_indexes.unwrap_or_else(|| vec![7, 15, 23, 31]),
        out_hidden_size: raw.out_hidden_size.unwrap_or(3584),
        rope_theta: raw.rope_parameters.and_then(|r| r.rope_theta).unwrap_or(10_000.),
    };
    refuse.positive(&[
        ("vision_config.depth", config.depth),
        ("vision_config.hidden_size", config.hidden_size),
        ("vision_config.intermediate_size", config.intermediate_size),
        ("vision_config.num_heads", config.num_heads),
        ("vision_config.patch_size", config.patch_size),
        ("vision_config.temporal_patch_size", config.temporal_patch_size),
        ("vision_config.spatial_merge_size", config.spatial_merge_size),
        ("vision_config.out_hidden_size", config.out_hidden_size),
    ])?;
    let act = raw.hidden_act.as_deref().unwrap_or("silu");
    refuse.unless(
        act == "silu",
        "vision_config.hidden_act",
        act,
        "only silu is known",
    )?;
    refuse.unless(
        config.in_channels == 3,
        "vision_config.in_channels",
        config.in_channels,
        "photos have 3 channels",
    )?;
    refuse.unless(
        config.hidden_size.is_multiple_of(config.num_heads) && config.head_dim().is_multiple_of(4),
        "vision_config.num_heads",
        config.num_heads,
        "must divide hidden_size into heads whose width is a multiple of 4 (two axes of rotations)",
    )?;
    refuse.unless(
        config.window_tokens() >= 1,
        "vision_config.window_size",
        config.window_size,
        "holds no merged token",
    )?;
    Ok(config)
}

fn decoder(raw: RawText, refuse: &Refuse<'_>) -> Result<TextConfig> {
    let heads = raw.num_attention_heads.unwrap_or(64);
    let (old, new) = (
        raw.rope_scaling.unwrap_or_default(),
        raw.rope_parameters.unwrap_or_default(),
    );
    for kind in [&old.r#type, &old.rope_type, &new.r#type, &new.rope_type] {
        let kind = kind.as_deref().unwrap_or("default");
        refuse.unless(
            matches!(kind, "default" | "mrope"),
            "rope_scaling.type",
            kind,
            "only the unscaled rotation is known",
        )?;
    }
    let rope_theta = refuse.one_of(
        "rope_theta",
        [
            ("rope_parameters.rope_theta", new.rope_theta),
            ("rope_scaling.rope_theta", old.rope_theta),
            ("rope_theta", raw.rope_theta),
        ],
    )?;
    let mrope_section = refuse.one_of(
        "mrope_section",
        [
            ("rope_parameters.mrope_section", new.mrope_section),
            ("rope_scaling.mrope_section", old.mrope_section),
        ],
    )?;
    let config = TextConfig {
        vocab_size: raw.vocab_size.unwrap_or(152_064),
        hidden_size: raw.hidden_size.unwrap_or(8192),
        intermediate_size: raw.intermediate_size.unwrap_or(29_568),
        num_hidden_layers: raw.num_hidden_layers.unwrap_or(80),
        num_attention_heads: heads,
        num_key_value_heads: raw.num_key_value_heads.unwrap_or(8),
        max_position_embeddings: raw.max_position_embeddings.unwrap_or(32_768),
        rms_norm_eps: raw.rms_norm_eps.unwrap_or(1e-5),
        rope_theta: rope_theta.unwrap_or(1e6),
        mrope_section: mrope_section.unwrap_or_else(|| vec![16, 24, 24]),
    };
    refuse.positive(&[
        ("vocab_size", config.vocab_size),
        ("hidden_size", config.hidden_size),
        ("intermediate_size", config.intermediate_size),
        ("num_hidden_layers", config.num_hidden_layers),
        ("num_attention_heads", config.num_attention_heads),
        ("num_key_value_heads", config.num_key_value_heads),
        ("max_position_embeddings", config.max_position_embeddings),
    ])?;
    let act = raw.hidden_act.as_deref().unwrap_or("silu");
    refuse.unless(act == "silu", "hidden_act", act, "only silu is known")?;
    refuse.unless(
        config.hidden_size.is_multiple_of(heads) && config.head_dim().is_multiple_of(2),
        "num_attention_heads",
        heads,
        "must divide hidden_size into heads of even width",
    )?;
    let head_dim = raw.head_dim.unwrap_or(config.head_dim());
    refuse.unless(
        head_dim == config.head_dim(),
        "head_dim",
        head_dim,
        "must be hidden_size / num_attention_heads",
    )?;
    refuse.unless(
        heads.is_multiple_of(config.num_key_value_heads),
        "num_key_value_heads",
        config.num_key_value_heads,
        "must divide num_attention_heads",
    )?;
    refuse.unless(
        config.mrope_section.len() == 3
            && config.mrope_section.iter().sum::<usize>() * 2 == config.head_dim(),
        "mrope_section",
        format!("{:?}", config.mrope_section),
        "must be three counts that add up to half the head width",
    )?;
    refuse.unless(
        raw.use_sliding_window != Some(true),
        "use_sliding_window",
        true,
        "sliding windows are not known; no published checkpoint uses them",
    )?;
    let eps = config.rms_norm_eps;
    refuse.unless(
        eps.is_finite() && eps >= 0.,
        "rms_norm_eps",
        eps,
        "must be small and positive",
    )?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(json: &str) -> Result<Config> {
        Config::parse(json.as_bytes(), Path::new("config.json"))
    }

    const FLAT: &str = r#"{"model_type":"qwen2_5_vl","hidden_size":64,"intermediate_size":128,"num_hidden_layers":2,
        "num_attention_heads":4,"num_key_value_heads":2,"vocab_size":512,"rms_norm_eps":1e-06,"rope_theta":1000000.0,
        "rope_scaling":{"type":"mrope","rope_type":"default","mrope_section":[2,3,3]},"tie_word_embeddings":TIED,
        "image_token_id":505,"eos_token_id":[501,500],"vision_config":{"depth":4,"hidden_size":40,"in_chans":3,
        "intermediate_size":52,"num_heads":2,"out_hidden_size":64,"patch_size":[14,14],"fullatt_block_indexes":[1,3]}}"#;

    #[test]
    fn flat_layout_of_4x() {
        let config = parse(&FLAT.replace("TIED", "true")).unwrap();
        assert!(config.tie_word_embeddings);
        assert_eq!(config.text.mrope_section, [2, 3, 3]);
        assert_eq!(config.eos_token_ids, [501, 500]);
        assert_eq!((config.vision.patch_size, config.vision.window_tokens()), (14, 4));
        assert_eq!((config.text.rms_norm_eps, config.text.rope_theta), (1e-6, 1e6));
    }

    #[test]
    fn refuses_what_it_cannot_build() {
        let untied = FLAT.replace("TIED", "false");
        for (from, to, field) in [
            (
                r#""num_attention_heads":4"#,
                r#""num_attention_heads":5"#,
                "num_attention_heads",
            ),
            (
                r#""num_key_value_heads":2"#,
                r#""num_key_value_heads":3"#,
                "num_key_value_heads",
            ),
            ("[2,3,3]", "[16,24,24]", "mrope_section"),
            (
                r#""rope_type":"default""#,
                r#""rope_type":"yarn""#,
                "rope_scaling.type",
            ),
            (r#""depth":4"#, r#""depth":0"#, "vision_config.depth"),
            (r#""num_heads":2"#, r#""num_heads":4"#, "vision_config.num_heads"),
            ("[14,14]", "[14,16]", "vision_config.patch_size"),
            (
                r#""out_hidden_size":64"#,
                r#""out_hidden_size":32"#,
                "vision_config.out_hidden_size",
            ),
            (
                r#""image_token_id":505"#,
                r#""image_token_id":512"#,
                "image_token_id",
            ),
            (
                r#""model_type":"qwen2_5_vl""#,
                r#""model_type":"qwen3_vl""#,
                "model_type",
            ),
            (
                r#""vocab_size":512"#,
                r#""vocab_size":512,"use_sliding_window":true"#,
                "use_sliding_window",
            ),
        ] {
            let broken = untied.replace(from, to);
            assert_ne!(broken, untied, "{from}");
            match parse(&broken) {
                Err(ModelError::Config { field: found, .. }) => assert_eq!(found, field),
                other => panic!("{field}: {other:?}"),
            }
        }
        assert!(matches!(parse("{}"), Err(ModelError::Json { .. })));
    }
}
