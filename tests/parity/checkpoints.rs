//! Checkpoints as transformers' releases, training wrappers and careless copying leave them: the same model, or a refusal
//! that names what disagrees.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use dragunov_models::ModelError;
use dragunov_models::checkpoint::Checkpoint;
use dragunov_models::depth_anything::{DepthAnything, Policy};
use dragunov_models::observer::Unobserved;
use dragunov_models::qwen_vl::{ImageProcessor, QwenVl};
use dragunov_models::sam::{Prompt, Sam};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::compare::fixture;
use crate::golden::Golden;
use crate::{depth, qwen, sam};

/// A copy of a fixture to change.
fn copy(of: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture(of)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && !path.ends_with("golden.safetensors") {
            fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    dir
}

fn json_of(dir: &Path, file: &str) -> Value {
    serde_json::from_slice(&fs::read(dir.join(file)).unwrap()).unwrap()
}

fn write_json(dir: &Path, file: &str, value: &Value) {
    fs::write(dir.join(file), value.to_string()).unwrap();
}

fn edit(dir: &Path, file: &str, change: impl FnOnce(&mut Value)) {
    let mut value = json_of(dir, file);
    change(&mut value);
    write_json(dir, file, &value);
}

/// All tensors of a folder, whatever shards they are in.
fn tensors(dir: &Path) -> HashMap<String, Tensor> {
    let mut all = HashMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "safetensors") {
            all.extend(candle_core::safetensors::load(path, &Device::Cpu).unwrap());
        }
    }
    all
}

/// Makes `tensors` the weights of the folder, in one file.
fn store(dir: &Path, tensors: &HashMap<String, Tensor>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("model") {
            fs::remove_file(path).unwrap();
        }
    }
    candle_core::safetensors::save(tensors, dir.join("model.safetensors")).unwrap();
}

fn rename(dir: &Path, name: impl Fn(&str) -> String) {
    let renamed = tensors(dir).into_iter().map(|(key, t)| (name(&key), t)).collect();
    store(dir, &renamed);
}

fn open<M>(dir: &Path, load: impl FnOnce(&Checkpoint) -> Result<M, ModelError>) -> Result<M, ModelError> {
    load(&Checkpoint::open(dir).unwrap())
}

fn qwen_at(dir: &Path) -> Result<QwenVl, ModelError> {
    open(dir, |c| QwenVl::load(c, DType::F32, &Device::Cpu))
}

fn refusal(dir: &Path) -> String {
    qwen_at(dir).unwrap_err().to_string()
}

/// The greedy answer is the reference's.
#[track_caller]
fn answers(dir: &Path, case: &str) {
    qwen::answers_rightly(&qwen_at(dir).unwrap(), case);
}

/// Logits of one prompt.
fn sam_says(dir: &Path) -> Vec<f32> {
    let model = open(dir, |c| Sam::load(c, DType::F32, &Device::Cpu)).unwrap();
    let photo = sam::photo(&Golden::open("sam/golden.safetensors"));
    let embedding = model.embed(&photo, &mut Unobserved).unwrap();
    let prompt = [Prompt::point(40.0, 50.0)];
    let found = model.predict(&embedding, &prompt, true, &mut Unobserved).unwrap();
    sam::floats(&sam::outputs(&found).0)
}

fn depth_says(dir: &Path) -> Vec<f32> {
    let model = open(dir, |c| DepthAnything::load(c, DType::F32, &Device::Cpu)).unwrap();
    let photo = depth::photo(&Golden::open(depth::FILE), "wide");
    model
        .infer(&photo, Policy::Hf, &mut Unobserved)
        .unwrap()
        .values()
        .to_vec()
}

/// Every layout that a release of transformers from 4.49 to 5.24 gives the config when it saves the checkpoint again.
#[test]
fn configs_of_every_release() {
    let all: BTreeMap<String, BTreeMap<String, Value>> =
        serde_json::from_slice(&fs::read(fixture("releases.json")).unwrap()).unwrap();
    let right = (sam_says(&fixture("sam")), depth_says(&fixture("depth/relative")));
    for (case, releases) in all {
        assert!(releases.len() >= 5, "{case}");
        for (release, config) in releases {
            println!("{case} saved by {release}");
            let dir = copy(&case);
            write_json(dir.path(), "config.json", &config);
            match case.as_str() {
                "qwen-tied" => answers(dir.path(), "tied"),
                "qwen-untied" => answers(dir.path(), "one"),
                "sam" => assert_eq!(sam_says(dir.path()), right.0),
                "depth/relative" => assert_eq!(depth_says(dir.path()), right.1),
                other => panic!("{other}"),
            }
        }
    }
}

