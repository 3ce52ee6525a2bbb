//! Epilogues: of rows by our kernel where there is one, else out of candle's own ops.

use candle_core::{Result, Tensor};

use crate::Epilogue;
#[cfg(feature = "cuda")]
use crate::backend::Backend;
use crate::ops::activation;

/// Of `y` (..., channels), which nothing else holds.
pub(crate) fn rows(y: Tensor, epilogue: &Epilogue) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if Backend::has_cuda_kernels(y.device()) {
        return super::epilogue::in_place(y, epilogue);
    }
    let y = match &epilogue.bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    };
    let y = activation::cuda::composed(&y, epilogue.activation)?;
    match &epilogue.residual {
        Some(residual) => y.broadcast_add(residual),
        None => Ok(y),
    }
}

/// Of `y` (B, channels, H, W); the residual is (B, H, W, channels).
pub(crate) fn planes(y: Tensor, epilogue: &Epilogue) -> Result<Tensor> {
    let y = match &epilogue.bias {
        Some(bias) => y.broadcast_add(&bias.reshape((1, (), 1, 1))?)?,
        None => y,
    };
    let y = activation::cuda::composed(&y, epilogue.activation)?;
    match &epilogue.residual {
        Some(residual) => residual.permute((0, 3, 1, 2))? + y,
        None => Ok(y),
    }
}
