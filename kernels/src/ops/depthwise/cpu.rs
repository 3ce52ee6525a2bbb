//! Vectors along the channels, one row of the output at a time.

use candle_core::{CpuStorage, Layout, Result, Shape};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::Depthwise;
use crate::cpu::block::{EpilogueSlices, load, store};
use crate::cpu::memory::unwritten;
use crate::cpu::parallel::grain;
use crate::cpu::simd;
use crate::cpu::storage::{F32Input, same_type};
use crate::ops::conv2d::geometry::Geometry;

pub(super) fn forward(
    op: &Depthwise,
    (x, xl): (&CpuStorage, &Layout),
    (w, wl): (&CpuStorage, &Layout),
) -> Result<(CpuStorage, Shape)> {
    let g = op.geometry;
    let channels = g.channels;
    let shape = g.out_shape(channels);
    let (data, w) = (F32Input::contiguous(x, xl)?, F32Input::contiguous(w, wl)?);
    let mut out = unwritten(shape.elem_count());
    let line = (g.out_width * channels).max(1);
    let rows = grain(g.batch * g.out_height, 1, 1, 64);
    EpilogueSlices::read(&op.epilogue, |epilogue| {
        out.par_chunks_mut(rows * line)
            .enumerate()
            .for_each(|(index, out)| {
                for (r, out) in out.chunks_exact_mut(line).enumerate() {
                    let row = index * rows + r;
                    let (b, y) = (row / g.out_height, row % g.out_height);
                    let image = g.height * g.width * channels;
                    simd::dispatch(Row {
                        g,
                        image: &data[b * image..(b + 1) * image],
                        w: &w,
                        y,
                        out,
                        epilogue: epilogue.rows(row * line..(row + 1) * line),
                    });
                }
            });
    })?;
    Ok((same_type(x, out)?, shape))
}

struct Row<'a> {
    g: Geometry,
    image: &'a [f32],
    w: &'a [f32],
    y: usize,
    out: &'a mut [f32],
    epilogue: EpilogueSlices<'a>,
}

impl WithSimd for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (left, right) = self.g.edges();
        let together = match (self.g.kh, self.g.kw, self.g.stride) {
            (3, 3, 1 | 2) if self.g.channels.is_multiple_of(S::F32_LANES) => (right - left) / PIXELS,
            _ => 0,
        };
        for group in 0..together {
            let x = left + group * PIXELS;
            match self.g.stride {
                1 => self.pixels::<S, 1>(simd, x),
                _ => self.pixels::<S, 2>(simd, x),
            }
        }
        for x in (0..left).chain(left + together * PIXELS..self.g.out_width) {
            self.pixel(simd, x);
        }
    }
}

/// Neighbours in a row that are computed together: what they share of the image, and the weights, are loaded once.
const PIXELS: usize = 4;

impl Row<'_> {
    /// `PIXELS` from `x` on of a 3 x 3 kernel, away from the left and right edges.
    #[inline(always)]
    fn pixels<S: Simd, const STRIDE: usize>(&mut self, simd: S, x: usize) {
        const KERNEL: usize = 3;
        let g = &self.g;
        let c = g.channels;
        let vectors = c / S::F32_LANES;
        let columns = KERNEL + (PIXELS - 1) * STRIDE;
        let rows = g.kernel_rows(self.y);
        // Vectors of the image and of the weights.
        let mut lines: [[&[S::f32s]; 2]; KERNEL] = [[&[], &[]]; KERNEL];
        for (line, ky) in lines.iter_mut().zip(rows.clone()) {
            let at = ((self.y * STRIDE + ky - g.padding) * g.width + x * STRIDE - g.padding) * c;
            let image = S::as_simd_f32s(&self.image[at..at + columns * c]).0;
            let weights = S::as_simd_f32s(&self.w[ky * KERNEL * c..(ky + 1) * KERNEL * c]).0;
            *line = [image, weights];
        }
        let epilogue = self.epilogue;
        let out = S::as_mut_simd_f32s(&mut self.out[x * c..(x + PIXELS) * c]).0;
        for i in 0..vectors {
            let mut sums = [simd.splat_f32s(0.); PIXELS];
            for [image, w] in &lines[..rows.len()] {
                let w = [w[i], w[vectors + i], w[2 * vectors + i]];
                for column in 0..columns {
                    let v = image[column * vectors + i];
                    for (pixel, sum) in sums.iter_mut().enumerate() {
                        if (pixel * STRIDE..pixel * STRIDE + KERNEL).contains(&column) {
                            *sum = simd.mul_add_e_f32s(v, w[column - pixel * STRIDE], *sum);
                        }
                    }
                }
            }
            let channels = i * S::F32_LANES..(i + 1) * S::F32_LANES;
            let bias = epilogue.bias.map(|b| &b[channels.clone()]);
            for (pixel, sum) in sums.into_iter().enumerate() {
                let at = (x + pixel) * c;
                let residual = epilogue
                    .residual
                    .map(|r| &r[at + channels.start..at + channels.end]);
                out[pixel * vectors + i] = epilogue.of(simd, sum, bias, residual);
            }
        }
    }

    /// One pixel, whatever the kernel and wherever it lies.
    #[inline(always)]
    fn pixel<S: Simd>(&mut self, simd: S, x: usize) {
        let g = &self.g;
        let c = g.channels;
        let start = x * g.stride;
        let kx =
            g.padding.saturating_sub(start).min(g.kw)..(g.width + g.padding).saturating_sub(start).min(g.kw);
        for i in (0..c).step_by(S::F32_LANES) {
            let end = (i + S::F32_LANES).min(c);
            let mut sum = simd.splat_f32s(0.);
            for ky in g.kernel_rows(self.y) {
                let line = (self.y * g.stride + ky - g.padding) * g.width;
                for kx in kx.clone() {
                    let at = (line + start + kx - g.padding) * c;
                    let w = (ky * g.kw + kx) * c;
                    let (x, w) = (&self.image[at + i..at + end], &self.w[w + i..w + end]);
                    sum = simd.mul_add_e_f32s(load(simd, x), load(simd, w), sum);
                }
            }
            let at = x * c + i..x * c + end;
            let bias = self.epilogue.bias.map(|b| &b[i..end]);
            let residual = self.epilogue.residual.map(|r| &r[at.clone()]);
            let v = self.epilogue.of(simd, sum, bias, residual);
            store(simd, &mut self.out[at], v);
        }
    }
}
