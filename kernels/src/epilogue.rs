//! What follows a product or a convolution, in the same pass over its output.

#[cfg(feature = "cuda")]
use candle_core::DType;
use candle_core::{Result, Tensor};

use crate::ops::activation::Activation;

/// `residual + f(sum + bias)`.
#[derive(Debug, Clone, Default)]
pub struct Epilogue {
    /// (out)
    pub bias: Option<Tensor>,
    pub activation: Activation,
    /// Added last; the shape of the result.
    pub residual: Option<Tensor>,
}

impl Epilogue {
    /// Refuses what does not fit a result of the shape `out`, whose last dimension counts the channels. `shared`: a
    /// residual with 1 as its first dimension is added to every entry of the batch.
    pub(crate) fn check(&self, op: &str, out: &[usize], shared: bool) -> Result<()> {
        let channels = out.last().copied().unwrap_or(0);
        if let Some(bias) = &self.bias
            && bias.dims() != [channels]
        {
            candle_core::bail!("{op}: a bias of {:?} for {channels} channels", bias.shape())
        }
        if let Some(residual) = &self.residual {
            let dims = residual.dims();
            let fits = match (dims.first(), shared && out.len() > 1) {
                (Some(1), true) => dims[1..] == out[1..],
                _ => dims == out,
            };
            if !fits {
                candle_core::bail!(
                    "{op}: a residual of {:?} for a result of {out:?}",
                    residual.shape()
                )
            }
        }
        Ok(())
    }

    /// The same with operands that kernels can read as slices; `dense` makes the residual's memory contiguous.
    pub(crate) fn dense(self, dense: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        Ok(Self {
            bias: self.bias.as_ref().map(Tensor::contiguous).transpose()?,
            residual: self.residual.as_ref().map(dense).transpose()?,
            ..self
        })
    }

    /// The same as kernels of elements of `dtype` read it.
    #[cfg(feature = "cuda")]
    pub(crate) fn fitting(&self, dtype: DType) -> Result<Self> {
        let fitting = |t: &Option<Tensor>| t.as_ref().map(|t| t.to_dtype(dtype)?.contiguous()).transpose();
        Ok(Self {
            bias: fitting(&self.bias)?,
            activation: self.activation,
            residual: fitting(&self.residual)?,
        })
    }

    /// Whether nothing follows the product.
    #[cfg(feature = "cuda")]
    pub(crate) fn is_empty(&self) -> bool {
        self.bias.is_none() && self.residual.is_none() && self.activation == Activation::Identity
    }
}
