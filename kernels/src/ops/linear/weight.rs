//! A linear layer's weight, arranged once for the kernel that will read it.

use std::sync::Arc;

use candle_core::{Result, Tensor};

use crate::cpu::tiles::weight::TiledWeight;

/// A weight (out, in) as PyTorch stores it, laid out for the device that it is on. Where the CPU multiplies tiles it is kept as
/// such alone, in as many bytes as before, rounded up to 16 outputs and 32 inputs.
#[derive(Debug, Clone)]
pub struct LinearWeight {
    pub(super) form: Form,
}

#[derive(Debug, Clone)]
pub(super) enum Form {
    Plain(Tensor),
    Tiled(Arc<TiledWeight>),
}

impl LinearWeight {
    /// `weight` (out, in); another rank is refused by [`super::linear`].
    pub fn new(weight: &Tensor) -> Self {
        let tiled = weight.dims2().and_then(|_| TiledWeight::of(weight));
        let form = match tiled {
            Ok(Some(tiled)) => Form::Tiled(Arc::new(tiled)),
            // Whatever is wrong is said where it is used.
            Ok(None) | Err(_) => Form::Plain(weight.clone()),
        };
        Self { form }
    }

    /// The tensor itself, for a weight that others read too: a layout of its own would be a second copy.
    pub fn shared(weight: &Tensor) -> Self {
        Self {
            form: Form::Plain(weight.clone()),
        }
    }

    /// (out, in)
    pub(super) fn dims(&self) -> Result<(usize, usize)> {
        match &self.form {
            Form::Plain(weight) => weight.dims2(),
            Form::Tiled(weight) => Ok((weight.layout.n, weight.layout.k)),
        }
    }
}
