//! Tensors of 16 bits: the arithmetic of f32 on what they hold, rounded once.

use candle_core::{DType, Device, Tensor};
use dragunov_kernels::{
    Activation, AttentionMask, ConvWeight, Epilogue, LinearWeight, Segments, activation, add, attention,
    conv_transpose2d, conv2d, layer_norm, linear, reference, relative_positions, rms_norm, rotary, silu_mul,
    to_channels_last, upsample_bilinear,
};

use super::support::{close, flat, tensor, values};

const HALVES: [DType; 2] = [DType::BF16, DType::F16];

fn wide(t: &Tensor) -> Tensor {
    t.to_dtype(DType::F32).unwrap()
}

/// Values of this type, random.
fn halves(dtype: DType, shape: impl Into<candle_core::Shape>, seed: u64) -> Tensor {
    let shape = shape.into();
    tensor(&values(shape.elem_count(), seed), shape)
        .to_dtype(dtype)
        .unwrap()
}

/// `f` of operands of 16 bits is that of the same numbers in f32, rounded.
#[track_caller]
fn rounds_once(operands: &[Tensor], f: impl Fn(&[Tensor]) -> Tensor) {
    let found = f(operands);
    let wanted = f(&operands.iter().map(wide).collect::<Vec<_>>());
    assert_eq!(found.dtype(), operands[0].dtype());
    let wanted = wanted.to_dtype(found.dtype()).unwrap();
    assert_eq!(found.dims(), wanted.dims());
    assert_eq!(flat(&wide(&found)), flat(&wide(&wanted)), "{:?}", found.dtype());
}

#[test]
fn cheap_ops_round_once() {
    for dtype in HALVES {
        for n in [1, 15, 16, 17, 300, 70_000] {
            let [a, b] = [1, 2].map(|seed| halves(dtype, n, seed + n as u64));
            rounds_once(&[a.clone(), b.clone()], |t| add(&t[0], &t[1]).unwrap());
            rounds_once(&[a.clone(), b], |t| silu_mul(&t[0], &t[1]).unwrap());
            for f in [Activation::Gelu, Activation::Silu, Activation::Relu] {
                rounds_once(std::slice::from_ref(&a), |t| activation(&t[0], f).unwrap());
            }
        }
        for n in [1, 9, 64, 100, 2048] {
            let operands = [halves(dtype, (5, n), 3), halves(dtype, n, 4), halves(dtype, n, 5)];
            rounds_once(&operands, |t| layer_norm(&t[0], &t[1], &t[2], 1e-6).unwrap());
        }
        for c in [1, 7, 40] {
            let x = halves(dtype, (2, 5, 6, c), 6);
            rounds_once(&[x], |t| upsample_bilinear(&t[0], 11, 9, true).unwrap());
        }
        rounds_once(&[halves(dtype, (2, 3, 4, 70), 7)], |t| {
            to_channels_last(&t[0]).unwrap()
        });
        let operands = [
            halves(dtype, (1, 4, 5, 20), 8),
            halves(dtype, (2, 2, 9, 20), 9),
            halves(dtype, 9, 10),
        ];
        rounds_once(&operands, |t| {
            conv_transpose2d(&t[0], &t[1], Some(&t[2]), Activation::Gelu).unwrap()
        });
    }
}

/// Qwen2's order: the normalised value is rounded before it meets the weight.
#[test]
fn rms_norm_rounds_twice() {
    for dtype in HALVES {
        let (x, weight) = (halves(dtype, (7, 300), 1), halves(dtype, 300, 2));
        let ones = Tensor::ones(300, DType::F32, &Device::Cpu).unwrap();
        let unit = rms_norm(&wide(&x), &ones, 1e-6).unwrap().to_dtype(dtype).unwrap();
        let wanted = wide(&unit)
            .broadcast_mul(&wide(&weight))
            .unwrap()
            .to_dtype(dtype)
            .unwrap();
        assert_eq!(
            flat(&wide(&rms_norm(&x, &weight, 1e-6).unwrap())),
            flat(&wide(&wanted))
        );
    }
}

#[test]
fn depthwise_convolutions_round_once() {
    for dtype in HALVES {
        for (c, stride) in [(16, 1), (64, 1), (64, 2), (21, 1)] {
            let config = |t: &[Tensor]| Epilogue {
                bias: Some(t[2].clone()),
                activation: Activation::Gelu,
                residual: Some(t[3].clone()),
            };
            let out = 11 / stride + 11 % stride;
            let operands = [
                halves(dtype, (1, 11, 11, c), 1),
                halves(dtype, (c, 1, 3, 3), 2),
                halves(dtype, c, 3),
                halves(dtype, (1, out, out, c), 4),
            ];
            rounds_once(&operands, |t| {
                let weight = ConvWeight::new(&t[1], c).unwrap();
                conv2d(&t[0], &weight, stride, 1, config(t)).unwrap()
            });
        }
    }
}

