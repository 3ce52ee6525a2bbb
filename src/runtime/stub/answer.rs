//! The stub's fixed meal: two items at fixed places of the photo, in the shape of a real answer.

use dragunov_models::{Mask, RgbImage};

use crate::contract::model_answer::*;
use crate::contract::photos::{PhotoError, PhotoInfo, PhotoItem, PhotoView};
use crate::contract::recompute::Origins;
use crate::contract::request::{MaskFormat, ScanRequest};
use crate::contract::result::*;
use crate::contract::{
    DepthSource, Estimated, FovSource, Kind, ScaleSource, ScanError, TiltSource, Timings, Warning,
    WarningCode,
};
use crate::food_store::FoodStore;
use crate::intake::Photo;
use crate::nutrition::Note;
use crate::overlay;
use crate::runtime::ModelTask;

pub(super) fn of(request: &ScanRequest, photo: &Photo) -> Result<ScanResult, ScanError> {
    let (width, height) = (photo.image.width(), photo.image.height());
    let masks = request.options.masks != MaskFormat::None;
    // Six digits: an angle that was given comes back as it was written.
    let degrees = |angle: f64| (angle * 1e6).round() / 1e6;
    let items = vec![
        item(&Food::RICE, "item-1", [0.36, 0.52, 0.17], (width, height), masks),
        item(
            &Food::CHICKEN,
            "item-2",
            [0.65, 0.45, 0.12],
            (width, height),
            masks,
        ),
    ];
    let sum = |of: fn(&Item) -> Estimated| {
        let parts = items.iter().map(of);
        let (p10, p50, p90) = parts.fold((0.0, 0.0, 0.0), |t, e| (t.0 + e.p10, t.1 + e.p50, t.2 + e.p90));
        Estimated { p10, p50, p90 }
    };
    Ok(ScanResult {
        scan_id: request.scan_id.clone(),
        user_id: request.user_id.clone(),
        status: ScanStatus::PendingConfirmation,
        image: ImageInfo {
            width,
            height,
            exif_orientation: photo.orientation,
        },
        totals: Totals {
            mass_g: sum(|i| i.mass_g),
            kcal: sum(|i| i.kcal),
            protein_g: sum(|i| i.protein_g),
            carbs_g: sum(|i| i.carbs_g),
            fat_g: sum(|i| i.fat_g),
        },
        items,
        photos: Vec::new(),
        depth_source: DepthSource::Network,
        camera: CameraInfo {
            focal_px: 0.75 * width.max(height) as f64,
            fov_long_deg: 67.4,
            fov_source: FovSource::Default,
            fov_sigma_ln: 0.1,
            tilt_deg: photo.gravity.map_or(45.0, |g| degrees(g.tilt_deg())),
            roll_deg: photo.gravity.map_or(0.0, |g| degrees(g.roll_deg())),
            tilt_source: vec![photo.gravity.map_or(TiltSource::Circle, |_| TiltSource::Gravity)],
            gravity_source: photo.gravity.map(|g| g.source),
            tilt_from_circle_deg: None,
        },
        scale: ScaleInfo {
            source: ScaleSource::PlatePrior,
            camera_height_cm: Estimated::log_normal(38.0, 0.15),
            candidates: vec![ScaleCandidate {
                source: ScaleSource::PlatePrior,
                camera_height_cm: 38.0,
                sigma_ln: 0.15,
                used: true,
            }],
        },
        plane_fit: PlaneFit {
            inlier_fraction: 0.91,
            residual_rel: 0.012,
            correlation: Some(0.98),
            nadir_degenerate: false,
        },
        models: Models {
            set: "stub".into(),
            sam: "none".into(),
            depth: "none".into(),
            identify: "none".into(),
            arithmetic: String::new(),
        },
        foods: FoodStore::builtin().current().info,
        timings_ms: Timings::default(),
        warnings: vec![Warning::new(
            WarningCode::StubEngine,
            "made up by the test engine: nothing on this photo was measured",
        )],
        reshoot_hint: None,
        reshoot: Vec::new(),
        note: request.note.as_ref().map(|text| NoteInfo {
            text: text.clone(),
            portion: Note::read(text).portion,
        }),
        overlay: picture(request.options.overlay, &photo.image)?,
        depth: picture(request.options.depth, &ramp(width, height)?)?,
        edits: Vec::new(),
        original: None,
    })
}

