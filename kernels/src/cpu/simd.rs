//! Elementary functions on vectors of whatever width the machine has (`pulp` picks it at run time).

use pulp::{Arch, Simd, WithSimd};

use super::element::Element;

/// Runs `op` with the widest vectors of this machine.
pub(crate) fn dispatch<Op: WithSimd>(op: Op) -> Op::Output {
    Arch::new().dispatch(op)
}

/// A function of one number, on vectors.
pub(crate) trait Map: Copy + Sync {
    fn apply<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s;
}

/// `dst[i] = f(src[i])`.
pub(crate) struct MapSlice<'a, F, T> {
    pub f: F,
    pub src: &'a [T],
    pub dst: &'a mut [T],
}

impl<F: Map, T: Element> WithSimd for MapSlice<'_, F, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut dst = self.dst.chunks_exact_mut(S::F32_LANES);
        let src = self.src.chunks_exact(S::F32_LANES);
        let last = src.remainder();
        for (y, x) in (&mut dst).zip(src) {
            T::store(simd, y, self.f.apply(simd, T::load(simd, x)));
        }
        if !last.is_empty() {
            let y = self.f.apply(simd, T::load(simd, last));
            T::store(simd, dst.into_remainder(), y);
        }
    }
}

/// `e^x` within 2 ulp for results in the normal range; 0 below it (so `exp(-inf) = 0`), capped at `e^88` above.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low mantissa bits.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const LOWEST: f32 = -87.336_54;
    let splat = |v: f32| simd.splat_f32s(v);
    let finite = simd.max_f32s(simd.min_f32s(x, splat(88.)), splat(LOWEST));
    let shifted = simd.mul_add_e_f32s(finite, splat(std::f32::consts::LOG2_E), splat(ROUND));
    let n = simd.sub_f32s(shifted, splat(ROUND));
    let r = simd.mul_add_e_f32s(n, splat(-LN2_HIGH), finite);
    let r = simd.mul_add_e_f32s(n, splat(-LN2_LOW), r);
    // Taylor series on |r| <= ln 2 / 2.
    let mut p = splat(1. / 5040.);
    for c in [1. / 720., 1. / 120., 1. / 24., 1. / 6., 0.5, 1., 1.] {
        p = simd.mul_add_e_f32s(p, r, splat(c));
    }
    let exponent = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    let scaled = simd.add_u32s(simd.transmute_u32s_f32s(p), exponent);
    let in_range = simd.greater_than_or_equal_f32s(x, splat(LOWEST));
    simd.select_f32s(in_range, simd.transmute_f32s_u32s(scaled), splat(0.))
}

/// `x Phi(x) = max(x, 0) - |x| Phi(-|x|)` with `Phi(-a) = 1 / (2 q(a)^8)`, in the form of Abramowitz and Stegun 7.1.28: `q` a
/// polynomial fitted on [0, 6] that only grows beyond, until the quotient is 0.
///
/// Error at most 1.6e-7 of the larger of 1 and |x|.
#[inline(always)]
pub(crate) fn gelu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const Q: [f32; 10] = [
        3.654_089e-7,
        -2.350_923_5e-6,
        1.462_612_4e-5,
        -1.611_836_8e-6,
        2.923_123e-4,
        7.879_046e-4,
        8.706_879e-3,
        4.475_42e-2,
        9.973_636e-2,
        1.,
    ];
    let splat = |v: f32| simd.splat_f32s(v);
    let a = simd.abs_f32s(x);
    let mut q = splat(Q[0]);
    for &c in &Q[1..] {
        q = simd.mul_add_e_f32s(q, a, splat(c));
    }
    for _ in 0..3 {
        q = simd.mul_f32s(q, q);
    }
    let below = simd.div_f32s(simd.mul_f32s(a, splat(0.5)), q);
    simd.sub_f32s(simd.max_f32s(x, splat(0.)), below)
}

/// `x / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn silu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let e = exp(simd, simd.sub_f32s(simd.splat_f32s(0.), x));
    simd.div_f32s(x, simd.add_f32s(simd.splat_f32s(1.), e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy)]
    struct Exp;

    impl Map for Exp {
        fn apply<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
            exp(simd, x)
        }
    }

    fn map<F: Map>(f: F, src: &[f32]) -> Vec<f32> {
        let mut dst = vec![f32::NAN; src.len()];
        dispatch(MapSlice {
            f,
            src,
            dst: &mut dst,
        });
        dst
    }

    #[test]
    fn exp_is_within_two_ulp() {
        let xs: Vec<f32> = (-870..=880)
            .flat_map(|i| [i as f32 * 0.1, i as f32 * 0.1 + 0.0317])
            .collect();
        for (x, y) in xs.iter().zip(map(Exp, &xs)) {
            let exact = f64::from(x.clamp(-87.3, 88.)).exp();
            if *x > -87.3 && *x < 88. {
                assert!(
                    (f64::from(y) / exact - 1.).abs() < 2.5e-7,
                    "exp({x}) = {y}, not {exact}"
                );
            }
        }
    }

    #[test]
    fn exp_ends() {
        let y = map(Exp, &[f32::NEG_INFINITY, -1e30, -100., 0., 1e30]);
        assert_eq!(y[..4], [0., 0., 0., 1.]);
        assert!(y[4].is_finite() && y[4] > 1e38);
    }
}
