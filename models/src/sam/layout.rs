//! The two key layouts of published checkpoints, and the sizes that tensor shapes tell when there is no config.
//!
//! The model asks for Hugging Face names. Files of the original code (`image_encoder.*`) are renamed on the way;
//! TinyViT has no Hugging Face class, so its names below `vision_encoder.` are the original ones.

use std::collections::BTreeMap;

use super::config::{
    MaskDecoderConfig, PromptEncoderConfig, SamConfig, TinyVitConfig, VisionConfig, VitConfig,
};
use crate::Result;
use crate::checkpoint::{Alias, Checkpoint, Shapes, unwrapped};

/// Exporters of fine-tuned models leave the name of the module in front.
const PREFIXED: [&str; 2] = ["sam.", "model."];

const PREFIXES: [(&str, &str); 16] = [
    (
        "image_encoder.patch_embed.proj.",
        "vision_encoder.patch_embed.projection.",
    ),
    ("image_encoder.neck.0.", "vision_encoder.neck.conv1."),
    ("image_encoder.neck.1.", "vision_encoder.neck.layer_norm1."),
    ("image_encoder.neck.2.", "vision_encoder.neck.conv2."),
    ("image_encoder.neck.3.", "vision_encoder.neck.layer_norm2."),
    ("image_encoder.", "vision_encoder."),
    (
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        SHARED_EMBEDDING,
    ),
    (
        "prompt_encoder.shared_embedding.positional_embedding",
        SHARED_EMBEDDING,
    ),
    ("prompt_encoder.point_embeddings.", "prompt_encoder.point_embed."),
    (
        "prompt_encoder.mask_downscaling.0.",
        "prompt_encoder.mask_embed.conv1.",
    ),
    (
        "prompt_encoder.mask_downscaling.1.",
        "prompt_encoder.mask_embed.layer_norm1.",
    ),
    (
        "prompt_encoder.mask_downscaling.3.",
        "prompt_encoder.mask_embed.conv2.",
    ),
    (
        "prompt_encoder.mask_downscaling.4.",
        "prompt_encoder.mask_embed.layer_norm2.",
    ),
    (
        "prompt_encoder.mask_downscaling.6.",
        "prompt_encoder.mask_embed.conv3.",
    ),
    (
        "mask_decoder.transformer.norm_final_attn.",
        "mask_decoder.transformer.layer_norm_final_attn.",
    ),
    ("mask_decoder.output_upscaling.", "mask_decoder."),
];

/// Stored once or twice; both copies are the same tied tensor.
pub(super) const SHARED_EMBEDDING: &str = "shared_image_embedding.positional_embedding";

/// In published files and not part of the computation.
fn unneeded(key: &str) -> bool {
    key.ends_with(".num_batches_tracked")
        || key.ends_with(".attention_bias_idxs")
        || key.ends_with(".attn.ab")
        || key.starts_with("image_encoder.norm_head.")
        || key.starts_with("image_encoder.head.")
        || matches!(key, "pixel_mean" | "pixel_std")
}

/// Which names of the model the stored tensor `key` serves.
pub(super) fn aliases(key: &str) -> Vec<Alias> {
    let key = unwrapped(key, &PREFIXED);
    if unneeded(&key) {
        return Vec::new();
    }
    Alias::whole(hugging_face_name(&key))
}

/// Names that are Hugging Face's already come back unchanged.
fn hugging_face_name(key: &str) -> String {
    if let Some(rest) = key.strip_prefix("image_encoder.blocks.") {
        let rest = rest.replacen(".norm1.", ".layer_norm1.", 1);
        return format!(
            "vision_encoder.layers.{}",
            rest.replacen(".norm2.", ".layer_norm2.", 1)
        );
    }
    if let Some(rest) = key.strip_prefix("mask_decoder.transformer.layers.") {
        return format!(
            "mask_decoder.transformer.layers.{}",
            rest.replacen(".norm", ".layer_norm", 1)
        );
    }
    if let Some(rest) = key.strip_prefix("mask_decoder.output_upscaling.") {
        for (from, to) in [
            ("0.", "upscale_conv1."),
            ("1.", "upscale_layer_norm."),
            ("3.", "upscale_conv2."),
        ] {
            if let Some(leaf) = rest.strip_prefix(from) {
                return format!("mask_decoder.{to}{leaf}");
            }
        }
    }
    match PREFIXES.iter().find(|(from, _)| key.starts_with(from)) {
        Some((from, to)) => format!("{to}{}", &key[from.len()..]),
        None => key.to_owned(),
    }
}

