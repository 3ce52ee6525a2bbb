//! Qwen2.5-VL against transformers: `fixtures/generate/qwen.py`.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use dragunov_models::RgbImage;
use dragunov_models::checkpoint::Checkpoint;
use dragunov_models::mutation::{self, Mutation};
use dragunov_models::qwen_vl::grid::{self, Grid};
use dragunov_models::qwen_vl::{
    Content, Encoded, GenerateOptions, JsonOptions, Message, Prompt, QwenVl, Role, Sampling, Schema, Stop,
};
use serde::Deserialize;

use super::compare::{Golden, Stages, fixture, tolerance};

/// Integers and texts of one case.
#[derive(Deserialize)]
struct Case {
    input_ids: Vec<Vec<u32>>,
    attention_mask: Vec<Vec<u8>>,
    grid: Vec<[usize; 3]>,
    position_ids: [Vec<Vec<u32>>; 3],
    rope_deltas: Vec<i64>,
    window_index: Vec<usize>,
    cu_window_seqlens: Vec<usize>,
    greedy: Vec<Vec<u32>>,
    text: Vec<String>,
    with_generation_config: Option<Vec<Vec<u32>>>,
}

#[derive(Deserialize)]
struct Plain {
    input_ids: Vec<Vec<u32>>,
    greedy: Vec<Vec<u32>>,
}

fn golden_json() -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(fixture("qwen-golden.json")).unwrap()).unwrap()
}

fn case(name: &str) -> Case {
    serde_json::from_value(golden_json()[name].clone()).unwrap()
}

fn golden() -> Golden {
    Golden::open("qwen-golden.safetensors")
}

fn load(name: &str) -> QwenVl {
    QwenVl::load(
        &Checkpoint::open(fixture(name)).unwrap(),
        DType::F32,
        &Device::Cpu,
    )
    .unwrap()
}

fn photo(name: &str) -> RgbImage {
    let golden = golden();
    let tensor = golden.get(&format!("photo.{name}"));
    let (h, w, _) = tensor.dims3().unwrap();
    RgbImage::new(w, h, tensor.flatten_all().unwrap().to_vec1().unwrap()).unwrap()
}

/// One user message; `None` stands for the next photo.
fn prompt(parts: &[Option<&str>], photos: &[&str]) -> Prompt {
    let mut photos = photos.iter();
    let content = parts
        .iter()
        .map(|part| match part {
            Some(text) => Content::Text((*text).into()),
            None => Content::Image(photo(photos.next().unwrap())),
        })
        .collect();
    Prompt {
        messages: vec![Message {
            role: Role::User,
            content,
        }],
    }
}

const QUESTION: &str = "What is this? Answer in JSON.";

fn prompts(name: &str) -> Vec<Prompt> {
    let ask = |photo| prompt(&[None, Some(QUESTION)], &[photo]);
    match name {
        "one" => vec![ask("a")],
        "two" => {
            let parts = [
                Some("Compare "),
                None,
                Some(" with "),
                None,
                Some(". Which is rice?"),
            ];
            vec![prompt(&parts, &["c", "a"])]
        }
        "batch" => vec![prompt(&[None, Some("What?")], &["b"]), ask("odd")],
        "tied" => vec![ask("big")],
        "text_only" => vec![prompt(&[Some("You are what?")], &[])],
        other => panic!("{other}"),
    }
}

fn encode(model: &QwenVl, name: &str) -> Vec<Encoded> {
    prompts(name).iter().map(|p| model.encode(p).unwrap()).collect()
}

fn greedy(max_new_tokens: usize) -> GenerateOptions {
    GenerateOptions {
        max_new_tokens,
        min_new_tokens: max_new_tokens,
        sampling: Sampling::Greedy,
        repetition_penalty: 1.,
    }
}

