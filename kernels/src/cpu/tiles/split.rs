//! Elements of tensors to the bf16 numbers of tiles: those of bf16 as they are, f32 split into terms.

use half::bf16;
use half::slice::HalfFloatSliceExt;

use super::{Line, STEP, TILE, Terms};
use crate::cpu::element::Element;
use crate::cpu::view::View;

/// How the rows of one block lie: `tiles` tiles a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub tiles: usize,
    pub terms: Terms,
}

impl Place {
    /// Lines from step to step.
    fn stride(self) -> usize {
        self.terms.lines(self.tiles)
    }

    /// Lines from a term of a row to its next.
    fn next(self) -> usize {
        self.tiles * TILE
    }
}

/// Row `i` of a block: number `k` of `src` goes into step `k / 32`; what is left of the last step becomes 0.
pub(super) fn row(place: Place, i: usize, src: View<'_>, block: &mut [Line]) {
    match src {
        View::F32(src) => row_of_floats(place, i, src, block),
        View::Bf16(src) => row_of_bits(place, i, src, block),
        View::F16(src) => {
            for (step, src) in src.chunks(STEP).enumerate() {
                let mut floats = [0.; STEP];
                Element::widen(src, &mut floats[..src.len()]);
                row_of_floats(
                    place,
                    i,
                    &floats[..src.len()],
                    &mut block[step * place.stride()..],
                );
            }
        }
    }
}

fn row_of_bits(place: Place, i: usize, src: &[bf16], block: &mut [Line]) {
    let bits: &[u16] = src.reinterpret_cast();
    let (whole, rest) = bits.as_chunks::<STEP>();
    for (step, src) in whole.iter().enumerate() {
        line_of_bits(place, step * place.stride() + i, block).copy_from_slice(src);
    }
    if !rest.is_empty() {
        let line = line_of_bits(place, whole.len() * place.stride() + i, block);
        line[..rest.len()].copy_from_slice(rest);
        line[rest.len()..].fill(0);
    }
}

/// The first term at `at`; those after it are 0.
fn line_of_bits(place: Place, at: usize, block: &mut [Line]) -> &mut [u16; STEP] {
    for term in 1..place.terms.count() {
        block[at + term * place.next()] = Line::ZERO;
    }
    &mut block[at].0
}

fn row_of_floats(place: Place, i: usize, src: &[f32], block: &mut [Line]) {
    #[cfg(target_arch = "x86_64")]
    if x86::available() {
        return x86::row(place, i, src, block);
    }
    for (step, src) in src.chunks(STEP).enumerate() {
        let at = step * place.stride() + i;
        for term in 0..place.terms.count() {
            let mut line = Line::ZERO;
            for (to, &v) in line.0.iter_mut().zip(src) {
                *to = split(v)[term];
            }
            block[at + term * place.next()] = line;
        }
    }
}

