//! The same resizes on tensors, with the transfer named.

use candle_core::{D, DType, Device, Tensor};

use super::{TorchResize, torch_planes};
use crate::Result;

/// [`torch_planes`] on the last two dimensions of a tensor, in host memory: a tensor elsewhere is copied there, and the
/// result stays. Computes in f32, keeps the dtype.
///
/// For preparation and for results, not for the inside of a network.
///
/// # Errors
/// Those of [`torch_planes`] and of the copy.
pub fn resize_on_host(tensor: &Tensor, height: usize, width: usize, options: &TorchResize) -> Result<Tensor> {
    let from = (tensor.dim(D::Minus2)?, tensor.dim(D::Minus1)?);
    let mut dims = tensor.dims().to_vec();
    let rank = dims.len();
    (dims[rank - 2], dims[rank - 1]) = (height, width);
    let data = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    let out = torch_planes(&data, from, (height, width), options)?;
    Ok(Tensor::from_vec(out, dims, &Device::Cpu)?.to_dtype(tensor.dtype())?)
}
