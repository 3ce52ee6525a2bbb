//! Automatic masks against the original generator: its rules on given logits, and the whole of it.

use candle_core::{DType, Device};
use dragunov_models::checkpoint::Checkpoint;
use dragunov_models::observer::Unobserved;
use dragunov_models::sam::{
    AmgConfig, AutoMask, Composite, Fit, MaskLogits, PointMask, PointPrompted, Preprocess, Sam, crop_boxes,
    generate, point_grid,
};
use dragunov_models::{ImagePx, Mask, Point, Result, RgbImage};
use serde::Deserialize;

use crate::compare::fixture;
use crate::golden::Golden;
use crate::sam::photo;
use crate::sam_layouts::in_original_layout;

#[derive(Deserialize)]
struct Cases {
    fake: Vec<Case>,
    crops: Vec<CropCase>,
    model: ModelCase,
}

#[derive(Deserialize)]
struct Case {
    height: usize,
    width: usize,
    config: Settings,
    masks: Vec<Record>,
}

#[derive(Deserialize)]
struct ModelCase {
    config: Settings,
    masks: Vec<Record>,
}

#[derive(Deserialize)]
struct CropCase {
    height: usize,
    width: usize,
    layers: usize,
    boxes: Vec<[usize; 4]>,
    layer: Vec<usize>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    points_per_side: Option<usize>,
    points_per_batch: Option<usize>,
    pred_iou_thresh: Option<f32>,
    stability_score_thresh: Option<f32>,
    box_nms_thresh: Option<f64>,
    crop_n_layers: Option<usize>,
    crop_nms_thresh: Option<f64>,
    crop_n_points_downscale_factor: Option<usize>,
    min_mask_region_area: Option<usize>,
}

impl Settings {
    fn config(&self) -> AmgConfig {
        let d = AmgConfig::default();
        AmgConfig {
            points_per_side: self.points_per_side.unwrap_or(d.points_per_side),
            points_per_batch: self.points_per_batch.unwrap_or(d.points_per_batch),
            pred_iou_thresh: self.pred_iou_thresh.unwrap_or(d.pred_iou_thresh),
            stability_score_thresh: self.stability_score_thresh.unwrap_or(d.stability_score_thresh),
            box_nms_thresh: self.box_nms_thresh.unwrap_or(d.box_nms_thresh),
            crop_n_layers: self.crop_n_layers.unwrap_or(d.crop_n_layers),
            crop_nms_thresh: self.crop_nms_thresh.unwrap_or(d.crop_nms_thresh),
            crop_n_points_downscale_factor: self
                .crop_n_points_downscale_factor
                .unwrap_or(d.crop_n_points_downscale_factor),
            min_mask_region_area: self.min_mask_region_area.unwrap_or(d.min_mask_region_area),
            ..d
        }
    }
}

#[derive(Deserialize)]
struct Record {
    segmentation: Rle,
    area: usize,
    bbox: [u32; 4],
    predicted_iou: f64,
    point_coords: [[f64; 2]; 1],
    stability_score: f64,
    crop_box: [usize; 4],
}

#[derive(Deserialize)]
struct Rle {
    size: [usize; 2],
    counts: String,
}

fn cases() -> Cases {
    serde_json::from_slice(&std::fs::read(fixture("sam-amg/amg.json")).unwrap()).unwrap()
}

/// The generator script's `FakePredictor`: three discs per point, exact in f32.
struct Fake(Preprocess);

const LOW: usize = 40;

impl PointPrompted for Fake {
    type Embedding = Fit;

    fn embed(&mut self, image: &RgbImage) -> Result<Fit> {
        self.0.fit(image.width(), image.height())
    }

    fn composite(&self, fit: &Fit) -> Composite {
        Composite::new(LOW, self.0.side(), *fit)
    }

    fn masks(&mut self, fit: &Fit, points: &[Point<ImagePx>]) -> Result<Vec<Vec<PointMask>>> {
        let ratio = |new: usize, old: usize| new as f64 / old as f64;
        let (sx, sy) = (
            ratio(fit.resized.0, fit.original.0),
            ratio(fit.resized.1, fit.original.1),
        );
        points.iter().map(|p| discs(p.x * sx, p.y * sy)).collect()
    }
}

fn discs(px: f64, py: f64) -> Result<Vec<PointMask>> {
    let snapped = |v: f64| (v / 4.0) as i64 / 8 * 8 + 4;
    let (cx, cy) = (snapped(px), snapped(py));
    let squared = |x: usize, y: usize, cx: i64, cy: i64| {
        let (dx, dy) = (x as i64 - cx, y as i64 - cy);
        (dx * dx + dy * dy) as f32
    };
    (0..3)
        .map(|k| {
            let mut values = Vec::with_capacity(LOW * LOW);
            for y in 0..LOW {
                for x in 0..LOW {
                    let d = squared(x, y, cx, cy);
                    let disc = |r: f32| r * r - d + 0.21875;
                    values.push(match k {
                        0 => disc(5.0),
                        1 => disc(9.0).min(d - 6.25 - 0.21875) * 4.0,
                        _ => {
                            let far = squared(x, y, (cx + 16) % 40, (cy + 24) % 40);
                            disc(14.0).max(6.25 - far + 0.21875) * 4.0
                        }
                    });
                }
            }
            let hash = (cx / 8 * 7 + cy / 8 * 13 + k * 5) % 23;
            Ok(PointMask {
                logits: MaskLogits::new(LOW, values)?,
                iou: (0.80 + hash as f64 / 100.0) as f32,
            })
        })
        .collect()
}

