//! Work that is launched as graphs on the software device, against the same work without: the same numbers, to the bit.

use std::sync::{Arc, Mutex};

use candle_core::{DType, Tensor};
use dragunov_models::checkpoint::Checkpoint;
use dragunov_models::observer::{Observer, Stage};
use dragunov_models::sam::{AmgConfig, MaskLogits, Prediction, Prompt, Sam};
use dragunov_models::{Rect, Result, RgbImage};

use crate::compare::{device, fixture};
use crate::golden::Golden;
use crate::sam::photo;

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some()
}

pub fn asked_for() -> bool {
    let asked = std::env::var_os("DRAGUNOV_CUDA_GRAPHS").is_some_and(|v| v == "1");
    let yes = asked && !device().is_cpu() && !is_set("SOFTCUDA_GRAPH_FAULT");
    if !yes {
        println!("DRAGUNOV_TEST_DEVICE and DRAGUNOV_CUDA_GRAPHS ask for no graphs: not run");
    }
    yes
}

pub fn asked_to_fail() -> bool {
    let yes = !device().is_cpu() && is_set("DRAGUNOV_CUDA_GRAPHS") && is_set("SOFTCUDA_GRAPH_FAULT");
    if !yes {
        println!("DRAGUNOV_CUDA_GRAPHS and SOFTCUDA_GRAPH_FAULT ask for no failing graphs: not run");
    }
    yes
}

/// What is logged meanwhile on this thread.
pub fn logged(f: impl FnOnce()) -> String {
    let log = Log::default();
    let sink = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || sink.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, f);
    String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Counts stages of one name, which it does without where they are within a graph.
pub struct Count {
    pub name: &'static str,
    pub times: usize,
}

impl Observer for Count {
    fn stage(&mut self, stage: Stage, value: Tensor) -> Result<Tensor> {
        self.times += usize::from(stage.name == self.name);
        Ok(value)
    }

    fn looks_inside(&self) -> bool {
        false
    }
}

/// Sees every stage, so that nothing is launched as a graph.
pub fn every_stage(_: Stage, value: Tensor) -> Result<Tensor> {
    Ok(value)
}

struct Case {
    sam: Sam,
    photos: [RgbImage; 2],
    /// Of several numbers and kinds; a batch may hold more than one.
    batches: Vec<Vec<Prompt>>,
}

impl Case {
    fn of(name: &str, dtype: DType) -> Self {
        let golden = Golden::open(&format!("{name}/golden.safetensors"));
        let image = photo(&golden);
        let (w, h) = (image.width(), image.height());
        let turned = image.as_bytes().chunks(3).rev().flatten().copied().collect();
        let points = |n: usize| (0..n).map(|i| Prompt::point((7 * i % w) as f64, (11 * i % h) as f64));
        let rects = |n: usize| {
            (0..n).map(|i| Prompt::rect(Rect::new(i as f64, 3.0, 40.0 + i as f64, 50.0 + 2.0 * i as f64)))
        };
        let sam = Sam::load(&Checkpoint::open(fixture(name)).unwrap(), dtype, &device()).unwrap();
        let side = sam.config().mask_side();
        let logits = |i: usize| (0..side * side).map(move |j| ((i + 37 * j) % 101) as f32 / 10. - 5.);
        let masked = points(3).enumerate().map(|(i, point)| Prompt {
            mask: Some(MaskLogits::new(side, logits(i).collect()).unwrap()),
            ..point
        });
        Self {
            photos: [RgbImage::new(w, h, turned).unwrap(), image],
            batches: vec![
                points(1).collect(),
                points(5).chain(rects(2)).collect(),
                rects(3).collect(),
                points(11).collect(),
                masked.collect(),
            ],
            sam,
        }
    }

    /// Answers about both photos in turn, all of them held until the last is there.
    fn run(&self, observer: &mut dyn Observer) -> Vec<Vec<Prediction>> {
        let embeddings = self
            .photos
            .each_ref()
            .map(|photo| self.sam.embed(photo, observer).unwrap());
        let mut all = Vec::new();
        for multimask in [true, false] {
            for _ in 0..2 {
                for batch in &self.batches {
                    for embedding in &embeddings {
                        all.push(self.sam.predict(embedding, batch, multimask, observer).unwrap());
                    }
                }
            }
        }
        all
    }

    /// Logits of which stay on the device while others are made.
    fn found(&self, observer: &mut dyn Observer) -> Vec<(Vec<u32>, u32)> {
        let config = AmgConfig {
            points_per_side: 5,
            points_per_batch: 4,
            pred_iou_thresh: 0.,
            stability_score_thresh: 0.,
            box_nms_thresh: 1.,
            screen: true,
            ..AmgConfig::default()
        };
        let found = self.photos.iter().flat_map(|photo| {
            let masks = self.sam.generate(photo, &config, observer).unwrap();
            masks
                .into_iter()
                .map(|mask| (mask.mask.counts().to_vec(), mask.iou.to_bits()))
        });
        found.collect()
    }
}

fn same(found: &[Vec<Prediction>], wanted: &[Vec<Prediction>]) {
    assert_eq!(found.len(), wanted.len());
    for (i, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        assert_eq!(found.len(), wanted.len());
        for (a, b) in found.iter().zip(wanted) {
            assert_eq!(a.candidates.len(), b.candidates.len());
            for (a, b) in a.candidates.iter().zip(&b.candidates) {
                assert_eq!(a.iou.to_bits(), b.iou.to_bits(), "call {i}");
                assert!(a.logits == b.logits && a.mask == b.mask, "call {i}");
            }
        }
    }
}

#[test]
fn masks_by_graphs() {
    if !asked_for() {
        return;
    }
    for (name, dtype) in [
        ("sam", DType::F32),
        ("sam", DType::BF16),
        ("mobile-sam", DType::F32),
    ] {
        let case = Case::of(name, dtype);
        let mut within = Count {
            name: "decoder.upscaled",
            times: 0,
        };
        let (found, drawn) = (case.run(&mut within), case.found(&mut within));
        assert_eq!(within.times, 0, "{name}: not all was launched as graphs");
        same(&found, &case.run(&mut every_stage));
        assert!(drawn.len() > 4, "{name}: {} masks", drawn.len());
        assert_eq!(drawn, case.found(&mut every_stage));
        let [one, other] = [&found[0], &found[1]].map(|answers| answers[0].candidates[0].logits.values());
        assert!(one != other, "{name}: both photos are one");
    }
}

/// Of the software device, told to fail: the same masks, and a word about it, once.
#[test]
fn masks_where_graphs_fail() {
    if !asked_to_fail() {
        return;
    }
    let said = logged(|| {
        let mut case = Case::of("sam", DType::F32);
        case.batches.truncate(2);
        let mut within = Count {
            name: "decoder.upscaled",
            times: 0,
        };
        let found = case.run(&mut within);
        assert!(within.times > 0, "nothing was made without graphs");
        same(&found, &case.run(&mut every_stage));
    });
    assert_eq!(said.matches("not launched as graphs").count(), 1, "{said}");
}
