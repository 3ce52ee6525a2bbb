use candle_core::DType;
use dragunov_kernels::{Activation, Epilogue, LinearWeight, linear, reference};
use proptest::prelude::*;

use super::support::{close, flat, products_close, tensor, values};

fn agrees(m: usize, n: usize, k: usize, activation: Activation, extras: bool, seed: u64) {
    let (a, w) = (values(m * k, seed), values(n * k, seed ^ 2));
    let (bias, residual) = (values(n, seed ^ 3), values(m * n, seed ^ 4));
    let epilogue = Epilogue {
        bias: extras.then(|| tensor(&bias, n)),
        activation,
        residual: extras.then(|| tensor(&residual, (m, n))),
    };
    let exact: Vec<f64> = reference::matmul_nt(&a, &w, m, n, k)
        .into_iter()
        .enumerate()
        .map(|(i, sum)| {
            let sum = if extras { sum + f64::from(bias[i % n]) } else { sum };
            let v = match activation {
                Activation::Identity => sum,
                Activation::Gelu => reference::gelu(sum),
                Activation::Silu => reference::silu(sum),
                Activation::Relu => sum.max(0.),
            };
            if extras { v + f64::from(residual[i]) } else { v }
        })
        .collect();
    let w = tensor(&w, (n, k));
    // As it is laid out at load, and as it lies where others read it too.
    for w in [LinearWeight::new(&w), LinearWeight::shared(&w)] {
        let y = linear(&tensor(&a, (m, k)), &w, epilogue.clone()).unwrap();
        products_close(&flat(&y), &exact);
    }
}

fn any_activation() -> impl Strategy<Value = Activation> {
    prop_oneof![
        Just(Activation::Identity),
        Just(Activation::Gelu),
        Just(Activation::Silu),
        Just(Activation::Relu)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn random_shapes(m in 0usize..130, n in 0usize..140, k in 0usize..200, f in any_activation(), extras: bool, seed: u64) {
        agrees(m, n, k, f, extras, seed);
    }
}

#[test]
fn edges_of_tiles_panels_and_slices() {
    for (m, n, k) in [
        (1, 1, 1),
        (1, 3000, 300),
        (48, 65, 129),
        (49, 64, 128),
        (200, 48, 768),
        (97, 193, 384),
        (7, 17, 4097),
        (60, 40, 4097),
        (60, 40, 8200),
        // Few rows by columns: rows at the ends of blocks of eight.
        (2, 700, 515),
        (3, 700, 515),
        (12, 700, 1030),
        (127, 130, 1030),
        // Several tasks, several stretches of a sum.
        (300, 640, 2048),
        // More packed columns than one slice holds.
        (50, 1100, 4000),
    ] {
        agrees(m, n, k, Activation::Gelu, true, (m * n * k) as u64);
    }
}

#[test]
fn leading_dimensions_are_kept_and_views_are_read_right() {
    let (a, w) = (values(2 * 3 * 5 * 7, 1), values(4 * 7, 2));
    let x = tensor(&a, (2, 3, 5, 7));
    let w = LinearWeight::new(&tensor(&w, (4, 7)));
    let y = linear(&x, &w, Epilogue::default()).unwrap();
    assert_eq!(y.dims(), [2, 3, 5, 4]);
    let view = x.transpose(1, 2).unwrap();
    let z = linear(&view, &w, Epilogue::default()).unwrap();
    assert_eq!(flat(&z), flat(&y.transpose(1, 2).unwrap()));
}

#[test]
fn bf16_sums_in_f32() {
    let (m, n, k) = (9, 33, 515);
    let cast = |v: &[f32], shape: (usize, usize)| tensor(v, shape).to_dtype(DType::BF16).unwrap();
    let (a, w) = (cast(&values(m * k, 5), (m, k)), cast(&values(n * k, 6), (n, k)));
    let y = linear(&a, &LinearWeight::new(&w), Epilogue::default()).unwrap();
    assert_eq!(y.dtype(), DType::BF16);
    let up = |t: &candle_core::Tensor| flat(&t.to_dtype(DType::F32).unwrap());
    let exact = reference::matmul_nt(&up(&a), &up(&w), m, n, k);
    // Half a unit in the last of 8 bits.
    close(&up(&y), &exact, 1. / 256.);
}

#[test]
fn bad_shapes_are_refused() {
    let x = tensor(&values(12, 1), (3, 4));
    for (shape, bias, residual) in [((2, 5), 2, (3, 2)), ((2, 4), 3, (3, 2)), ((2, 4), 2, (2, 2))] {
        let epilogue = Epilogue {
            bias: Some(tensor(&values(bias, 1), bias)),
            residual: Some(tensor(&values(residual.0 * residual.1, 1), residual)),
            ..Epilogue::default()
        };
        let weight = LinearWeight::new(&tensor(&values(shape.0 * shape.1, 1), shape));
        assert!(linear(&x, &weight, epilogue).is_err());
    }
}
