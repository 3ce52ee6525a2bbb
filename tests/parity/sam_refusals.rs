//! What SAM refuses, and how it says so.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use dragunov_models::checkpoint::Checkpoint;
use dragunov_models::depth_anything::DepthAnything;
use dragunov_models::observer::Unobserved;
use dragunov_models::sam::{Label, MaskLogits, Prompt, Sam};
use dragunov_models::{ModelError, Point, Rect, RgbImage};

use crate::compare::fixture;
use crate::sam::{load, photo};

/// The message of loading the `sam` fixture after `change` to its config.
fn refused(change: impl Fn(&mut serde_json::Value)) -> String {
    let dir = tempfile::tempdir().unwrap();
    let text = std::fs::read(fixture("sam/config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_slice(&text).unwrap();
    change(&mut config);
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    std::fs::copy(
        fixture("sam/model.safetensors"),
        dir.path().join("model.safetensors"),
    )
    .unwrap();
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    Sam::load(&checkpoint, DType::F32, &Device::Cpu)
        .unwrap_err()
        .to_string()
}

#[test]
fn impossible_configs_name_their_field() {
    for (section, field, value) in [
        ("vision_config", "hidden_size", 0i64),
        ("vision_config", "num_attention_heads", 5),
        ("vision_config", "image_size", 8),
        ("vision_config", "image_size", 1 << 40),
        ("vision_config", "patch_size", 0),
        ("vision_config", "num_channels", 4),
        ("vision_config", "output_channels", 33),
        ("vision_config", "num_hidden_layers", 1 << 30),
        ("prompt_encoder_config", "mask_input_channels", 6),
        ("prompt_encoder_config", "image_size", 320),
        ("prompt_encoder_config", "num_point_embeddings", 2),
        ("mask_decoder_config", "num_attention_heads", 3),
        ("mask_decoder_config", "attention_downsample_rate", 0),
        ("mask_decoder_config", "iou_head_depth", 1),
        ("mask_decoder_config", "num_hidden_layers", 0),
    ] {
        let message = refused(|c| c[section][field] = value.into());
        assert!(
            message.contains("config.json") && message.contains(section),
            "{section}.{field} = {value}: {message}"
        );
    }
    let message = refused(|c| c["vision_config"]["hidden_act"] = "mish".into());
    assert!(message.contains("mish"), "{message}");
    let message = refused(|c| c["vision_config"]["image_size"] = (-3).into());
    assert!(message.contains("config.json"), "{message}");
}

#[test]
fn sizes_that_the_tensors_do_not_have_name_the_tensor() {
    let message = refused(|c| c["vision_config"]["mlp_dim"] = 96.into());
    assert!(
        message.contains("mlp.lin1.weight") && message.contains("[96, 32]"),
        "{message}"
    );
    let message = refused(|c| c["vision_config"]["num_hidden_layers"] = 2.into());
    assert!(
        message.contains("does not know") && message.contains("layers.2"),
        "{message}"
    );
    let message = refused(|c| c["vision_config"]["num_hidden_layers"] = 4.into());
    assert!(
        message.contains("layers.3") && message.contains("missing"),
        "{message}"
    );
}

#[test]
fn another_kind_of_model_is_named() {
    let checkpoint = Checkpoint::open(fixture("depth/relative")).unwrap();
    let message = Sam::load(&checkpoint, DType::F32, &Device::Cpu)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("config.json") && message.contains("\"depth_anything\""),
        "{message}"
    );
    let checkpoint = Checkpoint::open(fixture("sam")).unwrap();
    let message = DepthAnything::load(&checkpoint, DType::F32, &Device::Cpu)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("config.json") && message.contains("\"sam\""),
        "{message}"
    );
}

#[test]
fn damaged_weights_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(fixture("sam/config.json"), dir.path().join("config.json")).unwrap();
    let weights = std::fs::read(fixture("sam/model.safetensors")).unwrap();
    let path = dir.path().join("model.safetensors");
    for bytes in [
        &weights[..weights.len() - 5],
        &weights[..4],
        b"\xff\xff\xff\xff\xff\xff\xff\xff{}",
    ] {
        std::fs::write(&path, bytes).unwrap();
        let result = Sam::load(&Checkpoint::open(dir.path()).unwrap(), DType::F32, &Device::Cpu);
        assert!(
            matches!(result, Err(ModelError::Safetensors { .. })),
            "{result:?}"
        );
    }
    let one = HashMap::from([(
        "image_encoder.pos_embed",
        Tensor::zeros((1, 2, 2, 8), DType::F32, &Device::Cpu).unwrap(),
    )]);
    candle_core::safetensors::save(&one, &path).unwrap();
    std::fs::remove_file(dir.path().join("config.json")).unwrap();
    let result = Sam::load(&Checkpoint::open(dir.path()).unwrap(), DType::F32, &Device::Cpu);
    assert!(
        matches!(result, Err(ModelError::MissingTensor { .. })),
        "{result:?}"
    );
}

