//! Convolutions of `cu/` against those of the CPU, as `on_device.rs`.

use candle_core::{DType, Tensor};
use dragunov_kernels::{Activation, ConvWeight, Epilogue, conv_transpose2d, conv2d, with_tf32};

use super::on_device::{agrees, agrees_in, device, random};
use super::support::flat;

/// Of one group: (B, H, W, in), outputs, (kh, kw), stride and padding.
type Case = ([usize; 4], usize, (usize, usize), usize, usize);

fn pixels(planes: &Tensor) -> Tensor {
    planes.permute((0, 2, 3, 1)).unwrap()
}

/// Channels that are vectors of f32 alone, of no type, of every type; columns and rows that fill no tile; terms that fill no
/// step; few outputs, and outputs that are no vectors; windows with holes between them and beyond the picture.
#[test]
fn of_every_shape_with_every_epilogue() {
    let cases: [Case; 11] = [
        ([2, 9, 11, 12], 6, (3, 3), 1, 1),
        ([1, 13, 11, 16], 24, (3, 3), 1, 1),
        ([2, 9, 8, 24], 72, (3, 3), 2, 1),
        ([1, 12, 11, 8], 70, (7, 7), 3, 3),
        ([3, 5, 4, 3], 33, (7, 2), 1, 3),
        ([1, 28, 28, 3], 65, (14, 14), 14, 0),
        ([2, 8, 9, 64], 40, (1, 1), 1, 0),
        ([1, 5, 4, 7], 20, (1, 1), 1, 0),
        ([1, 9, 7, 8], 16, (1, 1), 2, 1),
        ([1, 3, 200, 8], 8, (2, 5), 4, 0),
        // Terms enough for several blocks to share, in f32 and in 16 bits.
        ([1, 6, 5, 128], 40, (3, 3), 1, 1),
    ];
    for (x, out, (kh, kw), stride, padding) in cases {
        let [_, height, width, channels] = x;
        let dims = |size: usize, kernel: usize| (size + 2 * padding - kernel) / stride + 1;
        let operands = [
            random(&x, 1),
            random(&[out, channels, kh, kw], 2),
            random(&[out], 3),
            random(&[x[0], dims(height, kh), dims(width, kw), out], 4),
        ];
        let run = |t: &[Tensor], epilogue: Epilogue| {
            let weight = ConvWeight::new(&t[1], 1).unwrap();
            conv2d(&t[0], &weight, stride, padding, epilogue).unwrap()
        };
        agrees(&operands, |t| run(t, Epilogue::default()));
        agrees_in(&[DType::F32, DType::BF16, DType::F16], &operands, |t| {
            let epilogue = Epilogue {
                bias: Some(t[2].clone()),
                activation: Activation::Gelu,
                residual: Some(t[3].clone()),
            };
            run(t, epilogue)
        });
        agrees(&operands[..2], |t| {
            let activation = Activation::Relu;
            let epilogue = Epilogue {
                activation,
                ..Epilogue::default()
            };
            run(t, epilogue)
        });
    }
}

#[test]
fn in_either_memory_order() {
    for (groups, stride, padding, kernel) in [(1, 1, 1, 3), (12, 1, 1, 3), (12, 2, 2, 5), (3, 1, 1, 3)] {
        let out = if groups == 12 { 12 } else { 6 };
        let operands = [
            random(&[2, 12, 9, 11], 1),
            random(&[out, 12 / groups, kernel, kernel], 2),
            random(&[out], 3),
        ];
        // Several channels a group are candle's own convolution, which on the CPU has no bf16.
        let dtypes: &[DType] = if groups == 3 {
            &[DType::F32]
        } else {
            &[DType::F32, DType::BF16]
        };
        for channels_last in [false, true] {
            agrees_in(dtypes, &operands, |t| {
                let x = match channels_last {
                    true => pixels(&t[0]).contiguous().unwrap(),
                    false => pixels(&t[0]),
                };
                let weight = ConvWeight::new(&t[1], groups).unwrap();
                let plain = conv2d(&x, &weight, stride, padding, Epilogue::default()).unwrap();
                let epilogue = Epilogue {
                    bias: Some(t[2].clone()),
                    activation: Activation::Gelu,
                    residual: Some(plain),
                };
                conv2d(&x, &weight, stride, padding, epilogue).unwrap()
            });
        }
    }
}

