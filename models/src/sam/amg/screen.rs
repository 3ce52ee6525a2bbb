//! Candidates judged and thinned at the decoder's own resolution, before any is drawn at the photo's.

use rayon::prelude::*;

use super::super::composite::{Composite, THRESHOLD, Window};
use super::geometry::{CornerBox, suppress};
use super::{AmgConfig, PointMask, passes};
use crate::{ImagePx, Point};

/// The candidates that are worth drawing so far, of all batches of a crop.
pub(super) struct Screen<'a> {
    config: &'a AmgConfig,
    /// The cells that the photo has a part in; the others lie on the padding.
    cells: Window,
    kept: Vec<(Point<ImagePx>, PointMask, CornerBox)>,
}

impl<'a> Screen<'a> {
    pub(super) fn new(config: &'a AmgConfig, composite: &Composite) -> Self {
        Self {
            config,
            cells: composite.cells(),
            kept: Vec::new(),
        }
    }

    /// Takes up a batch; of candidates with one box the best stays.
    pub(super) fn add(&mut self, batch: Vec<(Point<ImagePx>, PointMask)>) {
        let boxes: Vec<Option<CornerBox>> = batch
            .par_iter()
            .map(|(_, mask)| stable_box(mask, &self.cells, self.config))
            .collect();
        let stable = batch.into_iter().zip(boxes);
        self.kept
            .extend(stable.filter_map(|((point, mask), corners)| Some((point, mask, corners?))));
        let boxes: Vec<CornerBox> = self.kept.iter().map(|k| k.2).collect();
        let scores: Vec<f32> = self.kept.iter().map(|k| k.1.iou).collect();
        let mut kept: Vec<_> = std::mem::take(&mut self.kept).into_iter().map(Some).collect();
        let order = suppress(&boxes, &scores, self.config.box_nms_thresh);
        self.kept = order.into_iter().filter_map(|i| kept[i].take()).collect();
    }

    pub(super) fn finish(self) -> Vec<(Point<ImagePx>, PointMask)> {
        self.kept
            .into_iter()
            .map(|(point, mask, _)| (point, mask))
            .collect()
    }
}

/// The box in cells; `None` for an unstable mask.
fn stable_box(candidate: &PointMask, cells: &Window, config: &AmgConfig) -> Option<CornerBox> {
    let (high, low) = (
        THRESHOLD + config.stability_score_offset,
        THRESHOLD - config.stability_score_offset,
    );
    let side = candidate.logits.side();
    let (mut above_high, mut above_low) = (0u32, 0u32);
    let (mut x0, mut x1, mut y0, mut y1) = (u32::MAX, 0, u32::MAX, 0);
    for y in cells.y.clone() {
        let row = &candidate.logits.values()[y * side..][cells.x.clone()];
        let count = |threshold: f32| row.iter().filter(|&&v| v > threshold).count() as u32;
        above_high += count(high);
        above_low += count(low);
        if let Some(first) = row.iter().position(|&v| v > THRESHOLD) {
            let last = row.iter().rposition(|&v| v > THRESHOLD).unwrap_or(first);
            (x0, x1) = (x0.min(first as u32), x1.max(last as u32));
            (y0, y1) = (y0.min(y as u32), y1.max(y as u32));
        }
    }
    let stability = above_high as f32 / above_low as f32;
    let stable = passes(config.stability_score_thresh, |t| stability >= t);
    (stable && x0 != u32::MAX).then_some(CornerBox { x0, y0, x1, y1 })
}