/// What one of several photos is said to have contributed.
pub(super) fn photo_info(photo: usize, outcome: Result<&ScanResult, &ScanError>) -> PhotoInfo {
    let seen = |result: &ScanResult| PhotoView {
        image: result.image.clone(),
        camera: result.camera.clone(),
        scale: result.scale.clone(),
        plane_fit: result.plane_fit.clone(),
        depth_source: result.depth_source,
    };
    let item = |item: &Item| PhotoItem {
        item: Some(item.id.clone()),
        label: item.label.clone(),
        confidence: item.confidence,
        bbox: item.bbox,
        mask: item.mask.clone(),
        volume_cm3: item.volume_cm3,
        volume_sigma_ln: item.volume_sigma_ln,
        weight: 0.5,
    };
    PhotoInfo {
        photo,
        used: outcome.is_ok(),
        error: outcome.err().map(PhotoError::from),
        view: outcome.ok().map(seen),
        warnings: outcome.map_or_else(|_| Vec::new(), |result| result.warnings.clone()),
        items: outcome.map_or_else(|_| Vec::new(), |result| result.items.iter().map(item).collect()),
    }
}

/// One mask, a ramp, an apple.
pub(super) fn of_one_model(task: ModelTask, photo: &Photo) -> Result<ModelAnswer, ScanError> {
    let (width, height) = (photo.image.width(), photo.image.height());
    Ok(match task {
        ModelTask::Segment => ModelAnswer::Segment(SegmentAnswer {
            masks: vec![SegmentMask {
                mask: RunLengths {
                    size: [height, width],
                    counts: coco_counts(ellipse(width, height, [0.36, 0.52, 0.17]).counts()),
                },
                iou: 0.9,
                stability: None,
            }],
        }),
        ModelTask::Depth => ModelAnswer::Depth(DepthAnswer {
            kind: DepthUnit::RelativeDisparity,
            width,
            height,
            min: 0.0,
            max: 1.0,
            picture: picture(true, &ramp(width, height)?)?.unwrap_or_default(),
        }),
        ModelTask::Identify => ModelAnswer::Identify(IdentifyAnswer {
            kind: Kind::Food,
            label: "apple".into(),
            confidence: 0.8,
            alternatives: vec![LabelGuess {
                label: "peach".into(),
                confidence: 0.1,
            }],
        }),
    })
}

fn picture(wanted: bool, image: &RgbImage) -> Result<Option<String>, ScanError> {
    use base64::Engine as _;
    wanted
        .then(|| overlay::png(image).map(|png| base64::engine::general_purpose::STANDARD.encode(png)))
        .transpose()
}

/// Near at the bottom: a table seen from the side.
fn ramp(width: usize, height: usize) -> Result<RgbImage, ScanError> {
    let row = |y: usize| (40 + 200 * y / height.max(1)) as u8;
    let bytes = (0..height).flat_map(|y| std::iter::repeat_n([row(y) / 2, row(y), 255 - row(y)], width));
    Ok(RgbImage::new(width, height, bytes.flatten().collect())?)
}

struct Food {
    label: &'static str,
    id: &'static str,
    cm3: f64,
    density: f64,
    /// Per 100 g: kcal, protein, carbs, fat.
    per_100g: [f64; 4],
    other: (&'static str, &'static str, f64),
}

impl Food {
    const RICE: Self = Self {
        label: "white rice, cooked",
        id: "white_rice",
        cm3: 210.0,
        density: 0.80,
        per_100g: [130.0, 2.7, 28.2, 0.3],
        other: ("fried rice", "fried_rice", 174.0),
    };
    const CHICKEN: Self = Self {
        label: "chicken breast, grilled",
        id: "chicken_breast",
        cm3: 120.0,
        density: 1.05,
        per_100g: [165.0, 31.0, 0.0, 3.6],
        other: ("turkey breast", "turkey_breast", 147.0),
    };
}