#[test]
fn two_names_of_one_setting_must_agree() {
    let refused = |change: &dyn Fn(&mut Value)| {
        let dir = copy("qwen-tied");
        edit(dir.path(), "config.json", change);
        refusal(dir.path())
    };
    for (message, parts) in [
        (
            refused(&|c| c["vision_config"]["in_channels"] = 4.into()),
            ["in_channels", "in_chans", "3"],
        ),
        (
            refused(&|c| c["rope_scaling"]["rope_theta"] = 5e5.into()),
            ["rope_scaling.rope_theta", "rope_theta", "disagree"],
        ),
        (
            refused(&|c| c["rope_parameters"] = json!({"mrope_section": [3, 2, 3]})),
            [
                "rope_parameters.mrope_section",
                "rope_scaling.mrope_section",
                "disagree",
            ],
        ),
        // Each name of the kind counts, not only the newer.
        (
            refused(&|c| c["rope_scaling"] = json!({"type": "yarn", "rope_type": "default"})),
            ["config.json", "yarn", "unscaled"],
        ),
        (
            refused(&|c| c["rope_scaling"] = json!({"type": "mrope", "rope_type": "yarn"})),
            ["config.json", "yarn", "unscaled"],
        ),
    ] {
        for part in parts {
            assert!(message.contains(part), "{part:?} in {message}");
        }
    }
    let dir = copy("depth/relative");
    edit(dir.path(), "config.json", |c| {
        c["backbone_config"]["out_indices"] = json!([0, 1, 2, 3]);
    });
    let message = open(dir.path(), |c| DepthAnything::load(c, DType::F32, &Device::Cpu))
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("out_indices") && message.contains("out_features"),
        "{message}"
    );
    let dir = copy("qwen-tied");
    edit(dir.path(), "config.json", |c| {
        c["vision_config"]["in_channels"] = 3.into();
        c["rope_scaling"]["rope_theta"] = 1e6.into();
        c["rope_scaling"]["rope_type"] = "default".into();
        c["rope_parameters"] = c["rope_scaling"].clone();
    });
    answers(dir.path(), "tied");
}

/// The head that is stored is the head, and of two tied tensors either may be the stored one.
#[test]
fn tied_and_untied_heads() {
    // The config says "tied" in one of its places, the file has a head that differs: transformers uses it.
    let dir = copy("qwen-untied");
    edit(dir.path(), "config.json", |c| {
        c["tie_word_embeddings"] = true.into()
    });
    answers(dir.path(), "one");
    edit(dir.path(), "config.json", |c| {
        c["tie_word_embeddings"] = false.into();
        c["text_config"]["tie_word_embeddings"] = true.into();
    });
    answers(dir.path(), "one");

    let dir = copy("qwen-tied");
    let mut weights = tensors(dir.path());
    let embedding = weights.keys().find(|k| k.ends_with("embed_tokens.weight"));
    let embedding = embedding.unwrap().clone();
    weights.insert("lm_head.weight".into(), weights[&embedding].copy().unwrap());
    store(dir.path(), &weights);
    answers(dir.path(), "tied");
    weights.remove(&embedding);
    store(dir.path(), &weights);
    answers(dir.path(), "tied");

    // Without the config's word the two are two, and neither stands in for the other.
    edit(dir.path(), "config.json", |c| {
        c["tie_word_embeddings"] = false.into()
    });
    let message = refusal(dir.path());
    assert!(message.contains("embed_tokens.weight is missing"), "{message}");
    let dir = copy("qwen-tied");
    edit(dir.path(), "config.json", |c| {
        c["tie_word_embeddings"] = false.into()
    });
    let message = refusal(dir.path());
    assert!(message.contains("lm_head.weight is missing"), "{message}");
    // Nor does anything stand in for both.
    let dir = copy("qwen-tied");
    let mut weights = tensors(dir.path());
    weights.remove(&embedding);
    store(dir.path(), &weights);
    let message = refusal(dir.path());
    assert!(message.contains("embed_tokens.weight is missing"), "{message}");
}

/// A whole file wins over an index, which may be of another build; without it the index counts.
#[test]
fn an_index_beside_a_whole_file() {
    let stale = json!({"metadata": {"total_size": 1}, "weight_map": {
        "model.embed_tokens.weight": "model-00001-of-00002.safetensors",
        "model.norm.weight": "model-00002-of-00002.safetensors",
    }});
    for (of, case) in [("qwen-untied", "one"), ("qwen-tied", "tied")] {
        let dir = copy(of);
        let weights = tensors(dir.path());
        store(dir.path(), &weights);
        write_json(dir.path(), "model.safetensors.index.json", &stale);
        answers(dir.path(), case);
        fs::remove_file(dir.path().join("model.safetensors")).unwrap();
        let message = refusal(dir.path());
        assert!(message.contains("model-00001-of-00002.safetensors"), "{message}");
    }
    for (of, says) in [
        ("sam", sam_says as fn(&Path) -> Vec<f32>),
        ("depth/relative", depth_says),
    ] {
        let dir = copy(of);
        write_json(dir.path(), "model.safetensors.index.json", &stale);
        assert_eq!(says(dir.path()), says(&fixture(of)));
    }
}

