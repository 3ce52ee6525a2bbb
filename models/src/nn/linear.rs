//! `y = x W^T + b`.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use dragunov_kernels as kernels;

use super::activation::{Activation, activate};

/// A fully connected layer over the last dimension: (..., in) to (..., out).
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
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
}

/// Reads `weight` (out, in) and, if `bias`, `bias` (out).
pub fn linear(in_dim: usize, out_dim: usize, bias: bool, vb: VarBuilder<'_>) -> Result<Linear> {
    let weight = vb.get((out_dim, in_dim), "weight")?;
    let bias = if bias {
        Some(vb.get(out_dim, "bias")?)
    } else {
        None
    };
    Ok(Linear { weight, bias })
}

impl Linear {
    /// `f(x W^T + b)`.
    pub fn forward_activated(&self, x: &Tensor, f: Activation) -> Result<Tensor> {
        self.fused(x, f, None)
    }

    /// `residual + x W^T + b`. A residual with 1 as its first dimension is added to every entry of the batch.
    pub fn forward_onto(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        self.fused(x, Activation::Identity, Some(residual))
    }

    fn fused(&self, x: &Tensor, activation: Activation, residual: Option<&Tensor>) -> Result<Tensor> {
        if x.device().is_cpu() {
            let after = kernels::After {
                bias: self.bias.clone(),
                activation,
                residual: residual.map(Tensor::contiguous).transpose()?,
            };
            return kernels::linear(x, &self.weight, &after);
        }
        let y = activate(&self.composed(x)?, activation)?;
        match residual {
            Some(residual) => y.broadcast_add(residual),
            None => Ok(y),
        }
    }

    /// Out of candle's own ops.
    fn composed(&self, x: &Tensor) -> Result<Tensor> {
        let mut shape = x.dims().to_vec();
        let (out_dim, in_dim) = self.weight.dims2()?;
        match shape.last_mut() {
            Some(last) if *last == in_dim => *last = out_dim,
            _ => candle_core::bail!(
                "linear: input {:?} against a weight of {out_dim} x {in_dim}",
                x.shape()
            ),
        }
        let rows = x.elem_count() / in_dim.max(1);
        let y = x.reshape((rows, in_dim))?.matmul(&self.weight.t()?)?;
        let y = match &self.bias {
            Some(bias) => y.broadcast_add(bias)?,
            None => y,
        };
        y.reshape(shape)
    }
}

impl Module for Linear {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.fused(x, Activation::Identity, None)
    }
}
