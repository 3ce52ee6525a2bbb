//! Automatic mask generation by the rules of the original code: a grid of points on the photo and on crops of it,
//! filters, and box suppression within and between crops.

mod crops;
mod geometry;
mod regions;
mod screen;

use dragunov_kernels::{MaskAt, MaskBits, MaskFacts, MaskThresholds, draw_masks};
use rayon::prelude::*;

use super::composite::{Composite, THRESHOLD, place};
use super::prompt::MaskLogits;
use crate::{ImagePx, Mask, ModelError, Point, Rect, Result, RgbImage};
pub use crops::{Crop, crop_boxes, point_grid};
use geometry::{CornerBox, suppress};
use screen::Screen;
pub use screen::Sieve;

/// Settings; defaults are those of the original generator.
#[derive(Debug, Clone, PartialEq)]
pub struct AmgConfig {
    pub points_per_side: usize,
    pub points_per_batch: usize,
    /// Masks at or below this predicted IoU are dropped; 0 keeps all.
    pub pred_iou_thresh: f32,
    /// Masks below this stability are dropped; 0 keeps all.
    pub stability_score_thresh: f32,
    /// Stability is the IoU of the masks at thresholds `+offset` and `-offset`.
    pub stability_score_offset: f32,
    /// Boxes of one crop that overlap more than this are duplicates.
    pub box_nms_thresh: f64,
    /// Layers of crops; layer `i` has `2^(i+1)` crops a side.
    pub crop_n_layers: usize,
    /// As `box_nms_thresh`, between crops.
    pub crop_nms_thresh: f64,
    pub crop_overlap_ratio: f64,
    /// Layer `i` has `points_per_side / factor^i` points a side.
    pub crop_n_points_downscale_factor: usize,
    /// Holes and islands smaller than this many pixels are removed; 0 leaves masks alone.
    pub min_mask_region_area: usize,
    /// Stability and duplicates are first settled at the decoder's resolution, and only what stays is drawn at the
    /// photo's and judged again. Not the original's rule: it draws every candidate, most of the work where many points
    /// fall on one thing. Masks on the edge of a threshold may fall on its other side.
    pub screen: bool,
}

impl Default for AmgConfig {
    fn default() -> Self {
        Self {
            points_per_side: 32,
            points_per_batch: 64,
            pred_iou_thresh: 0.88,
            stability_score_thresh: 0.95,
            stability_score_offset: 1.0,
            box_nms_thresh: 0.7,
            crop_n_layers: 0,
            crop_nms_thresh: 0.7,
            crop_overlap_ratio: 512.0 / 1500.0,
            crop_n_points_downscale_factor: 1,
            min_mask_region_area: 0,
            screen: false,
        }
    }
}

impl AmgConfig {
    /// # Errors
    /// [`ModelError::Prompt`] for settings without a meaning.
    fn validate(&self) -> Result<()> {
        let refuse = |what: &str| Err(ModelError::Prompt(format!("automatic masks: {what}")));
        if self.points_per_side == 0 || self.points_per_side > 1024 {
            return refuse("points_per_side must lie between 1 and 1024");
        }
        if self.points_per_batch == 0 {
            return refuse("points_per_batch must be positive");
        }
        if self.crop_n_layers > 6 {
            return refuse("crop_n_layers above 6 cuts more than 5000 crops");
        }
        if self.crop_n_points_downscale_factor == 0 {
            return refuse("crop_n_points_downscale_factor must be positive");
        }
        if !(0.0..1.0).contains(&self.crop_overlap_ratio) {
            return refuse("crop_overlap_ratio must lie between 0 and 1");
        }
        Ok(())
    }
}

/// One mask found.
#[derive(Debug, Clone, PartialEq)]
pub struct AutoMask {
    pub mask: Mask,
    /// Predicted by the model.
    pub iou: f32,
    pub stability: f32,
    /// The point that found it.
    pub point: Point<ImagePx>,
    /// The crop that it was found in.
    pub crop: Crop,
    corners: CornerBox,
}

impl AutoMask {
    /// Tight box around the mask, upper edges exclusive; `None` for an empty mask.
    pub fn bbox(&self) -> Option<Rect<ImagePx>> {
        self.mask.bbox()
    }

    /// `[x, y, width, height]` as the original reports it: from the first to the last pixel, so that a mask one
    /// pixel wide has width 0.
    pub fn coco_bbox(&self) -> [u32; 4] {
        let CornerBox { x0, y0, x1, y1 } = self.corners;
        [x0, y0, x1 - x0, y1 - y0]
    }
}

