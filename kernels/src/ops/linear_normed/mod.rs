//! `y = residual + x W^T + b`, and the RMS norm of y, which the next layer reads.

#[cfg(feature = "cuda")]
mod cuda;

use candle_core::{Result, Tensor};

use super::linear::{LinearWeight, linear};
use super::norm::rms_norm;
use crate::Epilogue;

/// `x` (..., in) and `residual` (..., out) to `y` and to `rms_norm(y, norm, eps)`, both (..., out). After the product one launch on a
/// GPU; both then share memory.
///
/// # Errors
/// As [`linear`] and [`rms_norm`].
pub fn linear_normed(
    x: &Tensor,
    (weight, bias): (&LinearWeight, Option<&Tensor>),
    residual: &Tensor,
    (norm, eps): (&Tensor, f64),
) -> Result<(Tensor, Tensor)> {
    #[cfg(feature = "cuda")]
    if cuda::takes(x, bias, residual, norm) {
        let product = linear(x, weight, Epilogue::default())?;
        return cuda::forward(&product, bias, residual, (norm, eps));
    }
    let epilogue = Epilogue {
        bias: bias.cloned(),
        residual: Some(residual.clone()),
        ..Epilogue::default()
    };
    let y = linear(x, weight, epilogue)?;
    let normed = rms_norm(&y, norm, eps)?;
    Ok((y, normed))
}
