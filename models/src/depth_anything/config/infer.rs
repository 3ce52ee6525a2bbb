//! The config of a file of the original repository, which has none, read off its tensors.

use std::collections::BTreeMap;

use super::Checker;
use super::raw::{RawBackbone, RawConfig, Side};
use crate::Result;
use crate::checkpoint::{Checkpoint, Shapes};
use crate::depth_anything::layout::names;

/// Channels of a head in every published backbone.
const HEAD_DIM: usize = 64;

/// `intermediate_layer_idx` of the original code by the number of blocks, counted from 1 as transformers does.
const TAPS: [(usize, [i64; 4]); 3] = [(12, [3, 6, 9, 12]), (24, [5, 12, 18, 24]), (40, [10, 20, 30, 40])];

/// Metres at a sigmoid of 1, by the training set in a file's published name (`depth_anything_v2_metric_hypersim_vits`).
const METRIC: [(&str, f64); 2] = [("hypersim", 20.0), ("vkitti", 80.0)];

/// Not to be seen in shapes, and taken from the original code: head size, taps, the scales of the taps.
///
/// # Errors
/// A tensor that every such file has is missing; a size or a name that the original code does not have.
pub(super) fn infer(
    checkpoint: &Checkpoint,
    stored: &BTreeMap<String, Vec<usize>>,
    checker: &Checker,
) -> Result<RawConfig> {
    let served = stored.iter().flat_map(|(key, shape)| {
        names(key, shape).into_iter().map(|alias| {
            let mut shape = shape.clone();
            if let Some(rows) = alias.rows {
                shape[0] = rows.len();
            }
            (alias.name, shape)
        })
    });
    let shapes = Shapes::new(checkpoint, served.collect());

    let patches = shapes.find("backbone.embeddings.patch_embeddings.projection.weight", 4)?;
    let (hidden_size, patch_size) = (patches[0], patches[2]);
    let positions = shapes.find("backbone.embeddings.position_embeddings", 3)?[1] - 1;
    let layers = shapes.count("backbone.encoder.layer.", ".norm1.weight");
    let Some((_, taps)) = TAPS.iter().find(|t| t.0 == layers) else {
        let reason = "the original code has 12, 24 or 40; for others put a config.json beside the file";
        return checker.fail("number of blocks", layers, reason);
    };
    let swiglu = shapes.has("backbone.encoder.layer.0.mlp.gate_proj.weight");
    let mlp_ratio = if swiglu {
        4.0
    } else {
        shapes.find("backbone.encoder.layer.0.mlp.fc1.weight", 2)?[0] as f64 / hidden_size as f64
    };
    let neck_hidden_sizes = (0..taps.len())
        .map(|i| {
            let key = format!("neck.reassemble_stage.layers.{i}.projection.weight");
            Ok(shapes.find(&key, 4)?[0])
        })
        .collect::<Result<Vec<_>>>()?;
    let max_depth = max_depth(checker)?;
    Ok(RawConfig {
        backbone_config: Some(RawBackbone {
            hidden_size,
            num_hidden_layers: layers,
            num_attention_heads: (hidden_size / HEAD_DIM).max(1),
            mlp_ratio,
            image_size: Side::One(positions.isqrt() * patch_size),
            patch_size: Side::One(patch_size),
            qkv_bias: shapes.has("backbone.encoder.layer.0.attention.attention.query.bias"),
            use_swiglu_ffn: swiglu,
            reshape_hidden_states: false,
            out_indices: Some(taps.to_vec()),
            ..RawBackbone::default()
        }),
        patch_size: Side::One(patch_size),
        reassemble_hidden_size: hidden_size,
        neck_hidden_sizes,
        fusion_hidden_size: shapes.find("neck.fusion_stage.layers.3.projection.weight", 4)?[0],
        head_hidden_size: shapes.find("head.conv2.weight", 4)?[0],
        depth_estimation_type: max_depth.map(|_| "metric".to_owned()),
        max_depth,
        ..RawConfig::default()
    })
}

/// The tensors of a metric file are those of a relative one; only its name tells.
fn max_depth(checker: &Checker) -> Result<Option<f64>> {
    let name = checker.path.file_stem().unwrap_or_default().to_string_lossy();
    let name = name.to_ascii_lowercase();
    match METRIC.iter().find(|(set, _)| name.contains(set)) {
        Some((_, metres)) => Ok(Some(*metres)),
        None if name.contains("metric") => checker.fail(
            "max_depth",
            name,
            "neither hypersim nor vkitti is in this name; put a config.json with max_depth beside the file",
        ),
        None => Ok(None),
    }
}
