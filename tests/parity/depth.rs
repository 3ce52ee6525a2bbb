//! Depth Anything V2 against transformers and against the original preparation, stage by stage.

use std::path::Path;

use candle_core::{DType, Device, Result as CandleResult, Tensor};
use dragunov_models::checkpoint::Checkpoint;
use dragunov_models::depth_anything::{Depth, DepthAnything, Policy};
use dragunov_models::nn::upsample_bilinear;
use dragunov_models::observer::{Stage, Unobserved};
use dragunov_models::resample::{TorchResize, resize_on_host};
use dragunov_models::{ModelError, RgbImage};
use tempfile::TempDir;

use crate::compare::{Stages, device, error, fixture, tolerance};
use crate::golden::Golden;

pub const FILE: &str = "depth/golden.safetensors";

pub fn load(dir: impl AsRef<Path>) -> DepthAnything {
    let checkpoint = Checkpoint::open(dir).unwrap();
    DepthAnything::load(&checkpoint, DType::F32, &device()).unwrap()
}

pub fn photo(golden: &Golden, name: &str) -> RgbImage {
    let t = golden.whole(&format!("photo/{name}"));
    let (h, w, _) = t.dims3().unwrap();
    RgbImage::new(w, h, t.flatten_all().unwrap().to_vec1().unwrap()).unwrap()
}

fn policy(name: &str) -> Policy {
    match name {
        "hf" => Policy::Hf,
        "original" => Policy::Original,
        other => panic!("{other}"),
    }
}

