//! The inside of a SwiGLU: `silu(x Wg^T + bg) * (x Wu^T + bu)`.

#[cfg(feature = "cuda")]
mod cuda;

use candle_core::{Result, Tensor};

use super::linear::{LinearWeight, linear};
use super::pairwise::silu_mul;
use crate::Epilogue;

/// Both weights (inner, in), and biases (inner) of both or of neither, for the device that they are on: apart on the CPU, where each
/// product stays in the cache for the next, one weight on a GPU with kernels of ours.
#[derive(Debug, Clone)]
pub struct GatedWeight(Form);

#[derive(Debug, Clone)]
enum Form {
    Apart([(LinearWeight, Option<Tensor>); 2]),
    /// (2 inner, in), the gate's rows first.
    #[cfg(feature = "cuda")]
    Joined(LinearWeight, Option<Tensor>),
}

impl GatedWeight {
    /// # Errors
    /// Weights or biases of two shapes; what the device answers.
    pub fn new(gate: (&Tensor, Option<&Tensor>), up: (&Tensor, Option<&Tensor>)) -> Result<Self> {
        let biases = (gate.1.map(Tensor::dims), up.1.map(Tensor::dims));
        if gate.0.dims() != up.0.dims() || biases.0 != biases.1 {
            let (gate, up) = (gate.0.shape(), up.0.shape());
            candle_core::bail!("linear_gated: a gate {gate:?} for {up:?}, biases {biases:?}")
        }
        #[cfg(feature = "cuda")]
        if crate::backend::Backend::has_cuda_kernels(gate.0.device()) {
            let bias = match (gate.1, up.1) {
                (Some(gate), Some(up)) => Some(Tensor::cat(&[gate, up], 0)?),
                _ => None,
            };
            let weight = LinearWeight::new(&Tensor::cat(&[gate.0, up.0], 0)?);
            return Ok(Self(Form::Joined(weight, bias)));
        }
        Ok(Self(Form::Apart([gate, up].map(|(weight, bias)| {
            (LinearWeight::new(weight), bias.cloned())
        }))))
    }
}

/// `x` (..., in) to (..., inner). After the product one launch on a GPU.
///
/// # Errors
/// As [`linear`].
pub fn linear_gated(x: &Tensor, weight: &GatedWeight) -> Result<Tensor> {
    match &weight.0 {
        Form::Apart(both) => {
            let [gate, up] = both.each_ref().map(|(weight, bias)| {
                let epilogue = Epilogue {
                    bias: bias.clone(),
                    ..Epilogue::default()
                };
                linear(x, weight, epilogue)
            });
            silu_mul(&gate?, &up?)
        }
        #[cfg(feature = "cuda")]
        Form::Joined(weight, bias) => cuda::forward(&linear(x, weight, Epilogue::default())?, bias.as_ref()),
    }
}
