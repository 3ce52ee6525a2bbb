//! What follows a product or a convolution, in the same pass over the output.

use candle_core::{Result, Shape, Tensor};

use crate::activation::Activation;
use crate::block::Epilogue;
use crate::storage::TensorInput;

/// `residual + f(sum + bias)`.
#[derive(Debug, Clone, Default)]
pub struct After {
    /// (out)
    pub bias: Option<Tensor>,
    pub activation: Activation,
    /// Added last; the shape of the result.
    pub residual: Option<Tensor>,
}

impl After {
    /// The residual's shape for a result of `shape`: that, or one entry of the batch if the residual is shared by all.
    pub(crate) fn one_for_all(&self, shape: &Shape) -> Shape {
        let mut dims = shape.dims().to_vec();
        match (&self.residual, dims.as_mut_slice()) {
            (Some(r), [first, rest @ ..]) if !rest.is_empty() && r.dims().first() == Some(&1) => *first = 1,
            _ => {}
        }
        Shape::from(dims)
    }

    /// Gives `f` the operands of a result of `shape` as slices.
    ///
    /// # Errors
    /// A bias or a residual of another shape, element type or device.
    pub(crate) fn read<R>(&self, shape: &Shape, f: impl FnOnce(Epilogue<'_>) -> R) -> Result<R> {
        let width = shape.dims().last().copied().unwrap_or(0);
        let bias = self
            .bias
            .as_ref()
            .map(|b| TensorInput::new(b, &[width]))
            .transpose()?;
        let residual = self.residual.as_ref();
        let residual = residual.map(|r| TensorInput::new(r, shape.dims())).transpose()?;
        let bias = bias.as_ref().map(TensorInput::view).transpose()?;
        let residual = residual.as_ref().map(TensorInput::view).transpose()?;
        Ok(f(Epilogue {
            bias: bias.as_deref(),
            activation: self.activation,
            residual: residual.as_deref(),
        }))
    }
}
