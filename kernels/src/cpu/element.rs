//! Elements of tensors to f32 and back, in vectors of whatever width the machine has.
//!
//! Loops over as many elements as a vector has lanes; inside code for such vectors (`simd::dispatch`) compilers make single
//! instructions of them.

use candle_core::CpuStorage;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use pulp::{Simd, WithSimd};

use super::block;
use super::memory::Number;
use super::simd;

/// The most lanes that a vector of f32 has.
const LANES: usize = 16;

/// What tensors are made of that the kernels take. They compute in f32.
pub(crate) trait Element: Number + Send + Sync {
    /// The elements of a storage of this type.
    fn slice(storage: &CpuStorage) -> Option<&[Self]>;

    fn storage(elements: Vec<Self>) -> CpuStorage;

    /// `from` in f32.
    fn widen(from: &[Self], to: &mut [f32]);

    /// `from` rounded to the nearest, ties to even.
    fn narrow(from: &[f32], to: &mut [Self]);

    /// The first elements of `src`, as many as a vector has lanes; 0 behind its end.
    #[inline(always)]
    fn load<S: Simd>(_: S, src: &[Self]) -> S::f32s {
        let mut lanes = [0f32; LANES];
        match src.get(..S::F32_LANES) {
            Some(whole) => Self::widen(whole, &mut lanes[..S::F32_LANES]),
            None => Self::widen(src, &mut lanes[..src.len()]),
        }
        S::as_simd_f32s(&lanes).0[0]
    }

    /// `v` to the first elements of `dst`, as far as it goes.
    #[inline(always)]
    fn store<S: Simd>(_: S, dst: &mut [Self], v: S::f32s) {
        let mut lanes = [0f32; LANES];
        S::as_mut_simd_f32s(&mut lanes).0[0] = v;
        match dst.get_mut(..S::F32_LANES) {
            Some(whole) => Self::narrow(&lanes[..S::F32_LANES], whole),
            None => {
                let len = dst.len();
                Self::narrow(&lanes[..len], dst);
            }
        }
    }

    /// Vector `i` of those that `src` is made of.
    #[inline(always)]
    fn nth<S: Simd>(simd: S, src: &[Self], i: usize) -> S::f32s {
        Self::load(simd, &src[i * S::F32_LANES..(i + 1) * S::F32_LANES])
    }

    /// Makes `v` vector `i` of `dst`.
    #[inline(always)]
    fn set_nth<S: Simd>(simd: S, dst: &mut [Self], i: usize, v: S::f32s) {
        Self::store(simd, &mut dst[i * S::F32_LANES..(i + 1) * S::F32_LANES], v);
    }

    /// What is left of `v` in this type.
    #[inline(always)]
    fn rounded<S: Simd>(simd: S, v: S::f32s) -> S::f32s {
        let mut lanes = [Self::ZERO; LANES];
        Self::store(simd, &mut lanes[..S::F32_LANES], v);
        Self::load(simd, &lanes[..S::F32_LANES])
    }
}

impl Element for f32 {
    fn slice(storage: &CpuStorage) -> Option<&[Self]> {
        match storage {
            CpuStorage::F32(v) => Some(v),
            _ => None,
        }
    }

    fn storage(elements: Vec<Self>) -> CpuStorage {
        CpuStorage::F32(elements)
    }

    #[inline(always)]
    fn widen(from: &[Self], to: &mut [f32]) {
        to.copy_from_slice(from);
    }

    #[inline(always)]
    fn narrow(from: &[f32], to: &mut [Self]) {
        to.copy_from_slice(from);
    }

    #[inline(always)]
    fn load<S: Simd>(simd: S, src: &[Self]) -> S::f32s {
        block::load(simd, src)
    }

    #[inline(always)]
    fn store<S: Simd>(simd: S, dst: &mut [Self], v: S::f32s) {
        block::store(simd, dst, v);
    }

    #[inline(always)]
    fn nth<S: Simd>(_: S, src: &[Self], i: usize) -> S::f32s {
        S::as_simd_f32s(src).0[i]
    }

    #[inline(always)]
    fn set_nth<S: Simd>(_: S, dst: &mut [Self], i: usize, v: S::f32s) {
        S::as_mut_simd_f32s(dst).0[i] = v;
    }

    #[inline(always)]
    fn rounded<S: Simd>(_: S, v: S::f32s) -> S::f32s {
        v
    }
}

impl Element for bf16 {
    fn slice(storage: &CpuStorage) -> Option<&[Self]> {
        match storage {
            CpuStorage::BF16(v) => Some(v),
            _ => None,
        }
    }

    fn storage(elements: Vec<Self>) -> CpuStorage {
        CpuStorage::BF16(elements)
    }

    #[inline(always)]
    fn widen(from: &[Self], to: &mut [f32]) {
        for (to, v) in to.iter_mut().zip(from) {
            *to = f32::from_bits(u32::from(v.to_bits()) << 16);
        }
    }

    #[inline(always)]
    fn narrow(from: &[f32], to: &mut [Self]) {
        for (to, &v) in to.iter_mut().zip(from) {
            *to = round(v);
        }
    }
}