#[test]
fn names_of_training_wrappers_do_not_count() {
    let right = (sam_says(&fixture("sam")), depth_says(&fixture("depth/relative")));
    let ahead = |wrapper: &str| {
        let wrapper = wrapper.to_owned();
        Box::new(move |key: &str| format!("{wrapper}{key}")) as Box<dyn Fn(&str) -> String>
    };
    let inside: Box<dyn Fn(&str) -> String> = Box::new(|key| {
        let (first, rest) = key.split_once('.').unwrap();
        format!("module.{first}._orig_mod.{rest}").replace(".mlp.", "._checkpoint_wrapped_module.mlp.")
    });
    for name in [
        ahead("_orig_mod."),
        ahead("module."),
        ahead("module._orig_mod."),
        ahead("_orig_mod.module."),
        ahead("_fsdp_wrapped_module."),
        inside,
    ] {
        println!("{}", name("model.norm.weight"));
        let renamed = |of: &str| {
            let dir = copy(of);
            rename(dir.path(), &name);
            dir
        };
        answers(renamed("qwen-untied").path(), "one");
        answers(renamed("qwen-tied").path(), "tied");
        assert_eq!(sam_says(renamed("sam").path()), right.0);
        assert_eq!(depth_says(renamed("depth/relative").path()), right.1);
    }
}

/// Two stored tensors may stand for one of the model's as long as they are equal.
#[test]
fn copies_of_a_tensor_must_be_equal() {
    let dir = copy("qwen-untied");
    let mut weights = tensors(dir.path());
    let key = weights
        .keys()
        .find(|k| k.ends_with("layers.0.input_layernorm.weight"));
    let key = key.unwrap().clone();
    let twin = format!("module.{key}");
    weights.insert(twin.clone(), weights[&key].copy().unwrap());
    store(dir.path(), &weights);
    answers(dir.path(), "one");
    weights.insert(twin.clone(), weights[&key].affine(1.0, 0.5).unwrap());
    store(dir.path(), &weights);
    let message = refusal(dir.path());
    assert!(message.contains(&twin) && message.contains("differ"), "{message}");
}

#[test]
fn bounds_of_the_image_under_their_three_names() {
    let bounds = |settings: Value| {
        let dir = tempfile::tempdir().unwrap();
        write_json(dir.path(), "config.json", &json!({}));
        write_json(dir.path(), "preprocessor_config.json", &settings);
        let read = ImageProcessor::read(&Checkpoint::open(dir.path()).unwrap()).unwrap();
        (read.min_pixels, read.max_pixels)
    };
    let of_size = json!({"size": {"min_pixels": 6272, "max_pixels": 25088}});
    assert_eq!(bounds(of_size), (6272, 25088));
    let edges = json!({"size": {"shortest_edge": 6272, "longest_edge": 25088}});
    assert_eq!(bounds(edges), (6272, 25088));
    let beside = json!({"min_pixels": 6272, "max_pixels": 25088, "size": {"shortest_edge": 3136, "longest_edge": 99999}});
    assert_eq!(bounds(beside), (6272, 25088));
    let null = json!({"min_pixels": null, "max_pixels": null, "size": {"shortest_edge": 6272, "longest_edge": 25088}});
    assert_eq!(bounds(null), (6272, 25088));
    assert_eq!(bounds(json!({})), (3136, 1_003_520));
}

/// transformers 5 writes the image processor's settings into `processor_config.json` and reads them there first.
#[test]
fn settings_of_the_processor_go_before_the_older_file() {
    for (of, says) in [
        ("sam", sam_says as fn(&Path) -> Vec<f32>),
        ("depth/relative", depth_says),
    ] {
        let dir = copy(of);
        let settings = json_of(dir.path(), "preprocessor_config.json");
        write_json(
            dir.path(),
            "processor_config.json",
            &json!({"image_processor": settings}),
        );
        // Were it read, it would show.
        edit(dir.path(), "preprocessor_config.json", |s| {
            s["rescale_factor"] = (-1.0).into()
        });
        assert_eq!(says(dir.path()), says(&fixture(of)), "{of}");
        // A processor without such a part leaves the older file to be read.
        let settings = json_of(&fixture(of), "preprocessor_config.json");
        write_json(dir.path(), "preprocessor_config.json", &settings);
        write_json(
            dir.path(),
            "processor_config.json",
            &json!({"processor_class": "SamProcessor"}),
        );
        assert_eq!(says(dir.path()), says(&fixture(of)), "{of}");
    }
}
