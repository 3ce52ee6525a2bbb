//! Checkpoints in the layout of the original code: renamed, wrapped, and without a config.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use dragunov_models::checkpoint::Checkpoint;
use dragunov_models::observer::Unobserved;
use dragunov_models::sam::{Prompt, Sam, VisionConfig};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::compare::{Stages, fixture, tolerance};
use crate::golden::Golden;
use crate::sam::{floats, listing, logits, outputs, photo, same_masks};

/// The config of the `sam` fixture as the original code would have it.
fn original_config() -> String {
    let mut config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(fixture("sam/config.json")).unwrap()).unwrap();
    config["mask_decoder_config"]["layer_norm_eps"] = 1e-5.into();
    config.to_string()
}

/// The tensors of the `sam` fixture under the names of the original code, each after `prefix`; with its config.
pub fn in_original_layout(prefix: &str) -> TempDir {
    let names: BTreeMap<String, String> =
        serde_json::from_slice(&std::fs::read(fixture("sam/original_keys.json")).unwrap()).unwrap();
    let stored = candle_core::safetensors::load(fixture("sam/model.safetensors"), &Device::Cpu).unwrap();
    let renamed: HashMap<String, Tensor> = names
        .iter()
        .map(|(name, original)| (format!("{prefix}{original}"), stored[name].clone()))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    candle_core::safetensors::save(&renamed, dir.path().join("model.safetensors")).unwrap();
    std::fs::write(dir.path().join("config.json"), original_config()).unwrap();
    dir
}

/// Where the tensors of `sam` stand in the file that `torch.save` wrote of them.
#[derive(Deserialize)]
struct TorchFile {
    sha256: String,
    tensors: Vec<(usize, String)>,
}

/// That file to the byte: `sam.pth.frame` is all of it but the tensors.
fn torch_file() -> Vec<u8> {
    let read = |path| std::fs::read(fixture(path)).unwrap();
    let index: TorchFile = serde_json::from_slice(&read("torch/sam.pth.json")).unwrap();
    let stored = candle_core::safetensors::load(fixture("sam/model.safetensors"), &Device::Cpu).unwrap();
    let mut frame = read("torch/sam.pth.frame").into_iter();
    let mut file = Vec::new();
    for (start, name) in &index.tensors {
        file.extend(frame.by_ref().take(start - file.len()));
        file.extend(floats(&stored[name]).iter().flat_map(|v| v.to_le_bytes()));
    }
    file.extend(frame);
    assert_eq!(format!("{:x}", Sha256::digest(&file)), index.sha256);
    file
}

fn load(dir: &Path) -> Sam {
    Sam::load(&Checkpoint::open(dir).unwrap(), DType::F32, &Device::Cpu).unwrap()
}

#[test]
fn the_original_layout_agrees_with_the_original_code() {
    let golden = Golden::open("sam/golden.safetensors");
    let image = photo(&golden);
    let listing = listing("sam");
    let set = listing.sets.iter().find(|s| s.name == "points").unwrap();
    for prefix in ["", "sam.", "module.model."] {
        let sam = load(in_original_layout(prefix).path());
        let embedding = sam.embed(&image, &mut Unobserved).unwrap();
        let mut stages = Stages::default();
        // the last point of the set is "not a point", which the original predictor was given too
        let predictions = sam
            .predict(&embedding, &set.prompts(&golden), true, &mut Unobserved)
            .unwrap();
        let (low_res, iou) = outputs(&predictions);
        let key = |what: &str| format!("original_points/{what}");
        stages.check(
            key("low_res"),
            &low_res,
            golden.get(&key("low_res")),
            tolerance::OUTPUT,
        );
        stages.check(key("iou"), &iou, golden.get(&key("iou")), tolerance::OUTPUT);
        same_masks(
            "original_points",
            &sam,
            &embedding,
            &predictions,
            golden.whole(&key("mask")),
        );

        // a mask prompt of its own for each prompt, which transformers cannot express
        let input = logits(golden.whole("mask_input"));
        let side = input.side();
        let flipped: Vec<f32> = input.values().chunks(side).rev().flatten().copied().collect();
        let prompts = [
            Prompt {
                mask: Some(input.clone()),
                ..Prompt::point(48.0, 61.0)
            },
            Prompt {
                mask: Some(dragunov_models::sam::MaskLogits::new(side, flipped).unwrap()),
                ..Prompt::point(20.5, 30.25)
            },
        ];
        let (low_res, iou) = outputs(&sam.predict(&embedding, &prompts, true, &mut Unobserved).unwrap());
        let key = |what: &str| format!("original_masks/{what}");
        stages.check(
            key("low_res"),
            &low_res,
            golden.get(&key("low_res")),
            tolerance::OUTPUT,
        );
        stages.check(key("iou"), &iou, golden.get(&key("iou")), tolerance::OUTPUT);
        stages.finish();
    }
}

#[test]
fn the_original_pth_is_the_same_model() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("sam_vit_b_01ec64.pth");
    std::fs::write(&file, torch_file()).unwrap();
    std::fs::write(dir.path().join("config.json"), original_config()).unwrap();
    let golden = Golden::open("sam/golden.safetensors");
    let image = photo(&golden);
    let (by_file, by_folder) = (load(&file), load(dir.path()));
    let of = |sam: &Sam| {
        let embedding = sam.embed(&image, &mut Unobserved).unwrap();
        let set = listing("sam");
        let set = set.sets.iter().find(|s| s.name == "points").unwrap();
        outputs(
            &sam.predict(&embedding, &set.prompts(&golden), true, &mut Unobserved)
                .unwrap(),
        )
        .0
    };
    let mut stages = Stages::default();
    let want = golden.get("original_points/low_res");
    stages.check("by file", &of(&by_file), want, tolerance::OUTPUT);
    stages.check("by folder", &of(&by_folder), want, tolerance::OUTPUT);
    stages.finish();
    // without the config, what shapes do not tell is the original code's
    std::fs::remove_file(dir.path().join("config.json")).unwrap();
    let mut want = by_file.config().clone();
    want.mask_decoder_config.num_attention_heads = 8;
    assert_eq!(load(&file).config(), &want);
    assert_eq!(load(dir.path()).config(), &want);
}

#[test]
fn sizes_are_read_off_the_tensors() {
    let dir = in_original_layout("");
    let mut want = load(dir.path()).config().clone();
    std::fs::remove_file(dir.path().join("config.json")).unwrap();
    // what shapes do not tell is the original code's
    want.mask_decoder_config.num_attention_heads = 8;
    assert_eq!(load(dir.path()).config(), &want);
}

#[test]
fn mobile_sam_is_told_apart_by_its_tensors() {
    let dir = tempfile::tempdir().unwrap();
    let weights = dir.path().join("model.safetensors");
    std::fs::copy(fixture("mobile-sam/model.safetensors"), &weights).unwrap();
    // The tiny one is no published size, so it is built for 1024 pixels; all its tensors still fit.
    let sam = load(dir.path());
    let VisionConfig::TinyVit(vision) = &sam.config().vision_config else {
        panic!("a TinyViT was taken for a ViT");
    };
    assert_eq!(vision.embed_dims, [8, 16, 24, 32]);
    assert_eq!(vision.depths, [1, 1, 2, 1]);
    assert_eq!(vision.num_heads[1..], [2, 3, 4]);
    assert_eq!(vision.window_sizes[1..], [7, 14, 7]);
    assert_eq!((vision.image_size, sam.config().grid()), (1024, 64));
}
