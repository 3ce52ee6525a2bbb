//! One matrix product per kernel row, written where it belongs.

use candle_core::{CpuStorage, Layout, Result, Shape};
use rayon::prelude::*;

use super::ConvTranspose2d;
use crate::cpu::block::{Block, Dense, EpilogueSlices};
use crate::cpu::memory::unwritten;
use crate::cpu::panels::Panels;
use crate::cpu::storage::{F32Input, TensorInput, same_type};
use crate::cpu::{scratch, simd};

pub(super) fn forward(
    op: &ConvTranspose2d,
    (x, xl): (&CpuStorage, &Layout),
    (w, wl): (&CpuStorage, &Layout),
) -> Result<(CpuStorage, Shape)> {
    let (b, height, width, k) = xl.shape().dims4()?;
    let (kh, kw, n, _) = wl.shape().dims4()?;
    let bias = op.bias.as_ref().map(TensorInput::new);
    let bias = bias.as_ref().map(TensorInput::view).transpose()?;
    // Once per kernel column, as a row of the product has them side by side.
    let bias = bias.map(|b| b.repeat(kw));
    let (data, w) = (F32Input::contiguous(x, xl)?, F32Input::contiguous(w, wl)?);
    let shape = Shape::from((b, height * kh, width * kw, n));
    let mut out = unwritten(shape.elem_count());
    if out.is_empty() {
        return Ok((same_type(x, out)?, shape));
    }
    let panels = Panels::new(k, kw * n);
    let line = width * kw * n;
    scratch::with(kh * panels.len(), |packed| {
        for (ky, packed) in packed.chunks_exact_mut(panels.len().max(1)).enumerate() {
            let w = &w[ky * kw * n * k..(ky + 1) * kw * n * k];
            packed
                .par_chunks_mut(panels.stride().max(1))
                .enumerate()
                .for_each(|(p, panel)| panels.pack_transposed(p, panel, w, k));
        }
        let packed = &*packed;
        out.par_chunks_mut(line).enumerate().for_each(|(row, out)| {
            let (y, ky) = (row / kh, row % kh);
            simd::dispatch(Block {
                a: Dense::new(&data[y * width * k..(y + 1) * width * k], k),
                rows: width,
                shape: panels,
                packed: &packed[ky * panels.len()..(ky + 1) * panels.len()],
                out,
                stride: kw * n,
                column: 0,
                accumulate: false,
                epilogue: EpilogueSlices {
                    bias: bias.as_deref(),
                    activation: op.activation,
                    residual: None,
                },
            });
        });
    });
    Ok((same_type(x, out)?, shape))
}
