//! Vectors along the channels, one row of the output at a time.

use candle_core::{CpuStorage, Layout, Result, Shape};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::Depthwise;
use crate::cpu::block::{EpilogueSlices, load};
use crate::cpu::element::{Element, by_type};
use crate::cpu::memory::unwritten;
use crate::cpu::parallel::grain;
use crate::cpu::simd;
use crate::cpu::storage::{F32Input, contiguous};
use crate::ops::conv2d::geometry::Geometry;

pub(super) fn forward(
    op: &Depthwise,
    (x, xl): (&CpuStorage, &Layout),
    (w, wl): (&CpuStorage, &Layout),
) -> Result<(CpuStorage, Shape)> {
    let w = F32Input::contiguous(w, wl)?;
    let out = EpilogueSlices::read(&op.epilogue, |epilogue| {
        Ok(by_type!(x, T => T::storage(of::<T>(op.geometry, contiguous(x, xl)?, &w, epilogue))))
    })??;
    Ok((out, op.geometry.out_shape(op.geometry.channels)))
}

fn of<T: Element>(g: Geometry, x: &[T], w: &[f32], epilogue: EpilogueSlices<'_>) -> Vec<T> {
    let channels = g.channels;
    let mut out = unwritten(g.out_shape(channels).elem_count());
    let line = (g.out_width * channels).max(1);
    let rows = grain(g.batch * g.out_height, 1, 1, 64);
    out.par_chunks_mut(rows * line)
        .enumerate()
        .for_each(|(index, out)| {
            for (r, out) in out.chunks_exact_mut(line).enumerate() {
                let row = index * rows + r;
                let (b, y) = (row / g.out_height, row % g.out_height);
                let image = g.height * g.width * channels;
                simd::dispatch(Row {
                    g,
                    image: &x[b * image..(b + 1) * image],
                    w,
                    y,
                    out,
                    epilogue: epilogue.rows(row * line..(row + 1) * line),
                });
            }
        });
    out
}

struct Row<'a, T> {
    g: Geometry,
    image: &'a [T],
    w: &'a [f32],
    y: usize,
    out: &'a mut [T],
    epilogue: EpilogueSlices<'a>,
}

impl<T: Element> WithSimd for Row<'_, T> {
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

impl<T: Element> Row<'_, T> {
    /// `PIXELS` from `x` on of a 3 x 3 kernel, away from the left and right edges.
    #[inline(always)]
    fn pixels<S: Simd, const STRIDE: usize>(&mut self, simd: S, x: usize) {
        const KERNEL: usize = 3;
        let g = &self.g;
        let c = g.channels;
        let vectors = c / S::F32_LANES;
        let columns = KERNEL + (PIXELS - 1) * STRIDE;
        let rows = g.kernel_rows(self.y);
        // Of the image and of the weights.
        let mut lines: [(&[T], &[f32]); KERNEL] = [(&[], &[]); KERNEL];
        for (line, ky) in lines.iter_mut().zip(rows.clone()) {
            let at = ((self.y * STRIDE + ky - g.padding) * g.width + x * STRIDE - g.padding) * c;
            let weights = &self.w[ky * KERNEL * c..(ky + 1) * KERNEL * c];
            *line = (&self.image[at..at + columns * c], weights);
        }
        let epilogue = self.epilogue;
        let out = &mut self.out[x * c..(x + PIXELS) * c];
        for i in 0..vectors {
            let mut sums = [simd.splat_f32s(0.); PIXELS];
            for (image, w) in &lines[..rows.len()] {
                let mut taps = [simd.splat_f32s(0.); KERNEL];
                for (kx, tap) in taps.iter_mut().enumerate() {
                    *tap = f32::nth(simd, w, kx * vectors + i);
                }
                for column in 0..columns {
                    let v = T::nth(simd, image, column * vectors + i);
                    for (pixel, sum) in sums.iter_mut().enumerate() {
                        if (pixel * STRIDE..pixel * STRIDE + KERNEL).contains(&column) {
                            *sum = simd.mul_add_e_f32s(v, taps[column - pixel * STRIDE], *sum);
                        }
                    }
                }
            }
            let channels = i * S::F32_LANES..(i + 1) * S::F32_LANES;
            for (pixel, sum) in sums.into_iter().enumerate() {
                let at = (x + pixel) * c + channels.start;
                let v = epilogue.of(simd, sum, channels.clone(), at);
                T::set_nth(simd, out, pixel * vectors + i, v);
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
                    sum = simd.mul_add_e_f32s(T::load(simd, x), load(simd, w), sum);
                }
            }
            let at = x * c + i..x * c + end;
            let v = self.epilogue.of(simd, sum, i..end, at.start);
            T::store(simd, &mut self.out[at], v);
        }
    }
}
