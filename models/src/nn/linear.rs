//! `y = x W^T + b`.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use dragunov_kernels::{self as kernels, Epilogue, LinearWeight};

use super::Activation;

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
