//! The tile product by AVX-512's `vdpbf16ps`, on CPUs that have it and no matrix unit: twice the multiply-adds of f32.
//!
//! A word of `a` (two numbers of a row) is repeated over a vector and multiplied with a line of `b` (two numbers of 16 columns).
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
pub(super) use native::{available, multiply};

#[cfg(not(target_arch = "x86_64"))]
pub(super) use absent::{available, multiply};

#[cfg(target_arch = "x86_64")]
mod native {
    use std::arch::x86_64::*;

    use super::super::{BLOCK, Line, Shape, Sums, TILE};
    use crate::cpu::prefetch::prefetch;

    /// Rows whose sums are in registers at a time: 16 of 32 with two tiles of columns.
    const ROWS: usize = 8;

    pub(in super::super) fn available() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512bf16")
    }

    /// [`super::super::Multiplier::multiply`], which checked the lengths.
    pub(in super::super) fn multiply(shape: Shape, a: &[Line], b: &[Line], ahead: &[Line], sums: &mut Sums) {
        let (rows, columns) = (shape.rows, shape.columns);
        let strips = rows * TILE / ROWS;
        let share = ahead.len().div_ceil(strips).max(1);
        let mut ahead = ahead.chunks(share);
        let holds = |side: &[Line], tiles| side.len() >= shape.steps * shape.terms.lines(tiles);
        assert!(available() && (1..=2).contains(&rows) && (1..=2).contains(&columns));
        assert!(holds(a, rows) && holds(b, columns));
        for first in (0..rows * TILE).step_by(ROWS) {
            let ahead = ahead.next().unwrap_or_default();
            // SAFETY: the instructions are there, and the lines of every step.
            unsafe {
                match columns {
                    1 => strip::<1>(shape, first, (a, b, ahead), sums),
                    _ => strip::<2>(shape, first, (a, b, ahead), sums),
                }
            }
        }
    }

    /// Rows `first ..` of the block, `ROWS` of them.
    ///
    /// # Safety
    /// `a` and `b` hold the steps of `shape`, whose columns are `C` tiles.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn strip<const C: usize>(
        shape: Shape,
        first: usize,
        (a, b, ahead): (&[Line], &[Line], &[Line]),
        sums: &mut Sums,
    ) {
        let (of_a, of_b) = (shape.rows * TILE, C * TILE);
        let mut ahead = ahead.chunks(ahead.len().div_ceil(shape.steps.max(1)).max(1));
        let terms = shape.terms.count();
        let mut acc = [[_mm512_setzero_ps(); C]; ROWS];
        for step in 0..shape.steps {
            ahead.next().unwrap_or_default().iter().for_each(prefetch);
            for &(term_a, term_b) in shape.terms.pairs() {
                // SAFETY: by the caller; a line is 64 bytes, aligned, and any bits are a number.
                unsafe {
                    let a = a.as_ptr().add((step * terms + term_a) * of_a + first);
                    let b = b.as_ptr().add((step * terms + term_b) * of_b);
                    for r in 0..TILE {
                        let mut columns = [_mm512_setzero_si512(); C];
                        for (c, column) in columns.iter_mut().enumerate() {
                            *column = _mm512_load_si512(b.add(c * TILE + r).cast());
                        }
                        for (i, acc) in acc.iter_mut().enumerate() {
                            let word = _mm512_set1_epi32(*a.add(i).cast::<i32>().add(r));
                            for (acc, column) in acc.iter_mut().zip(columns) {
                                *acc = _mm512_dpbf16_ps(*acc, words(word), words(column));
                            }
                        }
                    }
                }
            }
        }
        let (rows, _) = sums.0[first * BLOCK..].as_chunks_mut::<BLOCK>();
        for (row, acc) in rows.iter_mut().zip(&acc) {
            for (to, acc) in row.as_chunks_mut::<TILE>().0.iter_mut().zip(acc) {
                // SAFETY: 16 floats are 64 bytes.
                unsafe { _mm512_storeu_ps(to.as_mut_ptr(), *acc) }
            }
        }
    }

    #[inline(always)]
    fn words(v: __m512i) -> __m512bh {
        // SAFETY: both types are 64 bytes without invalid values.
        unsafe { std::mem::transmute(v) }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod absent {
    use super::super::{Line, Shape, Sums};

    pub(in super::super) fn available() -> bool {
        false
    }

    pub(in super::super) fn multiply(_: Shape, _: &[Line], _: &[Line], _: &[Line], _: &mut Sums) {
        unreachable!("not chosen where it is not available")
    }
}
