//! Which sizes can be built together.

use super::{SamConfig, TinyVitConfig, VisionConfig, VitConfig};
use crate::checkpoint::Checkpoint;
use crate::{ModelError, Result};

/// No published size comes near; larger ones would overflow products of sizes.
const LARGEST: usize = 1 << 16;

struct Check<'a> {
    checkpoint: &'a Checkpoint,
}

impl Check<'_> {
    fn fail<T>(&self, field: &'static str, value: impl std::fmt::Display, reason: &str) -> Result<T> {
        Err(ModelError::Config {
            path: self.checkpoint.path("config.json"),
            field,
            value: value.to_string(),
            reason: reason.to_owned(),
        })
    }

    fn sizes(&self, fields: &[(&'static str, usize)]) -> Result<()> {
        for &(field, value) in fields {
            if value == 0 || value > LARGEST {
                return self.fail(field, value, "must lie between 1 and 65536");
            }
        }
        Ok(())
    }

    fn eps(&self, field: &'static str, value: f64) -> Result<()> {
        if !(value > 0.0 && value < 1.0) {
            return self.fail(field, value, "must lie between 0 and 1");
        }
        Ok(())
    }

    fn divides(&self, field: &'static str, divisor: usize, whole: usize, what: &str) -> Result<()> {
        if divisor == 0 || !whole.is_multiple_of(divisor) {
            return self.fail(field, divisor, &format!("must divide {what} ({whole})"));
        }
        Ok(())
    }
}

impl SamConfig {
    /// # Errors
    /// [`ModelError::Config`] with the first size that cannot be built.
    pub(in crate::sam) fn validate(&self, checkpoint: &Checkpoint) -> Result<()> {
        let check = Check { checkpoint };
        match &self.vision_config {
            VisionConfig::Vit(v) => validate_vit(&check, v)?,
            VisionConfig::TinyVit(v) => validate_tiny_vit(&check, v)?,
        }
        let (p, d) = (&self.prompt_encoder_config, &self.mask_decoder_config);
        check.sizes(&[
            ("prompt_encoder_config.hidden_size", p.hidden_size),
            ("prompt_encoder_config.image_size", p.image_size),
            ("prompt_encoder_config.patch_size", p.patch_size),
            ("prompt_encoder_config.mask_input_channels", p.mask_input_channels),
            ("mask_decoder_config.hidden_size", d.hidden_size),
            ("mask_decoder_config.mlp_dim", d.mlp_dim),
            ("mask_decoder_config.num_hidden_layers", d.num_hidden_layers),
            (
                "mask_decoder_config.num_multimask_outputs",
                d.num_multimask_outputs,
            ),
            ("mask_decoder_config.iou_head_hidden_dim", d.iou_head_hidden_dim),
            (
                "mask_decoder_config.attention_downsample_rate",
                d.attention_downsample_rate,
            ),
        ])?;
        check.eps("prompt_encoder_config.layer_norm_eps", p.layer_norm_eps)?;
        check.eps("mask_decoder_config.layer_norm_eps", d.layer_norm_eps)?;
        check.divides(
            "prompt_encoder_config.mask_input_channels / 4",
            4,
            p.mask_input_channels,
            "it",
        )?;
        if p.num_point_embeddings != 4 {
            let field = "prompt_encoder_config.num_point_embeddings";
            return check.fail(
                field,
                p.num_point_embeddings,
                "background, foreground and two box corners make 4",
            );
        }
        if !(2..=64).contains(&d.iou_head_depth) {
            return check.fail(
                "mask_decoder_config.iou_head_depth",
                d.iou_head_depth,
                "must lie between 2 and 64",
            );
        }
        let inner = d.hidden_size / d.attention_downsample_rate;
        let heads = d.num_attention_heads;
        check.divides(
            "mask_decoder_config.num_attention_heads",
            heads,
            d.hidden_size,
            "hidden_size",
        )?;
        check.divides(
            "mask_decoder_config.num_attention_heads",
            heads,
            inner,
            "the downsampled width",
        )?;
        if inner == 0 || d.hidden_size < 8 {
            return check.fail(
                "mask_decoder_config.hidden_size",
                d.hidden_size,
                "too small to be divided by 8",
            );
        }
        let width = p.hidden_size;
        for (field, value) in [
            ("vision_config.num_pos_feats (twice)", 2 * self.num_pos_feats()),
            ("vision_config.output_channels", self.output_channels()),
            ("mask_decoder_config.hidden_size", d.hidden_size),
        ] {
            if value != width {
                return check.fail(
                    field,
                    value,
                    &format!("must equal prompt_encoder_config.hidden_size ({width})"),
                );
            }
        }
        if p.grid() != self.grid() {
            let reason = format!(
                "makes a grid of {}, the image encoder one of {}",
                p.grid(),
                self.grid()
            );
            return check.fail("prompt_encoder_config.image_size", p.image_size, &reason);
        }
        Ok(())
    }
}

fn validate_vit(check: &Check<'_>, v: &VitConfig) -> Result<()> {
    check.sizes(&[
        ("vision_config.hidden_size", v.hidden_size),
        ("vision_config.output_channels", v.output_channels),
        ("vision_config.num_attention_heads", v.num_attention_heads),
        ("vision_config.image_size", v.image_size),
        ("vision_config.patch_size", v.patch_size),
        ("vision_config.num_pos_feats", v.num_pos_feats),
        ("vision_config.mlp_dim", v.mlp_dim()),
    ])?;
    check.sizes(&[("vision_config.image_size / patch_size", v.grid())])?;
    check.eps("vision_config.layer_norm_eps", v.layer_norm_eps)?;
    if v.num_hidden_layers > 1024 {
        return check.fail(
            "vision_config.num_hidden_layers",
            v.num_hidden_layers,
            "more than 1024",
        );
    }
    if v.window_size > LARGEST {
        return check.fail("vision_config.window_size", v.window_size, "more than 65536");
    }
    if v.num_channels != 3 {
        return check.fail(
            "vision_config.num_channels",
            v.num_channels,
            "photos have 3 channels",
        );
    }
    let field = "vision_config.num_attention_heads";
    check.divides(field, v.num_attention_heads, v.hidden_size, "hidden_size")
}

fn validate_tiny_vit(check: &Check<'_>, v: &TinyVitConfig) -> Result<()> {
    check.sizes(&[
        ("vision_config.image_size", v.image_size),
        ("vision_config.output_channels", v.output_channels),
        ("vision_config.num_pos_feats", v.num_pos_feats),
    ])?;
    check.eps("vision_config.layer_norm_eps", v.layer_norm_eps)?;
    let stages = v.depths.len();
    if stages == 0 {
        return check.fail("vision_config.depths", "[]", "at least one stage is needed");
    }
    for (field, len) in [
        ("vision_config.embed_dims", v.embed_dims.len()),
        ("vision_config.num_heads", v.num_heads.len()),
        ("vision_config.window_sizes", v.window_sizes.len()),
        (
            "vision_config.merge_strides (and the last stage)",
            v.merge_strides.len() + 1,
        ),
    ] {
        if len != stages {
            return check.fail(
                field,
                len,
                &format!("must have one entry for each of the {stages} stages"),
            );
        }
    }
    for stage in 0..stages {
        check.sizes(&[
            ("vision_config.embed_dims", v.embed_dims[stage]),
            ("vision_config.window_sizes", v.window_sizes[stage]),
            ("vision_config.num_heads", v.num_heads[stage]),
        ])?;
        if v.depths[stage] > 1024 {
            return check.fail("vision_config.depths", v.depths[stage], "more than 1024");
        }
        let dim = v.embed_dims[stage];
        check.divides(
            "vision_config.num_heads",
            v.num_heads[stage],
            dim,
            "the stage's width",
        )?;
    }
    check.divides(
        "vision_config.embed_dims / 2",
        2,
        v.embed_dims[0],
        "the first width",
    )?;
    for &stride in &v.merge_strides {
        if !(1..=2).contains(&stride) {
            return check.fail("vision_config.merge_strides", stride, "must be 1 or 2");
        }
    }
    for (field, ratio) in [
        ("vision_config.mlp_ratio", v.mlp_ratio),
        ("vision_config.mbconv_expand_ratio", v.mbconv_expand_ratio),
    ] {
        if !(ratio > 0.0 && ratio <= 64.0) {
            return check.fail(field, ratio, "must lie between 0 and 64");
        }
    }
    Ok(())
}
