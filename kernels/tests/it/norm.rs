use dragunov_kernels::{layer_norm, reference, rms_norm};
use proptest::prelude::*;

use super::support::{close, flat, tensor, values};

fn agrees(rows: usize, n: usize, shift: f32, seed: u64) {
    let x: Vec<f32> = values(rows * n, seed).into_iter().map(|v| v + shift).collect();
    let (w, b) = (values(n, seed ^ 1), values(n, seed ^ 2));
    let (xt, wt, bt) = (tensor(&x, (rows, n)), tensor(&w, n), tensor(&b, n));
    // What f32 holds of the input's spread bounds what can be asked of the result.
    let tolerance = 1e-6 + 2e-7 * f64::from(shift.abs());
    let y = layer_norm(&xt, &wt, &bt, 1e-5).unwrap();
    close(&flat(&y), &reference::layer_norm(&x, &w, &b, 1e-5), tolerance);
    let y = rms_norm(&xt, &wt, 1e-6).unwrap();
    close(&flat(&y), &reference::rms_norm(&x, &w, 1e-6), 1e-6);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn random_shapes(rows in 0usize..40, n in 2usize..400, seed: u64) {
        agrees(rows, n, 0., seed);
    }
}

#[test]
fn a_mean_far_from_zero_costs_no_digits() {
    // E[x^2] - E[x]^2 in f32 has nothing left of the variance here.
    agrees(5, 768, 300., 9);
}

#[test]
fn large_and_single() {
    agrees(5000, 768, 0.5, 3);
    let y = layer_norm(&tensor(&[7.], (1, 1)), &tensor(&[2.], 1), &tensor(&[3.], 1), 1e-5).unwrap();
    assert_eq!(flat(&y), [3.]);
}

#[test]
fn constant_rows_are_stopped_by_eps() {
    let y = layer_norm(
        &tensor(&[5.; 64], (1, 64)),
        &tensor(&[1.; 64], 64),
        &tensor(&[0.25; 64], 64),
        1e-6,
    );
    assert_eq!(flat(&y.unwrap()), [0.25; 64]);
}

#[test]
fn eps_is_inside_the_root() {
    let (x, w, b) = ([1e-3, -1e-3], [1., 1.], [0., 0.]);
    let y = layer_norm(&tensor(&x, (1, 2)), &tensor(&w, 2), &tensor(&b, 2), 1e-6).unwrap();
    close(&flat(&y), &[0.5f64.sqrt(), -(0.5f64.sqrt())], 1e-6);
}

#[test]
fn other_widths_are_refused() {
    let (x, w) = (tensor(&[1.; 6], (2, 3)), tensor(&[1.; 2], 2));
    assert!(layer_norm(&x, &w, &w, 1e-5).is_err());
    assert!(rms_norm(&x, &w, 1e-5).is_err());
    assert!(layer_norm(&x, &tensor(&[1.; 3], 3), &w, 1e-5).is_err());
}
