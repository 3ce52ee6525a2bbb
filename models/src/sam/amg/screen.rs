//! Candidates judged and thinned at the decoder's own resolution, before any is drawn at the photo's.

use candle_core::Tensor;
use dragunov_kernels::{MaskAt, MaskFacts, MaskRules};

use super::super::composite::{Composite, THRESHOLD};
use super::geometry::{CornerBox, suppress};
use super::{AmgConfig, Found, Logits, SievedMask, passes};
use crate::{ImagePx, Point, Result};

/// What a candidate must pass before it is drawn, or its logits fetched from where they are.
#[derive(Debug)]
pub struct Sieve<'a> {
    config: &'a AmgConfig,
    /// At the decoder's resolution; `None`: predicted IoU alone decides.
    rules: Option<MaskRules>,
}

impl<'a> Sieve<'a> {
    pub(super) fn new(config: &'a AmgConfig, composite: &Composite) -> Self {
        // The cells that the photo has a part in; the others lie on the padding.
        let (columns, rows) = composite.cells();
        let rules = config.screen.then_some(MaskRules {
            columns,
            rows,
            threshold: THRESHOLD,
            high: THRESHOLD + config.stability_score_offset,
            low: THRESHOLD - config.stability_score_offset,
        });
        Self { config, rules }
    }

    /// Whether a candidate of this predicted IoU is worth looking at: most end here.
    pub fn lets_pass(&self, iou: f32) -> bool {
        passes(self.config.pred_iou_thresh, |t| iou > t)
    }

    /// What else there is to know of a candidate, if anything.
    pub fn rules(&self) -> Option<&MaskRules> {
        self.rules.as_ref()
    }

    /// Whether a mask with these facts is stable and not empty.
    pub fn keeps(&self, facts: &MaskFacts) -> bool {
        self.corners(facts).is_some()
    }

    /// The box of a mask with these facts; `None` for one that is not kept.
    pub(super) fn corners(&self, facts: &MaskFacts) -> Option<CornerBox> {
        // 0 / 0 is NaN, which no threshold lets pass
        let stability = facts.above_high as f32 / facts.above_low as f32;
        let stable = passes(self.config.stability_score_thresh, |t| stability >= t);
        let [x0, x1, y0, y1] = facts.bounds.filter(|_| stable)?;
        Some(CornerBox { x0, y0, x1, y1 })
    }
}

/// The candidates that are worth drawing so far, of all batches of a crop.
pub(super) struct Screen {
    nms_thresh: f64,
    kept: Vec<(Point<ImagePx>, SievedMask, CornerBox)>,
}

impl Screen {
    pub(super) fn new(config: &AmgConfig) -> Self {
        Self {
            nms_thresh: config.box_nms_thresh,
            kept: Vec::new(),
        }
    }

    /// Takes up stable candidates of a batch with their boxes in cells; of those with one box the best stays.
    ///
    /// # Errors
    /// Of the device that logits lie on.
    pub(super) fn add(
        &mut self,
        batch: impl IntoIterator<Item = (Point<ImagePx>, SievedMask, CornerBox)>,
    ) -> Result<()> {
        self.kept.extend(batch);
        let boxes: Vec<CornerBox> = self.kept.iter().map(|k| k.2).collect();
        let scores: Vec<f32> = self.kept.iter().map(|k| k.1.iou).collect();
        let mut kept: Vec<_> = std::mem::take(&mut self.kept).into_iter().map(Some).collect();
        let order = suppress(&boxes, &scores, self.nms_thresh);
        self.kept = order.into_iter().filter_map(|i| kept[i].take()).collect();
        let there = self
            .kept
            .iter_mut()
            .filter_map(|(_, mask, _)| match &mut mask.logits {
                Logits::There(at) => Some(at),
                Logits::Here(_) => None,
            });
        give_back(there.collect())
    }

    pub(super) fn finish(self) -> Vec<Found> {
        self.kept
            .into_iter()
            .map(|(point, mask, _)| (point, mask))
            .collect()
    }
}

/// Masks on a device that may be held for nothing.
const MOST_DROPPED: usize = 256;

/// Lets go of logits on a device whose masks were dropped, once there are many of them.
fn give_back(masks: Vec<&mut MaskAt>) -> Result<()> {
    let mut groups: Vec<(Tensor, Vec<&mut MaskAt>)> = Vec::new();
    for at in masks {
        match groups
            .iter_mut()
            .find(|(logits, _)| logits.id() == at.logits.id())
        {
            Some((_, own)) => own.push(at),
            None => groups.push((at.logits.clone(), vec![at])),
        }
    }
    let dropped = |(logits, own): &(Tensor, Vec<_>)| logits.dims()[0] - own.len();
    if groups.iter().map(dropped).sum::<usize>() < MOST_DROPPED {
        return Ok(());
    }
    for (logits, mut own) in groups {
        let index: Vec<u32> = own.iter().map(|at| at.index as u32).collect();
        let fewer = logits.index_select(&Tensor::new(index, logits.device())?, 0)?;
        for (index, at) in own.iter_mut().enumerate() {
            at.logits = fewer.clone();
            at.index = index;
        }
    }
    Ok(())
}
