//! From what is written to sizes that can be built.

use std::path::Path;

use super::raw::{OneOrMany, RawText, RawVision};
use super::{TextConfig, VisionConfig};
use crate::{ModelError, Result};

/// Makes [`ModelError::Config`] for one file.
pub(super) struct Refuse<'a>(pub(super) &'a Path);

impl Refuse<'_> {
    pub(super) fn unless(
        &self,
        ok: bool,
        field: &'static str,
        value: impl ToString,
        reason: &str,
    ) -> Result<()> {
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
    pub(super) fn one_of<T: PartialEq + std::fmt::Debug>(
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

    pub(super) fn positive(&self, sizes: &[(&'static str, usize)]) -> Result<()> {
        for &(field, n) in sizes {
            self.unless((1..=1 << 24).contains(&n), field, n, "must lie in 1 ..= 2^24")?;
        }
        Ok(())
    }
}

pub(super) fn vision(raw: RawVision, refuse: &Refuse<'_>) -> Result<VisionConfig> {
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

pub(super) fn decoder(raw: RawText, refuse: &Refuse<'_>) -> Result<TextConfig> {
    let (rope_theta, mrope_section) = rope(&raw, refuse)?;
    let config = TextConfig {
        vocab_size: raw.vocab_size.unwrap_or(152_064),
        hidden_size: raw.hidden_size.unwrap_or(8192),
        intermediate_size: raw.intermediate_size.unwrap_or(29_568),
        num_hidden_layers: raw.num_hidden_layers.unwrap_or(80),
        num_attention_heads: raw.num_attention_heads.unwrap_or(64),
        num_key_value_heads: raw.num_key_value_heads.unwrap_or(8),
        max_position_embeddings: raw.max_position_embeddings.unwrap_or(32_768),
        rms_norm_eps: raw.rms_norm_eps.unwrap_or(1e-5),
        rope_theta: rope_theta.unwrap_or(1e6),
        mrope_section: mrope_section.unwrap_or_else(|| vec![16, 24, 24]),
    };
    check(&config, &raw, refuse)?;
    Ok(config)
}

/// Base and sections of the rotary embedding, under whichever of their names.
fn rope(raw: &RawText, refuse: &Refuse<'_>) -> Result<(Option<f64>, Option<Vec<usize>>)> {
    let (old, new) = (
        raw.rope_scaling.clone().unwrap_or_default(),
        raw.rope_parameters.clone().unwrap_or_default(),
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
    Ok((rope_theta, mrope_section))
}

fn check(config: &TextConfig, raw: &RawText, refuse: &Refuse<'_>) -> Result<()> {
    let heads = config.num_attention_heads;
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
    )
}