/// The reference writes whatever it computes where a row is padded; nobody reads it. Zero there on both sides.
fn without_padding(t: &Tensor, mask: &[Vec<u8>]) -> Tensor {
    let shape = (mask.len(), mask[0].len(), 1);
    let flat: Vec<f32> = mask.iter().flatten().map(|&m| f32::from(m)).collect();
    t.broadcast_mul(&Tensor::from_vec(flat, shape, &Device::Cpu).unwrap())
        .unwrap()
}

/// Every stage of one forward pass.
fn compare(model: &QwenVl, name: &str) -> Stages {
    let (golden, case) = (golden(), case(name));
    let batch = encode(model, name);
    let mut seen = BTreeMap::new();
    let (hidden, _) = model
        .prefill(&batch, 0, &mut |stage, t| {
            drop(seen.insert(stage.to_owned(), t.clone()))
        })
        .unwrap();
    let mut stages = Stages::default();
    let mut check = |stage: &str, tolerance: f64| {
        let want = golden.get(&format!("{name}.{stage}"));
        // The reference repeats each half of its tables.
        let want = if stage.ends_with("cos") || stage.ends_with("sin") {
            want.narrow(want.rank() - 1, 0, want.dim(want.rank() - 1).unwrap() / 2)
                .unwrap()
        } else {
            want.clone()
        };
        let (mut got, mut want) = (seen[stage].clone(), want);
        if stage.starts_with("text") || stage.starts_with("layer") {
            got = without_padding(&got, &case.attention_mask);
            want = without_padding(&want, &case.attention_mask);
        }
        stages.check(stage, &got, &want, tolerance);
    };
    check("patch_embed", tolerance::LAYER);
    check("vision_cos", tolerance::LAYER);
    check("vision_sin", tolerance::LAYER);
    for i in 0..4 {
        check(&format!("vision_block_{i}"), tolerance::BLOCK);
    }
    check("merger_windowed", tolerance::STACK);
    check("merger", tolerance::STACK);
    check("text_cos", tolerance::LAYER);
    check("text_sin", tolerance::LAYER);
    check("layer_0", tolerance::STACK);
    check("layer_1", tolerance::STACK);
    let n = hidden.dim(1).unwrap();
    let logits = model
        .decoder()
        .logits(&hidden.narrow(1, n - 4, 4).unwrap())
        .unwrap();
    stages.check(
        "logits",
        &logits,
        golden.get(&format!("{name}.logits")),
        tolerance::OUTPUT,
    );
    stages
}

#[test]
fn every_stage_of_one_image() {
    compare(&load("qwen-untied"), "one").finish();
}

#[test]
fn every_stage_of_two_images_in_one_prompt() {
    compare(&load("qwen-untied"), "two").finish();
}

#[test]
fn every_stage_of_a_left_padded_batch() {
    compare(&load("qwen-untied"), "batch").finish();
}

#[test]
fn tied_head_old_keys_shards_and_flat_config() {
    let (golden, model) = (golden(), load("qwen-tied"));
    let (hidden, _) = model
        .prefill(&encode(&model, "tied"), 0, &mut |stage, t| {
            if stage == "merger" {
                let err = super::compare::error(t, golden.get("tied.merger"));
                assert!(err <= tolerance::STACK, "merger: {err:e}");
            }
        })
        .unwrap();
    let n = hidden.dim(1).unwrap();
    let logits = model
        .decoder()
        .logits(&hidden.narrow(1, n - 4, 4).unwrap())
        .unwrap();
    let mut stages = Stages::default();
    stages.check("logits", &logits, golden.get("tied.logits"), tolerance::OUTPUT);
    stages.finish();
}

#[test]
fn pixels() {
    let (golden, model) = (golden(), load("qwen-untied"));
    let patches = |name| model.processor().patches(&photo(name)).unwrap().0;
    let mut stages = Stages::default();
    // The resize is exact, and so is the arithmetic behind it.
    let head = patches("a").narrow(0, 0, 12).unwrap();
    stages.check(
        "without resize",
        &head,
        golden.get("one.pixel_values_head"),
        tolerance::EXACT,
    );
    stages.check(
        "64 x 200 resized",
        &patches("c"),
        golden.get("two.pixel_values_c"),
        tolerance::EXACT,
    );
    stages.finish();
}

