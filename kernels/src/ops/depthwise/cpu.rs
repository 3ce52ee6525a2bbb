//! Vectors along the channels, one row of the output at a time.

use candle_core::{CpuStorage, Layout, Result, Shape};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::Depthwise;
use crate::cpu::block::{EpilogueSlices, load, store};
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
    let mut out = vec![0f32; shape.elem_count()];
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
    fn with_simd<S: Simd>(self, simd: S) {
        let g = &self.g;
        let c = g.channels;
        let rows = g.kernel_rows(self.y);
        for (x, out) in self.out.chunks_exact_mut(c).enumerate() {
            let start = x * g.stride;
            let kx = g.padding.saturating_sub(start).min(g.kw)
                ..(g.width + g.padding).saturating_sub(start).min(g.kw);
            for i in (0..c).step_by(S::F32_LANES) {
                let end = (i + S::F32_LANES).min(c);
                let mut sum = simd.splat_f32s(0.);
                for ky in rows.clone() {
                    let line = (self.y * g.stride + ky - g.padding) * g.width;
                    for kx in kx.clone() {
                        let at = (line + start + kx - g.padding) * c;
                        let w = (ky * g.kw + kx) * c;
                        let (x, w) = (&self.image[at + i..at + end], &self.w[w + i..w + end]);
                        sum = simd.mul_add_e_f32s(load(simd, x), load(simd, w), sum);
                    }
                }
                store(simd, &mut out[i..end], sum);
            }
            self.epilogue.apply_at(simd, out, 0, x * c);
        }
    }
}