impl Element for f16 {
    fn slice(storage: &CpuStorage) -> Option<&[Self]> {
        match storage {
            CpuStorage::F16(v) => Some(v),
            _ => None,
        }
    }

    fn storage(elements: Vec<Self>) -> CpuStorage {
        CpuStorage::F16(elements)
    }

    #[inline(always)]
    fn widen(from: &[Self], to: &mut [f32]) {
        from.convert_to_f32_slice(to);
    }

    #[inline(always)]
    fn narrow(from: &[f32], to: &mut [Self]) {
        to.convert_from_f32_slice(from);
    }
}

/// As `bf16::from_f32`, without its branch on NaN, so that loops become vectors.
#[inline(always)]
fn round(v: f32) -> bf16 {
    let bits = v.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    let quiet = (bits >> 16) | 0x40;
    bf16::from_bits(if v.is_nan() { quiet } else { rounded } as u16)
}

/// [`Element::widen`] outside code for vectors.
pub(crate) fn widen<T: Element>(from: &[T], to: &mut [f32]) {
    simd::dispatch(Widen(from, to));
}

/// [`Element::narrow`] outside code for vectors.
pub(crate) fn narrow<T: Element>(from: &[f32], to: &mut [T]) {
    simd::dispatch(Narrow(from, to));
}

struct Widen<'a, T>(&'a [T], &'a mut [f32]);

impl<T: Element> WithSimd for Widen<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        T::widen(self.0, self.1);
    }
}

struct Narrow<'a, T>(&'a [f32], &'a mut [T]);

impl<T: Element> WithSimd for Narrow<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        T::narrow(self.0, self.1);
    }
}

/// `$body` with `$T` as the element type of the tensor storage `$storage`.
///
/// # Errors
/// Another than f32, bf16 and f16, from the function around it.
macro_rules! by_type {
    ($storage:expr, $T:ident => $body:expr) => {
        match $storage {
            candle_core::CpuStorage::F32(_) => {
                type $T = f32;
                $body
            }
            candle_core::CpuStorage::BF16(_) => {
                type $T = half::bf16;
                $body
            }
            candle_core::CpuStorage::F16(_) => {
                type $T = half::f16;
                $body
            }
            _ => candle_core::bail!("kernels: f32, bf16 or f16 is needed"),
        }
    };
}
pub(crate) use by_type;

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers between, at and beyond what both types have; halves of their last places; NaN.
    fn numbers() -> Vec<f32> {
        let special = [
            0x7f80_0000,
            0xff80_0000,
            0x7fff_ffff,
            0x7f80_0001,
            0x3f80_8000,
            0x3f81_8000,
        ];
        let bits = (0..=u32::MAX).step_by(65_521).chain(special);
        bits.map(f32::from_bits).collect()
    }

    fn bits(v: &[f32]) -> Vec<u32> {
        v.iter().map(|v| v.to_bits()).collect()
    }

    fn as_half_does<T: Element>(one: impl Fn(f32) -> (u16, f32), bits_of: impl Fn(T) -> u16) {
        let from = numbers();
        let mut to = vec![T::ZERO; from.len()];
        narrow(&from, &mut to);
        let mut back = vec![0.; from.len()];
        widen(&to, &mut back);
        for ((&v, &found), &back) in from.iter().zip(&to).zip(&back) {
            let (wanted, wide) = one(v);
            assert_eq!(bits_of(found), wanted, "{v:e}");
            assert_eq!(back.to_bits(), wide.to_bits(), "{v:e}");
        }
    }

    #[test]
    fn rounds_as_half_does() {
        as_half_does::<bf16>(
            |v| (bf16::from_f32(v).to_bits(), bf16::from_f32(v).to_f32()),
            bf16::to_bits,
        );
        as_half_does::<f16>(
            |v| (f16::from_f32(v).to_bits(), f16::from_f32(v).to_f32()),
            f16::to_bits,
        );
    }

    struct There<'a, T>(&'a [T], &'a mut [T], &'a mut [f32]);

    impl<T: Element> WithSimd for There<'_, T> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            for i in (0..self.0.len()).step_by(S::F32_LANES) {
                let end = (i + S::F32_LANES).min(self.0.len());
                let v = T::load(simd, &self.0[i..end]);
                T::store(simd, &mut self.1[i..end], v);
                f32::store(simd, &mut self.2[i..end], T::rounded(simd, v));
            }
        }
    }

    #[test]
    fn vectors_are_loaded_and_stored_whole_and_in_part() {
        fn check<T: Element>() {
            for len in [0, 1, 15, 16, 17, 40] {
                let wide: Vec<f32> = (0..len).map(|i| i as f32 - 7.).collect();
                let mut from = vec![T::ZERO; len];
                narrow(&wide, &mut from);
                let (mut to, mut back) = (vec![T::ZERO; len], vec![0.; len]);
                let mut found = vec![0.; len];
                simd::dispatch(There(&from, &mut to, &mut found));
                widen(&to, &mut back);
                assert_eq!(bits(&back), bits(&wide));
                assert_eq!(bits(&found), bits(&wide));
            }
        }
        check::<f32>();
        check::<bf16>();
        check::<f16>();
    }
}
