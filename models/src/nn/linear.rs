//! `y = x W^T + b`.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;

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

impl Module for Linear {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut shape = x.dims().to_vec();
        let Some(last) = shape.last_mut() else {
            candle_core::bail!("linear: a scalar has no last dimension")
        };
        let (out_dim, in_dim) = self.weight.dims2()?;
        if *last != in_dim {
            candle_core::bail!(
                "linear: input {:?} against a weight of {out_dim} x {in_dim}",
                x.shape()
            )
        }
        *last = out_dim;
        let rows = x.elem_count() / in_dim.max(1);
        let y = x.reshape((rows, in_dim))?.matmul(&self.weight.t()?)?;
        let y = match &self.bias {
            Some(bias) => y.broadcast_add(bias)?,
            None => y,
        };
        y.reshape(shape)
    }
}
