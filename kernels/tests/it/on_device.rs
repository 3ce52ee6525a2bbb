//! The kernels of `cu/` against those of the CPU, on the device that `DRAGUNOV_TEST_DEVICE` names: with
//! `scripts/softcuda test --test agreement on_device` the software one.

use candle_core::{DType, Device, Tensor};
use dragunov_kernels::{
    Activation, AttentionMask, CachedSequence, Epilogue, GatedWeight, LinearWeight, Segments, attention,
    attention_ragged, attention_ragged_behind, layer_norm, linear, linear_gated, linear_normed,
    linear_rotated, relative_positions, rms_norm, rotary, upsample_bilinear,
};

use super::support::{close, flat, tensor, values};

/// None, with a word about it, where no CUDA device is named.
pub(crate) fn device() -> Option<Device> {
    match std::env::var("DRAGUNOV_TEST_DEVICE") {
        Ok(name) if name.starts_with("cuda") => Some(Device::new_cuda_with_stream(0).unwrap()),
        _ => {
            println!("DRAGUNOV_TEST_DEVICE names no CUDA device: not run");
            None
        }
    }
}

pub(crate) fn random(shape: &[usize], seed: u64) -> Tensor {
    tensor(&values(shape.iter().product(), seed), shape)
}

/// `f` of the same operands on the device and on the CPU, in f32 and in bf16.
#[track_caller]
pub(crate) fn agrees(operands: &[Tensor], f: impl Fn(&[Tensor]) -> Tensor) {
    agrees_in(&[DType::F32, DType::BF16], operands, f);
}

#[track_caller]
pub(crate) fn agrees_in(dtypes: &[DType], operands: &[Tensor], f: impl Fn(&[Tensor]) -> Tensor) {
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
    for (rows, n) in [(1, 2), (3, 48), (33, 100), (5, 31), (130, 32), (3, 1025)] {
        let operands = [random(&[rows, n], 1), random(&[n], 2), random(&[n], 3)];
        agrees(&operands, |t| layer_norm(&t[0], &t[1], &t[2], 1e-5).unwrap());
        agrees(&operands, |t| rms_norm(&t[0], &t[1], 1e-6).unwrap());
    }
}

