use candle_core::{CpuStorage, Layout, Result, Shape};
use rayon::prelude::*;

use crate::cpu::element::{Element, by_type};
use crate::cpu::memory::unwritten;
use crate::cpu::storage::contiguous;

/// Pixels whose channels are gathered at a time.
const BLOCK: usize = 64;

pub(super) fn forward(x: &CpuStorage, xl: &Layout) -> Result<(CpuStorage, Shape)> {
    let (b, c, h, w) = xl.shape().dims4()?;
    let out = by_type!(x, T => T::storage(turned::<T>(contiguous(x, xl)?, (c, h, w))));
    Ok((out, Shape::from((b, h, w, c))))
}

fn turned<T: Element>(data: &[T], (c, h, w): (usize, usize, usize)) -> Vec<T> {
    let mut out = unwritten(data.len());
    let plane = h * w;
    if !out.is_empty() {
        // Rows of pixels of one image; a block of pixels is read as short runs of each channel.
        out.par_chunks_mut(w * c).enumerate().for_each(|(row, out)| {
            let (image, y) = (row / h, row % h);
            for (block, out) in out.chunks_mut(BLOCK * c).enumerate() {
                let first = image * c * plane + y * w + block * BLOCK;
                let pixels = out.len() / c;
                for k in 0..c {
                    let src = &data[first + k * plane..first + k * plane + pixels];
                    for (out, v) in out[k..].iter_mut().step_by(c).zip(src) {
                        *out = *v;
                    }
                }
            }
        });
    }
    out
}
