//! Plain loops in f64.

/// `x Phi(x)`.
pub fn gelu(x: f64) -> f64 {
    x * 0.5 * libm::erfc(-x / std::f64::consts::SQRT_2)
}

/// `x / (1 + e^-x)`.
pub fn silu(x: f64) -> f64 {
    x / (1. + (-x).exp())
}