fn same_record(i: usize, got: &AutoMask, want: &Record) {
    assert_eq!(got.coco_bbox(), want.bbox, "bbox of mask {i}");
    let [x, y] = want.point_coords[0];
    assert!(
        (got.point.x - x).abs() < 1e-9 && (got.point.y - y).abs() < 1e-9,
        "point {i}"
    );
    assert!(
        (f64::from(got.iou) - want.predicted_iou).abs() < 1e-4,
        "iou of mask {i}"
    );
    assert!(
        (f64::from(got.stability) - want.stability_score).abs() < 1e-3,
        "stability of mask {i}"
    );
    let crop = got.crop;
    assert_eq!(
        [crop.x0, crop.y0, crop.x1 - crop.x0, crop.y1 - crop.y0],
        want.crop_box,
        "crop {i}"
    );
    assert_eq!([got.mask.height(), got.mask.width()], want.segmentation.size);
}

#[test]
fn the_original_rules_give_the_same_masks_in_the_same_order() {
    for case in cases().fake {
        let image = RgbImage::new(case.width, case.height, vec![0; case.width * case.height * 3]).unwrap();
        let found = generate(
            &mut Fake(Preprocess::original(160)),
            &image,
            &case.config.config(),
        )
        .unwrap();
        assert_eq!(
            found.len(),
            case.masks.len(),
            "masks of {} x {}",
            case.width,
            case.height
        );
        for (i, (got, want)) in found.iter().zip(&case.masks).enumerate() {
            same_record(i, got, want);
            assert_eq!(got.mask.to_coco_string(), want.segmentation.counts, "mask {i}");
            assert_eq!(got.mask.area(), want.area, "area of mask {i}");
            let [h, w] = want.segmentation.size;
            let read = Mask::from_coco_string(w, h, &want.segmentation.counts);
            assert_eq!(read.as_ref(), Some(&got.mask), "mask {i} read back");
        }
    }
}

/// Thinned at the decoder's resolution first, nearly the same masks stay, and none that the full rules would drop.
#[test]
fn screening_first_finds_nearly_the_same_masks() {
    for case in cases().fake {
        let image = RgbImage::new(case.width, case.height, vec![0; case.width * case.height * 3]).unwrap();
        let masks = |screen: bool| {
            let config = AmgConfig {
                screen,
                ..case.config.config()
            };
            generate(&mut Fake(Preprocess::original(160)), &image, &config).unwrap()
        };
        let (all, screened) = (masks(false), masks(true));
        let missing = |of: &[AutoMask], among: &[AutoMask]| {
            let twin = |m: &&AutoMask| among.iter().any(|o| o.mask.iou(&m.mask) > 0.9);
            of.len() - of.iter().filter(twin).count()
        };
        let (lost, new) = (missing(&all, &screened), missing(&screened, &all));
        assert!(
            lost + new <= all.len() / 10,
            "{} x {}: of {} masks {lost} are lost, {new} are new",
            case.width,
            case.height,
            all.len()
        );
        let least = case.config.config().stability_score_thresh;
        assert!(screened.iter().all(|m| least <= 0.0 || m.stability >= least));
    }
}

#[test]
fn crops_are_the_originals() {
    for case in cases().crops {
        let crops = crop_boxes((case.width, case.height), case.layers, 512.0 / 1500.0);
        let boxes: Vec<_> = crops.iter().map(|c| [c.x0, c.y0, c.x1, c.y1]).collect();
        assert_eq!(boxes, case.boxes, "{} x {}", case.width, case.height);
        assert_eq!(crops.iter().map(|c| c.layer).collect::<Vec<_>>(), case.layer);
    }
    // x runs fastest
    assert_eq!(
        point_grid(2),
        [(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)]
    );
    assert_eq!(point_grid(1), [(0.5, 0.5)]);
}

#[test]
fn the_whole_generator_agrees_with_the_original() {
    let case = cases().model;
    let golden = Golden::open("sam-amg/golden.safetensors");
    let dir = in_original_layout("");
    let sam = Sam::load(&Checkpoint::open(dir.path()).unwrap(), DType::F32, &Device::Cpu).unwrap();
    let found = sam
        .generate(&photo(&golden), &case.config.config(), &mut Unobserved)
        .unwrap();
    assert_eq!(found.len(), case.masks.len());
    for (i, (got, want)) in found.iter().zip(&case.masks).enumerate() {
        same_record(i, got, want);
        let [h, w] = want.segmentation.size;
        let mask = Mask::from_coco_string(w, h, &want.segmentation.counts).unwrap();
        assert!(
            got.mask.iou(&mask) > 0.999,
            "mask {i}: IoU {}",
            got.mask.iou(&mask)
        );
    }
}

#[test]
fn settings_without_a_meaning_are_refused() {
    let image = RgbImage::new(9, 9, vec![0; 243]).unwrap();
    let refused = |config: AmgConfig| {
        let error = generate(&mut Fake(Preprocess::original(160)), &image, &config).unwrap_err();
        assert!(error.to_string().contains("automatic masks"), "{error}");
    };
    let base = AmgConfig::default;
    refused(AmgConfig {
        points_per_side: 0,
        ..base()
    });
    refused(AmgConfig {
        points_per_batch: 0,
        ..base()
    });
    refused(AmgConfig {
        crop_n_layers: 40,
        ..base()
    });
    refused(AmgConfig {
        crop_overlap_ratio: f64::NAN,
        ..base()
    });
    refused(AmgConfig {
        crop_n_points_downscale_factor: 0,
        ..base()
    });
    // more crops than pixels: crops without pixels are an error, not a panic
    let dot = RgbImage::new(2, 2, vec![0; 12]).unwrap();
    let config = AmgConfig {
        crop_n_layers: 3,
        points_per_side: 2,
        ..base()
    };
    let _ = generate(&mut Fake(Preprocess::original(160)), &dot, &config);
}