/// What a model answers to one foreground point.
#[derive(Debug, Clone)]
pub struct PointMask {
    pub logits: MaskLogits,
    pub iou: f32,
}

/// A model that turns points on a picture into masks.
pub trait PointPrompted {
    /// What is computed once for a picture.
    type Embedding;

    /// # Errors
    /// The model's own.
    fn embed(&mut self, image: &RgbImage) -> Result<Self::Embedding>;

    /// How logits lie over the picture.
    fn composite(&self, embedding: &Self::Embedding) -> Composite;

    /// The masks of each point, several for one point if it is ambiguous.
    ///
    /// # Errors
    /// The model's own.
    fn masks(
        &mut self,
        embedding: &Self::Embedding,
        points: &[Point<ImagePx>],
    ) -> Result<Vec<Vec<PointMask>>>;

    /// Those of [`PointPrompted::masks`] that `sieve` lets pass, with the facts that it asks for. A model whose logits lie on a
    /// GPU settles it there, and moves no others.
    ///
    /// # Errors
    /// The model's own.
    fn sieved(
        &mut self,
        embedding: &Self::Embedding,
        points: &[Point<ImagePx>],
        sieve: &Sieve<'_>,
    ) -> Result<Vec<Vec<SievedMask>>> {
        Ok(sift(self.masks(embedding, points)?, sieve))
    }
}

/// A mask that passed.
#[derive(Debug, Clone)]
pub struct SievedMask {
    pub iou: f32,
    pub logits: Logits,
    /// What was found of it, if the sieve has rules for that.
    pub facts: Option<MaskFacts>,
}

/// Logits of a mask.
#[derive(Debug, Clone)]
pub enum Logits {
    Here(MaskLogits),
    /// Left on the device that made them.
    There(MaskAt),
}

/// The masks that pass.
pub(super) fn sift(answers: Vec<Vec<PointMask>>, sieve: &Sieve<'_>) -> Vec<Vec<SievedMask>> {
    let with_facts = |mask: PointMask| {
        let of = |rules| MaskFacts::of(mask.logits.values(), mask.logits.side(), rules);
        let facts = sieve.rules().map(of);
        facts.is_none_or(|facts| sieve.keeps(&facts)).then(|| SievedMask {
            iou: mask.iou,
            logits: Logits::Here(mask.logits),
            facts,
        })
    };
    let of_point = |masks: Vec<PointMask>| {
        let worth = masks.into_iter().filter(|mask| sieve.lets_pass(mask.iou));
        worth.filter_map(with_facts).collect::<Vec<_>>()
    };
    answers.into_par_iter().map(of_point).collect()
}

/// All masks of `image`, those of smaller crops first, better predicted ones first within a crop.
///
/// # Errors
/// [`ModelError::Prompt`] for settings without a meaning, and the model's own.
pub fn generate<M: PointPrompted>(
    model: &mut M,
    image: &RgbImage,
    config: &AmgConfig,
) -> Result<Vec<AutoMask>> {
    config.validate()?;
    let crops = crop_boxes(
        (image.width(), image.height()),
        config.crop_n_layers,
        config.crop_overlap_ratio,
    );
    let mut found = Vec::new();
    for crop in &crops {
        found.extend(masks_of_crop(model, image, *crop, config)?);
    }
    if crops.len() > 1 {
        let score = |m: &AutoMask| 1.0 / m.crop.area();
        found = keep(found, score, config.crop_nms_thresh);
    }
    if config.min_mask_region_area > 0 {
        found = regions::clean(found, config);
    }
    Ok(found)
}

/// Suppression over all, in the order of falling scores.
fn keep(masks: Vec<AutoMask>, mut score: impl FnMut(&AutoMask) -> f32, threshold: f64) -> Vec<AutoMask> {
    let boxes: Vec<_> = masks.iter().map(|m| m.corners).collect();
    let scores: Vec<_> = masks.iter().map(&mut score).collect();
    let mut masks: Vec<_> = masks.into_iter().map(Some).collect();
    let order = suppress(&boxes, &scores, threshold);
    order.into_iter().filter_map(|i| masks[i].take()).collect()
}