#[test]
fn sums_and_their_norms() {
    for (rows, n) in [(1, 2), (33, 100), (5, 31), (2, 1040)] {
        let shapes: [&[usize]; 5] = [&[1, rows, 12], &[n, 12], &[n], &[1, rows, n], &[n]];
        let operands: Vec<_> = shapes
            .iter()
            .zip(1..)
            .map(|(shape, seed)| random(shape, seed))
            .collect();
        for biased in [true, false] {
            agrees(&operands, |t| {
                let weight = LinearWeight::new(&t[1]);
                let bias = biased.then_some(&t[2]);
                let (y, normed) = linear_normed(&t[0], (&weight, bias), &t[3], (&t[4], 1e-6)).unwrap();
                Tensor::cat(&[y, normed], 0).unwrap()
            });
        }
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
    for (rows, n) in [(3, 1), (70, 31), (1, 1000)] {
        let shapes: [&[usize]; 5] = [&[rows, 12], &[n, 12], &[n, 12], &[n], &[n]];
        let operands: Vec<_> = shapes
            .iter()
            .zip(1..)
            .map(|(shape, seed)| random(shape, seed))
            .collect();
        for biased in [true, false] {
            agrees(&operands, |t| {
                let bias = |i: usize| biased.then_some(&t[i]);
                let weight = GatedWeight::new((&t[1], bias(3)), (&t[2], bias(4))).unwrap();
                linear_gated(&t[0], &weight).unwrap()
            });
        }
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
    let segments = Segments::new([0, 7, 7, 30]);
    agrees(&operands, |t| run(t, AttentionMask::Segments(&segments)));
    agrees(&operands, |t| {
        let (rel_h, rel_w) = (&t[3], &t[4]);
        run(t, AttentionMask::RelPos { rel_h, rel_w })
    });
    agrees(&operands, |t| run(t, AttentionMask::Bias(&t[5])));
    agrees(&operands, |t| run(t, AttentionMask::Bias(&t[6])));
}

/// Widths of every kernel, elements that fill no vector, tiles that fill no block, heads that share keys.
#[test]
fn attention_of_every_width() {
    for (heads, kv_heads, nq, nk, d) in [
        (2, 2, 70, 130, 64),
        (4, 1, 33, 65, 80),
        (7, 1, 20, 40, 128),
        (3, 3, 66, 31, 20),
        (2, 1, 5, 70, 7),
    ] {
        let operands = [
            random(&[1, heads, nq, d], 1),
            random(&[1, kv_heads, nk, d], 2),
            random(&[1, kv_heads, nk, d], 3),
            random(&[heads, nq, nk], 4),
        ];
        let run = |t: &[Tensor], mask: AttentionMask<'_>| attention(&t[0], &t[1], &t[2], 0.3, mask).unwrap();
        agrees(&operands, |t| run(t, AttentionMask::None));
        agrees(&operands, |t| run(t, AttentionMask::Causal { offset: 11 }));
        agrees(&operands, |t| run(t, AttentionMask::Bias(&t[3])));
        agrees_in(&[DType::F16], &operands[..3], |t| run(t, AttentionMask::None));
    }
}

#[test]
fn attention_with_relative_positions_in_views_of_a_projection() {
    // SAM's windows, a grid of 64 columns, and one that fills neither.
    for (rows, columns, heads, d) in [(14, 14, 2, 64), (2, 64, 1, 80), (3, 33, 2, 32), (5, 6, 3, 12)] {
        let n = rows * columns;
        let operands = [
            random(&[2, n, 3, heads, d], 1),
            random(&[2, heads, n, rows], 2),
            random(&[2, heads, n, columns], 3),
        ];
        agrees(&operands, |t| {
            let part = |i: usize| t[0].narrow(2, i, 1).unwrap().squeeze(2).unwrap();
            let [q, k, v] = [0, 1, 2].map(|i| part(i).transpose(1, 2).unwrap());
            let (rel_h, rel_w) = (&t[1], &t[2]);
            attention(&q, &k, &v, 0.2, AttentionMask::RelPos { rel_h, rel_w }).unwrap()
        });
    }
}

#[test]
fn relative_positions_of_queries_in_place() {
    for (side, heads, d) in [(14, 3, 64), (9, 1, 80), (4, 2, 5), (33, 1, 16)] {
        let operands = [
            random(&[2, side * side, 3, heads, d], 1),
            random(&[side, d, side], 2),
            random(&[side, d, side], 3),
        ];
        agrees(&operands, |t| {
            // candle has no products of bf16 on the CPU.
            let of = |t: &Tensor| match t.device() {
                Device::Cpu => t.to_dtype(DType::F32).unwrap(),
                _ => t.clone(),
            };
            let q = of(&t[0]).narrow(2, 0, 1).unwrap().squeeze(2).unwrap();
            let q = q.transpose(1, 2).unwrap();
            let (rel_h, rel_w) = relative_positions(&q, &of(&t[1]), &of(&t[2])).unwrap();
            Tensor::stack(&[rel_h, rel_w], 0)
                .unwrap()
                .to_dtype(t[0].dtype())
                .unwrap()
        });
    }
}

#[test]
fn rotary_positions_in_place() {
    for (heads, n, d) in [(3, 7, 16), (1, 70, 80), (2, 1, 6)] {
        let operands = [
            random(&[2, n, 2, heads, d], 1),
            random(&[2, n, d / 2], 2),
            random(&[2, n, d / 2], 3),
        ];
        let turned = |t: &[Tensor], of: &dyn Fn(&Tensor) -> Tensor| {
            let x = t[0].narrow(2, 1, 1).unwrap().squeeze(2).unwrap();
            rotary(&x.transpose(1, 2).unwrap(), &of(&t[1]), &of(&t[2])).unwrap()
        };
        agrees(&operands, |t| turned(t, &Tensor::clone));
        agrees(&operands, |t| turned(t, &|table| table.get(0).unwrap()));
        agrees(&operands, |t| {
            turned(t, &|table| table.to_dtype(DType::F32).unwrap())
        });
    }
}

/// Seventy sequences, more than one launch takes, of every length; three steps, so that later ones read what earlier ones wrote.
#[test]
fn sequences_with_caches_of_their_own() {
    let (heads, kv_heads, d) = (4, 2, 16);
    let counts: Vec<[usize; 3]> = (0..70)
        .map(|i| [i % 5 + 1, 1, usize::from(i % 3 == 0) * (i % 40)])
        .collect();
    let tokens = |step: usize| counts.iter().map(|n| n[step]).sum::<usize>();
    let width = (heads + 2 * kv_heads) * d;
    let mut operands = vec![random(&[width, 12], 1), random(&[width], 2)];
    for step in 0..3 {
        let n = tokens(step);
        operands.push(random(&[1, n, 12], 10 + step as u64));
        operands.push(random(&[1, n, d / 2], 30 + step as u64));
        operands.push(random(&[1, n, d / 2], 40 + step as u64));
    }
    agrees(&operands, |t| {
        let room = |i: usize| counts[i].iter().sum::<usize>() + i % 2;
        let caches: Vec<[Tensor; 2]> = (0..counts.len())
            .map(|i| {
                let shape = (1, kv_heads, room(i), d);
                [(); 2].map(|()| Tensor::zeros(shape, t[0].dtype(), t[0].device()).unwrap())
            })
            .collect();
        let weight = LinearWeight::new(&t[0]);
        let outs: Vec<Tensor> = (0..3)
            .map(|step| {
                let sequences: Vec<_> = caches
                    .iter()
                    .zip(&counts)
                    .map(|([keys, values], n)| CachedSequence {
                        keys,
                        values,
                        cached: n[..step].iter().sum(),
                        new: n[step],
                    })
                    .collect();
                let [x, cos, sin] = [2, 3, 4].map(|i| &t[3 * step + i]);
                // The second step without a bias.
                let bias = (step != 1).then_some(&t[1]);
                let q = linear_rotated(x, (&weight, bias), (cos, sin), &sequences, None).unwrap();
                attention_ragged(&q, &sequences, 0.3).unwrap()
            })
            .collect();
        Tensor::cat(&outs, 1).unwrap()
    });
}

/// Rows of one cache of which the first tokens are padding, as a graph's kernels get them, against caches of their own.
#[test]
fn lengths_that_only_the_device_knows() {
    let Some(device) = device() else { return };
    for (dtype, d) in [(DType::F32, 20), (DType::BF16, 64), (DType::F16, 128)] {
        let there = |shape: &[usize], seed| {
            let t = random(shape, seed).to_device(&device).unwrap();
            t.to_dtype(dtype).unwrap()
        };
        let (rows, heads, room) = (3, 2, 90);
        let (pads, cached) = ([0usize, 7, 80], [85usize, 78, 5]);
        let [keys, values] = [1, 2].map(|seed| there(&[rows, heads, room, d], seed));
        let (x, weight) = (there(&[1, rows, 24], 3), there(&[4 * heads * d, 24], 4));
        let (weight, bias) = (LinearWeight::new(&weight), there(&[4 * heads * d], 5));
        let projection = (&weight, Some(&bias));
        let tables = [6, 7].map(|seed| there(&[1, rows, d / 2], seed));
        let tables = (&tables[0], &tables[1]);
        let row = |t: &Tensor, i: usize| {
            let row = t.narrow(0, i, 1).unwrap();
            row.narrow(2, pads[i], room - pads[i]).unwrap()
        };
        let views: Vec<_> = (0..rows).map(|i| (row(&keys, i), row(&values, i))).collect();
        let own: Vec<_> = views
            .iter()
            .map(|(k, v)| (k.force_contiguous().unwrap(), v.force_contiguous().unwrap()))
            .collect();
        let plain: Vec<_> = own
            .iter()
            .zip(cached)
            .map(|((keys, values), cached)| CachedSequence {
                keys,
                values,
                cached,
                new: 1,
            })
            .collect();
        let blind: Vec<_> = views
            .iter()
            .map(|(keys, values)| CachedSequence {
                keys,
                values,
                cached: 0,
                new: 1,
            })
            .collect();
        let counts = Tensor::new(&[9u32, 85, 78, 5], &device).unwrap();
        let counts = counts.narrow(0, 1, 3).unwrap();
        let q = linear_rotated(&x, projection, tables, &plain, None).unwrap();
        let wanted = attention_ragged(&q, &plain, 0.3).unwrap();
        let q = linear_rotated(&x, projection, tables, &blind, Some(&counts)).unwrap();
        let found = attention_ragged_behind(&q, &blind, 0.3, &counts).unwrap();
        let host = |t: &Tensor| flat(&t.to_dtype(DType::F32).unwrap().to_device(&Device::Cpu).unwrap());
        assert_eq!(host(&found), host(&wanted), "{dtype:?}");
        for ((view_k, view_v), (own_k, own_v)) in views.iter().zip(&own) {
            assert_eq!(
                host(&view_k.force_contiguous().unwrap()),
                host(own_k),
                "{dtype:?}"
            );
            assert_eq!(
                host(&view_v.force_contiguous().unwrap()),
                host(own_v),
                "{dtype:?}"
            );
        }
        let two = counts.narrow(0, 0, 2).unwrap();
        assert!(attention_ragged_behind(&q, &blind, 0.3, &two).is_err());
        assert!(linear_rotated(&x, projection, tables, &blind, Some(&two)).is_err());
        let apart = |t: &Tensor| t.transpose(2, 3).unwrap();
        let (across_k, across_v) = (apart(&views[0].0), apart(&views[0].1));
        let across = CachedSequence {
            keys: &across_k,
            values: &across_v,
            cached: 0,
            new: 1,
        };
        let one = counts.narrow(0, 0, 1).unwrap();
        assert!(attention_ragged_behind(&q.narrow(2, 0, 1).unwrap(), &[across], 0.3, &one).is_err());
    }
}

#[test]
fn a_query_that_sees_no_key_gets_nothing() {
    let Some(device) = device() else { return };
    let x = random(&[1, 1, 2, 4], 1).to_device(&device).unwrap();
    let never = Tensor::full(f32::NEG_INFINITY, (1, 1, 2, 2), &device).unwrap();
    let y = attention(&x, &x, &x, 1., AttentionMask::Bias(&never)).unwrap();
    assert_eq!(flat(&y.to_device(&Device::Cpu).unwrap()), [0.; 8]);
}
