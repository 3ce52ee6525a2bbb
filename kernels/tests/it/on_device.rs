//! The kernels of `cu/` against those of the CPU, on the device that `DRAGUNOV_TEST_DEVICE` names: with
//! `scripts/softcuda test --test agreement on_device` the software one.

use candle_core::{DType, Device, Tensor};
use dragunov_kernels::{
    Activation, AttentionMask, ConvWeight, Epilogue, LinearWeight, attention, conv_transpose2d, conv2d,
    layer_norm, linear, rms_norm, silu_mul, upsample_bilinear,
};

use super::support::{close, flat, tensor, values};

/// None, with a word about it, where no CUDA device is named.
fn device() -> Option<Device> {
    match std::env::var("DRAGUNOV_TEST_DEVICE") {
        Ok(name) if name.starts_with("cuda") => Some(Device::new_cuda_with_stream(0).unwrap()),
        _ => {
            println!("DRAGUNOV_TEST_DEVICE names no CUDA device: not run");
            None
        }
    }
}

fn random(shape: &[usize], seed: u64) -> Tensor {
    tensor(&values(shape.iter().product(), seed), shape)
}

/// `f` of the same operands on the device and on the CPU, in f32 and in bf16.
#[track_caller]
fn agrees(operands: &[Tensor], f: impl Fn(&[Tensor]) -> Tensor) {
    agrees_in(&[DType::F32, DType::BF16], operands, f);
}

#[track_caller]
fn agrees_in(dtypes: &[DType], operands: &[Tensor], f: impl Fn(&[Tensor]) -> Tensor) {
    let Some(device) = device() else { return };
    for &dtype in dtypes {
        // bf16 keeps 8 bits: a value near a rounding boundary may fall to either side.
        let tolerance = if dtype == DType::F32 { 3e-6 } else { 8e-3 };
        let of = |on: &Device| {
            let operands: Vec<Tensor> = operands
                .iter()
                .map(|t| t.to_dtype(dtype).unwrap().to_device(on).unwrap())
                .collect();
            let y = f(&operands);
            assert_eq!(y.dtype(), dtype);
            y.to_device(&Device::Cpu).unwrap().to_dtype(DType::F32).unwrap()
        };
        let (found, wanted) = (of(&device), of(&Device::Cpu));
        assert_eq!(found.dims(), wanted.dims());
        let wanted: Vec<f64> = flat(&wanted).into_iter().map(f64::from).collect();
        close(&flat(&found), &wanted, tolerance);
    }
}

#[test]
fn norms() {
    for (rows, n) in [(1, 2), (3, 48), (33, 100), (5, 31), (130, 32)] {
        let operands = [random(&[rows, n], 1), random(&[n], 2), random(&[n], 3)];
        agrees(&operands, |t| layer_norm(&t[0], &t[1], &t[2], 1e-5).unwrap());
        agrees(&operands, |t| rms_norm(&t[0], &t[1], 1e-6).unwrap());
    }
}

#[test]
fn products_with_every_epilogue() {
    for (rows, k, n) in [(1, 7, 5), (33, 48, 70), (600, 16, 3)] {
        let operands = [
            random(&[2, rows, k], 1),
            random(&[n, k], 2),
            random(&[n], 3),
            random(&[2, rows, n], 4),
            random(&[1, rows, n], 5),
        ];
        for activation in [
            Activation::Identity,
            Activation::Gelu,
            Activation::Silu,
            Activation::Relu,
        ] {
            for (bias, residual) in [(None, None), (Some(2), None), (None, Some(3)), (Some(2), Some(4))] {
                agrees(&operands, |t| {
                    let epilogue = Epilogue {
                        bias: bias.map(|i: usize| t[i].clone()),
                        activation,
                        residual: residual.map(|i: usize| t[i].clone()),
                    };
                    linear(&t[0], &LinearWeight::new(&t[1]), epilogue).unwrap()
                });
            }
        }
    }
}

#[test]
fn convolutions_in_either_memory_order() {
    for (groups, stride, padding, kernel) in [
        (1, 1, 1, 3),
        (1, 2, 1, 3),
        (1, 1, 0, 1),
        (1, 4, 0, 4),
        (12, 1, 1, 3),
        (12, 2, 2, 5),
        (3, 1, 1, 3),
    ] {
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
                    true => t[0].permute((0, 2, 3, 1)).unwrap().contiguous().unwrap(),
                    false => t[0].permute((0, 2, 3, 1)).unwrap(),
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

#[test]
fn transposed_convolutions() {
    let operands = [
        random(&[2, 4, 7, 5], 1),
        random(&[2, 2, 6, 5], 2),
        random(&[6], 3),
    ];
    for activation in [Activation::Identity, Activation::Gelu] {
        agrees(&operands, |t| {
            conv_transpose2d(&t[0], &t[1], Some(&t[2]), activation).unwrap()
        });
    }
}

#[test]
fn resampling_in_either_memory_order() {
    for align_corners in [false, true] {
        for (height, width) in [(13, 21), (3, 2), (1, 1), (7, 5)] {
            let operands = [random(&[2, 7, 5, 3], 1)];
            agrees(&operands, |t| {
                upsample_bilinear(&t[0], height, width, align_corners).unwrap()
            });
            let planes = [random(&[2, 3, 7, 5], 1)];
            agrees(&planes, |t| {
                let x = t[0].permute((0, 2, 3, 1)).unwrap();
                upsample_bilinear(&x, height, width, align_corners).unwrap()
            });
        }
    }
}

#[test]
fn the_inside_of_a_swiglu() {
    for n in [1, 31, 1000] {
        let operands = [random(&[3, n], 1), random(&[3, n], 2)];
        agrees(&operands, |t| silu_mul(&t[0], &t[1]).unwrap());
    }
}

#[test]
fn attention_with_every_mask() {
    let (b, h, n) = (2, 4, 30);
    let operands = [
        random(&[b, h, n, 16], 1),
        random(&[b, 2, n, 16], 2),
        random(&[b, 2, n, 8], 3),
        random(&[b, h, n, 5], 4),
        random(&[b, h, n, 6], 5),
        random(&[1, h, n, n], 6),
        random(&[b, 1, 1, n], 7),
    ];
    let run = |t: &[Tensor], mask: AttentionMask<'_>| attention(&t[0], &t[1], &t[2], 0.25, mask).unwrap();
    agrees(&operands, |t| run(t, AttentionMask::None));
    agrees(&operands, |t| run(t, AttentionMask::Causal { offset: 0 }));
    agrees(&operands, |t| run(t, AttentionMask::Causal { offset: 3 }));
    agrees(&operands, |t| run(t, AttentionMask::Segments(&[0, 7, 7, 30])));
    agrees(&operands, |t| {
        let (rel_h, rel_w) = (&t[3], &t[4]);
        run(t, AttentionMask::RelPos { rel_h, rel_w })
    });
    agrees(&operands, |t| run(t, AttentionMask::Bias(&t[5])));
    agrees(&operands, |t| run(t, AttentionMask::Bias(&t[6])));
}

#[test]
fn a_query_that_sees_no_key_gets_nothing() {
    let Some(device) = device() else { return };
    let x = random(&[1, 1, 2, 4], 1).to_device(&device).unwrap();
    let never = Tensor::full(f32::NEG_INFINITY, (1, 1, 2, 2), &device).unwrap();
    let y = attention(&x, &x, &x, 1., AttentionMask::Bias(&never)).unwrap();
    assert_eq!(flat(&y.to_device(&Device::Cpu).unwrap()), [0.; 8]);
}