#[test]
fn integers_are_exact() {
    for name in ["one", "two", "batch", "tied"] {
        let model = load(if name == "tied" {
            "qwen-tied"
        } else {
            "qwen-untied"
        });
        let (case, batch) = (case(name), encode(&model, name));
        let width = case.input_ids[0].len();
        let mut grids = Vec::new();
        for (row, encoded) in batch.iter().enumerate() {
            let pad = width - encoded.ids.len();
            assert_eq!(
                encoded.ids,
                case.input_ids[row][pad..],
                "{name}: ids of row {row}"
            );
            assert!(
                case.attention_mask[row][..pad].iter().all(|&m| m == 0),
                "{name}: padding of row {row}"
            );
            let positions = encoded.positions.padded(pad);
            for (axis, want) in case.position_ids.iter().enumerate() {
                assert_eq!(
                    positions.axes[axis], want[row],
                    "{name}: axis {axis} of row {row}"
                );
            }
            assert_eq!(
                positions.delta, case.rope_deltas[row],
                "{name}: delta of row {row}"
            );
            grids.extend(encoded.images.iter().map(|i| i.grid));
        }
        let want: Vec<Grid> = case.grid.iter().map(|&[t, h, w]| Grid { t, h, w }).collect();
        assert_eq!(grids, want, "{name}");
        let (index, cu) = grid::window_index(&grids, 2, 4);
        assert_eq!((index, cu), (case.window_index, case.cu_window_seqlens), "{name}");
    }
}

/// Tokens of the greedy answers, which use the cache; compared with the reference's, which agree with and without.
fn greedy_of(model: &QwenVl, name: &str) -> Vec<Vec<u32>> {
    let answers = model
        .generate_batch(&encode(model, name), &greedy(8), &|| false)
        .unwrap();
    answers.into_iter().map(|a| a.token_ids).collect()
}

#[test]
fn greedy_steps_with_cache() {
    let untied = load("qwen-untied");
    for name in ["one", "two", "batch"] {
        let want = case(name);
        let answers = untied
            .generate_batch(&encode(&untied, name), &greedy(8), &|| false)
            .unwrap();
        for (answer, (ids, text)) in answers.iter().zip(want.greedy.iter().zip(&want.text)) {
            assert_eq!((&answer.token_ids, &answer.text), (ids, text), "{name}");
            assert_eq!(answer.stop, Stop::Length);
        }
    }
    let plain: Plain = serde_json::from_value(golden_json()["text_only"].clone()).unwrap();
    assert_eq!(encode(&untied, "text_only")[0].ids, plain.input_ids[0]);
    assert_eq!(greedy_of(&untied, "text_only"), plain.greedy);
    assert_eq!(greedy_of(&load("qwen-tied"), "tied"), case("tied").greedy);
}

/// The penalty of `generation_config.json` holds for greedy decoding too, as in `generate(do_sample=False)`.
#[test]
fn greedy_with_the_checkpoints_penalty() {
    let model = load("qwen-tied");
    assert_eq!(model.generation_config().eos_token_ids, [501, 500]);
    let options = GenerateOptions::greedy(model.generation_config(), 16);
    assert!((options.repetition_penalty - 1.05).abs() < 1e-6);
    let answer = model.generate(&prompts("tied")[0], &options, &|| false).unwrap();
    assert_eq!(answer.token_ids, case("tied").with_generation_config.unwrap()[0]);
}

