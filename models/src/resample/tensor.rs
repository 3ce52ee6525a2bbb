//! The same resizes on tensors, with the transfer rule made explicit.

use candle_core::{D, DType, Device, Tensor};

use super::{TorchResize, torch_planes};
use crate::{ModelError, Result};

/// [`torch_planes`] on the last two dimensions of a tensor in host memory; computes in f32, keeps the dtype.
///
/// For preparation and for results, not for the inside of a network: it never moves data between devices, so a
/// caller that holds a device tensor says so with `to_device`.
///
/// # Errors
/// [`ModelError::Device`] for a tensor that is not on the CPU, and those of [`torch_planes`].
pub fn host_tensor(tensor: &Tensor, height: usize, width: usize, options: &TorchResize) -> Result<Tensor> {
    if !tensor.device().is_cpu() {
        let location = tensor.device().location();
        return Err(ModelError::Device(format!(
            "a resize on the host was asked of a tensor on {location:?}"
        )));
    }
    let from = (tensor.dim(D::Minus2)?, tensor.dim(D::Minus1)?);
    let mut dims = tensor.dims().to_vec();
    let rank = dims.len();
    (dims[rank - 2], dims[rank - 1]) = (height, width);
    let data = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    let out = torch_planes(&data, from, (height, width), options)?;
    Ok(Tensor::from_vec(out, dims, &Device::Cpu)?.to_dtype(tensor.dtype())?)
}
