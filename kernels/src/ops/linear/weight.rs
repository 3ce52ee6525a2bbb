//! A linear layer's weight, arranged once for the kernel that will read it.

use std::sync::Arc;

use candle_core::{Result, Tensor};

use crate::cpu::packed::PackedWeight;
use crate::cpu::tiles::weight::TiledWeight;

/// A weight (out, in) as PyTorch stores it, laid out for the device that it is on. On the CPU it is kept as its kernel reads it
/// alone, in as many bytes as before, rounded up to 16 outputs (tiles: and 32 inputs).
#[derive(Debug, Clone)]
pub struct LinearWeight {
    pub(super) form: Form,
}

#[derive(Debug, Clone)]
pub(super) enum Form {
    Plain(Tensor),
    Tiled(Arc<TiledWeight>),
    Packed(Arc<PackedWeight>),
}

impl LinearWeight {
    /// `weight` (out, in); another rank is refused by [`super::linear`].
    pub fn new(weight: &Tensor) -> Self {
        // Whatever is wrong is said where it is used.
        let form = Form::of(weight).ok().flatten();
        let form = form.unwrap_or_else(|| Form::Plain(weight.clone()));
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
            Form::Packed(weight) => Ok((weight.shape().n, weight.shape().k)),
        }
    }
}

impl Form {
    /// As the machine's kernel reads it; none where that is as it is.
    fn of(weight: &Tensor) -> Result<Option<Self>> {
        weight.dims2()?;
        if let Some(tiled) = TiledWeight::of(weight)? {
            return Ok(Some(Self::Tiled(Arc::new(tiled))));
        }
        Ok(PackedWeight::of(weight)?.map(|packed| Self::Packed(Arc::new(packed))))
    }
}
