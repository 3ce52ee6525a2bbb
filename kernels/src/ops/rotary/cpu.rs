use candle_core::{CpuStorage, DType, Layout, Result, Shape};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::Rotary;
use crate::cpu::block::load;
use crate::cpu::element::{Element, by_type};
use crate::cpu::memory::unwritten;
use crate::cpu::parallel::grain;
use crate::cpu::simd;
use crate::cpu::storage::TensorInput;

pub(super) fn forward(op: &Rotary, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
    let (cos, sin) = (TensorInput::new(&op.cos), TensorInput::new(&op.sin));
    let (cos, sin) = (cos.floats()?, sin.floats()?);
    let angles = Angles {
        cos: &cos,
        sin: &sin,
        batched: op.cos.rank() == 3,
        rounded: op.cos.dtype() != DType::F32,
    };
    let out = by_type!(x, T => {
        let x = T::slice(x).unwrap_or_default();
        T::storage(turned::<T>(&x[layout.start_offset()..], layout, angles)?)
    });
    Ok((out, layout.shape().clone()))
}

/// Tables of the angles of each row.
#[derive(Clone, Copy)]
struct Angles<'a> {
    cos: &'a [f32],
    sin: &'a [f32],
    /// Own ones for each entry of the batch.
    batched: bool,
    /// Whether every operation is rounded to the type of what is turned.
    rounded: bool,
}

fn turned<T: Element>(x: &[T], layout: &Layout, angles: Angles<'_>) -> Result<Vec<T>> {
    let (b, h, n, d) = layout.shape().dims4()?;
    let stride = layout.stride();
    let mut out = unwritten(b * h * n * d);
    if out.is_empty() {
        return Ok(out);
    }
    let rows = grain(b * h * n, 1, 1, 256.max(8192 / d));
    out.par_chunks_mut(rows * d).enumerate().for_each(|(task, out)| {
        simd::dispatch(Rows {
            x,
            stride: [stride[0], stride[1], stride[2]],
            heads: h,
            tokens: n,
            first: task * rows,
            d,
            angles,
            out,
        });
    });
    Ok(out)
}

/// Rows `first ..` of the result, `d` elements each.
struct Rows<'a, T> {
    x: &'a [T],
    /// Of the batch, the heads and the tokens of `x`.
    stride: [usize; 3],
    heads: usize,
    tokens: usize,
    first: usize,
    d: usize,
    angles: Angles<'a>,
    out: &'a mut [T],
}

impl<T: Element> WithSimd for Rows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let half = self.d / 2;
        let Angles { cos, sin, .. } = self.angles;
        for (i, out) in self.out.chunks_exact_mut(self.d).enumerate() {
            let row = self.first + i;
            let (bh, n) = (row / self.tokens, row % self.tokens);
            let (b, h) = (bh / self.heads, bh % self.heads);
            let at = b * self.stride[0] + h * self.stride[1] + n * self.stride[2];
            let (left, right) = self.x[at..at + self.d].split_at(half);
            let of_batch = if self.angles.batched { b } else { 0 };
            let angle = (of_batch * self.tokens + n) * half;
            let (cos, sin) = (&cos[angle..angle + half], &sin[angle..angle + half]);
            let (out_left, out_right) = out.split_at_mut(half);
            for i in (0..half).step_by(S::F32_LANES) {
                let part = i..(i + S::F32_LANES).min(half);
                let (l, r) = (
                    T::load(simd, &left[part.clone()]),
                    T::load(simd, &right[part.clone()]),
                );
                let (c, s) = (load(simd, &cos[part.clone()]), load(simd, &sin[part.clone()]));
                let mut products = [
                    simd.mul_f32s(l, c),
                    simd.mul_f32s(r, s),
                    simd.mul_f32s(l, s),
                    simd.mul_f32s(r, c),
                ];
                if self.angles.rounded {
                    for v in &mut products {
                        *v = T::rounded(simd, *v);
                    }
                }
                let [lc, rs, ls, rc] = products;
                T::store(simd, &mut out_left[part.clone()], simd.sub_f32s(lc, rs));
                T::store(simd, &mut out_right[part], simd.add_f32s(ls, rc));
            }
        }
    }
}
