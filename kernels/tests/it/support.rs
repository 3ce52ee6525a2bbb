//! Random tensors and comparison.

use candle_core::{Device, Tensor};
use dragunov_kernels::Products;

/// Deterministic values in [-1, 1), splitmix64.
pub(crate) fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678);
    (0..len)
        .map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.
        })
        .collect()
}

pub(crate) fn tensor(data: &[f32], shape: impl Into<candle_core::Shape>) -> Tensor {
    Tensor::from_slice(data, shape, &Device::Cpu).unwrap()
}

pub(crate) fn flat(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

/// max |a - b| / max(1, max |b|) is at most `tolerance`, and every value is a number.
#[track_caller]
pub(crate) fn close(found: &[f32], exact: &[f64], tolerance: f64) {
    assert_eq!(found.len(), exact.len());
    let scale = exact.iter().fold(1f64, |m, v| m.max(v.abs()));
    for (i, (&a, &b)) in found.iter().zip(exact).enumerate() {
        let error = (f64::from(a) - b).abs() / scale;
        assert!(
            error <= tolerance,
            "at {i}: {a} against {b}, error {error:.3e} > {tolerance:.1e}"
        );
    }
}

/// [`close`] of what products gave: to f32's own rounding, or to half of what two numbers of bf16 promise.
#[track_caller]
pub(crate) fn products_close(found: &[f32], exact: &[f64]) {
    close(
        found,
        exact,
        match Products::current() {
            Products::F32 | Products::Bf16x6 => 2e-6,
            Products::Bf16x3 => 1.5e-5,
        },
    );
}
