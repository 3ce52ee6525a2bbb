//! Every stage of a forward pass, and the integers that lead to it.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use dragunov_models::checkpoint::Checkpoint;
use dragunov_models::mutation::{self, Mutation};
use dragunov_models::qwen_vl::QwenVl;
use dragunov_models::qwen_vl::grid::{self, Grid};

use super::{case, encode, golden, greedy_of, load, photo, without_padding};
use crate::compare::{Stages, fixture, tolerance};

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
        let mut got = seen[stage].clone();
        // The reference repeats its tables.
        if stage.ends_with("cos") || stage.ends_with("sin") {
            got = Tensor::cat(&[&got, &got], got.rank() - 1).unwrap();
        }
        if stage.starts_with("text") || stage.starts_with("layer") {
            got = without_padding(&got, &case.attention_mask);
        }
        stages.check(stage, &got, golden.get(&format!("{name}.{stage}")), tolerance);
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
                let err = golden.get("tied.merger").error(t);
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
    let (got, want) = (flat(&logits), flat(golden().whole("one.logits")));
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(x * y)).sum::<f64>();
    let cosine = dot(&got, &want) / (dot(&got, &got) * dot(&want, &want)).sqrt();
    assert!(cosine >= 0.999, "{cosine}");
    let refused = QwenVl::load(&checkpoint, DType::F16, &Device::Cpu)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("F16"), "{refused}");
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
