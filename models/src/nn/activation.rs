//! Element-wise activations and sums.

use candle_core::{Result, Tensor};
use dragunov_kernels as kernels;
pub use dragunov_kernels::Activation;

use super::channels_last;

/// `x * Phi(x)` with the exact normal distribution, `torch.nn.GELU()`; any shape.
///
/// Not candle's `Tensor::gelu`, which is the tanh approximation and up to 5e-4 away.
pub fn gelu_erf(x: &Tensor) -> Result<Tensor> {
    activate(x, Activation::Gelu)
}

/// `max(x, 0)`; any shape.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    activate(x, Activation::Relu)
}

/// Any [`Activation`]; any shape. The result lies in memory as `x` does.
pub fn activate(x: &Tensor, f: Activation) -> Result<Tensor> {
    if x.device().is_cpu() {
        return channels_last::keeping(x, |x| kernels::activation(x, f));
    }
    match f {
        Activation::Identity => Ok(x.clone()),
        Activation::Gelu => x.gelu_erf(),
        Activation::Silu => x.silu(),
        Activation::Relu => x.relu(),
    }
}

/// `silu(gate) * up`, the inside of a SwiGLU; one shape, contiguous.
pub fn silu_mul(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    if gate.device().is_cpu() {
        return kernels::silu_mul(gate, up);
    }
    gate.silu()? * up
}

/// `a + b` of one shape, for residuals: on all cores, and without reordering when both lie in memory alike.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if !a.device().is_cpu() {
        return a + b;
    }
    match (channels_last::view(a)?, channels_last::view(b)?) {
        (Some(a), Some(b)) => channels_last::restore(&kernels::add(&a, &b)?),
        _ => kernels::add(a, b),
    }
}
