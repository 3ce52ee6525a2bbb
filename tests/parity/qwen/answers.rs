//! Free answers: greedy, sampled, alone and in a batch, and those of the command.

use std::collections::BTreeSet;

use candle_core::{DType, Device, Tensor};
use dragunov_models::checkpoint::Checkpoint;
use dragunov_models::observer::{Stage, Unobserved, until};
use dragunov_models::qwen_vl::grid::{self, Grid};
use dragunov_models::qwen_vl::{GenerateOptions, QwenVl, Sampling, Stop};

use super::{Plain, QUESTION, case, encode, golden_json, greedy, greedy_of, load, photo, prompts};
use crate::compare::{device, fixture};
use crate::graphs::{self, logged};

#[test]
fn greedy_steps_with_cache() {
    let untied = load("qwen-untied");
    for name in ["one", "two", "batch"] {
        let want = case(name);
        let answers = untied
            .generate_batch(&encode(&untied, name), &greedy(8), &mut Unobserved)
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
    let answer = model
        .generate(&prompts("tied")[0], &options, &mut Unobserved)
        .unwrap();
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
                .prefill(std::slice::from_ref(&encoded), 0, &mut Unobserved)
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
    let together = model.generate_batch(&batch, &greedy(8), &mut Unobserved).unwrap();
    for (encoded, answer) in batch.into_iter().zip(together) {
        let alone = model
            .generate_batch(&[encoded], &greedy(8), &mut Unobserved)
            .unwrap();
        assert_eq!(alone[0].token_ids, answer.token_ids);
    }
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
            .generate(&prompts("one")[0], &options(seed), &mut Unobserved)
            .unwrap()
            .token_ids
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    let stopped = model.generate(&prompts("one")[0], &greedy(12), &mut until(|| true));
    assert!(matches!(stopped, Err(dragunov_models::ModelError::Cancelled)));
}

/// Steps launched as graphs, of a batch whose cache grows and moves on the way: tokens that they find, and tokens drawn elsewhere from
/// their scores, of which the one likeliest is the greedy choice. Those without graphs: `greedy_steps_with_cache`, replay.py.
#[test]
fn greedy_steps_by_graphs() {
    if !graphs::asked_for() {
        return;
    }
    let model = load("qwen-untied");
    let batch = encode(&model, "batch");
    assert!(batch.iter().any(|e| e.ids.len() != batch[0].ids.len()));
    for (penalty, min_new_tokens) in [(1., 0), (1.3, 270)] {
        let options = GenerateOptions {
            repetition_penalty: penalty,
            min_new_tokens,
            ..greedy(280)
        };
        let drawn = GenerateOptions {
            sampling: Sampling::Seeded {
                seed: 1,
                temperature: 1.,
                top_k: 1,
                top_p: 1.,
            },
            ..options.clone()
        };
        let [answers, others] = [(options, "text.tokens"), (drawn, "text.scores")].map(|(options, seen)| {
            let mut launched = 0;
            let mut count = |stage: Stage, value: Tensor| {
                launched += usize::from(stage.name == seen);
                Ok(value)
            };
            let answers = model.generate_batch(&batch, &options, &mut count).unwrap();
            let longest = answers.iter().map(|a| a.token_ids.len()).max().unwrap();
            assert_eq!(launched, longest - 1);
            answers
        });
        assert_eq!(answers, others);
    }
}

/// Of the software device, told to fail: the same tokens, and a word about it, once.
#[test]
fn greedy_steps_where_graphs_fail() {
    if !graphs::asked_to_fail() {
        return;
    }
    let said = logged(|| {
        let model = load("qwen-untied");
        for _ in 0..2 {
            let answers = model.generate_batch(&encode(&model, "batch"), &greedy(8), &mut Unobserved);
            let tokens: Vec<_> = answers.unwrap().into_iter().map(|a| a.token_ids).collect();
            assert_eq!(tokens, case("batch").greedy);
        }
    });
    assert_eq!(said.matches("not launched as graphs").count(), 1, "{said}");
    assert!(said.contains("WARN"), "{said}");
}

/// On a GPU the tokens that are drawn from are found where the scores lie.
#[test]
fn sampled_answers_agree_with_the_cpus() {
    if device().is_cpu() {
        println!("DRAGUNOV_TEST_DEVICE names no other device: not run");
        return;
    }
    let checkpoint = Checkpoint::open(fixture("qwen-untied")).unwrap();
    let on_cpu = QwenVl::load(&checkpoint, DType::F32, &Device::Cpu).unwrap();
    let there = load("qwen-untied");
    let mut different = BTreeSet::new();
    // Few of the vocabulary of 512, one, and more than are looked for there.
    for (seed, top_k) in [(1, 50), (2, 5), (3, 1), (4, 200), (5, 0)] {
        let options = GenerateOptions {
            sampling: Sampling::Seeded {
                seed,
                temperature: 1.5,
                top_k,
                top_p: 0.95,
            },
            repetition_penalty: 1.2,
            ..greedy(8)
        };
        let run = |model: &QwenVl| {
            model
                .generate(&prompts("one")[0], &options, &mut Unobserved)
                .unwrap()
                .token_ids
        };
        let found = run(&there);
        assert_eq!(found, run(&on_cpu), "{top_k} tokens by seed {seed}");
        different.insert(found);
    }
    assert!(different.len() > 2, "{different:?}");
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
