//! One matrix product per kernel row, written where it belongs.

use candle_core::{CpuStorage, Layout, Result, Shape};
use rayon::prelude::*;

use super::ConvTranspose2d;
use crate::cpu::block::{Block, Dense, EpilogueSlices};
use crate::cpu::panels::Panels;
use crate::cpu::storage::{F32Input, TensorInput};
use crate::cpu::view::{Elements, View};
use crate::cpu::{scratch, simd};

pub(super) fn forward(
    op: &ConvTranspose2d,
    (x, xl): (&CpuStorage, &Layout),
    (w, wl): (&CpuStorage, &Layout),
) -> Result<(CpuStorage, Shape)> {
    let (b, height, width, k) = xl.shape().dims4()?;
    let (kh, kw, n, _) = wl.shape().dims4()?;
    let bias = op.bias.as_ref().map(TensorInput::new);
    let bias = bias.as_ref().map(TensorInput::floats).transpose()?;
    // Once per kernel column, as a row of the product has them side by side.
    let bias = bias.map(|b| b.repeat(kw));
    let (data, w) = (View::contiguous(x, xl)?, F32Input::contiguous(w, wl)?);
    let shape = Shape::from((b, height * kh, width * kw, n));
    let mut out = Elements::unwritten(x, shape.elem_count())?;
    if shape.elem_count() == 0 {
        return Ok((out.storage(), shape));
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
        out.fill(line, |row, out| {
            let (y, ky) = (row / kh, row % kh);
            data.part(y * width * k..(y + 1) * width * k).with(|pixels| {
                simd::dispatch(Block {
                    a: Dense::new(pixels, k),
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
    });
    Ok((out.storage(), shape))
}
