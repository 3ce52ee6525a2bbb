//! What decides on a mask, found where its logits lie.

#[cfg(feature = "cuda")]
mod cuda;

use std::ops::Range;

use candle_core::{DType, Result, Tensor};

#[cfg(feature = "cuda")]
use crate::backend::Backend;

/// Which cells count, and above what.
#[derive(Debug, Clone, PartialEq)]
pub struct MaskRules {
    pub columns: Range<usize>,
    pub rows: Range<usize>,
    /// Cells above it are the mask.
    pub threshold: f32,
    /// Cells above each are counted.
    pub high: f32,
    pub low: f32,
}

/// Of one mask, in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaskFacts {
    pub above_high: u32,
    pub above_low: u32,
    /// First and last column and first and last row of the mask: x0, x1, y0, y1. `None` for an empty one.
    pub bounds: Option<[u32; 4]>,
}

impl MaskFacts {
    /// Of logits of one mask, row-major.
    pub fn of(logits: &[f32], side: usize, rules: &MaskRules) -> Self {
        let (mut above_high, mut above_low) = (0, 0);
        let mut bounds: Option<[u32; 4]> = None;
        for y in rules.rows.clone() {
            let row = &logits[y * side..][rules.columns.clone()];
            let count = |threshold: f32| row.iter().filter(|&&v| v > threshold).count() as u32;
            above_high += count(rules.high);
            above_low += count(rules.low);
            let Some(first) = row.iter().position(|&v| v > rules.threshold) else {
                continue;
            };
            let last = row.iter().rposition(|&v| v > rules.threshold).unwrap_or(first);
            let at = |x: usize| (rules.columns.start + x) as u32;
            let y = y as u32;
            let [x0, x1, y0, _] = bounds.unwrap_or([u32::MAX, 0, y, y]);
            bounds = Some([x0.min(at(first)), x1.max(at(last)), y0, y]);
        }
        Self {
            above_high,
            above_low,
            bounds,
        }
    }
}

/// Facts of the masks `which` of `logits` (N, side, side), dense. From a GPU 24 bytes a mask come back, in one launch.
///
/// # Errors
/// Masks and cells that are not there.
pub fn mask_facts(logits: &Tensor, which: &[u32], rules: &MaskRules) -> Result<Vec<MaskFacts>> {
    let (n, side, width) = logits.dims3()?;
    let outside = which.iter().any(|&i| i as usize >= n);
    if outside || side != width || rules.columns.end > side || rules.rows.end > side {
        candle_core::bail!("masks {which:?} of {:?} in {rules:?}", logits.shape())
    }
    if which.is_empty() {
        return Ok(Vec::new());
    }
    #[cfg(feature = "cuda")]
    if Backend::has_cuda_kernels(logits.device()) && cuda::takes(logits, rules) {
        return cuda::mask_facts(logits, which, rules);
    }
    let index = Tensor::new(which, logits.device())?;
    let chosen = logits.index_select(&index, 0)?.to_dtype(DType::F32)?;
    let values = chosen.flatten_all()?.to_vec1::<f32>()?;
    let masks = values.chunks_exact(side * side);
    Ok(masks.map(|mask| MaskFacts::of(mask, side, rules)).collect())
}
