//! Key layouts: what the Hub has, what transformers 5 writes, what the original repository has.
//!
//! Asked names are those of the Hub, except for SwiGLU, whose halves are asked one by one as in transformers 5.

use std::collections::BTreeMap;

use crate::checkpoint::{Alias, unwrapped};

/// Left in front of the keys by training scripts.
const PREFIXED: [&str; 1] = ["model."];

/// Whether the file is in the layout of the original repository.
pub(super) fn is_original(tensors: &BTreeMap<String, Vec<usize>>) -> bool {
    tensors
        .keys()
        .any(|key| unwrapped(key, &PREFIXED).starts_with("pretrained."))
}

/// The names that a stored tensor serves; empty for tensors that the model carries but never uses.
pub(super) fn names(key: &str, shape: &[usize]) -> Vec<Alias> {
    let key = &*unwrapped(key, &PREFIXED);
    if let Some(rest) = key.strip_prefix("pretrained.") {
        original_backbone(rest, shape)
    } else if let Some(rest) = key.strip_prefix("depth_head.") {
        match original_head(rest) {
            Some(name) => used(name),
            None => Alias::whole(key),
        }
    } else {
        hub(key, shape)
    }
}

/// `neck.fusion_stage.layers.0.residual_layer1` and the mask token are in every file and in no computation.
fn used(name: String) -> Vec<Alias> {
    let idle = name == "backbone.embeddings.mask_token"
        || name.starts_with("neck.fusion_stage.layers.0.residual_layer1.");
    if idle { Vec::new() } else { Alias::whole(name) }
}

/// `count` equal parts along the rows, one for each name.
fn split(prefix: &str, names: &[&str], suffix: &str, shape: &[usize]) -> Vec<Alias> {
    let rows = shape.first().copied().unwrap_or(0) / names.len();
    let part = |(i, name): (usize, &&str)| Alias {
        name: format!("{prefix}.{name}.{suffix}"),
        rows: Some(i * rows..(i + 1) * rows),
    };
    names.iter().enumerate().map(part).collect()
}

const GATE_UP: [&str; 2] = ["gate_proj", "up_proj"];

fn hub(key: &str, shape: &[usize]) -> Vec<Alias> {
    let Some((block, part)) = key
        .strip_prefix("backbone.encoder.layer.")
        .and_then(|rest| rest.split_once('.'))
    else {
        return used(key.to_owned());
    };
    let block = format!("backbone.encoder.layer.{block}");
    if let Some(suffix) = part.strip_prefix("mlp.weights_in.") {
        return split(&format!("{block}.mlp"), &GATE_UP, suffix, shape);
    }
    const RENAMED: [(&str, &str); 5] = [
        ("mlp.weights_out.", "mlp.down_proj."),
        ("attention.q_proj.", "attention.attention.query."),
        ("attention.k_proj.", "attention.attention.key."),
        ("attention.v_proj.", "attention.attention.value."),
        ("attention.o_proj.", "attention.output.dense."),
    ];
    for (from, to) in RENAMED {
        if let Some(suffix) = part.strip_prefix(from) {
            return Alias::whole(format!("{block}.{to}{suffix}"));
        }
    }
    Alias::whole(key)
}

fn original_backbone(rest: &str, shape: &[usize]) -> Vec<Alias> {
    const EMBEDDINGS: [(&str, &str); 5] = [
        ("cls_token", "embeddings.cls_token"),
        ("pos_embed", "embeddings.position_embeddings"),
        ("mask_token", "embeddings.mask_token"),
        ("patch_embed.proj.", "embeddings.patch_embeddings.projection."),
        ("norm.", "layernorm."),
    ];
    for (from, to) in EMBEDDINGS {
        if let Some(suffix) = rest.strip_prefix(from) {
            return used(format!("backbone.{to}{suffix}"));
        }
    }
    let block = rest.strip_prefix("blocks.").and_then(|rest| rest.split_once('.'));
    let Some((block, part)) = block else {
        return Alias::whole(format!("pretrained.{rest}"));
    };
    let block = format!("backbone.encoder.layer.{block}");
    if let Some(suffix) = part.strip_prefix("attn.qkv.") {
        let names = ["query", "key", "value"];
        return split(&format!("{block}.attention.attention"), &names, suffix, shape);
    }
    if let Some(suffix) = part.strip_prefix("mlp.w12.") {
        return split(&format!("{block}.mlp"), &GATE_UP, suffix, shape);
    }
    const RENAMED: [(&str, &str); 4] = [
        ("attn.proj.", "attention.output.dense."),
        ("ls1.gamma", "layer_scale1.lambda1"),
        ("ls2.gamma", "layer_scale2.lambda1"),
        ("mlp.w3.", "mlp.down_proj."),
    ];
    for (from, to) in RENAMED {
        if let Some(suffix) = part.strip_prefix(from) {
            return Alias::whole(format!("{block}.{to}{suffix}"));
        }
    }
    Alias::whole(format!("{block}.{part}"))
}

