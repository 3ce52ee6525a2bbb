//! Every stage of a forward pass, and the integers that lead to it.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use dragunov_models::checkpoint::Checkpoint;
use dragunov_models::observer::{Observer, Stage, Unobserved};
use dragunov_models::qwen_vl::QwenVl;
use dragunov_models::qwen_vl::grid::{self, Grid, Positions};
use dragunov_models::qwen_vl::rope::TextRope;

use super::{case, encode, golden, load, photo, without_padding};
use crate::compare::{Stages, device, fixture, tolerance};

/// What the golden files call a stage: `patch_embed`, `vision_block_0`, `layer_1`.
fn golden_name(stage: Stage) -> String {
    let name = match stage.name {
        "vision.patch" => "patch_embed".to_owned(),
        "vision.merger.windowed" => "merger_windowed".to_owned(),
        "vision.merger" => "merger".to_owned(),
        "text.layer" => "layer".to_owned(),
        other => other.replace('.', "_"),
    };
    match (stage.index, stage.part) {
        (None, None) => name,
        (Some(index), None) => format!("{name}_{index}"),
        (_, Some(part)) => format!("{name} {part}"),
    }
}

/// Every stage of one forward pass, in which `fault` may put another tensor in a stage's place.
fn compare(model: &QwenVl, name: &str, fault: &mut dyn Observer) -> Stages {
    let (golden, case) = (golden(), case(name));
    let batch = encode(model, name);
    let mut seen = BTreeMap::new();
    let (hidden, _) = model
        .prefill(&batch, 0, &mut |stage: Stage, t: Tensor| {
            let t = fault.stage(stage, t)?;
            seen.insert(golden_name(stage), t.clone());
            Ok(t)
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
    compare(&load("qwen-untied"), "one", &mut Unobserved).finish();
}

#[test]
fn every_stage_of_two_images_in_one_prompt() {
    compare(&load("qwen-untied"), "two", &mut Unobserved).finish();
}

#[test]
fn every_stage_of_a_left_padded_batch() {
    compare(&load("qwen-untied"), "batch", &mut Unobserved).finish();
}

#[test]
fn tied_head_old_keys_shards_and_flat_config() {
    let (golden, model) = (golden(), load("qwen-tied"));
    let mut met = 0;
    let (hidden, _) = model
        .prefill(&encode(&model, "tied"), 0, &mut |stage: Stage, t: Tensor| {
            if golden_name(stage) == "merger" {
                let err = golden.get("tied.merger").error(&t);
                assert!(err <= tolerance::STACK, "merger: {err:e}");
                met += 1;
            }
            Ok(t)
        })
        .unwrap();
    assert_eq!(met, 1);
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
    let patches = |name| {
        model
            .processor()
            .patches(&photo(name), DType::F32, &device())
            .unwrap()
            .0
    };
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
    let (hidden, _) = model.prefill(&encode(&model, "one"), 0, &mut Unobserved).unwrap();
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

/// Mistakes that real ports of these models made, planted in a pass: each must be seen by the comparison that is meant to
/// see it.
mod faults {
    use super::*;
    use crate::qwen::{greedy, prompts};

    #[track_caller]
    fn must_diverge(model: &QwenVl, at: &str, fault: &mut dyn Observer) {
        let found = compare(model, "one", fault).first_divergence();
        let found = found.expect("the fault went unnoticed");
        assert!(found.contains(&format!("stage: {at} ")), "{found}");
    }

    /// Puts `change` of the tensor seen at stage `before` in the place of stage `after`.
    fn instead(
        before: &'static str,
        after: &'static str,
        change: impl Fn(&Tensor) -> candle_core::Result<Tensor>,
    ) -> impl Observer {
        let mut input: Option<Tensor> = None;
        move |stage: Stage, value: Tensor| {
            let stage = stage.to_string();
            if stage == before {
                input = Some(value.clone());
            }
            match &input {
                Some(input) if stage == after => Ok(change(input)?),
                _ => Ok(value),
            }
        }
    }

    #[test]
    fn tokens_left_in_the_order_of_the_windows() {
        let mut fault = instead("vision.merger.windowed", "vision.merger", |t| Ok(t.clone()));
        must_diverge(&load("qwen-untied"), "merger", &mut fault);
    }

    #[test]
    fn tanh_gelu_in_the_merger() {
        let mut fault = instead("vision.merger.hidden", "vision.merger.act", Tensor::gelu);
        must_diverge(&load("qwen-untied"), "merger_windowed", &mut fault);
        // The same detour with the right function changes nothing.
        let mut right = instead("vision.merger.hidden", "vision.merger.act", Tensor::gelu_erf);
        compare(&load("qwen-untied"), "one", &mut right).finish();
    }

    /// `x / sqrt(mean(x^2) + eps) * weight`
    fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> candle_core::Result<Tensor> {
        let mean = x.sqr()?.mean_keepdim(1)?;
        x.broadcast_div(&(mean + eps)?.sqrt()?)?.broadcast_mul(weight)
    }

    #[test]
    fn another_eps_in_the_vision_tower() {
        let model = load("qwen-untied");
        let weights = fixture("qwen-untied/model.safetensors");
        let weights = candle_core::safetensors::load(weights, &Device::Cpu).unwrap();
        let (_, weight) = weights
            .iter()
            .find(|(key, _)| key.ends_with("visual.blocks.0.norm1.weight"))
            .unwrap();
        let with = |eps| {
            let weight = weight.to_dtype(DType::F32).unwrap();
            instead("vision.windows", "vision.block.0.norm1", move |x| {
                rms_norm(x, &weight, eps)
            })
        };
        must_diverge(&model, "vision_block_0", &mut with(1e-2));
        compare(&model, "one", &mut with(1e-6)).finish();
    }

    #[test]
    fn another_eps_in_the_decoder() {
        let dir = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(fixture("qwen-untied")).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
        }
        let path = dir.path().join("config.json");
        let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        *config.pointer_mut("/text_config/rms_norm_eps").unwrap() = 1e-2.into();
        std::fs::write(&path, config.to_string()).unwrap();
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        let model = QwenVl::load(&checkpoint, DType::F32, &Device::Cpu).unwrap();
        must_diverge(&model, "layer_0", &mut Unobserved);
    }

    /// Decoded tokens that continue from the number of tokens, not from the positions of the prompt.
    #[test]
    fn decoding_without_the_rope_delta() {
        let model = load("qwen-untied");
        let config = &model.config().text;
        let rope = TextRope::new(config.head_dim(), config.rope_theta, &config.mrope_section);
        let encoded = model.encode(&prompts("one")[0]).unwrap();
        assert_ne!(encoded.positions.delta, 0);
        let ids = |shift: i64| {
            // New tokens of the pass, and tokens before them.
            let (mut new, mut before) = (0, 0);
            let mut fault = |stage: Stage, value: Tensor| {
                if stage.name == "text.cos" {
                    before += new;
                    new = value.dim(1)?;
                }
                if before == 0 || !matches!(stage.name, "text.cos" | "text.sin") {
                    return Ok(value);
                }
                let rotation = rope.rotation(&[Positions::text(before as i64 + shift, new)], &Device::Cpu)?;
                Ok(match stage.name {
                    "text.cos" => rotation.cos,
                    _ => rotation.sin,
                })
            };
            let batch = std::slice::from_ref(&encoded);
            let answers = model.generate_batch(batch, &greedy(8), &mut fault).unwrap();
            answers[0].token_ids.clone()
        };
        assert_eq!(ids(encoded.positions.delta), case("one").greedy[0]);
        assert_ne!(ids(0), case("one").greedy[0], "the fault went unnoticed");
    }
}