/// Whether the file is in the layout of the original code.
///
/// Its MLP heads number their layers 0, 1, 2 where Hugging Face has `proj_in`, `layers.0`, `proj_out`, so that a
/// name alone does not tell which of the two `layers.0` means; [`rename_heads`] needs to know.
pub(super) fn is_original(tensors: &BTreeMap<String, Vec<usize>>) -> bool {
    tensors
        .keys()
        .any(|k| unwrapped(k, &PREFIXED).starts_with("image_encoder."))
}

/// Renames one layer of an MLP head of `depth` layers; other names come back unchanged.
pub(super) fn rename_heads(name: &str, depth_of_quality_head: usize) -> String {
    const HYPER: &str = "mask_decoder.output_hypernetworks_mlps.";
    const QUALITY: &str = "mask_decoder.iou_prediction_head.";
    let depth = if name.starts_with(HYPER) {
        3
    } else if name.starts_with(QUALITY) {
        depth_of_quality_head
    } else {
        return name.to_owned();
    };
    let Some((head, rest)) = name.split_once(".layers.") else {
        return name.to_owned();
    };
    let Some((index, leaf)) = rest.split_once('.') else {
        return name.to_owned();
    };
    match index.parse::<usize>() {
        Ok(0) => format!("{head}.proj_in.{leaf}"),
        Ok(i) if i + 1 == depth => format!("{head}.proj_out.{leaf}"),
        Ok(i) => format!("{head}.layers.{}.{leaf}", i - 1),
        Err(_) => name.to_owned(),
    }
}

/// The config of a file in the original layout, read off its tensors.
///
/// Not to be seen in shapes, and taken from the original code: 8 decoder heads, 1e-5 in the decoder's norms,
/// 1024 pixels and the strides 2, 2, 1 of MobileSAM.
///
/// # Errors
/// A tensor that every SAM has is missing or of the wrong rank.
pub(super) fn infer(checkpoint: &Checkpoint, stored: &BTreeMap<String, Vec<usize>>) -> Result<SamConfig> {
    let shapes = stored
        .iter()
        .flat_map(|(k, shape)| aliases(k).into_iter().map(|a| (a.name, shape.clone())))
        .collect();
    let shapes = Shapes::new(checkpoint, shapes);
    let tiny = shapes.has("vision_encoder.patch_embed.seq.0.c.weight");
    let vision_config = if tiny {
        VisionConfig::TinyVit(infer_tiny_vit(&shapes)?)
    } else {
        VisionConfig::Vit(infer_vit(&shapes)?)
    };
    let hidden_size = shapes.find("mask_decoder.iou_token.weight", 2)?[1];
    let quality = shapes.find("mask_decoder.iou_prediction_head.layers.0.weight", 2)?;
    let cross = "mask_decoder.transformer.layers.0.cross_attn_token_to_image.q_proj.weight";
    let mask_decoder_config = MaskDecoderConfig {
        hidden_size,
        mlp_dim: shapes.find("mask_decoder.transformer.layers.0.mlp.lin1.weight", 2)?[0],
        num_hidden_layers: shapes.count("mask_decoder.transformer.layers.", ".mlp.lin1.weight"),
        attention_downsample_rate: hidden_size / shapes.find(cross, 2)?[0],
        num_multimask_outputs: shapes.find("mask_decoder.mask_tokens.weight", 2)?[0].saturating_sub(1),
        iou_head_depth: shapes.count("mask_decoder.iou_prediction_head.layers.", ".weight"),
        iou_head_hidden_dim: quality[0],
        layer_norm_eps: 1e-5,
        ..MaskDecoderConfig::default()
    };
    let mut config = SamConfig {
        vision_config,
        prompt_encoder_config: PromptEncoderConfig {
            hidden_size: shapes.find("prompt_encoder.no_mask_embed.weight", 2)?[1],
            mask_input_channels: shapes.find("prompt_encoder.mask_embed.conv2.weight", 4)?[0],
            ..PromptEncoderConfig::default()
        },
        mask_decoder_config,
    };
    config.prompt_encoder_config.image_size = config.image_size();
    config.prompt_encoder_config.patch_size = config.image_size() / config.grid().max(1);
    Ok(config)
}