/// `None` for a key that is not the original repository's.
fn original_head(rest: &str) -> Option<String> {
    if let Some(rest) = rest.strip_prefix("projects.") {
        let (level, part) = rest.split_once('.')?;
        return Some(format!("neck.reassemble_stage.layers.{level}.projection.{part}"));
    }
    if let Some(rest) = rest.strip_prefix("resize_layers.") {
        let (level, part) = rest.split_once('.')?;
        return Some(format!("neck.reassemble_stage.layers.{level}.resize.{part}"));
    }
    let rest = rest.strip_prefix("scratch.")?;
    const HEAD: [(&str, &str); 3] = [
        ("output_conv1.", "head.conv1."),
        ("output_conv2.0.", "head.conv2."),
        ("output_conv2.2.", "head.conv3."),
    ];
    for (from, to) in HEAD {
        if let Some(part) = rest.strip_prefix(from) {
            return Some(format!("{to}{part}"));
        }
    }
    if let Some(rest) = rest.strip_prefix("layer") {
        // layer1_rn .. layer4_rn
        let (level, part) = rest.split_once("_rn.")?;
        let level: usize = level.parse().ok()?;
        return Some(format!("neck.convs.{}.{part}", level.checked_sub(1)?));
    }
    // refinenet4 .. refinenet1
    let (level, part) = rest.strip_prefix("refinenet")?.split_once('.')?;
    let level: usize = level.parse().ok()?;
    let layer = format!("neck.fusion_stage.layers.{}", 4usize.checked_sub(level)?);
    if let Some(suffix) = part.strip_prefix("out_conv.") {
        return Some(format!("{layer}.projection.{suffix}"));
    }
    let (unit, part) = part.strip_prefix("resConfUnit")?.split_once(".conv")?;
    Some(format!("{layer}.residual_layer{unit}.convolution{part}"))
}

#[cfg(test)]
mod tests {
    use super::names;

    fn one(key: &str) -> String {
        let aliases = names(key, &[4]);
        assert_eq!(aliases.len(), 1, "{key}");
        assert_eq!(aliases[0].rows, None, "{key}");
        aliases[0].name.clone()
    }

    #[test]
    fn original_keys_map_to_hub_keys() {
        for (from, to) in [
            ("pretrained.norm.weight", "backbone.layernorm.weight"),
            (
                "pretrained.blocks.3.norm1.bias",
                "backbone.encoder.layer.3.norm1.bias",
            ),
            (
                "pretrained.blocks.11.ls2.gamma",
                "backbone.encoder.layer.11.layer_scale2.lambda1",
            ),
            (
                "depth_head.projects.2.weight",
                "neck.reassemble_stage.layers.2.projection.weight",
            ),
            (
                "depth_head.resize_layers.3.bias",
                "neck.reassemble_stage.layers.3.resize.bias",
            ),
            ("depth_head.scratch.layer1_rn.weight", "neck.convs.0.weight"),
            (
                "depth_head.scratch.refinenet1.resConfUnit2.conv1.weight",
                "neck.fusion_stage.layers.3.residual_layer2.convolution1.weight",
            ),
            (
                "depth_head.scratch.refinenet4.out_conv.bias",
                "neck.fusion_stage.layers.0.projection.bias",
            ),
            ("depth_head.scratch.output_conv2.2.weight", "head.conv3.weight"),
        ] {
            assert_eq!(one(from), to);
        }
    }

    #[test]
    fn fused_tensors_are_split_by_rows() {
        let parts = names("pretrained.blocks.0.attn.qkv.bias", &[96]);
        let parts: Vec<_> = parts.into_iter().map(|a| (a.name, a.rows)).collect();
        let name = |part: &str| format!("backbone.encoder.layer.0.attention.attention.{part}.bias");
        assert_eq!(
            parts,
            [
                (name("query"), Some(0..32)),
                (name("key"), Some(32..64)),
                (name("value"), Some(64..96))
            ]
        );
        assert_eq!(
            names("backbone.encoder.layer.0.mlp.weights_in.weight", &[16, 4])[1].rows,
            Some(8..16)
        );
    }

    #[test]
    fn idle_tensors_serve_nothing_and_unknown_ones_keep_their_name() {
        assert!(names("pretrained.mask_token", &[1, 4]).is_empty());
        assert!(names("depth_head.scratch.refinenet4.resConfUnit1.conv1.weight", &[4]).is_empty());
        assert!(
            names(
                "neck.fusion_stage.layers.0.residual_layer1.convolution1.weight",
                &[4]
            )
            .is_empty()
        );
        for key in [
            "depth_head.nonsense",
            "depth_head.scratch.refinenet9.x",
            "pretrained.foo",
            "bar",
        ] {
            assert_eq!(one(key), key);
        }
    }
}