/// As candle's, whose operations are those of the type.
#[test]
fn rotary_rounds_as_its_tables_say() {
    for dtype in [DType::F32, DType::BF16, DType::F16] {
        for d in [2, 40, 80, 128] {
            let x = halves(dtype, (2, 5, 3, d), 1).transpose(1, 2).unwrap();
            for tables in [vec![5, d / 2], vec![2, 5, d / 2]] {
                let [cos, sin] = [2, 3].map(|seed| halves(dtype, tables.clone(), seed));
                let theirs = candle_nn::rotary_emb::rope(&x.contiguous().unwrap(), &cos, &sin).unwrap();
                assert_eq!(
                    flat(&wide(&rotary(&x, &cos, &sin).unwrap())),
                    flat(&wide(&theirs))
                );
                let angles = [wide(&cos), wide(&sin)];
                rounds_once(std::slice::from_ref(&x), |t| {
                    rotary(&t[0], &angles[0], &angles[1]).unwrap()
                });
            }
        }
    }
}

fn exact_linear(x: &Tensor, w: &Tensor, bias: &Tensor, residual: &Tensor) -> Vec<f64> {
    let ((m, k), n) = (x.dims2().unwrap(), w.dim(0).unwrap());
    let (bias, residual) = (flat(&wide(bias)), flat(&wide(residual)));
    reference::matmul_nt(&flat(&wide(x)), &flat(&wide(w)), m, n, k)
        .into_iter()
        .enumerate()
        .map(|(i, sum)| reference::gelu(sum + f64::from(bias[i % n])) + f64::from(residual[i]))
        .collect()
}

/// Half a unit in the last place of the type.
fn half_a_unit(dtype: DType) -> f64 {
    match dtype {
        DType::BF16 => 1. / 256.,
        _ => 1. / 2048.,
    }
}

#[test]
fn products_round_once() {
    for dtype in HALVES {
        for (m, n, k) in [
            (1, 40, 64),
            (3, 17, 33),
            (70, 100, 96),
            // Several stretches of a sum: what waits is not rounded.
            (40, 50, 5000),
            (130, 70, 2400),
        ] {
            let (x, w) = (halves(dtype, (m, k), 1), halves(dtype, (n, k), 2));
            // So that rounding an unfinished sum would show.
            let scaled = (w * (1. / (k as f64).sqrt())).unwrap();
            let bias = halves(dtype, n, 3);
            for residual in [halves(dtype, (m, n), 4), wide(&halves(dtype, (m, n), 5))] {
                let exact = exact_linear(&x, &scaled, &bias, &residual);
                let epilogue = Epilogue {
                    bias: Some(bias.clone()),
                    activation: Activation::Gelu,
                    residual: Some(residual),
                };
                for weight in [LinearWeight::new(&scaled), LinearWeight::shared(&scaled)] {
                    let y = linear(&x, &weight, epilogue.clone()).unwrap();
                    assert_eq!(y.dtype(), dtype);
                    close(&flat(&wide(&y)), &exact, half_a_unit(dtype));
                }
            }
        }
    }
}

#[test]
fn convolutions_round_once() {
    for dtype in HALVES {
        for (c, out, kernel, stride) in [(3, 32, 3, 2), (16, 20, 3, 1), (8, 33, 1, 1)] {
            let padding = kernel / 2;
            let x = halves(dtype, (1, 13, 9, c), 1);
            let weight = (halves(dtype, (out, c, kernel, kernel), 2) * 0.2).unwrap();
            let of = |x: &Tensor, weight: &Tensor| {
                let weight = ConvWeight::new(weight, 1).unwrap();
                flat(&wide(
                    &conv2d(x, &weight, stride, padding, Epilogue::default()).unwrap(),
                ))
            };
            let exact: Vec<f64> = of(&wide(&x), &wide(&weight)).into_iter().map(f64::from).collect();
            close(&of(&x, &weight), &exact, half_a_unit(dtype));
        }
    }
}

/// Queries, keys and values as views of one projection, of widths that tiles do and do not take.
#[test]
fn attention_reads_views_of_halves() {
    for dtype in HALVES {
        for d in [16, 40, 80] {
            let (n, heads) = (100, 2);
            let qkv = halves(dtype, (1, n, 3, heads, d), 1);
            let part = |t: &Tensor, i: usize| {
                t.narrow(2, i, 1)
                    .unwrap()
                    .squeeze(2)
                    .unwrap()
                    .transpose(1, 2)
                    .unwrap()
            };
            let segments = Segments::new(vec![0, 64, 65, 100]);
            let masks = [
                AttentionMask::None,
                AttentionMask::Causal { offset: 0 },
                AttentionMask::Segments(&segments),
            ];
            for mask in masks {
                let of = |t: &Tensor| attention(&part(t, 0), &part(t, 1), &part(t, 2), 0.2, mask).unwrap();
                let exact: Vec<f64> = flat(&of(&wide(&qkv))).into_iter().map(f64::from).collect();
                // Weights are rounded as well before they meet the values.
                close(&flat(&wide(&of(&qkv))), &exact, 2. * half_a_unit(dtype));
            }
        }
        let (side, d) = (5, 24);
        let operands = [
            halves(dtype, (2, 3, side * side, d), 2),
            halves(dtype, (side, d, side), 3),
            halves(dtype, (side, d, side), 4),
        ];
        rounds_once(&operands, |t| relative_positions(&t[0], &t[1], &t[2]).unwrap().0);
        rounds_once(&operands, |t| relative_positions(&t[0], &t[1], &t[2]).unwrap().1);
    }
}
