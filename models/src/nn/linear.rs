//! `y = x W^T + b`.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use dragunov_kernels::{self as kernels, Epilogue};

use super::Activation;

/// A fully connected layer over the last dimension: (..., in) to (..., out).
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Tensor,
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
        Ok(Self { weight, bias })
    }

    /// `weight` (out, in) and `bias` (out).
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self { weight, bias }
    }

    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
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