#[test]
fn half_precision_is_refused() {
    for name in ["sam", "mobile-sam"] {
        let checkpoint = Checkpoint::open(fixture(name)).unwrap();
        let error = Sam::load(&checkpoint, DType::F16, &Device::Cpu).unwrap_err();
        assert!(matches!(error, ModelError::Precision { .. }), "{error}");
    }
}

#[test]
fn prompts_outside_the_photo_are_refused() {
    let (sam, golden) = load("sam");
    let image = photo(&golden);
    let (w, h) = (image.width() as f64, image.height() as f64);
    let embedding = sam.embed(&image, &mut Unobserved).unwrap();
    let bad = [
        Prompt::point(w + 0.5, 3.0),
        Prompt::point(3.0, -0.5),
        Prompt::point(f64::NAN, 3.0),
        Prompt::rect(Rect::new(0.0, 0.0, w, h + 1.0)),
        Prompt::rect(Rect::new(30.0, 3.0, 20.0, 40.0)),
        Prompt::rect(Rect::new(f64::NEG_INFINITY, 3.0, 20.0, 40.0)),
        Prompt {
            mask: Some(MaskLogits::new(8, vec![0.0; 64]).unwrap()),
            ..Prompt::default()
        },
    ];
    for prompt in bad {
        let result = sam.predict(&embedding, std::slice::from_ref(&prompt), true, &mut Unobserved);
        assert!(matches!(result, Err(ModelError::Prompt(_))), "{prompt:?}");
    }
    let edges = [
        Prompt::rect(Rect::new(0.0, 0.0, w, h)),
        Prompt::point(w, 0.0),
        Prompt {
            points: vec![(Point::new(-10.0, -10.0), Label::Padding)],
            ..Prompt::default()
        },
    ];
    assert_eq!(
        sam.predict(&embedding, &edges, false, &mut Unobserved)
            .unwrap()
            .len(),
        3
    );
    assert!(MaskLogits::new(3, vec![0.0; 8]).is_err());
    assert!(
        sam.predict(&embedding, &[], true, &mut Unobserved)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn extreme_pictures_work_or_say_why_not() {
    let (sam, _) = load("sam");
    let picture = |w: usize, h: usize| RgbImage::new(w, h, vec![90; w * h * 3]).unwrap();
    for (w, h) in [(1, 1), (1, 300), (300, 2)] {
        let embedding = sam.embed(&picture(w, h), &mut Unobserved).unwrap();
        let prompt = [Prompt::point(w as f64 / 2.0, h as f64 / 2.0)];
        let predictions = sam.predict(&embedding, &prompt, true, &mut Unobserved).unwrap();
        for candidate in &predictions[0].candidates {
            assert_eq!((candidate.mask.width(), candidate.mask.height()), (w, h));
        }
    }
    for (w, h) in [(1, 5000), (5000, 1)] {
        let error = sam.embed(&picture(w, h), &mut Unobserved).unwrap_err();
        assert!(matches!(error, ModelError::Image { .. }), "{error}");
    }
}

#[test]
fn processors_that_cannot_be_honoured_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(fixture(&format!("sam/{file}")), dir.path().join(file)).unwrap();
    }
    for (text, field) in [
        (r#"{"size": {"longest_edge": 1024}}"#, "longest_edge"),
        (r#"{"pad_size": {"height": 160, "width": 96}}"#, "pad_size"),
        (r#"{"do_normalize": false}"#, "do_normalize"),
        (r#"{"resample": 1}"#, "resample"),
        (r#"{"image_std": [0.2, 0.0, 0.2]}"#, "image_std"),
    ] {
        std::fs::write(dir.path().join("preprocessor_config.json"), text).unwrap();
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        let error = Sam::load(&checkpoint, DType::F32, &Device::Cpu)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("preprocessor_config.json") && error.contains(field),
            "{error}"
        );
    }
}