#[test]
fn greedy_steps_without_cache() {
    let model = load("qwen-untied");
    for name in ["one", "two"] {
        let mut encoded = encode(&model, name).remove(0);
        let grids: Vec<Grid> = encoded.images.iter().map(|i| i.grid).collect();
        for want in &case(name).greedy[0] {
            let (hidden, _) = model
                .prefill(std::slice::from_ref(&encoded), 0, &mut |_, _| ())
                .unwrap();
            let last = hidden.narrow(1, encoded.ids.len() - 1, 1).unwrap();
            let mut logits: Vec<f32> = model
                .decoder()
                .logits(&last)
                .unwrap()
                .flatten_all()
                .unwrap()
                .to_vec1()
                .unwrap();
            logits[501] = f32::NEG_INFINITY;
            let best = (0..logits.len())
                .max_by(|&a, &b| logits[a].total_cmp(&logits[b]))
                .unwrap() as u32;
            assert_eq!(best, *want, "{name}");
            encoded.ids.push(best);
            encoded.positions = grid::Positions::of(&encoded.ids, 505, &grids, 2).unwrap();
        }
    }
}

#[test]
fn a_row_of_a_batch_is_the_row_alone() {
    let model = load("qwen-untied");
    let batch = encode(&model, "batch");
    let together = model.generate_batch(&batch, &greedy(8), &|| false).unwrap();
    for (encoded, answer) in batch.into_iter().zip(together) {
        let alone = model.generate_batch(&[encoded], &greedy(8), &|| false).unwrap();
        assert_eq!(alone[0].token_ids, answer.token_ids);
    }
}

#[test]
fn bf16_is_close_and_f16_is_refused() {
    let checkpoint = Checkpoint::open(fixture("qwen-untied")).unwrap();
    let model = QwenVl::load(&checkpoint, DType::BF16, &Device::Cpu).unwrap();
    let (hidden, _) = model.prefill(&encode(&model, "one"), 0, &mut |_, _| ()).unwrap();
    let n = hidden.dim(1).unwrap();
    let logits = model
        .decoder()
        .logits(&hidden.narrow(1, n - 4, 4).unwrap())
        .unwrap();
    let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (got, want) = (flat(&logits), flat(golden().get("one.logits")));
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(x * y)).sum::<f64>();
    let cosine = dot(&got, &want) / (dot(&got, &got) * dot(&want, &want)).sqrt();
    assert!(cosine >= 0.999, "{cosine}");
    let refused = QwenVl::load(&checkpoint, DType::F16, &Device::Cpu)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("F16"), "{refused}");
}

