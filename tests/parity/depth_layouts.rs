//! Depth Anything's weights under the names of the original repository, with and without a config.

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Tensor};
use dragunov_models::checkpoint::Checkpoint;
use dragunov_models::depth_anything::{Depth, DepthAnything, Policy};
use dragunov_models::observer::Unobserved;

use crate::compare::fixture;
use crate::depth::{FILE, compare, faithful, load, photo, variant};
use crate::golden::Golden;

/// The weights of `relative` as the original repository has them: other names, and query, key and value in one.
fn original() -> HashMap<String, Tensor> {
    let keys = std::fs::read(fixture("depth/original_keys.json")).unwrap();
    let keys: BTreeMap<String, Vec<String>> = serde_json::from_slice(&keys).unwrap();
    let stored =
        candle_core::safetensors::load(fixture("depth/relative/model.safetensors"), &Device::Cpu).unwrap();
    assert_eq!(keys.values().flatten().count(), stored.len());
    let joined = |names: &[String]| {
        let parts: Vec<_> = names.iter().map(|name| &stored[name]).collect();
        Tensor::cat(&parts, 0).unwrap()
    };
    keys.iter()
        .map(|(key, names)| (key.clone(), joined(names)))
        .collect()
}

#[test]
fn original_keys_load_to_the_same_model() {
    let golden = Golden::open(FILE);
    let dir = variant(&[]);
    candle_core::safetensors::save(&original(), dir.path().join("model.safetensors")).unwrap();
    compare(&golden, &load(dir.path()), "relative/hf/wide", &mut faithful).finish();
}

/// A file of the original repository comes alone; the fixture's four blocks make the twelve that its code has taps for.
#[test]
fn a_lone_original_file_tells_its_sizes() {
    let mut weights = original();
    let blocks: Vec<_> = weights
        .iter()
        .filter_map(|(key, tensor)| {
            let (block, part) = key.strip_prefix("pretrained.blocks.")?.split_once('.')?;
            Some((block.parse::<usize>().unwrap(), part.to_owned(), tensor.clone()))
        })
        .collect();
    for (block, part, tensor) in blocks {
        for i in [block + 4, block + 8] {
            weights.insert(format!("pretrained.blocks.{i}.{part}"), tensor.clone());
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let save = |name: &str| {
        let path = dir.path().join(name);
        candle_core::safetensors::save(&weights, &path).unwrap();
        path
    };
    let model = load(save("depth_anything_v2_vits.safetensors"));
    let config = model.config();
    let backbone = &config.backbone;
    assert_eq!(
        (backbone.hidden_size, backbone.layers, backbone.mlp_size),
        (32, 12, 128)
    );
    assert_eq!((backbone.image_size, backbone.patch_size), ((70, 70), 14));
    assert_eq!(backbone.taps, [3, 6, 9, 12]);
    assert_eq!(config.neck, [8, 16, 24, 32]);
    assert_eq!((config.fusion_size, config.head_hidden_size), (16, 8));
    let photo = photo(&Golden::open(FILE), "wide");
    assert!(matches!(
        model.infer(&photo, Policy::Original, &mut Unobserved).unwrap(),
        Depth::Relative(_)
    ));

    let metric = load(save("depth_anything_v2_metric_hypersim_vits.safetensors"));
    assert_eq!(metric.config().max_depth, 20.0);
    assert!(matches!(
        metric.infer(&photo, Policy::Original, &mut Unobserved).unwrap(),
        Depth::Metric(_)
    ));
    let unknown = Checkpoint::open(save("my_metric.safetensors")).unwrap();
    let refused = DepthAnything::load(&unknown, DType::F32, &Device::Cpu)
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("my_metric") && refused.contains("max_depth"),
        "{refused}"
    );

    weights.remove("pretrained.blocks.11.norm1.weight");
    let path = dir.path().join("eleven.safetensors");
    candle_core::safetensors::save(&weights, &path).unwrap();
    let eleven = Checkpoint::open(path).unwrap();
    let refused = DepthAnything::load(&eleven, DType::F32, &Device::Cpu)
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("eleven.safetensors") && refused.contains("blocks = 11"),
        "{refused}"
    );
}
