use candle_core::{CpuStorage, Layout, Result, Shape};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::Bilinear;
use crate::cpu::element::{Element, by_type};
use crate::cpu::memory::unwritten;
use crate::cpu::simd;
use crate::cpu::storage::contiguous;

/// The two source positions of an output position and their weights.
#[derive(Debug, Clone, Copy)]
struct Tap {
    at: [usize; 2],
    weight: [f32; 2],
}

/// ATen's `area_pixel_compute_source_index`, in f32 as there.
fn taps(from: usize, to: usize, align_corners: bool) -> Vec<Tap> {
    let tap = |i: usize| {
        let source = if align_corners {
            let scale = if to > 1 {
                (from - 1) as f32 / (to - 1) as f32
            } else {
                0.
            };
            scale * i as f32
        } else {
            let scale = from as f32 / to as f32;
            (scale * (i as f32 + 0.5) - 0.5).max(0.)
        };
        let low = (source as usize).min(from - 1);
        let high = (low + 1).min(from - 1);
        let weight = (source - low as f32).clamp(0., 1.);
        Tap {
            at: [low, high],
            weight: [1. - weight, weight],
        }
    };
    (0..to).map(tap).collect()
}

pub(super) fn forward(op: Bilinear, x: &CpuStorage, xl: &Layout) -> Result<(CpuStorage, Shape)> {
    let (b, _, _, c) = xl.shape().dims4()?;
    let shape = Shape::from((b, op.height, op.width, c));
    let out = by_type!(x, T => T::storage(op.of::<T>(contiguous(x, xl)?, xl.shape().dims4()?)));
    Ok((out, shape))
}

impl Bilinear {
    fn of<T: Element>(self, data: &[T], (b, h, w, c): (usize, usize, usize, usize)) -> Vec<T> {
        let mut out = unwritten(b * self.height * self.width * c);
        if out.is_empty() {
            return out;
        }
        let ys = taps(h, self.height, self.align_corners);
        let xs = taps(w, self.width, self.align_corners);
        out.par_chunks_mut(self.width * c)
            .enumerate()
            .for_each(|(row, out)| {
                let (image, tap) = (row / self.height * h, ys[row % self.height]);
                let lines = tap
                    .at
                    .map(|y| &data[(image + y) * w * c..(image + y + 1) * w * c]);
                simd::dispatch(Line {
                    lines,
                    weight: tap.weight,
                    xs: &xs,
                    c,
                    out,
                });
            });
        out
    }
}

struct Line<'a, T> {
    lines: [&'a [T]; 2],
    weight: [f32; 2],
    xs: &'a [Tap],
    c: usize,
    out: &'a mut [T],
}

impl<T: Element> WithSimd for Line<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (c, [top, bottom], [v0, v1]) = (self.c, self.lines, self.weight);
        if c == 1 {
            let pick = |line: &[T], [x0, x1]: [usize; 2]| {
                let mut floats = [0.; 2];
                T::widen(&[line[x0], line[x1]], &mut floats);
                floats
            };
            for (out, x) in self.out.iter_mut().zip(self.xs) {
                let [h0, h1] = x.weight;
                let ([t0, t1], [b0, b1]) = (pick(top, x.at), pick(bottom, x.at));
                let y = v0 * (h0 * t0 + h1 * t1) + v1 * (h0 * b0 + h1 * b1);
                T::narrow(&[y], std::slice::from_mut(out));
            }
            return;
        }
        let (v0, v1) = (simd.splat_f32s(v0), simd.splat_f32s(v1));
        for (out, x) in self.out.chunks_exact_mut(c).zip(self.xs) {
            let [x0, x1] = x.at;
            let (h0, h1) = (simd.splat_f32s(x.weight[0]), simd.splat_f32s(x.weight[1]));
            for i in (0..c).step_by(S::F32_LANES) {
                let end = (i + S::F32_LANES).min(c);
                let pick = |line: &[T], x: usize| T::load(simd, &line[x * c + i..x * c + end]);
                let mix =
                    |line: &[T]| simd.mul_add_e_f32s(h1, pick(line, x1), simd.mul_f32s(h0, pick(line, x0)));
                let y = simd.mul_add_e_f32s(v1, mix(bottom), simd.mul_f32s(v0, mix(top)));
                T::store(simd, &mut out[i..end], y);
            }
        }
    }
}
