use candle_core::{DType, Device, Tensor};
use dragunov_kernels::reference::{self, AttentionDims};
use dragunov_kernels::{
    AttentionMask, CachedSequence, LinearWeight, Segments, attention, attention_ragged, linear_rotated,
    relative_positions, rotary,
};
use proptest::prelude::*;

use super::support::{close, flat, products_close, tensor, values};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    None,
    Causal,
    RelPos,
    Segments,
    Bias,
}

/// Keys are `kh kw`; self-attention where the mask needs it.
fn agrees(mut dims: AttentionDims, kh: usize, kw: usize, kind: Kind, seed: u64) {
    dims.nk = kh * kw;
    if kind == Kind::Segments {
        dims.nq = dims.nk;
    }
    let AttentionDims {
        batch,
        heads,
        kv_heads,
        nq,
        nk,
        d,
        dv,
    } = dims;
    let q = values(batch * heads * nq * d, seed);
    let k = values(batch * kv_heads * nk * d, seed ^ 1);
    let v = values(batch * kv_heads * nk * dv, seed ^ 2);
    let scale = 3. / (d as f32).sqrt();
    let rel_h = values(batch * heads * nq * kh, seed ^ 3);
    let rel_w = values(batch * heads * nq * kw, seed ^ 4);
    let bias = values(heads * nq * nk, seed ^ 5);
    let offset = seed as usize % 5;
    let cu = [0, nk / 3, nk / 3, nk / 2, nk];
    let segments = Segments::new(cu);
    let rows = tensor(&rel_h, (batch, heads, nq, kh));
    let columns = tensor(&rel_w, (batch, heads, nq, kw));
    let shared = tensor(&bias, (1, heads, nq, nk));
    let mask = match kind {
        Kind::None => AttentionMask::None,
        Kind::Causal => AttentionMask::Causal { offset },
        Kind::RelPos => AttentionMask::RelPos {
            rel_h: &rows,
            rel_w: &columns,
        },
        Kind::Segments => AttentionMask::Segments(&segments),
        Kind::Bias => AttentionMask::Bias(&shared),
    };
    let hide = |hidden: bool| if hidden { f64::NEG_INFINITY } else { 0. };
    let added = |b: usize, h: usize, i: usize, j: usize| match kind {
        Kind::None => 0.,
        Kind::Causal => hide(j > i + offset),
        Kind::RelPos => {
            let row = (b * heads + h) * nq + i;
            f64::from(rel_h[row * kh + j / kw]) + f64::from(rel_w[row * kw + j % kw])
        }
        Kind::Segments => hide(
            !cu.windows(2)
                .any(|w| (w[0]..w[1]).contains(&i) && (w[0]..w[1]).contains(&j)),
        ),
        Kind::Bias => f64::from(bias[(h * nq + i) * nk + j]),
    };
    let exact = reference::attention(dims, [&q, &k, &v], scale, added);
    let found = attention(
        &tensor(&q, (batch, heads, nq, d)),
        &tensor(&k, (batch, kv_heads, nk, d)),
        &tensor(&v, (batch, kv_heads, nk, dv)),
        scale,
        mask,
    )
    .unwrap();
    assert_eq!(found.dims(), [batch, nq, heads, dv]);
    products_close(&flat(&found), &exact);
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::None),
        Just(Kind::Causal),
        Just(Kind::RelPos),
        Just(Kind::Segments),
        Just(Kind::Bias)
    ]
}

fn dims(batch: usize, heads: usize, kv_heads: usize, nq: usize, d: usize, dv: usize) -> AttentionDims {
    AttentionDims {
        batch,
        heads,
        kv_heads,
        nq,
        nk: 0,
        d,
        dv,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]
    #[test]
    fn random_shapes(
        batch in 1usize..3, kv_heads in 1usize..3, group in 1usize..4, nq in 1usize..70,
        kh in 1usize..12, kw in 1usize..12, d in 1usize..40, dv in 1usize..40, kind in kind(), seed: u64,
    ) {
        agrees(dims(batch, kv_heads * group, kv_heads, nq, d, dv), kh, kw, kind, seed);
    }
}

#[test]
fn several_tiles_of_queries_and_keys() {
    for kind in [Kind::None, Kind::Causal, Kind::RelPos, Kind::Segments, Kind::Bias] {
        agrees(dims(1, 2, 1, 530, 16, 80), 29, 31, kind, 7);
        agrees(dims(1, 1, 1, 97, 64, 64), 1, 385, kind, 8);
    }
}

#[test]
fn one_query_against_a_cache() {
    for offset in [0, 1, 600] {
        agrees(dims(2, 16, 2, 1, 128, 128), 1, 601, Kind::Causal, offset);
    }
}

