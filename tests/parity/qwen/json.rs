//! Answers held to a schema.

use std::collections::BTreeSet;

use candle_core::{DType, Device, Tensor};
use dragunov_models::ModelError;
use dragunov_models::checkpoint::Checkpoint;
use dragunov_models::observer::{Observer, Stage, Unobserved, until};
use dragunov_models::qwen_vl::grid::{self, Grid};
use dragunov_models::qwen_vl::{JsonAnswer, JsonOptions, QwenVl, Schema};

use super::{encode, load, prompts};
use crate::compare::{device, fixture};
use crate::graphs::{self, Count, logged};

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
        .generate_json(&prompts("one")[0], &food_schema(), all, &mut Unobserved)
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
            let (hidden, _) = model.prefill(&[longer], 0, &mut Unobserved).unwrap();
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
        .generate_json(&prompts("one")[0], &food_schema(), few, &mut Unobserved)
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
            .generate_json(
                &prompts(name)[0],
                &schema,
                JsonOptions::default(),
                &mut Unobserved,
            )
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

/// On a GPU the best token of a text is found where the scores lie.
#[test]
fn texts_in_json_agree_with_the_cpus() {
    if device().is_cpu() {
        println!("DRAGUNOV_TEST_DEVICE names no other device: not run");
        return;
    }
    let checkpoint = Checkpoint::open(fixture("qwen-untied")).unwrap();
    let on_cpu = QwenVl::load(&checkpoint, DType::F32, &Device::Cpu).unwrap();
    let there = load("qwen-untied");
    let text = |max_chars| Schema::Text {
        min_chars: 1,
        max_chars,
    };
    let schema = Schema::object([
        ("note", text(12)),
        ("count", Schema::Integer { min: 1, max: 20 }),
        ("word", text(3)),
        ("kind", Schema::one_of(["food", "plate", "none"])),
    ]);
    let run = |model: &QwenVl| {
        let batch: Vec<_> = ["one", "batch"]
            .iter()
            .flat_map(|name| encode(model, name))
            .collect();
        model
            .generate_json_batch(&batch, &schema, JsonOptions::default(), &mut Unobserved)
            .unwrap()
    };
    let (found, wanted) = (run(&there), run(&on_cpu));
    assert_eq!(found.len(), 3);
    for (found, wanted) in found.iter().zip(&wanted) {
        assert_eq!(found.token_ids, wanted.token_ids);
        for (a, b) in found.fields.iter().zip(&wanted.fields) {
            assert_eq!((&a.pointer, &a.value), (&b.pointer, &b.value));
            assert!((a.probability - b.probability).abs() < 1e-5, "{a:?} {b:?}");
        }
    }
}

/// Prompts of different lengths whose answers take different numbers of steps: rows that have ended must not disturb
/// those that go on, nor a row that takes tokens back the others.
#[test]
fn json_of_a_batch_is_that_of_each() {
    let model = load("qwen-untied");
    let batch: Vec<_> = ["one", "batch", "two", "text_only"]
        .iter()
        .flat_map(|name| encode(&model, name))
        .collect();
    let lengths: BTreeSet<usize> = batch.iter().map(|e| e.ids.len()).collect();
    assert!(lengths.len() >= 4, "{lengths:?}");
    let free = Schema::object([
        (
            "note",
            Schema::Text {
                min_chars: 0,
                max_chars: 8,
            },
        ),
        ("count", Schema::Integer { min: 1, max: 20 }),
        ("kind", Schema::one_of(["food", "plate", "none"])),
    ]);
    let options = JsonOptions::default();
    for schema in [food_schema(), free] {
        let together = model
            .generate_json_batch(&batch, &schema, options, &mut Unobserved)
            .unwrap();
        assert_eq!(together.len(), batch.len());
        for (encoded, answer) in batch.iter().zip(together) {
            let alone = model
                .generate_json_batch(std::slice::from_ref(encoded), &schema, options, &mut Unobserved)
                .unwrap()
                .remove(0);
            assert_eq!(alone.value, answer.value);
            assert_eq!(alone.token_ids, answer.token_ids);
            assert_eq!(alone.fields.len(), answer.fields.len());
            for (a, b) in alone.fields.iter().zip(&answer.fields) {
                assert_eq!((&a.pointer, &a.value), (&b.pointer, &b.value));
                assert!((a.probability - b.probability).abs() < 1e-5, "{a:?} {b:?}");
                for (a, b) in a.alternatives.iter().zip(&b.alternatives) {
                    assert!((a.1 - b.1).abs() < 1e-5, "{a:?} {b:?}");
                }
            }
        }
    }
    let stopped = model.generate_json_batch(&batch, &food_schema(), options, &mut until(|| true));
    assert!(matches!(stopped, Err(ModelError::Cancelled)));
}

/// Batches in turn, of other prompts and numbers of them, so that caches lie where others were and move on the way.
fn answers_in_turn(model: &QwenVl, observer: &mut dyn Observer) -> Vec<Vec<JsonAnswer>> {
    let text = |max_chars| Schema::Text {
        min_chars: 1,
        max_chars,
    };
    let kinds = Schema::one_of(["food", "plate", "none"]);
    let numbers = Schema::object([("count", Schema::Integer { min: 1, max: 20 }), ("note", text(4))]);
    let three: &[&str] = &["one", "batch", "two"];
    let turns = [
        // More tokens than there is room for.
        (
            Schema::object([("kind", kinds), ("note", text(70))]),
            [three, three].concat(),
        ),
        (food_schema(), vec!["one"]),
        (food_schema(), three.to_vec()),
        (numbers.clone(), vec!["two", "text_only"]),
        (numbers, three.to_vec()),
    ];
    let mut all = Vec::new();
    for (schema, names) in &turns {
        let batch: Vec<_> = names.iter().flat_map(|name| encode(model, name)).collect();
        let answers = model.generate_json_batch(&batch, schema, JsonOptions::default(), observer);
        all.push(answers.unwrap());
    }
    all
}

#[test]
fn json_by_graphs() {
    if !graphs::asked_for() {
        return;
    }
    let mut grown = 0;
    for (name, dtype) in [("qwen-untied", DType::F32), ("qwen-tied", DType::BF16)] {
        let model = QwenVl::load(&Checkpoint::open(fixture(name)).unwrap(), dtype, &device()).unwrap();
        let mut plain = 0;
        let mut count = |stage: Stage, value: Tensor| {
            plain += usize::from(stage.name == "text.hidden");
            Ok(value)
        };
        let wanted = answers_in_turn(&model, &mut count);
        let mut within = Count {
            name: "text.hidden",
            times: 0,
        };
        assert_eq!(answers_in_turn(&model, &mut within), wanted, "{name}");
        // Of each batch the prompts, and what comes after the caches of the first have grown.
        println!("{name}: {plain} passes, {} of them without graphs", within.times);
        assert!(
            within.times >= 5 && 2 * within.times < plain,
            "{} of {plain}",
            within.times
        );
        grown += within.times - 5;
    }
    assert!(grown > 0, "no cache has grown");
}

/// Of the software device, told to fail: the same answers, and a word about it, once.
#[test]
fn json_where_graphs_fail() {
    if !graphs::asked_to_fail() {
        return;
    }
    let said = logged(|| {
        let model = load("qwen-untied");
        let wanted = answers_in_turn(&model, &mut graphs::every_stage);
        assert_eq!(answers_in_turn(&model, &mut Unobserved), wanted);
    });
    assert_eq!(said.matches("not launched as graphs").count(), 1, "{said}");
}