/// Operands that begin between two vectors, and a bias of another element type.
#[test]
fn of_operands_that_no_vector_fits() {
    let shape = [1, 7, 9, 16];
    let n = shape.iter().product::<usize>();
    let operands = [
        random(&[n + 1], 1),
        random(&[16, 16, 3, 3], 2),
        random(&[n + 1], 3),
    ];
    let behind_one = |t: &Tensor| t.narrow(0, 1, n).unwrap().reshape(&shape[..]).unwrap();
    agrees(&operands, |t| {
        let weight = ConvWeight::new(&t[1], 1).unwrap();
        let x = conv2d(&behind_one(&t[0]), &weight, 1, 1, Epilogue::default()).unwrap();
        let residual = Some(behind_one(&t[2]));
        let epilogue = Epilogue {
            residual,
            ..Epilogue::default()
        };
        conv2d(&x, &weight, 1, 1, epilogue).unwrap()
    });
    agrees_in(&[DType::BF16], &operands, |t| {
        let weight = ConvWeight::new(&t[1], 1).unwrap();
        let epilogue = Epilogue {
            bias: Some(
                t[1].flatten_all()
                    .unwrap()
                    .narrow(0, 0, 16)
                    .unwrap()
                    .to_dtype(DType::F32)
                    .unwrap(),
            ),
            ..Epilogue::default()
        };
        conv2d(&behind_one(&t[0]), &weight, 1, 1, epilogue).unwrap()
    });
}

/// Which on a GPU are views: it has no memory of 0 bytes.
#[test]
fn of_nothing_is_refused() {
    let Some(device) = device() else { return };
    let there = |shape: &[usize]| random(shape, 1).to_device(&device).unwrap();
    let none = there(&[1, 5, 6, 8]).narrow(0, 0, 0).unwrap();
    let weight = ConvWeight::new(&there(&[8, 8, 3, 3]), 1).unwrap();
    assert!(conv2d(&none, &weight, 1, 1, Epilogue::default()).is_err());
    assert!(conv_transpose2d(&none, &there(&[2, 2, 8, 8]), None, Activation::Relu).is_err());
}

#[test]
fn transposed() {
    // (B, H, W, in), (kh, kw, out)
    for (x, [kh, kw, out]) in [
        ([2, 7, 5, 4], [2, 2, 6]),
        ([1, 5, 27, 16], [2, 4, 24]),
        ([3, 1, 9, 40], [4, 4, 8]),
        ([1, 6, 3, 7], [3, 1, 5]),
    ] {
        let operands = [random(&x, 1), random(&[kh, kw, out, x[3]], 2), random(&[out], 3)];
        for activation in [Activation::Identity, Activation::Gelu] {
            agrees_in(&[DType::F32, DType::BF16, DType::F16], &operands, |t| {
                conv_transpose2d(&t[0], &t[1], Some(&t[2]), activation).unwrap()
            });
        }
        agrees(&operands, |t| {
            let x = t[0].permute((0, 3, 1, 2)).unwrap().contiguous().unwrap();
            conv_transpose2d(&pixels(&x), &t[1], None, Activation::Relu).unwrap()
        });
    }
}

/// Operands that TF32 holds give what f32 gives; others are rounded, where that is allowed and nowhere else.
#[test]
fn as_tf32() {
    for (x, out, kernel) in [
        ([2, 7, 9, 20], 40, 3),
        ([1, 9, 7, 8], 12, 3),
        ([1, 5, 4, 600], 24, 1),
    ] {
        let few_bits = |t: Tensor| ((t * 256.).unwrap().round().unwrap() / 256.).unwrap();
        let (pixels, weight) = (random(&x, 1), random(&[out, x[3], kernel, kernel], 2));
        let operands = [few_bits(pixels.clone()), few_bits(weight.clone())];
        let run = |t: &[Tensor]| {
            let weight = ConvWeight::new(&t[1], 1).unwrap();
            conv2d(&t[0], &weight, 1, kernel / 2, Epilogue::default()).unwrap()
        };
        agrees_in(&[DType::F32], &operands, |t| with_tf32(true, || run(t)));
        let Some(device) = device() else { return };
        let there = [pixels, weight].map(|t| t.to_device(&device).unwrap());
        let (plain, coarse) = (run(&there), with_tf32(true, || run(&there)));
        assert_eq!(flat(&run(&there)), flat(&plain));
        let (plain, coarse) = (flat(&plain), flat(&coarse));
        let scale = plain.iter().fold(0f32, |m, v| m.max(v.abs()));
        let gap = plain
            .iter()
            .zip(&coarse)
            .fold(0f32, |m, (a, b)| m.max((a - b).abs()))
            / scale;
        assert!((1e-5..1e-3).contains(&gap), "{gap:e}");
    }
}
