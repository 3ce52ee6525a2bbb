//! The CPU kernels behind the layers against candle's own ops, which is what runs on CUDA.
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Module, Tensor};

use super::*;

fn random(shape: impl Into<candle_core::Shape>) -> Tensor {
    Tensor::randn(0f32, 1., shape, &Device::Cpu).unwrap()
}

#[track_caller]
fn close(a: &Tensor, b: &Tensor, tolerance: f32) {
    assert_eq!(a.dims(), b.dims());
    let flat = |t: &Tensor| {
        t.to_dtype(DType::F32)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1::<f32>()
            .unwrap()
    };
    let scale = flat(b).into_iter().fold(1f32, |m, v| m.max(v.abs()));
    let worst = flat(a)
        .into_iter()
        .zip(flat(b))
        .fold(0f32, |m, (a, b)| m.max((a - b).abs() / scale));
    assert!(worst <= tolerance, "error {worst:.2e} > {tolerance:.0e}");
}

/// The same values, lying in memory as (B, H, W, C).
fn channels_last(x: &Tensor) -> Tensor {
    let nhwc = x.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap();
    nhwc.permute((0, 3, 1, 2)).unwrap()
}

#[test]
fn convolutions_of_either_layout() {
    let x = random((2, 12, 9, 11));
    for (groups, stride, padding, kernel) in [
        (1, 1, 1, 3),
        (1, 2, 1, 3),
        (1, 1, 0, 1),
        (12, 1, 1, 3),
        (3, 1, 1, 3),
        (1, 3, 0, 3),
    ] {
        let (w, b) = (
            random((24 / if groups == 12 { 2 } else { 1 }, 12 / groups, kernel, kernel)),
            random(24),
        );
        let b = b.narrow(0, 0, w.dim(0).unwrap()).unwrap();
        let config = Conv2dConfig {
            stride,
            padding,
            groups,
        };
        let plain = x.conv2d(&w, padding, stride, 1, groups).unwrap();
        let plain = plain.broadcast_add(&b.reshape((1, (), 1, 1)).unwrap()).unwrap();
        let layer = Conv2d::new(w, Some(b.contiguous().unwrap()), config);
        close(&layer.forward(&x).unwrap(), &plain, 2e-6);
        close(&layer.forward(&channels_last(&x)).unwrap(), &plain, 2e-6);
        let onto = layer.forward_onto(&x, &plain).unwrap();
        close(&onto, &(&plain + &plain).unwrap(), 2e-6);
        let relu = layer.forward_activated(&x, Activation::Relu).unwrap();
        close(&relu, &plain.relu().unwrap(), 2e-6);
    }
}

/// What a GPU runs for depthwise convolutions.
#[test]
fn depthwise_convolution_by_taps() {
    let x = random((2, 6, 9, 11));
    for (stride, padding, kernel) in [(1, 1, 3), (2, 1, 3), (1, 0, 1), (3, 2, 5), (4, 0, 2), (2, 0, 9)] {
        let w = random((6, 1, kernel, kernel));
        let plain = x.conv2d(&w, padding, stride, 1, 6).unwrap();
        let taps = conv::depthwise_by_taps(&x, &w, stride, padding).unwrap();
        close(&taps, &plain, 2e-6);
    }
    assert!(conv::depthwise_by_taps(&x, &random((6, 1, 12, 12)), 1, 1).is_err());
    assert!(conv::depthwise_by_taps(&x, &random((5, 1, 3, 3)), 1, 1).is_err());
}

#[test]
fn transposed_convolution() {
    let (x, w, b) = (random((2, 5, 4, 7)), random((5, 6, 2, 2)), random(6));
    let plain = x.conv_transpose2d(&w, 0, 0, 2, 1).unwrap();
    let plain = plain.broadcast_add(&b.reshape((1, 6, 1, 1)).unwrap()).unwrap();
    let layer = ConvTranspose2d::new(w, Some(b)).unwrap();
    close(&layer.forward(&x).unwrap(), &plain, 2e-6);
    close(&layer.forward(&channels_last(&x)).unwrap(), &plain, 2e-6);
}

#[test]
fn attention_of_every_mask() {
    let (b, h, n) = (2, 4, 30);
    let (q, k, v) = (random((b, h, n, 16)), random((b, 2, n, 16)), random((b, 2, n, 8)));
    let (rel_h, rel_w) = (random((b, h, n, 5)), random((b, h, n, 6)));
    let bias = random((1, h, n, n));
    for mask in [
        AttentionMask::None,
        AttentionMask::Causal { offset: 3 },
        AttentionMask::RelPos {
            rel_h: &rel_h,
            rel_w: &rel_w,
        },
        AttentionMask::Segments(&[0, 7, 7, 30]),
        AttentionMask::Bias(&bias),
    ] {
        let fused = attention(&q, &k, &v, 0.25, &mask).unwrap();
        close(
            &fused,
            &attention::composed(&q, &k, &v, 0.25, &mask).unwrap(),
            2e-6,
        );
    }
}

#[test]
fn linear_norms_and_activations() {
    let (x, w, b) = (random((2, 33, 48)), random((20, 48)), random(20));
    let plain = x
        .broadcast_matmul(&w.t().unwrap())
        .unwrap()
        .broadcast_add(&b)
        .unwrap();
    let layer = Linear::new(w, Some(b));
    close(&layer.forward(&x).unwrap(), &plain, 2e-6);
    let gelu = layer.forward_activated(&x, Activation::Gelu).unwrap();
    close(&gelu, &plain.gelu_erf().unwrap(), 2e-6);
    close(
        &layer.forward_onto(&x, &plain).unwrap(),
        &(&plain + &plain).unwrap(),
        2e-6,
    );
    let shared = random((1, 33, 20));
    close(
        &layer.forward_onto(&x, &shared).unwrap(),
        &plain.broadcast_add(&shared).unwrap(),
        2e-6,
    );

    let (w, b) = (random(48), random(48));
    let plain = candle_nn::LayerNorm::new(w.clone(), b.clone(), 1e-5);
    let plain = plain.forward(&x).unwrap();
    close(
        &LayerNorm::new(w.clone(), b.clone(), 1e-5).forward(&x).unwrap(),
        &plain,
        2e-6,
    );
    let map = x.transpose(1, 2).unwrap().reshape((2, 48, 3, 11)).unwrap();
    let two_d = LayerNorm2d::new(w, b, 1e-5).forward(&map).unwrap();
    close(
        &two_d.flatten_from(2).unwrap().transpose(1, 2).unwrap(),
        &plain,
        2e-6,
    );
}

#[test]
fn upsampling_of_either_layout() {
    let x = random((2, 3, 7, 5));
    for align_corners in [false, true] {
        let plain = x.upsample_bilinear2d(13, 21, align_corners).unwrap();
        close(
            &upsample_bilinear(&x, 13, 21, align_corners).unwrap(),
            &plain,
            2e-6,
        );
        close(
            &upsample_bilinear(&channels_last(&x), 13, 21, align_corners).unwrap(),
            &plain,
            2e-6,
        );
    }
}

#[test]
fn element_wise_ops_keep_the_layout() {
    let x = channels_last(&random((2, 3, 4, 5)));
    for y in [relu(&x).unwrap(), gelu_erf(&x).unwrap(), add(&x, &x).unwrap()] {
        assert_eq!(y.stride(), x.stride());
    }
    close(
        &add(&x, &x.contiguous().unwrap()).unwrap(),
        &(&x + &x).unwrap(),
        0.,
    );
}