#[test]
fn views_of_a_fused_projection_are_read_in_place() {
    let (b, n, h, d) = (2, 50, 3, 24);
    let qkv = tensor(&values(b * n * 3 * h * d, 1), (b, n, 3, h, d));
    let part = |i: usize| {
        qkv.narrow(2, i, 1)
            .unwrap()
            .squeeze(2)
            .unwrap()
            .transpose(1, 2)
            .unwrap()
    };
    let (q, k, v) = (part(0), part(1), part(2));
    let strided = attention(&q, &k, &v, 0.2, AttentionMask::None).unwrap();
    let copy = |t: &Tensor| t.contiguous().unwrap();
    let dense = attention(&copy(&q), &copy(&k), &copy(&v), 0.2, AttentionMask::None).unwrap();
    assert_eq!(flat(&strided), flat(&dense));
}

#[test]
fn large_scores_do_not_overflow() {
    let q = tensor(&[300.; 8], (1, 1, 1, 8));
    let k = tensor(&[[300f32; 8], [-300.; 8]].concat(), (1, 1, 2, 8));
    let v = tensor(&[1., 2.], (1, 1, 2, 1));
    assert_eq!(
        flat(&attention(&q, &k, &v, 1., AttentionMask::None).unwrap()),
        [1.]
    );
}

#[test]
fn hidden_keys_count_for_nothing() {
    let (q, k) = (
        tensor(&values(64, 1), (1, 1, 8, 8)),
        tensor(&values(800 * 8, 2), (1, 1, 800, 8)),
    );
    let v = values(800 * 4, 3);
    // All of the first tile is hidden, then all keys.
    let hidden = |seen: usize| {
        let mut bias = vec![f32::NEG_INFINITY; 8 * 800];
        bias.chunks_mut(800).for_each(|row| row[800 - seen..].fill(0.));
        let bias = tensor(&bias, (1, 1, 8, 800));
        let mask = AttentionMask::Bias(&bias);
        flat(&attention(&q, &k, &tensor(&v, (1, 1, 800, 4)), 1., mask).unwrap())
    };
    let last = attention(
        &q,
        &k.narrow(2, 700, 100).unwrap(),
        &tensor(&v[700 * 4..], (1, 1, 100, 4)),
        1.,
        AttentionMask::None,
    );
    let exact: Vec<f64> = flat(&last.unwrap()).into_iter().map(f64::from).collect();
    close(&hidden(100), &exact, 1e-6);
    assert!(hidden(0).iter().all(|&v| v == 0.));
}

#[test]
fn no_keys_and_no_queries() {
    let empty = |n: usize| tensor(&values(n * 4, 1), (1, 1, n, 4));
    let y = attention(&empty(3), &empty(0), &empty(0), 1., AttentionMask::None).unwrap();
    assert_eq!(flat(&y), [0.; 12]);
    let y = attention(&empty(0), &empty(3), &empty(3), 1., AttentionMask::None).unwrap();
    assert_eq!(y.dims(), [1, 0, 1, 4]);
}

#[test]
fn bf16_is_computed_in_f32() {
    let up = |t: &Tensor| t.to_dtype(DType::F32).unwrap();
    let cast = |seed| {
        tensor(&values(2 * 40 * 16, seed), (1, 2, 40, 16))
            .to_dtype(DType::BF16)
            .unwrap()
    };
    let (q, k, v) = (cast(1), cast(2), cast(3));
    let y = attention(&q, &k, &v, 0.25, AttentionMask::Causal { offset: 0 }).unwrap();
    assert_eq!(y.dtype(), DType::BF16);
    let exact = attention(
        &up(&q),
        &up(&k),
        &up(&v),
        0.25,
        AttentionMask::Causal { offset: 0 },
    )
    .unwrap();
    let exact: Vec<f64> = flat(&exact).into_iter().map(f64::from).collect();
    close(&flat(&up(&y)), &exact, 1. / 256.);
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let t = |h: usize, n: usize, d: usize| tensor(&values(h * n * d, 1), (1, h, n, d));
    let (q, k) = (t(4, 6, 8), t(2, 6, 8));
    assert!(attention(&q, &t(3, 6, 8), &t(3, 6, 8), 1., AttentionMask::None).is_err());
    assert!(attention(&q, &t(2, 6, 7), &k, 1., AttentionMask::None).is_err());
    assert!(attention(&q, &k, &t(2, 5, 8), 1., AttentionMask::None).is_err());
    let refused = |mask: AttentionMask<'_>| attention(&q, &k, &k, 1., mask).is_err();
    for cu in [&[][..], &[0, 5], &[1, 6], &[0, 4, 2, 6]] {
        assert!(refused(AttentionMask::Segments(&Segments::new(cu))));
    }
    let (bias, rel_h, rel_w) = (t(4, 6, 5), t(4, 6, 2), t(4, 6, 4));
    assert!(refused(AttentionMask::Bias(&bias)));
    assert!(refused(AttentionMask::RelPos {
        rel_h: &rel_h,
        rel_w: &rel_w
    }));
}

