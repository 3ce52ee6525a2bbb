use dragunov_kernels::{Activation, activation, add, reference, silu_mul};
use proptest::prelude::*;

use super::support::{close, flat, tensor, values};

/// Dense over the interesting range, then ever larger.
fn grid() -> Vec<f32> {
    let near = (-120_000..=120_000).map(|i| i as f32 * 1e-4);
    let far = (0..60).flat_map(|e| [1.1f32.powi(e) * 12., -(1.1f32.powi(e)) * 12.]);
    near.chain(far).collect()
}

#[test]
fn gelu_is_exact_to_f32() {
    let x = grid();
    let y = flat(&activation(&tensor(&x, x.len()), Activation::Gelu).unwrap());
    for (&x, &y) in x.iter().zip(&y) {
        let exact = reference::gelu(f64::from(x));
        let error = (f64::from(y) - exact).abs() / f64::from(x).abs().max(1.);
        assert!(
            error < 1.7e-7,
            "gelu({x}) = {y}, exactly {exact}, error {error:.2e}"
        );
    }
}

#[test]
fn gelu_is_not_the_tanh_approximation() {
    let y = flat(&activation(&tensor(&[-2.25], 1), Activation::Gelu).unwrap());
    // The tanh form gives -0.02713 here, 3.6e-4 away.
    assert!((y[0] + 0.027_505_4).abs() < 1e-6, "{}", y[0]);
}

#[test]
fn gelu_keeps_its_limits() {
    let x = [f32::INFINITY, -1e30, 0., -0., 3e38];
    let y = flat(&activation(&tensor(&x, x.len()), Activation::Gelu).unwrap());
    assert_eq!(y[1..], [0., 0., 0., 3e38]);
    let nan = flat(&activation(&tensor(&[f32::NAN], 1), Activation::Gelu).unwrap());
    assert!(nan[0].is_nan(), "a NaN must not be hidden, got {}", nan[0]);
}

#[test]
fn silu_and_relu() {
    let x = grid();
    let y = flat(&activation(&tensor(&x, x.len()), Activation::Silu).unwrap());
    for (&x, &y) in x.iter().zip(&y) {
        let exact = reference::silu(f64::from(x));
        assert!(
            (f64::from(y) - exact).abs() <= 4e-7 * exact.abs().max(1e-3),
            "silu({x}) = {y}, {exact}"
        );
    }
    let y = flat(&activation(&tensor(&x, x.len()), Activation::Relu).unwrap());
    assert!(x.iter().zip(&y).all(|(x, &y)| x.max(0.) == y));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_length(len in 0usize..70_000, seed: u64) {
        let (a, b) = (values(len, seed), values(len, seed ^ 1));
        let y = flat(&activation(&tensor(&a, len), Activation::Gelu).unwrap());
        close(&y, &a.iter().map(|&v| reference::gelu(v.into())).collect::<Vec<_>>(), 3e-7);
        let y = flat(&silu_mul(&tensor(&a, len), &tensor(&b, len)).unwrap());
        let exact: Vec<f64> = a.iter().zip(&b).map(|(&a, &b)| reference::silu(a.into()) * f64::from(b)).collect();
        close(&y, &exact, 3e-7);
        let y = flat(&add(&tensor(&a, len), &tensor(&b, len)).unwrap());
        prop_assert!(y.iter().zip(a.iter().zip(&b)).all(|(y, (a, b))| *y == a + b));
    }
}

#[test]
fn shapes_that_differ_are_refused() {
    let (a, b) = (tensor(&[1., 2.], 2), tensor(&[1., 2.], (1, 2)));
    assert!(add(&a, &b).is_err());
    assert!(silu_mul(&a, &b).is_err());
}
