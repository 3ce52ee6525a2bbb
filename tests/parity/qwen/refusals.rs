//! Damaged checkpoints and prompts that would confuse.

use std::path::Path;

use candle_core::{DType, Device};
use dragunov_models::RgbImage;
use dragunov_models::checkpoint::Checkpoint;
use dragunov_models::qwen_vl::grid::Grid;
use dragunov_models::qwen_vl::{Prompt, QwenVl};

use super::{load, photo};
use crate::compare::fixture;

#[test]
fn damaged_checkpoints_are_named() {
    let copy = |edit: &dyn Fn(&Path)| {
        let dir = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(fixture("qwen-untied")).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
        }
        edit(dir.path());
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        QwenVl::load(&checkpoint, DType::F32, &Device::Cpu)
            .unwrap_err()
            .to_string()
    };
    let replace = |file: &'static str, from: &'static str, to: &'static str| {
        copy(&move |dir| {
            let path = dir.join(file);
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{from}");
            std::fs::write(path, text.replace(from, to)).unwrap();
        })
    };
    for (message, parts) in [
        (
            replace("config.json", "\"depth\": 4", "\"depth\": 5"),
            ["model.safetensors", "blocks.4.", "missing"],
        ),
        (
            replace("config.json", "\"depth\": 4", "\"depth\": 3"),
            ["model.safetensors", "blocks.3.", "does not know"],
        ),
        (
            replace(
                "config.json",
                "\"intermediate_size\": 128",
                "\"intermediate_size\": 96",
            ),
            ["mlp.gate_proj.weight", "[128, 64]", "[96, 64]"],
        ),
        (
            replace("tokenizer.json", "<|image_pad|>", "<|photo_pad|>"),
            ["tokenizer.json", "<|image_pad|>", "missing"],
        ),
        (
            replace(
                "config.json",
                "\"image_token_id\": 505",
                "\"image_token_id\": 506",
            ),
            ["tokenizer.json", "506", "<|video_pad|>"],
        ),
        (
            copy(&|dir| {
                let path = dir.join("model.safetensors");
                let bytes = std::fs::read(&path).unwrap();
                std::fs::write(path, &bytes[..bytes.len() - 64]).unwrap();
            }),
            ["model.safetensors", "damaged", "safetensors"],
        ),
    ] {
        for part in parts {
            assert!(message.contains(part), "{part:?} in {message}");
        }
    }
}

#[test]
fn prompts_that_would_confuse_are_refused() {
    let model = load("qwen-untied");
    let refused = |p: &Prompt| model.encode(p).unwrap_err().to_string();
    let smuggled = Prompt::ask([photo("b")], "two <|image_pad|> images");
    assert!(refused(&smuggled).contains("<|image_pad|>"));
    let sliver = RgbImage::new(1, 5000, vec![9; 15_000]).unwrap();
    assert!(refused(&Prompt::ask([sliver], "What?")).contains("1 x 5000"));
    // One pixel is a photo.
    let dot = RgbImage::new(1, 1, vec![9; 3]).unwrap();
    assert_eq!(
        model.encode(&Prompt::ask([dot], "What?")).unwrap().images[0].grid,
        Grid { t: 1, h: 4, w: 4 }
    );
}

#[test]
fn shards_are_named_one_by_one_and_what_all_lack_by_their_index() {
    let refused = |edit: &dyn Fn(&Path)| {
        let dir = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(fixture("qwen-tied")).unwrap() {
            let from = entry.unwrap().path();
            std::fs::copy(&from, dir.path().join(from.file_name().unwrap())).unwrap();
        }
        edit(dir.path());
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        QwenVl::load(&checkpoint, DType::F32, &Device::Cpu)
            .unwrap_err()
            .to_string()
    };
    let message = refused(&|dir| std::fs::remove_file(dir.join("model-00002-of-00002.safetensors")).unwrap());
    assert!(message.contains("model-00002-of-00002.safetensors"), "{message}");
    let message = refused(&|dir| {
        let path = dir.join("config.json");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, text.replace("\"depth\": 4", "\"depth\": 5")).unwrap();
    });
    assert!(
        message.contains("model.safetensors.index.json") && message.contains("blocks.4."),
        "{message}"
    );
}
