//! SAM and MobileSAM, stage by stage, against `transformers` and the original code.

use candle_core::{DType, Device, Tensor};
use dragunov_models::checkpoint::Checkpoint;
use dragunov_models::observer::{Stage, Unobserved};
use dragunov_models::sam::{Embedding, Label, MaskLogits, Prediction, Prompt, Sam};
use dragunov_models::{Mask, Point, Rect, RgbImage};
use serde::Deserialize;

use crate::compare::{Stages, device, error, fixture, tolerance};
use crate::golden::Golden;

#[derive(Deserialize)]
pub struct Listing {
    pub grid: usize,
    pub sets: Vec<Set>,
}

#[derive(Deserialize)]
pub struct Set {
    pub name: String,
    pub multimask: bool,
    prompts: Vec<Given>,
}

#[derive(Deserialize)]
struct Given {
    #[serde(default)]
    points: Vec<(f64, f64, i32)>,
    #[serde(rename = "box")]
    rect: Option<[f64; 4]>,
    mask: Option<String>,
}

impl Set {
    pub fn prompts(&self, golden: &Golden) -> Vec<Prompt> {
        let label = |l| match l {
            1 => Label::Foreground,
            0 => Label::Background,
            -1 => Label::NotAPoint,
            -10 => Label::Padding,
            other => panic!("label {other}"),
        };
        let given = |g: &Given| Prompt {
            points: g
                .points
                .iter()
                .map(|&(x, y, l)| (Point::new(x, y), label(l)))
                .collect(),
            rect: g.rect.map(|[x0, y0, x1, y1]| Rect::new(x0, y0, x1, y1)),
            mask: g.mask.as_ref().map(|name| logits(golden.whole(name))),
        };
        self.prompts.iter().map(given).collect()
    }
}

pub fn listing(name: &str) -> Listing {
    serde_json::from_slice(&std::fs::read(fixture(&format!("{name}/prompts.json"))).unwrap()).unwrap()
}

pub fn logits(t: &Tensor) -> MaskLogits {
    let side = t.dim(t.rank() - 1).unwrap();
    MaskLogits::new(side, floats(t)).unwrap()
}