#[test]
fn sampling_repeats_with_its_seed_and_stops_when_told() {
    let model = load("qwen-untied");
    let options = |seed| GenerateOptions {
        sampling: Sampling::Seeded {
            seed,
            temperature: 1.5,
            top_k: 50,
            top_p: 0.95,
        },
        ..greedy(12)
    };
    let run = |seed| {
        model
            .generate(&prompts("one")[0], &options(seed), &|| false)
            .unwrap()
            .token_ids
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    let stopped = model.generate(&prompts("one")[0], &greedy(12), &|| true);
    assert!(matches!(stopped, Err(dragunov_models::ModelError::Cancelled)));
}

fn food_schema() -> Schema {
    Schema::object([
        ("kind", Schema::one_of(["food", "plate", "none"])),
        (
            "label",
            Schema::one_of([
                "rice",
                "rice cake",
                "fried rice",
                "ribs",
                "apple",
                "apple pie",
                "bread",
                "beans",
            ]),
        ),
    ])
}

/// Probabilities of a choice, one by one: each option is spelt and scored without cache or search.
#[test]
fn json_choices_are_scored_exactly() {
    let model = load("qwen-untied");
    let encoded = encode(&model, "one").remove(0);
    let all = JsonOptions { alternatives: 100 };
    let answer = model
        .generate_json(&prompts("one")[0], &food_schema(), all, &|| false)
        .unwrap();
    let kinds = ["food", "plate", "none"];
    let spelt = |kind: &str| {
        model
            .tokenizer()
            .encode(&format!(r#"{{"kind":"{kind}","label":""#))
            .unwrap()
    };
    let sequences: Vec<Vec<u32>> = kinds.iter().map(|k| spelt(k)).collect();
    let mut expected = Vec::new();
    for (kind, ids) in kinds.iter().zip(&sequences) {
        let mut log_probability = 0.;
        for at in 0..ids.len() {
            let mut branches: Vec<u32> = sequences
                .iter()
                .filter(|s| s.len() > at && s[..at] == ids[..at])
                .map(|s| s[at])
                .collect();
            branches.sort_unstable();
            branches.dedup();
            let mut longer = encoded.clone();
            longer.ids.extend(&ids[..at]);
            let grids: Vec<Grid> = longer.images.iter().map(|i| i.grid).collect();
            longer.positions = grid::Positions::of(&longer.ids, 505, &grids, 2).unwrap();
            let n = longer.ids.len();
            let (hidden, _) = model.prefill(&[longer], 0, &mut |_, _| ()).unwrap();
            let logits: Vec<f32> = model
                .decoder()
                .logits(&hidden.narrow(1, n - 1, 1).unwrap())
                .unwrap()
                .flatten_all()
                .unwrap()
                .to_vec1()
                .unwrap();
            let norm: f64 = branches
                .iter()
                .map(|&b| f64::from(logits[b as usize]).exp())
                .sum();
            log_probability += f64::from(logits[ids[at] as usize]) - norm.ln();
        }
        expected.push((*kind, log_probability.exp()));
    }
    expected.sort_by(|a, b| b.1.total_cmp(&a.1));
    let field = answer.field("/kind").unwrap();
    let mut got = vec![(field.value.as_str().unwrap().to_owned(), field.probability)];
    got.extend(
        field
            .alternatives
            .iter()
            .map(|(v, p)| (v.as_str().unwrap().to_owned(), *p)),
    );
    for ((name, p), (want_name, want_p)) in got.iter().zip(&expected) {
        assert_eq!(name, want_name);
        assert!((p - want_p).abs() < 1e-5, "{name}: {p} against {want_p}");
    }
    for pointer in ["/kind", "/label"] {
        let field = answer.field(pointer).unwrap();
        let sum: f64 = field.probability + field.alternatives.iter().map(|a| a.1).sum::<f64>();
        assert!((sum - 1.).abs() < 1e-6, "{pointer}: {sum}");
    }
    assert_eq!(answer.text, answer.value.to_string());
    // A short list holds the top of the long one.
    let few = JsonOptions { alternatives: 2 };
    let short = model
        .generate_json(&prompts("one")[0], &food_schema(), few, &|| false)
        .unwrap();
    let (short, long) = (short.field("/label").unwrap(), answer.field("/label").unwrap());
    assert_eq!(short.value, long.value);
    for (a, b) in short.alternatives.iter().zip(&long.alternatives) {
        assert_eq!(a.0, b.0);
        assert!((a.1 - b.1).abs() < 1e-6);
    }
}

#[test]
fn json_of_every_shape_fits_its_schema() {
    let schema = Schema::object([
        (
            "note",
            Schema::Text {
                min_chars: 0,
                max_chars: 12,
            },
        ),
        ("count", Schema::Integer { min: 1, max: 20 }),
        (
            "share",
            Schema::Number {
                min: 0.,
                max: 1.,
                decimals: 2,
            },
        ),
        ("raw", Schema::Boolean),
        (
            "items",
            Schema::Array {
                items: Box::new(Schema::object([("label", Schema::one_of(["rice", "ribs"]))])),
                min_len: 1,
                max_len: 3,
            },
        ),
        (
            "names",
            Schema::Array {
                items: Box::new(Schema::Text {
                    min_chars: 1,
                    max_chars: 3,
                }),
                min_len: 0,
                max_len: 2,
            },
        ),
    ]);
    for (checkpoint, name) in [
        ("qwen-untied", "one"),
        ("qwen-untied", "two"),
        ("qwen-tied", "tied"),
    ] {
        let model = load(checkpoint);
        let answer = model
            .generate_json(&prompts(name)[0], &schema, JsonOptions::default(), &|| false)
            .unwrap();
        let v = &answer.value;
        assert!(v["note"].as_str().unwrap().chars().count() <= 12, "{v}");
        assert!((1..=20).contains(&v["count"].as_i64().unwrap()), "{v}");
        assert!((0. ..=1.).contains(&v["share"].as_f64().unwrap()), "{v}");
        assert!(v["raw"].is_boolean(), "{v}");
        let items = v["items"].as_array().unwrap();
        assert!((1..=3).contains(&items.len()), "{v}");
        assert!(
            items
                .iter()
                .all(|i| ["rice", "ribs"].contains(&i["label"].as_str().unwrap())),
            "{v}"
        );
        assert!(
            v["names"]
                .as_array()
                .unwrap()
                .iter()
                .all(|n| (1..=3).contains(&n.as_str().unwrap().chars().count()))
        );
        let fields = 4 + items.len() + v["names"].as_array().unwrap().len();
        assert_eq!(answer.fields.len(), fields, "{:?}", answer.fields);
        for field in &answer.fields {
            assert_eq!(v.pointer(&field.pointer), Some(&field.value));
            assert!((0. ..=1. + 1e-9).contains(&field.probability), "{field:?}");
        }
    }
}

#[test]
fn json_of_a_batch_is_that_of_each() {
    let model = load("qwen-untied");
    let batch = encode(&model, "batch");
    let options = JsonOptions::default();
    let together = model
        .generate_json_batch(&batch, &food_schema(), options, &|| false)
        .unwrap();
    for (encoded, answer) in batch.into_iter().zip(together) {
        let alone = model
            .generate_json_batch(&[encoded], &food_schema(), options, &|| false)
            .unwrap()
            .remove(0);
        assert_eq!(alone.value, answer.value);
        for (a, b) in alone.fields.iter().zip(&answer.fields) {
            assert!((a.probability - b.probability).abs() < 1e-5, "{a:?} {b:?}");
        }
    }
}

#[test]
fn damaged_checkpoints_are_named() {
    let copy = |edit: &dyn Fn(&std::path::Path)| {
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

/// The command, from a PNG on disk to JSON on the standard output.
#[test]
fn the_ask_command_answers_as_the_reference() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.png");
    let photo = photo("a");
    let (w, h) = (photo.width() as u32, photo.height() as u32);
    image::save_buffer(&path, photo.as_bytes(), w, h, image::ExtendedColorType::Rgb8).unwrap();
    let output = assert_cmd::Command::new(env!("CARGO_BIN_EXE_dragunov"))
        .args(["ask", "--json", "--max-new-tokens", "8", "--prompt", QUESTION])
        .arg("--checkpoint")
        .arg(fixture("qwen-untied"))
        .arg("--image")
        .arg(&path)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let want = case("one");
    assert_eq!(answer["token_ids"], serde_json::json!(want.greedy[0]));
    assert_eq!(answer["text"], serde_json::json!(want.text[0]));
    assert_eq!(
        answer["images"][0]["grid"],
        serde_json::json!({"t": 1, "h": 10, "w": 12})
    );
}

/// Each fault must be seen by the comparison that is meant to see it.
#[test]
fn mutations_are_caught() {
    for (fault, stage) in [
        (Mutation::QwenKeepWindowOrder, "merger"),
        (Mutation::QwenEps, "vision_block_0"),
        (Mutation::QwenMergerTanhGelu, "merger_windowed"),
    ] {
        // Switched on while loading too: eps is read there.
        let found = mutation::with(fault, || compare(&load("qwen-untied"), "one").first_divergence());
        let found = found.unwrap_or_else(|| panic!("{fault:?} went unnoticed"));
        assert!(found.contains(&format!("stage: {stage} ")), "{fault:?}: {found}");
    }
    let model = load("qwen-untied");
    let ids = mutation::with(Mutation::QwenRopeDeltaZero, || greedy_of(&model, "one"));
    assert_ne!(ids, case("one").greedy, "QwenRopeDeltaZero went unnoticed");
}