/// Centre and radius as shares of the photo's sides.
fn ellipse(w: usize, h: usize, [cx, cy, r]: [f64; 3]) -> Mask {
    let (wf, hf) = (w as f64, h as f64);
    Mask::from_fn(w, h, |x, y| {
        let dx = (x as f64 + 0.5 - cx * wf) / (r * wf);
        let dy = (y as f64 + 0.5 - cy * hf) / (r * wf * 0.8);
        dx * dx + dy * dy <= 1.0
    })
}

/// An item in an [`ellipse`].
fn item(food: &Food, id: &str, [cx, cy, r]: [f64; 3], (w, h): (usize, usize), masks: bool) -> Item {
    let (wf, hf) = (w as f64, h as f64);
    let (x0, x1) = ((cx - r) * wf, (cx + r) * wf);
    let (y0, y1) = (cy * hf - r * wf * 0.8, cy * hf + r * wf * 0.8);
    let mask = ellipse(w, h, [cx, cy, r]);
    let mass = food.cm3 * food.density;
    let of = |value: f64| Estimated::log_normal(value.max(0.05), 0.22);
    Item {
        id: id.into(),
        label: food.label.into(),
        food_id: Some(food.id.into()),
        confidence: 0.82,
        alternatives: vec![Alternative {
            label: food.other.0.into(),
            food_id: Some(food.other.1.into()),
            confidence: 0.11,
            mass_g: mass,
            kcal: mass * food.other.2 / 100.0,
        }],
        bbox: [
            x0.max(0.0).floor(),
            y0.max(0.0).floor(),
            x1.min(wf).ceil(),
            y1.min(hf).ceil(),
        ],
        mask: masks.then(|| MaskData::Rle {
            size: [h, w],
            counts: coco_counts(mask.counts()),
        }),
        photo: 0,
        volume_cm3: Estimated::log_normal(food.cm3, 0.2),
        volume_sigma_ln: VolumeSigma {
            shared: 0.15,
            own: 0.13,
        },
        volume_bounds: VolumeBounds {
            visible_columns_cm3: food.cm3 * 0.9,
            frustum_cm3: food.cm3 * 1.15,
        },
        mean_height_cm: 2.4,
        footprint_cm2: food.cm3 / 2.4,
        density_g_cm3: Estimated::log_normal(food.density, 0.1),
        mass_g: of(mass),
        kcal: of(mass * food.per_100g[0] / 100.0),
        protein_g: of(mass * food.per_100g[1] / 100.0),
        carbs_g: of(mass * food.per_100g[2] / 100.0),
        fat_g: of(mass * food.per_100g[3] / 100.0),
        details: NutrientDetails::default(),
        origins: Origins::default(),
        note: None,
        pieces: 1,
        flags: Vec::new(),
        questions: vec![Question {
            id: format!("{id}-oil"),
            text: "Was it cooked with oil?".into(),
            options: vec![
                QuestionOption {
                    label: "no oil".into(),
                    kcal: 0.0,
                },
                QuestionOption {
                    label: "a tablespoon".into(),
                    kcal: 119.0,
                },
            ],
            suggested: None,
        }],
    }
}

/// COCO's compressed run lengths: differences to the run before the last, in 5-bit groups from character 48.
pub(super) fn coco_counts(counts: &[u32]) -> String {
    let mut text = String::new();
    for (i, &count) in counts.iter().enumerate() {
        let mut x = i64::from(count);
        if i > 2 {
            x -= i64::from(counts[i - 2]);
        }
        loop {
            let mut group = (x & 0x1f) as u8;
            x >>= 5;
            let more = if group & 0x10 != 0 { x != -1 } else { x != 0 };
            if more {
                group |= 0x20;
            }
            text.push(char::from(group + 48));
            if !more {
                break;
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn counts_are_those_of_pycocotools() {
        // Written by pycocotools 2.0 for the same runs.
        assert_eq!(super::coco_counts(&[1, 3]), "13");
        assert_eq!(super::coco_counts(&[32, 6, 4, 6, 12]), "P16408");
        assert_eq!(super::coco_counts(&[310, 190, 400, 300]), "f9n5`<^3");
    }
}
