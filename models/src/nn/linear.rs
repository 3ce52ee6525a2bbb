//! `y = x W^T + b`.

use candle_core::{Module, Result, Shape, Tensor};
use candle_nn::VarBuilder;
use dragunov_kernels::{self as kernels, Epilogue, LinearWeight};

use super::norm::RmsNorm;
use super::{Activation, CachedSequence, GatedWeight};

/// A fully connected layer over the last dimension: (..., in) to (..., out).
#[derive(Debug, Clone)]
pub struct Linear {
    weight: LinearWeight,
    bias: Option<Tensor>,
}

impl Linear {
    /// Reads `weight` (out, in) and, if `bias`, `bias` (out).
    ///
    /// # Errors
    /// Missing and mis-shaped tensors.
    pub fn load(in_dim: usize, out_dim: usize, bias: bool, vb: VarBuilder<'_>) -> Result<Self> {
        let weight = vb.get((out_dim, in_dim), "weight")?;
        let bias = bias.then(|| vb.get(out_dim, "bias")).transpose()?;
        Ok(Self::new(weight, bias))
    }

    /// `weight` (out, in) and `bias` (out).
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self {
            weight: LinearWeight::new(&weight),
            bias,
        }
    }

    /// Layers without or with biases on the same input, read from `parts` with their outputs, as one whose outputs lie behind each other.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn joined(in_dim: usize, parts: &[(usize, VarBuilder<'_>)], bias: bool) -> Result<Self> {
        let read = |shape: &dyn Fn(usize) -> Shape, name| {
            let parts = parts.iter().map(|(out, vb)| vb.get(shape(*out), name));
            Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)
        };
        let weight = read(&|out| Shape::from((out, in_dim)), "weight")?;
        let bias = bias.then(|| read(&|out| Shape::from(out), "bias")).transpose()?;
        Ok(Self::new(weight, bias))
    }

    /// Without a bias, by a `weight` (out, in) that others keep too.
    pub fn shared(weight: &Tensor) -> Self {
        Self {
            weight: LinearWeight::shared(weight),
            bias: None,
        }
    }

    /// `f(x W^T + b)`.
    pub fn forward_activated(&self, x: &Tensor, f: Activation) -> Result<Tensor> {
        self.fused(x, f, None)
    }

    /// `residual + x W^T + b`. A residual with 1 as its first dimension is added to every entry of the batch.
    pub fn forward_onto(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        self.fused(x, Activation::Identity, Some(residual))
    }

    /// The same and its norm, which the next layer reads.
    pub fn forward_onto_normed(
        &self,
        x: &Tensor,
        residual: &Tensor,
        norm: &RmsNorm,
    ) -> Result<(Tensor, Tensor)> {
        let layer = (&self.weight, self.bias.as_ref());
        kernels::linear_normed(x, layer, residual, (&norm.weight, norm.eps))
    }

    /// To rotated queries; keys and values go into the caches of `sequences`: [`kernels::linear_rotated`].
    pub fn forward_rotated(
        &self,
        x: &Tensor,
        tables: (&Tensor, &Tensor),
        sequences: &[CachedSequence<'_>],
        cached: Option<&Tensor>,
    ) -> Result<Tensor> {
        let layer = (&self.weight, self.bias.as_ref());
        kernels::linear_rotated(x, layer, tables, sequences, cached)
    }

    fn fused(&self, x: &Tensor, activation: Activation, residual: Option<&Tensor>) -> Result<Tensor> {
        let epilogue = Epilogue {
            bias: self.bias.clone(),
            activation,
            residual: residual.cloned(),
        };
        kernels::linear(x, &self.weight, epilogue)
    }
}

impl Module for Linear {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.fused(x, Activation::Identity, None)
    }
}

/// The weights of a SwiGLU's inside: `gate_proj` and `up_proj` below `vb`.
///
/// # Errors
/// Missing and mis-shaped tensors.
pub fn load_gated(in_dim: usize, inner: usize, bias: bool, vb: &VarBuilder<'_>) -> Result<GatedWeight> {
    let part = |name| {
        let vb = vb.pp(name);
        let bias = bias.then(|| vb.get(inner, "bias")).transpose()?;
        Ok::<_, candle_core::Error>((vb.get((inner, in_dim), "weight")?, bias))
    };
    let (gate, up) = (part("gate_proj")?, part("up_proj")?);
    GatedWeight::new((&gate.0, gate.1.as_ref()), (&up.0, up.1.as_ref()))
}
