//! Random tensors and comparison, for the tests beside the ops: what runs on CUDA against the CPU kernels.
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Shape, Tensor};

use crate::Products;

pub(crate) fn random(shape: impl Into<Shape>) -> Tensor {
    Tensor::randn(0f32, 1., shape, &Device::Cpu).unwrap()
}

/// The same (B, C, H, W) values, lying in memory as (B, H, W, C).
pub(crate) fn channels_last(x: &Tensor) -> Tensor {
    let nhwc = x.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap();
    nhwc.permute((0, 3, 1, 2)).unwrap()
}

/// max |a - b| / max(1, max |b|) is at most `tolerance`.
#[track_caller]
pub(crate) fn close(a: &Tensor, b: &Tensor, tolerance: f32) {
    assert_eq!(a.dims(), b.dims());
    let flat = |t: &Tensor| {
        let t = t.to_dtype(DType::F32).unwrap().flatten_all().unwrap();
        t.to_vec1::<f32>().unwrap()
    };
    let (a, b) = (flat(a), flat(b));
    let scale = b.iter().fold(1f32, |m, v| m.max(v.abs()));
    let worst = a
        .iter()
        .zip(&b)
        .fold(0f32, |m, (a, b)| m.max((a - b).abs() / scale));
    assert!(worst <= tolerance, "error {worst:.2e} > {tolerance:.0e}");
}

/// [`close`] of what products gave: to f32's own rounding, or to half of what two numbers of bf16 promise.
#[track_caller]
pub(crate) fn products_close(a: &Tensor, b: &Tensor) {
    close(
        a,
        b,
        match Products::current() {
            Products::F32 | Products::Bf16x6 => 2e-6,
            Products::Bf16x3 => 1.5e-5,
        },
    );
}