fn infer_vit(shapes: &Shapes) -> Result<VitConfig> {
    let position = shapes.find("vision_encoder.pos_embed", 4)?;
    let (grid, hidden_size) = (position[1], position[3]);
    let patch_size = shapes.find("vision_encoder.patch_embed.projection.weight", 4)?[2];
    let layers = shapes.count("vision_encoder.layers.", ".attn.qkv.weight");
    let tables = (0..layers)
        .map(|i| {
            Ok(shapes
                .find(&format!("vision_encoder.layers.{i}.attn.rel_pos_h"), 2)?
                .to_vec())
        })
        .collect::<Result<Vec<_>>>()?;
    let head_dim = tables.first().map_or(hidden_size, |t| t[1]);
    let is_global = |t: &Vec<usize>| t[0] == 2 * grid - 1;
    let window = tables
        .iter()
        .find(|t| !is_global(t))
        .map_or(0, |t| t[0].div_ceil(2));
    Ok(VitConfig {
        hidden_size,
        output_channels: shapes.find("vision_encoder.neck.conv1.weight", 4)?[0],
        num_hidden_layers: layers,
        num_attention_heads: hidden_size / head_dim,
        image_size: grid * patch_size,
        patch_size,
        window_size: window,
        global_attn_indexes: (0..layers).filter(|&i| is_global(&tables[i])).collect(),
        num_pos_feats: shapes.find(SHARED_EMBEDDING, 2)?[1],
        mlp_dim: match layers {
            0 => None,
            _ => Some(shapes.find("vision_encoder.layers.0.mlp.lin1.weight", 2)?[0]),
        },
        qkv_bias: shapes.has("vision_encoder.layers.0.attn.qkv.bias"),
        ..VitConfig::default()
    })
}

fn infer_tiny_vit(shapes: &Shapes) -> Result<TinyVitConfig> {
    let stem = shapes.find("vision_encoder.patch_embed.seq.2.c.weight", 4)?[0];
    let mut config = TinyVitConfig {
        embed_dims: vec![stem],
        depths: vec![shapes.count("vision_encoder.layers.0.blocks.", ".conv1.c.weight")],
        num_heads: vec![1],
        window_sizes: vec![1],
        output_channels: shapes.find("vision_encoder.neck.conv1.weight", 4)?[0],
        num_pos_feats: shapes.find(SHARED_EMBEDDING, 2)?[1],
        ..TinyVitConfig::default()
    };
    for stage in 1..=config.merge_strides.len() {
        let block = format!("vision_encoder.layers.{stage}.blocks.");
        let biases = shapes.find(&format!("{block}0.attn.attention_biases"), 2)?;
        config.depths.push(shapes.count(&block, ".attn.qkv.weight"));
        config
            .embed_dims
            .push(shapes.find(&format!("{block}0.attn.norm.weight"), 1)?[0]);
        config.num_heads.push(biases[0]);
        config.window_sizes.push(biases[1].isqrt());
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_either_layout_reach_the_model() {
        for (stored, name) in [
            (
                "sam.image_encoder.blocks.3.norm1.weight",
                "vision_encoder.layers.3.layer_norm1.weight",
            ),
            (
                "image_encoder.neck.3.bias",
                "vision_encoder.neck.layer_norm2.bias",
            ),
            ("image_encoder.pos_embed", "vision_encoder.pos_embed"),
            (
                "vision_encoder.layers.3.attn.qkv.bias",
                "vision_encoder.layers.3.attn.qkv.bias",
            ),
            (
                "prompt_encoder.shared_embedding.positional_embedding",
                SHARED_EMBEDDING,
            ),
            (
                "model.mask_decoder.output_upscaling.3.weight",
                "mask_decoder.upscale_conv2.weight",
            ),
            (
                "mask_decoder.transformer.layers.1.norm4.bias",
                "mask_decoder.transformer.layers.1.layer_norm4.bias",
            ),
            (
                "mask_decoder.transformer.layers.1.layer_norm4.bias",
                "mask_decoder.transformer.layers.1.layer_norm4.bias",
            ),
        ] {
            assert_eq!(aliases(stored), Alias::whole(name), "{stored}");
        }
        assert!(aliases("image_encoder.layers.1.blocks.0.local_conv.bn.num_batches_tracked").is_empty());
        let head = "mask_decoder.iou_prediction_head.layers";
        let renamed = |i: usize| rename_heads(&format!("{head}.{i}.weight"), 3);
        assert_eq!(renamed(0), "mask_decoder.iou_prediction_head.proj_in.weight");
        assert_eq!(renamed(1), "mask_decoder.iou_prediction_head.layers.0.weight");
        assert_eq!(renamed(2), "mask_decoder.iou_prediction_head.proj_out.weight");
    }
}