pub fn floats(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

pub fn photo(golden: &Golden) -> RgbImage {
    let t = golden.whole("photo");
    let (h, w, _) = t.dims3().unwrap();
    RgbImage::new(w, h, t.flatten_all().unwrap().to_vec1().unwrap()).unwrap()
}

pub fn load(name: &str) -> (Sam, Golden) {
    let checkpoint = Checkpoint::open(fixture(name)).unwrap();
    let sam = Sam::load(&checkpoint, DType::F32, &device()).unwrap();
    (sam, Golden::open(&format!("{name}/golden.safetensors")))
}

/// Low-resolution logits (P, M, side, side) and predicted IoU (P, M).
pub fn outputs(predictions: &[Prediction]) -> (Tensor, Tensor) {
    let all: Vec<_> = predictions.iter().flat_map(|p| &p.candidates).collect();
    let side = all[0].logits.side();
    let (p, m) = (predictions.len(), all.len() / predictions.len());
    let values: Vec<f32> = all.iter().flat_map(|c| c.logits.values().to_vec()).collect();
    let iou: Vec<f32> = all.iter().map(|c| c.iou).collect();
    (
        Tensor::from_vec(values, (p, m, side, side), &Device::Cpu).unwrap(),
        Tensor::from_vec(iou, (p, m), &Device::Cpu).unwrap(),
    )
}

/// Masks at the photo's size equal the reference's, except where the logit is rounding noise.
pub fn same_masks(name: &str, sam: &Sam, embedding: &Embedding, predictions: &[Prediction], packed: &Tensor) {
    let bytes: Vec<u8> = packed.flatten_all().unwrap().to_vec1().unwrap();
    let all: Vec<_> = predictions.iter().flat_map(|p| &p.candidates).collect();
    let stride = bytes.len() / all.len();
    let composite = sam.composite(embedding);
    for (i, candidate) in all.iter().enumerate() {
        let (w, h) = (candidate.mask.width(), candidate.mask.height());
        assert_eq!(stride, (w * h).div_ceil(8), "{name}: size of mask {i}");
        let want = |x: usize, y: usize| {
            let at = y * w + x;
            bytes[i * stride + at / 8] >> (7 - at % 8) & 1 == 1
        };
        let want = Mask::from_fn(w, h, want).to_bits();
        let full = composite.full(&candidate.logits);
        for ((got, want), logit) in candidate.mask.to_bits().iter().zip(&want).zip(&full) {
            assert!(
                got == want || logit.abs() < 1e-4,
                "{name}: mask {i} differs at logit {logit}"
            );
        }
    }
}

/// (1, 16 N, C) in the order of cells to (C, 4 grid, 4 grid).
fn unshuffled(x: &Tensor, grid: usize) -> Tensor {
    let c = x.dim(2).unwrap();
    x.reshape(vec![grid, grid, 2, 2, 2, 2, c])
        .unwrap()
        .permute(vec![6, 0, 2, 4, 1, 3, 5])
        .unwrap()
        .reshape((c, 4 * grid, 4 * grid))
        .unwrap()
}

fn allowed(stage: &str) -> f64 {
    match stage {
        s if s.starts_with("vision.patch") || s.starts_with("prompt.sparse") => tolerance::LAYER,
        s if s.starts_with("vision.embedding") || s.starts_with("decoder") => tolerance::STACK,
        s if s.starts_with("vision.stage") => tolerance::STACK,
        _ => tolerance::BLOCK,
    }
}

/// Compares every stage that the golden file holds.
fn whole_model(name: &str) {
    let (sam, golden) = load(name);
    let listing = listing(name);
    let image = photo(&golden);
    let mut stages = Stages::default();

    let pixels = sam
        .preprocess()
        .pixel_values(&[&image], DType::F32, &device())
        .unwrap();
    let thinned = golden.get("pixel_values_thinned");
    let every = |dim: usize, step: usize| {
        let n = pixels.dim(dim).unwrap() as u32;
        let index: Vec<u32> = (0..n).step_by(step).collect();
        Tensor::new(index, &device()).unwrap()
    };
    let got = pixels.index_select(&every(2, 7), 2).unwrap();
    let got = got.index_select(&every(3, 5), 3).unwrap();
    stages.check("preprocess", &got, thinned, tolerance::LAYER);
    if !golden.names("prompt.dense_pe").is_empty() {
        let positions = sam.cell_positions().unwrap();
        stages.check(
            "positions",
            &positions,
            golden.get("prompt.dense_pe"),
            tolerance::LAYER,
        );
    }

    let mut seen = 0;
    let embedding = sam
        .embed(&image, &mut |stage: Stage, value: Tensor| {
            let key = stage.to_string();
            if golden.names(&key).contains(&key.as_str()) {
                stages.check(&key, &value, golden.get(&key), allowed(&key));
                seen += 1;
            }
            Ok(value)
        })
        .unwrap();
    assert_eq!(seen, golden.names("vision.").len(), "encoder stages compared");

    for set in &listing.sets {
        let prompts = set.prompts(&golden);
        let mut upscaled = Vec::new();
        let mut seen = 0;
        let predictions = sam
            .predict(
                &embedding,
                &prompts,
                set.multimask,
                &mut |stage: Stage, value: Tensor| {
                    if stage.name == "decoder.upscaled" {
                        // One prompt at a time, or all of a batch: the device's choice.
                        for prompt in 0..value.dim(0)? {
                            upscaled.push(unshuffled(&value.narrow(0, prompt, 1)?, listing.grid));
                        }
                        return Ok(value);
                    }
                    let key = format!("{}/{stage}", set.name);
                    if golden.names(&key).contains(&key.as_str()) {
                        stages.check(&key, &value, golden.get(&key), allowed(&stage.to_string()));
                        seen += 1;
                    }
                    Ok(value)
                },
            )
            .unwrap();
        let key = |what: &str| format!("{}/{what}", set.name);
        let kept = golden.names(&key("decoder.upscaled"));
        if let [name] = kept[..] {
            let upscaled = Tensor::stack(&upscaled, 0).unwrap();
            stages.check(name, &upscaled, golden.get(name), tolerance::STACK);
        }
        let wanted = golden.names(&key("decoder.")).len() - kept.len() + golden.names(&key("prompt.")).len();
        assert_eq!(seen, wanted, "{}: decoder stages compared", set.name);
        let (low_res, iou) = outputs(&predictions);
        stages.check(
            key("low_res"),
            &low_res,
            golden.get(&key("low_res")),
            tolerance::OUTPUT,
        );
        stages.check(key("iou"), &iou, golden.get(&key("iou")), tolerance::OUTPUT);
        if let [name] = golden.names(&key("full"))[..] {
            let logits = &predictions[0].candidates[0].logits;
            let full = sam.composite(&embedding).full(logits);
            let full = Tensor::from_vec(full, golden.get(name).dims(), &Device::Cpu).unwrap();
            stages.check(name, &full, golden.get(name), tolerance::OUTPUT);
        }
        same_masks(
            &set.name,
            &sam,
            &embedding,
            &predictions,
            golden.whole(&key("mask")),
        );
    }
    stages.finish();
}

#[test]
fn vit_agrees_with_transformers() {
    whole_model("sam");
}

#[test]
fn other_sizes_agree_with_transformers() {
    whole_model("sam-odd");
}

#[test]
fn mobile_sam_agrees_with_the_original() {
    whole_model("mobile-sam");
}

/// Each deliberate mistake, made in the reference, moves its logits so far that a model with that mistake could not
/// pass the tests above.
#[test]
fn every_known_mistake_would_be_seen() {
    for (name, at_least) in [("sam", 9), ("sam-odd", 6)] {
        let (sam, golden) = load(name);
        let listing = listing(name);
        let set = listing.sets.iter().find(|s| s.name == "mask").unwrap();
        let embedding = sam.embed(&photo(&golden), &mut Unobserved).unwrap();
        let predictions = sam
            .predict(&embedding, &set.prompts(&golden), true, &mut Unobserved)
            .unwrap();
        let all = outputs(&predictions).0;
        assert!(golden.get("mask/low_res").error(&all) <= tolerance::OUTPUT);
        let got = all.narrow(1, 0, 1).unwrap();
        let mutants = golden.names("mutant/");
        assert!(mutants.len() >= at_least, "{mutants:?}");
        for mutant in mutants {
            let gap = golden.get(mutant).error(&got);
            assert!(
                gap > tolerance::OUTPUT,
                "{name}: {mutant} would pass, error {gap:.1e}"
            );
        }
    }
}

#[test]
fn a_batch_is_the_same_as_one_by_one() {
    let (sam, golden) = load("sam");
    let image = photo(&golden);
    let upside = RgbImage::new(
        image.width(),
        image.height(),
        image.as_bytes().chunks(3).rev().flatten().copied().collect(),
    )
    .unwrap();
    let both = sam.embed_batch(&[&upside, &image], &mut Unobserved).unwrap();
    let alone = sam.embed(&image, &mut Unobserved).unwrap();
    assert!(error(both[1].cells(), alone.cells()) < 1e-5);
    assert!(error(both[0].cells(), alone.cells()) > 1e-2);

    // ragged on purpose: three kinds, out of order
    let prompts = [
        Prompt::point(20.0, 30.0),
        Prompt::rect(Rect::new(5.0, 5.0, 60.0, 70.0)),
        Prompt::point(70.0, 90.0),
        Prompt::default(),
        Prompt {
            mask: Some(logits(golden.whole("mask_input"))),
            ..Prompt::point(20.0, 30.0)
        },
    ];
    let together = sam.predict(&alone, &prompts, true, &mut Unobserved).unwrap();
    assert_eq!(together.len(), prompts.len());
    for (prompt, got) in prompts.iter().zip(&together) {
        let one = sam
            .predict(&alone, std::slice::from_ref(prompt), true, &mut Unobserved)
            .unwrap();
        let (a, b) = (outputs(std::slice::from_ref(got)), outputs(&one));
        // another shape, another order of summation; the reference itself is 4e-5 from its f64 self here
        assert!(error(&a.0, &b.0) < tolerance::OUTPUT && error(&a.1, &b.1) < tolerance::BLOCK);
    }
}

#[test]
fn bf16_stays_near_f32() {
    for name in ["sam", "mobile-sam"] {
        let (sam, golden) = load(name);
        let checkpoint = Checkpoint::open(fixture(name)).unwrap();
        let half = Sam::load(&checkpoint, DType::BF16, &Device::Cpu).unwrap();
        let image = photo(&golden);
        let prompt = [Prompt::rect(Rect::new(10.0, 15.0, 80.0, 90.0))];
        let run = |sam: &Sam| {
            let embedding = sam.embed(&image, &mut Unobserved).unwrap();
            assert_eq!(embedding.cells().dtype() == DType::BF16, std::ptr::eq(sam, &half));
            outputs(&sam.predict(&embedding, &prompt, true, &mut Unobserved).unwrap())
        };
        let (want, got) = (run(&sam), run(&half));
        let (a, b) = (floats(&want.0), floats(&got.0));
        let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        let cosine = dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt();
        assert!(cosine > 0.999, "{name}: cosine {cosine}");
        assert!(error(&got.1, &want.1) < 0.02, "{name}: predicted IoU");
    }
}

#[test]
fn an_observer_can_stop_a_pass() {
    let (sam, golden) = load("sam");
    let image = photo(&golden);
    let mut calls = 0;
    let result = sam.embed(&image, &mut |stage: Stage, value| {
        calls += 1;
        match stage.name {
            "vision.block" => Err(dragunov_models::ModelError::Cancelled),
            _ => Ok(value),
        }
    });
    assert!(matches!(result, Err(dragunov_models::ModelError::Cancelled)));
    assert!(calls < 5, "stopped after {calls} stages");
}