/// Rows `2r` and `2r + 1` of a right-hand side that is stored as K rows of N: `even` and `odd` are 16 columns of them at most.
/// Their terms become the lines `lines[0]`, `lines[next]`, and so on.
pub(super) fn pair(terms: Terms, [even, odd]: [View<'_>; 2], lines: &mut [Line], next: usize) {
    let mut floats = [[0.; TILE]; 2];
    match (even, odd) {
        (View::F32(even), View::F32(odd)) => pair_of_floats(terms, even, odd, lines, next),
        (View::Bf16(even), View::Bf16(odd)) => pair_of_bits(terms, even, odd, lines, next),
        _ => {
            let [first, second] = &mut floats;
            even.copy_to(&mut first[..even.len()]);
            odd.copy_to(&mut second[..odd.len()]);
            pair_of_floats(terms, &first[..even.len()], &second[..odd.len()], lines, next);
        }
    }
}

fn pair_of_bits(terms: Terms, even: &[bf16], odd: &[bf16], lines: &mut [Line], next: usize) {
    let (even, odd): (&[u16], &[u16]) = (even.reinterpret_cast(), odd.reinterpret_cast());
    let to = &mut lines[0].0;
    match (<&[u16; TILE]>::try_from(even), <&[u16; TILE]>::try_from(odd)) {
        (Ok(even), Ok(odd)) => {
            for n in 0..TILE {
                to[2 * n] = even[n];
                to[2 * n + 1] = odd[n];
            }
        }
        _ => {
            to.fill(0);
            for (offset, src) in [(0, even), (1, odd)] {
                for (n, &v) in src.iter().enumerate() {
                    to[2 * n + offset] = v;
                }
            }
        }
    }
    for term in 1..terms.count() {
        lines[term * next] = Line::ZERO;
    }
}

fn pair_of_floats(terms: Terms, even: &[f32], odd: &[f32], lines: &mut [Line], next: usize) {
    #[cfg(target_arch = "x86_64")]
    if x86::available() {
        return x86::pair(terms, even, odd, lines, next);
    }
    for term in 0..terms.count() {
        let mut line = Line::ZERO;
        for (offset, src) in [(0, even), (1, odd)] {
            for (n, &v) in src.iter().enumerate() {
                line.0[2 * n + offset] = split(v)[term];
            }
        }
        lines[term * next] = line;
    }
}

/// From 16 rows of 16 pairs to 16 rows of pairs, as the right-hand side of a product is read.
pub(super) fn transpose(tile: &mut [Line; TILE]) {
    #[cfg(target_arch = "x86_64")]
    if x86::available() {
        return x86::transpose(tile);
    }
    let from = *tile;
    for (r, line) in tile.iter_mut().enumerate() {
        for (n, from) in from.iter().enumerate() {
            line.0[2 * n] = from.0[2 * r];
            line.0[2 * n + 1] = from.0[2 * r + 1];
        }
    }
}

/// Three terms, each to the nearest of what those before left, ties to even.
fn split(v: f32) -> [u16; 3] {
    let mut rest = v;
    std::array::from_fn(|_| {
        let term = half::bf16::from_f32(rest);
        rest -= term.to_f32();
        term.to_bits()
    })
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod x86 {
    use std::arch::x86_64::*;

    use super::super::{Line, STEP, TILE, Terms};
    use super::Place;

    pub(super) fn available() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512bf16")
    }

    pub(super) fn row(place: Place, i: usize, src: &[f32], block: &mut [Line]) {
        // SAFETY: `available` said that the vectors are there.
        unsafe { row_of_vectors(place, i, src, block) }
    }

    pub(super) fn pair(terms: Terms, even: &[f32], odd: &[f32], lines: &mut [Line], next: usize) {
        // SAFETY: as in `row`.
        unsafe { pair_of_vectors(terms, even, odd, lines, next) }
    }

    pub(super) fn transpose(tile: &mut [Line; TILE]) {
        // SAFETY: as in `row`.
        unsafe { transpose_vectors(tile) }
    }

    /// Up to 16 numbers, 0 behind them.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(src: &[f32]) -> __m512 {
        let mask = if src.len() >= 16 {
            u16::MAX
        } else {
            (1 << src.len()) - 1
        };
        // SAFETY: masked lanes are not read.
        unsafe { _mm512_maskz_loadu_ps(mask, src.as_ptr()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn store(line: &mut Line, v: __m512i) {
        // SAFETY: a line is 64 bytes, aligned.
        unsafe { _mm512_store_si512(line.0.as_mut_ptr().cast(), v) }
    }

    /// The nearest bf16 of 32 numbers, in order, and what that leaves of them.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    fn round(v: [__m512; 2]) -> (__m512i, [__m512; 2]) {
        // SAFETY: both types are 64 bytes without invalid values.
        let bits = unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(v[1], v[0])) };
        let first = widen(_mm512_castsi512_si256(bits));
        let second = widen(_mm512_extracti64x4_epi64::<1>(bits));
        (bits, [_mm512_sub_ps(v[0], first), _mm512_sub_ps(v[1], second)])
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn widen(bits: __m256i) -> __m512 {
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits)))
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    fn row_of_vectors(place: Place, i: usize, src: &[f32], block: &mut [Line]) {
        for (step, src) in src.chunks(STEP).enumerate() {
            let at = step * place.stride() + i;
            let (first, second) = src.split_at(src.len().min(16));
            let mut rest = [load(first), load(second)];
            for term in 0..place.terms.count() {
                let (bits, left) = round(rest);
                store(&mut block[at + term * place.next()], bits);
                rest = left;
            }
        }
    }

    /// Word `2n` of the first sixteen, word `2n + 1` of the second.
    const INTERLEAVE: [u16; 32] = {
        let mut words = [0; 32];
        let mut n = 0;
        while n < 16 {
            words[2 * n] = n as u16;
            words[2 * n + 1] = n as u16 + 16;
            n += 1;
        }
        words
    };

    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    fn pair_of_vectors(terms: Terms, even: &[f32], odd: &[f32], lines: &mut [Line], next: usize) {
        // SAFETY: 64 bytes are read.
        let order = unsafe { _mm512_loadu_si512(INTERLEAVE.as_ptr().cast()) };
        let mut rest = [load(even), load(odd)];
        for term in 0..terms.count() {
            let (bits, left) = round(rest);
            store(&mut lines[term * next], _mm512_permutexvar_epi16(order, bits));
            rest = left;
        }
    }

    /// 16 x 16 words of 32 bits.
    #[target_feature(enable = "avx512f")]
    fn transpose_vectors(tile: &mut [Line; TILE]) {
        let mut a = [_mm512_setzero_si512(); TILE];
        for (a, line) in a.iter_mut().zip(&*tile) {
            // SAFETY: a line is 64 bytes, aligned.
            *a = unsafe { _mm512_load_si512(line.0.as_ptr().cast()) };
        }
        let mut b = a;
        for i in 0..8 {
            b[2 * i] = _mm512_unpacklo_epi32(a[2 * i], a[2 * i + 1]);
            b[2 * i + 1] = _mm512_unpackhi_epi32(a[2 * i], a[2 * i + 1]);
        }
        for i in 0..4 {
            for j in 0..2 {
                a[4 * i + 2 * j] = _mm512_unpacklo_epi64(b[4 * i + j], b[4 * i + 2 + j]);
                a[4 * i + 2 * j + 1] = _mm512_unpackhi_epi64(b[4 * i + j], b[4 * i + 2 + j]);
            }
        }
        // a[4i + c] holds, in its four quarters q, column 4q + c of rows 4i .. 4i + 4.
        for c in 0..4 {
            let low = _mm512_shuffle_i32x4::<0x88>(a[c], a[4 + c]);
            let high = _mm512_shuffle_i32x4::<0x88>(a[8 + c], a[12 + c]);
            b[c] = _mm512_shuffle_i32x4::<0x88>(low, high);
            b[8 + c] = _mm512_shuffle_i32x4::<0xdd>(low, high);
            let low = _mm512_shuffle_i32x4::<0xdd>(a[c], a[4 + c]);
            let high = _mm512_shuffle_i32x4::<0xdd>(a[8 + c], a[12 + c]);
            b[4 + c] = _mm512_shuffle_i32x4::<0x88>(low, high);
            b[12 + c] = _mm512_shuffle_i32x4::<0xdd>(low, high);
        }
        for (line, &v) in tile.iter_mut().zip(&b) {
            store(line, v);
        }
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    fn numbers(n: usize) -> Vec<f32> {
        let mut state = 7u32;
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / 8_388_608. - 1.
            })
            .collect()
    }

    fn widen(bits: u16) -> f32 {
        half::bf16::from_bits(bits).to_f32()
    }

    #[test]
    fn two_terms_keep_seventeen_bits_and_three_all() {
        for v in numbers(1000) {
            let [h, m, l] = split(v).map(|bits| f64::from(widen(bits)));
            let error = (f64::from(v) - h - m).abs();
            assert!(error <= f64::from(v.abs()) / f64::from(1 << 17), "{v}: {error:e}");
            assert_eq!(h + m + l, f64::from(v));
        }
    }

    /// With vectors where the machine has them, one number at a time elsewhere.
    #[test]
    fn every_number_lands_in_its_place() {
        for (tiles, terms, k) in [
            (1, Terms::Two, 1_usize),
            (2, Terms::Two, 45),
            (2, Terms::One, 64),
            (1, Terms::One, 50),
            (2, Terms::Three, 40),
        ] {
            let place = Place { tiles, terms };
            let steps = k.div_ceil(STEP);
            let mut block = vec![Line([7; STEP]); steps * place.stride()];
            let rows: Vec<Vec<f32>> = (0..tiles * TILE).map(|i| numbers(k + i)[i..].to_vec()).collect();
            let found = |i: usize, p: usize, term: usize, block: &[Line]| {
                block[p / STEP * place.stride() + i + term * place.next()].0[p % STEP]
            };
            for (i, src) in rows.iter().enumerate() {
                row(place, i, View::F32(src), &mut block);
            }
            for (i, src) in rows.iter().enumerate() {
                for p in 0..steps * STEP {
                    let wanted = src.get(p).map_or([0; 3], |&v| split(v));
                    for (term, &wanted) in wanted.iter().enumerate().take(terms.count()) {
                        assert_eq!(found(i, p, term, &block), wanted, "row {i}, {p}, term {term}");
                    }
                }
            }
            // What is of 16 bits already, as its own value in f32 would lie.
            let halves: Vec<Vec<bf16>> = rows
                .iter()
                .map(|r| r.iter().map(|&v| bf16::from_f32(v)).collect())
                .collect();
            let thin: Vec<Vec<f16>> = rows
                .iter()
                .map(|r| r.iter().map(|&v| f16::from_f32(v)).collect())
                .collect();
            let views = halves
                .iter()
                .map(|v| View::Bf16(v))
                .chain(thin.iter().map(|v| View::F16(v)));
            for (i, src) in views.enumerate() {
                let i = i % rows.len();
                row(place, i, src, &mut block);
                let mut wide = vec![0.; src.len()];
                src.copy_to(&mut wide);
                for p in 0..steps * STEP {
                    let wanted = wide.get(p).map_or([0; 3], |&v| split(v));
                    for (term, &wanted) in wanted.iter().enumerate().take(terms.count()) {
                        assert_eq!(found(i, p, term, &block), wanted, "row {i}, {p}, term {term}");
                    }
                }
            }
        }
    }

    #[test]
    fn pairs_lie_side_by_side() {
        for n in [1, 9, 16] {
            let (even, odd) = (numbers(n), numbers(2 * n)[n..].to_vec());
            let mut lines = [Line([7; STEP]); 5];
            pair(Terms::Three, [View::F32(&even), View::F32(&odd)], &mut lines, 2);
            let [halves, others] =
                [&even, &odd].map(|v| v.iter().map(|&v| bf16::from_f32(v)).collect::<Vec<_>>());
            let mut thin = [Line([7; STEP]); 3];
            pair(
                Terms::Two,
                [View::Bf16(&halves), View::Bf16(&others)],
                &mut thin,
                2,
            );
            for i in 0..TILE {
                for (offset, src) in [(0, &halves), (1, &others)] {
                    let wanted = src.get(i).map_or(0, |v| v.to_bits());
                    assert_eq!([0, 2].map(|l: usize| thin[l].0[2 * i + offset]), [wanted, 0]);
                }
                for (offset, src) in [(0, &even), (1, &odd)] {
                    let wanted = src.get(i).map_or([0; 3], |&v| split(v));
                    assert_eq!([0, 2, 4].map(|l: usize| lines[l].0[2 * i + offset]), wanted);
                }
            }
            assert_eq!(lines[1].0, [7; STEP]);
        }
    }

    #[test]
    fn a_tile_turned_twice_is_itself() {
        let tile: [Line; TILE] =
            std::array::from_fn(|r| Line(std::array::from_fn(|i| (r * STEP + i) as u16)));
        let mut turned = tile;
        transpose(&mut turned);
        for (r, turned) in turned.iter().enumerate() {
            for (n, line) in tile.iter().enumerate() {
                assert_eq!(turned.0[2 * n..][..2], line.0[2 * r..][..2]);
            }
        }
    }
}