/// The checkpoint `relative` with some fields of its config replaced (dotted paths).
pub fn variant(edits: &[(&str, serde_json::Value)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in ["config.json", "preprocessor_config.json", "model.safetensors"] {
        std::fs::copy(fixture("depth/relative").join(file), dir.path().join(file)).unwrap();
    }
    let path = dir.path().join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for (field, value) in edits {
        let pointer = format!("/{}", field.replace('.', "/"));
        *config.pointer_mut(&pointer).unwrap() = value.clone();
    }
    std::fs::write(&path, config.to_string()).unwrap();
    dir
}

fn stage_tolerance(stage: &str) -> f64 {
    match stage.split('.').next().unwrap() {
        "patch_embed" | "position" | "embeddings" => tolerance::LAYER,
        "block" => tolerance::BLOCK,
        "depth" | "result" => tolerance::OUTPUT,
        _ => tolerance::STACK,
    }
}

pub type Mutation = dyn FnMut(&str, Tensor) -> CandleResult<Tensor>;

/// Runs a case (`checkpoint/policy/photo`) and compares every stage that the golden file has of it.
pub fn compare(golden: &Golden, model: &DepthAnything, case: &str, mutation: &mut Mutation) -> Stages {
    let mut parts = case.split('/').skip(1);
    let policy = policy(parts.next().unwrap());
    let photo = photo(golden, parts.next().unwrap());
    let known = golden.names(&format!("{case}/"));
    let mut stages = Stages::default();

    let pixels = model.prepare(&photo, policy).unwrap();
    stages.check(
        "pixels",
        &pixels,
        golden.get(&format!("{case}/pixels")),
        tolerance::LAYER,
    );
    let mut seen = 1;
    let depth = model
        .forward(&pixels, policy, &mut |stage: Stage, x: Tensor| {
            let stage = stage.to_string();
            let x = mutation(&stage, x)?;
            let name = format!("{case}/{stage}");
            if known.contains(&name.as_str()) {
                stages.check(&stage, &x, golden.get(&name), stage_tolerance(&stage));
                seen += 1;
            }
            Ok(x)
        })
        .unwrap();
    let result = model
        .to_photo(&depth, &photo, policy)
        .unwrap()
        .squeeze(0)
        .unwrap();
    stages.check(
        "result",
        &result,
        golden.get(&format!("{case}/result")),
        tolerance::OUTPUT,
    );
    assert_eq!(
        seen + 1,
        known.len(),
        "{case}: the observer did not meet every golden stage of {known:?}"
    );
    stages
}

pub fn faithful(_: &str, x: Tensor) -> CandleResult<Tensor> {
    Ok(x)
}

#[test]
fn relative_agrees_under_both_policies() {
    let golden = Golden::open(FILE);
    let model = load(fixture("depth/relative"));
    for policy in ["hf", "original"] {
        for photo in ["wide", "tall", "square", "small"] {
            compare(
                &golden,
                &model,
                &format!("relative/{policy}/{photo}"),
                &mut faithful,
            )
            .finish();
        }
    }
}

#[test]
fn metric_head_agrees_and_is_typed_as_metres() {
    let golden = Golden::open(FILE);
    let dir = variant(&[
        ("depth_estimation_type", "metric".into()),
        ("max_depth", 20.into()),
    ]);
    let model = load(dir.path());
    compare(&golden, &model, "metric/hf/wide", &mut faithful).finish();
    let photo = photo(&golden, "wide");
    let depth = model.infer(&photo, Policy::Hf, &mut Unobserved).unwrap();
    assert!(matches!(depth, Depth::Metric(_)));
    assert_eq!(depth.size(), (131, 97));
    let want = golden.get("metric/hf/wide/result");
    let got = Tensor::from_slice(depth.values(), want.dims(), &Device::Cpu).unwrap();
    assert!(want.error(&got) <= tolerance::OUTPUT);
}

#[test]
fn swiglu_in_the_new_layout_agrees() {
    let golden = Golden::open(FILE);
    compare(
        &golden,
        &load(fixture("depth/swiglu")),
        "swiglu/hf/tall",
        &mut faithful,
    )
    .finish();
}

#[test]
fn a_batch_equals_its_pictures_one_by_one() {
    let golden = Golden::open(FILE);
    let model = load(fixture("depth/relative"));
    let photo = photo(&golden, "wide");
    let prepared = |policy| model.prepare(&photo, policy).unwrap();
    let (one, two) = (&prepared(Policy::Hf), &prepared(Policy::Original));
    let batch = Tensor::cat(&[one, two, one], 0).unwrap();
    let depth = model.forward(&batch, Policy::Hf, &mut Unobserved).unwrap();
    assert_eq!(depth.dims(), [3, 70, 98]);
    for (i, pixels) in [one, two, one].into_iter().enumerate() {
        let alone = model.forward(pixels, Policy::Hf, &mut Unobserved).unwrap();
        assert!(
            error(&depth.narrow(0, i, 1).unwrap(), &alone) <= 1e-5,
            "picture {i}"
        );
    }
    assert!(error(&depth.narrow(0, 1, 1).unwrap(), &depth.narrow(0, 0, 1).unwrap()) > 1e-3);
}

#[test]
fn f16_is_refused() {
    let checkpoint = Checkpoint::open(fixture("depth/relative")).unwrap();
    let refused = DepthAnything::load(&checkpoint, DType::F16, &Device::Cpu).unwrap_err();
    assert!(matches!(refused, ModelError::Precision { .. }), "{refused}");
}

#[test]
fn extreme_photos_give_a_raster_or_a_typed_error() {
    let model = load(fixture("depth/relative"));
    let plain = |w: usize, h: usize| RgbImage::new(w, h, vec![90; w * h * 3]).unwrap();
    for (w, h) in [(1, 1), (2, 1), (5, 9), (14, 14), (70, 70), (333, 70)] {
        for policy in [Policy::Hf, Policy::Original] {
            let depth = model.infer(&plain(w, h), policy, &mut Unobserved).unwrap();
            assert_eq!(depth.size(), (w, h));
            assert!(depth.values().iter().all(|v| v.is_finite()));
        }
    }
    for (w, h) in [(1, 5000), (5000, 1)] {
        for policy in [Policy::Hf, Policy::Original] {
            let refused = model.infer(&plain(w, h), policy, &mut Unobserved).unwrap_err();
            assert!(matches!(refused, ModelError::Image { .. }), "{refused}");
        }
    }
    let narrow = Tensor::zeros((1, 3, 13, 70), DType::F32, &Device::Cpu).unwrap();
    assert!(matches!(
        model.forward(&narrow, Policy::Hf, &mut Unobserved),
        Err(ModelError::Image { .. })
    ));
}

/// The checks that show that the fixtures have power: each mistake must be found, at the stage where it is made.
mod mutations {
    use super::*;

    const CASE: &str = "relative/hf/wide";

    fn must_diverge(model: &DepthAnything, case: &str, at: &str, mutation: &mut Mutation) {
        let golden = Golden::open(FILE);
        let message = compare(&golden, model, case, mutation)
            .first_divergence()
            .expect("the mutation went unnoticed");
        assert!(message.contains(&format!("stage: {at} ")), "{message}");
    }

    #[test]
    fn tanh_gelu() {
        let dir = variant(&[("backbone_config.hidden_act", "gelu_new".into())]);
        must_diverge(&load(dir.path()), CASE, "block.0.mlp.act", &mut faithful);
    }

    /// In the sample of the golden file (every 17th element from the first) and beside it.
    #[test]
    fn one_element() {
        let model = load(fixture("depth/relative"));
        let golden = Golden::open(FILE);
        for stage in ["block.1.mlp.act", "fusion.3", "depth"] {
            let name = format!("{CASE}/{stage}");
            let len: usize = golden.get(&name).dims().iter().product();
            for at in [0, 1, 17, 1000, len - 1] {
                let mut mutation = move |seen: &str, x: Tensor| {
                    if seen != stage {
                        return Ok(x);
                    }
                    let mut values: Vec<f32> = x.flatten_all()?.to_vec1()?;
                    let largest = values.iter().fold(1.0f32, |m, v| m.max(v.abs()));
                    values[at] += 1.5 * stage_tolerance(stage) as f32 * largest;
                    Tensor::from_vec(values, x.shape(), x.device())
                };
                must_diverge(&model, CASE, stage, &mut mutation);
            }
        }
    }

    #[test]
    fn layer_norm_eps() {
        let dir = variant(&[("backbone_config.layer_norm_eps", 1e-5.into())]);
        let golden = Golden::open(FILE);
        let eps = compare(&golden, &load(dir.path()), CASE, &mut faithful);
        let right = compare(&golden, &load(fixture("depth/relative")), CASE, &mut faithful);
        // Tokens of order one hide 1e-5 beside their variance; the tolerance still has to see it.
        assert!(
            eps.first_divergence().is_some(),
            "worst {:.1e} (right: {:.1e})",
            eps.worst(),
            right.worst()
        );
    }

    #[test]
    fn final_norm_missing_on_taps() {
        let dir = variant(&[("backbone_config.apply_layernorm", false.into())]);
        must_diverge(&load(dir.path()), CASE, "tap.0", &mut faithful);
    }

    #[test]
    fn tap_one_block_early() {
        let dir = variant(&[
            ("backbone_config.out_indices", serde_json::json!([0, 1, 2, 3])),
            (
                "backbone_config.out_features",
                serde_json::json!(["stem", "stage1", "stage2", "stage3"]),
            ),
        ]);
        must_diverge(&load(dir.path()), CASE, "tap.0", &mut faithful);
    }

    #[test]
    fn transposed_convolution_with_swapped_channels() {
        let dir = variant(&[]);
        let path = dir.path().join("model.safetensors");
        let mut weights = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
        let key = "neck.reassemble_stage.layers.0.resize.weight";
        let swapped = weights[key].transpose(0, 1).unwrap().contiguous().unwrap();
        weights.insert(key.into(), swapped);
        candle_core::safetensors::save(&weights, &path).unwrap();
        must_diverge(&load(dir.path()), CASE, "reassemble.0", &mut faithful);
    }

    /// Redoes the upsampling of a stage with the other convention.
    fn flipped(
        before: &'static str,
        after: &'static str,
    ) -> impl FnMut(&str, Tensor) -> CandleResult<Tensor> {
        let mut input = None;
        move |stage, x| {
            if stage == before {
                input = Some(x.clone());
            }
            match &input {
                Some(input) if stage == after => {
                    let (_, _, h, w) = x.dims4()?;
                    upsample_bilinear(input, h, w, false)
                }
                _ => Ok(x),
            }
        }
    }

    #[test]
    fn align_corners_flipped_in_fusion() {
        let mut mutation = flipped("fusion.1.fused", "fusion.1.up");
        must_diverge(&load(fixture("depth/relative")), CASE, "fusion.1", &mut mutation);
    }

    #[test]
    fn align_corners_flipped_in_the_head() {
        let mut mutation = flipped("head.conv1", "head.up");
        must_diverge(
            &load(fixture("depth/relative")),
            CASE,
            "head.conv3",
            &mut mutation,
        );
    }

    /// The trained embeddings at another grid, by another rule.
    fn repositioned(
        trained: Tensor,
        resize: TorchResize,
        swapped: bool,
    ) -> impl FnMut(&str, Tensor) -> CandleResult<Tensor> {
        move |stage, x| {
            if stage != "position" {
                return Ok(x);
            }
            let width = trained.dim(2)?;
            let grid = trained.narrow(1, 1, 25)?.reshape((5, 5, width))?;
            let axes = if swapped { (2, 1, 0) } else { (2, 0, 1) };
            let planes = grid.permute(axes)?;
            let resized = resize_on_host(&planes, 5, 7, &resize).unwrap();
            let grid = resized.permute((1, 2, 0))?.reshape((1, 35, width))?;
            Tensor::cat(&[&trained.narrow(1, 0, 1)?, &grid], 1)
        }
    }

    #[test]
    fn position_embedding_by_another_rule() {
        let path = fixture("depth/relative/model.safetensors");
        let weights = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
        let trained = &weights["backbone.embeddings.position_embeddings"];
        let model = load(fixture("depth/relative"));
        let right = repositioned(trained.clone(), TorchResize::bicubic(), false);
        compare(&Golden::open(FILE), &model, CASE, &mut { right }).finish();
        let by_factor = TorchResize::bicubic().scale_factor(5.1 / 5.0, 7.1 / 5.0);
        for (resize, swapped) in [
            (TorchResize::bilinear(), false),
            (TorchResize::bicubic().antialias(), false),
            (TorchResize::bicubic().align_corners(true), false),
            (TorchResize::bicubic(), true),
            (by_factor, false),
        ] {
            let mut mutation = repositioned(trained.clone(), resize, swapped);
            must_diverge(&model, CASE, "position", &mut mutation);
        }
    }
}
