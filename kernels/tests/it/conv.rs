use candle_core::Tensor;
use dragunov_kernels::reference::{self, ConvDims};
use dragunov_kernels::{
    Activation, ConvWeight, Epilogue, conv_transpose2d, conv2d, to_channels_last, upsample_bilinear,
};
use proptest::prelude::*;

use super::support::{close, flat, products_close, tensor, values};

fn agrees(dims: ConvDims, seed: u64) {
    let ConvDims {
        batch,
        height,
        width,
        input,
        output,
        kernel: (kh, kw),
        stride,
        padding,
        groups,
    } = dims;
    let x = values(batch * height * width * input, seed);
    let w = values(output * input / groups * kh * kw, seed ^ 1);
    let bias = values(output, seed ^ 2);
    let sums = reference::conv2d(dims, &x, &w);
    let residual = values(sums.len(), seed ^ 3);
    let shape = (batch, (height + 2 * padding - kh) / stride + 1, sums.len());
    let out_w = (width + 2 * padding - kw) / stride + 1;
    let out_shape = (batch, shape.1, out_w, output);
    let epilogue = Epilogue {
        bias: Some(tensor(&bias, output)),
        activation: Activation::Relu,
        residual: Some(tensor(&residual, out_shape)),
    };
    let exact: Vec<f64> = sums
        .iter()
        .enumerate()
        .map(|(i, s)| (s + f64::from(bias[i % output])).max(0.) + f64::from(residual[i]))
        .collect();
    let (x, w) = (
        tensor(&x, (batch, height, width, input)),
        tensor(&w, (output, input / groups, kh, kw)),
    );
    let w = ConvWeight::new(&w, groups).unwrap();
    let y = conv2d(&x, &w, stride, padding, epilogue).unwrap();
    assert_eq!(y.dims4().unwrap(), out_shape);
    products_close(&flat(&y), &exact);
}

prop_compose! {
    fn dims()(
        batch in 1usize..3, height in 1usize..14, width in 1usize..22, input in 1usize..40, output in 1usize..70,
        kh in 1usize..5, kw in 1usize..5, stride in 1usize..4, padding in 0usize..3, own: bool,
    ) -> ConvDims {
        let fit = |k: usize, size: usize| k.min(size + 2 * padding);
        let output = if own { input } else { output };
        ConvDims {
            batch, height, width, input, output, stride, padding,
            kernel: (fit(kh, height), fit(kw, width)),
            groups: if own { input } else { 1 },
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn random_shapes(dims in dims(), seed: u64) {
        agrees(dims, seed);
    }

    #[test]
    fn transposed(
        b in 1usize..3, h in 1usize..6, w in 1usize..20, input in 1usize..30, output in 1usize..40,
        kh in 1usize..5, kw in 1usize..5, seed: u64,
    ) {
        let (x, weight) = (values(b * h * w * input, seed), values(input * output * kh * kw, seed ^ 1));
        let exact = reference::conv_transpose2d(&x, [b, h, w], &weight, [input, output, kh, kw]);
        let weight = tensor(&weight, (input, output, kh, kw)).permute((2, 3, 1, 0)).unwrap();
        let bias = values(output, seed ^ 2);
        let y = conv_transpose2d(&tensor(&x, (b, h, w, input)), &weight, Some(&tensor(&bias, output)), Activation::Identity).unwrap();
        prop_assert_eq!(y.dims(), &[b, h * kh, w * kw, output]);
        let exact: Vec<f64> = exact.iter().enumerate().map(|(i, v)| v + f64::from(bias[i % output])).collect();
        close(&flat(&y), &exact, 2e-6);
    }

    #[test]
    fn bilinear(h in 1usize..12, w in 1usize..12, c in 1usize..20, to_h in 1usize..40, to_w in 1usize..40, ac: bool, seed: u64) {
        let planes = values(2 * c * h * w, seed);
        let nchw = tensor(&planes, (2, c, h, w));
        let y = upsample_bilinear(&to_channels_last(&nchw).unwrap(), to_h, to_w, ac).unwrap();
        prop_assert_eq!(y.dims(), &[2, to_h, to_w, c]);
        let exact: Vec<f64> = planes
            .chunks_exact(h * w)
            .flat_map(|plane| reference::upsample_bilinear(plane, (h, w), (to_h, to_w), ac))
            .collect();
        // Source positions are f32 as in ATen: their rounding is worth a few 1e-6 of a pixel.
        close(&flat(&y.permute((0, 3, 1, 2)).unwrap()), &exact, 1e-5);
    }
}

#[test]
fn sizes_of_the_models() {
    let conv = |height, width, input, output, kernel, stride, padding, groups| ConvDims {
        batch: 1,
        height,
        width,
        input,
        output,
        kernel: (kernel, kernel),
        stride,
        padding,
        groups,
    };
    agrees(conv(20, 74, 64, 32, 3, 1, 1, 1), 1);
    agrees(conv(70, 84, 3, 96, 14, 14, 0, 1), 2);
    agrees(conv(33, 65, 3, 32, 3, 2, 1, 1), 3);
    agrees(conv(19, 33, 256, 256, 3, 1, 1, 256), 4);
    agrees(conv(9, 9, 160, 160, 3, 2, 1, 160), 5);
}

#[test]
fn layout_change_keeps_every_value() {
    let x = tensor(&values(2 * 5 * 7 * 131, 1), (2, 5, 7, 131));
    let y = to_channels_last(&x).unwrap();
    assert_eq!(flat(&y), flat(&x.permute((0, 2, 3, 1)).unwrap()));
}

#[test]
fn impossible_convolutions_are_refused() {
    let t = |shape: (usize, usize, usize, usize)| {
        Tensor::zeros(shape, candle_core::DType::F32, &candle_core::Device::Cpu)
    };
    let x = t((1, 4, 4, 3)).unwrap();
    // (out, in, kh, kw)
    let weight = |shape| ConvWeight::new(&t(shape).unwrap(), 1).unwrap();
    let (wrong_in, too_big, fits) = (weight((8, 2, 3, 3)), weight((8, 3, 7, 7)), weight((8, 3, 3, 3)));
    assert!(conv2d(&x, &wrong_in, 1, 1, Epilogue::default()).is_err());
    assert!(conv2d(&x, &too_big, 1, 1, Epilogue::default()).is_err());
    assert!(conv2d(&x, &fits, 0, 1, Epilogue::default()).is_err());
    let epilogue = Epilogue {
        bias: Some(tensor(&[0.; 7], 7)),
        ..Epilogue::default()
    };
    assert!(conv2d(&x, &fits, 1, 1, epilogue).is_err());
    let epilogue = Epilogue {
        residual: Some(t((1, 4, 4, 7)).unwrap()),
        ..Epilogue::default()
    };
    assert!(conv2d(&x, &fits, 1, 1, epilogue).is_err());
    assert!(conv2d(&x, &fits, 1, 1, Epilogue::default()).is_ok());
    assert!(ConvWeight::new(&t((8, 3, 3, 3)).unwrap(), 3).is_err());
    let (wrong_in, bias) = (t((2, 2, 8, 2)).unwrap(), tensor(&[0.; 7], 7));
    assert!(conv_transpose2d(&x, &wrong_in, None, Activation::Identity).is_err());
    let fits = t((2, 2, 8, 3)).unwrap();
    assert!(conv_transpose2d(&x, &fits, Some(&bias), Activation::Identity).is_err());
    assert!(upsample_bilinear(&t((1, 0, 4, 3)).unwrap(), 2, 2, true).is_err());
    assert!(upsample_bilinear(&x, 0, 2, true).is_err());
}