fn masks_of_crop<M: PointPrompted>(
    model: &mut M,
    image: &RgbImage,
    crop: Crop,
    config: &AmgConfig,
) -> Result<Vec<AutoMask>> {
    let part = crop.cut(image)?;
    let embedding = model.embed(&part)?;
    let composite = model.composite(&embedding);
    let scale = config
        .crop_n_points_downscale_factor
        .checked_pow(crop.layer as u32)
        .unwrap_or(usize::MAX);
    let points: Vec<Point<ImagePx>> = point_grid(config.points_per_side / scale)
        .into_iter()
        .map(|(x, y)| Point::new(x * part.width() as f64, y * part.height() as f64))
        .collect();
    let whole = (image.width(), image.height());
    let draw = |candidates: &[Found]| drawn(candidates, &composite, crop, whole, config);
    let mut found = Vec::new();
    let (sieve, mut screen) = (Sieve::new(config, &composite), Screen::new(config));
    for batch in points.chunks(config.points_per_batch) {
        let answers = model.sieved(&embedding, batch, &sieve)?;
        let candidates = batch.iter().zip(answers).flat_map(|(point, masks)| {
            let of_point = |mask| (*point, mask);
            masks.into_iter().map(of_point).collect::<Vec<_>>()
        });
        if config.screen {
            let boxed = candidates.filter_map(|(point, mask)| {
                let corners = sieve.corners(&mask.facts?)?;
                Some((point, mask, corners))
            });
            screen.add(boxed)?;
        } else {
            found.extend(draw(&candidates.collect::<Vec<_>>())?);
        }
    }
    found.extend(draw(&screen.finish())?);
    Ok(keep(found, |m| m.iou, config.box_nms_thresh))
}

/// What a point found.
type Found = (Point<ImagePx>, SievedMask);

/// The candidates that pass at the photo's size, in their order; each is drawn where its logits lie.
fn drawn(
    candidates: &[Found],
    composite: &Composite,
    crop: Crop,
    whole: (usize, usize),
    config: &AmgConfig,
) -> Result<Vec<AutoMask>> {
    let thresholds = MaskThresholds {
        mask: THRESHOLD,
        high: THRESHOLD + config.stability_score_offset,
        low: THRESHOLD - config.stability_score_offset,
    };
    let judged = |facts: &MaskFacts| judge(facts, crop, whole, config);
    let finish = |point: Point<ImagePx>, iou: f32, facts: &MaskFacts, bits: &MaskBits| {
        let (stability, corners) = judged(facts)?;
        let size = (composite.width(), composite.height());
        Some(AutoMask {
            mask: place(bits, size, whole, (crop.x0, crop.y0)),
            iou,
            stability,
            point: Point::new(point.x + crop.x0 as f64, point.y + crop.y0 as f64),
            crop,
            corners,
        })
    };
    let there = candidates.iter().filter_map(|(_, mask)| match &mask.logits {
        Logits::There(at) => Some(at.clone()),
        Logits::Here(_) => None,
    });
    let there: Vec<MaskAt> = there.collect();
    let keep = |_, facts: &MaskFacts| judged(facts).is_some();
    let mut there = draw_masks(&there, composite.grid(), &thresholds, keep)?.into_iter();
    let with_drawn: Vec<_> = candidates
        .iter()
        .map(|(point, mask)| match mask.logits {
            Logits::Here(_) => (point, mask, None),
            Logits::There(_) => (point, mask, there.next()),
        })
        .collect();
    let found = with_drawn.into_par_iter().filter_map(|(point, mask, drawn)| {
        let (facts, bits) = match &mask.logits {
            Logits::Here(logits) => composite.grid().draw(logits.values(), &thresholds),
            Logits::There(_) => drawn.and_then(|(facts, bits)| Some((facts, bits?)))?,
        };
        finish(*point, mask.iou, &facts, &bits)
    });
    Ok(found.collect())
}

/// A threshold of 0 is no filter.
fn passes(threshold: f32, test: impl Fn(f32) -> bool) -> bool {
    threshold <= 0.0 || test(threshold)
}

/// Stability and box, on the photo, of a candidate with these facts at the photo's size; `None` if a filter drops it.
fn judge(
    facts: &MaskFacts,
    crop: Crop,
    whole: (usize, usize),
    config: &AmgConfig,
) -> Option<(f32, CornerBox)> {
    // 0 / 0 is NaN, which no threshold lets pass
    let stability = facts.above_high as f32 / facts.above_low as f32;
    if !passes(config.stability_score_thresh, |t| stability >= t) {
        return None;
    }
    let of = |[x0, x1, y0, y1]: [u32; 4]| CornerBox { x0, y0, x1, y1 };
    let found = facts.bounds.map_or_else(CornerBox::default, of);
    let corners = found.shifted(crop.x0 as u32, crop.y0 as u32);
    (!corners.near_crop_edge(crop, whole)).then_some((stability, corners))
}