#[test]
fn rotary_turns_pairs_of_elements() {
    let (b, h, n, d) = (2, 3, 5, 12);
    let x = values(b * h * n * d, 1);
    let angles = values(n * d / 2, 2);
    let of = |f: fn(f32) -> f32| tensor(&angles.iter().map(|a| f(*a)).collect::<Vec<_>>(), (n, d / 2));
    let rows: Vec<f64> = (0..b * h)
        .flat_map(|_| angles.iter().map(|a| f64::from(*a)))
        .collect();
    let exact = reference::rotary(&x, &rows, d);
    let x = tensor(&x, (b, h, n, d));
    close(
        &flat(&rotary(&x, &of(f32::cos), &of(f32::sin)).unwrap()),
        &exact,
        1e-6,
    );
    // By strides, and with tables that do not fit.
    let strided = x
        .transpose(1, 2)
        .unwrap()
        .contiguous()
        .unwrap()
        .transpose(1, 2)
        .unwrap();
    close(
        &flat(&rotary(&strided, &of(f32::cos), &of(f32::sin)).unwrap()),
        &exact,
        1e-6,
    );
    let short = tensor(&[0.; 5], (5, 1));
    assert!(rotary(&x, &short, &short).is_err());
}

#[test]
fn relative_positions_are_products_with_a_line_of_the_table() {
    let (h, side, d) = (2, 3, 4);
    let q = values(h * side * side * d, 1);
    let tables = [values(side * d * side, 2), values(side * d * side, 3)];
    let of = |i: usize| tensor(&tables[i], (side, d, side));
    let (rel_h, rel_w) = relative_positions(&tensor(&q, (1, h, side * side, d)), &of(0), &of(1)).unwrap();
    let mut exact = [Vec::new(), Vec::new()];
    for head in 0..h {
        for (y, x) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
            for key in 0..side {
                for (axis, line) in [y, x].into_iter().enumerate() {
                    let dot = (0..d).map(|i| {
                        let query = q[((head * side + y) * side + x) * d + i];
                        f64::from(query) * f64::from(tables[axis][(line * d + i) * side + key])
                    });
                    exact[axis].push(dot.sum::<f64>());
                }
            }
        }
    }
    close(&flat(&rel_h), &exact[0], 1e-6);
    close(&flat(&rel_w), &exact[1], 1e-6);
    assert!(
        relative_positions(
            &tensor(&q, (1, h, side * side, d)),
            &of(0),
            &tensor(&[0.; 12], (3, 4, 1))
        )
        .is_err()
    );
}

#[test]
fn sequences_that_lie_one_after_the_other_are_attended_to_apart() {
    let (h, d) = (2, 8);
    let (new, cached) = ([3, 0, 1], [0, 4, 2]);
    let cos = tensor(&[1.; 16], (4, d / 2));
    let sin = tensor(&[0.; 16], (4, d / 2));
    // Of 8 bits, so that products of bf16 leave them as they are.
    let short = |v: f32| half::bf16::from_f32(v).to_f32();
    let t = |n: usize, seed: u64| {
        let values: Vec<f32> = values(h * n * d, seed).into_iter().map(short).collect();
        tensor(&values, (1, h, n, d))
    };
    let caches: Vec<_> = (0..3).map(|i| (t(6, i), t(6, 10 + i))).collect();
    let sequences: Vec<_> = caches
        .iter()
        .enumerate()
        .map(|(i, (keys, values))| CachedSequence {
            keys,
            values,
            cached: cached[i],
            new: new[i],
        })
        .collect();
    let (q, k, v) = (t(4, 20), t(4, 21), t(4, 22));
    // Tokens that hold their queries, keys and values already.
    let width = 3 * h * d;
    let x = Tensor::cat(&[&q, &k, &v], 1).unwrap().transpose(1, 2).unwrap();
    let x = x.reshape((1, 4, width)).unwrap();
    let same = LinearWeight::new(&Tensor::eye(width, DType::F32, &Device::Cpu).unwrap());
    let turned = linear_rotated(&x, (&same, None), (&cos, &sin), &sequences, None).unwrap();
    assert_eq!(flat(&turned), flat(&q));
    let out = attention_ragged(&q, &sequences, 0.5).unwrap();
    assert_eq!(out.dims(), [1, 4, h, d]);
    let narrow = |t: &Tensor, from: usize, n: usize| t.narrow(2, from, n).unwrap();
    let mut first = 0;
    for s in sequences.iter().filter(|s| s.new > 0) {
        // The new tokens are behind what was there.
        for (cache, given) in [(s.keys, &k), (s.values, &v)] {
            assert_eq!(
                flat(&narrow(cache, s.cached, s.new)),
                flat(&narrow(given, first, s.new))
            );
        }
        let seen = |t: &Tensor| narrow(t, 0, s.cached + s.new);
        let alone = attention(
            &narrow(&q, first, s.new),
            &seen(s.keys),
            &seen(s.values),
            0.5,
            AttentionMask::Causal { offset: s.cached },
        );
        assert_eq!(flat(&out.narrow(1, first, s.new).unwrap()), flat(&alone.unwrap()));
        first += s.new;
    }
    let no_room = [CachedSequence {
        cached: 3,
        new: 4,
        ..sequences[0]
    }];
    assert!(attention_ragged(&q, &no_room, 0.5).is_err());
    assert!(linear_rotated(&x, (&same, None), (&cos, &sin), &sequences[..2], None).is_err());
    assert!(linear_rotated(&x, (&same, None), (&cos, &sin), &no_room, None).is_err());
}
