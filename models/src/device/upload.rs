//! Bytes of weights to tensors on a device.

#[cfg(feature = "cuda")]
mod pinned;

use candle_core::{DType, Device, Result, Tensor};

/// What is kept from one tensor to the next while a checkpoint is being loaded.
#[derive(Default)]
pub(crate) struct Upload {
    #[cfg(feature = "cuda")]
    pinned: std::sync::Mutex<Option<pinned::Pinned>>,
}

impl Upload {
    /// A tensor of dense bytes.
    ///
    /// # Errors
    /// Bytes that are not those of the shape, a type that the device has no tensors of, no memory.
    pub(crate) fn tensor(
        &self,
        data: &[u8],
        dtype: DType,
        shape: &[usize],
        device: &Device,
    ) -> Result<Tensor> {
        let elements: usize = shape.iter().product();
        if data.len() != elements * dtype.size_in_bytes() {
            candle_core::bail!("{} bytes for {shape:?} of {dtype:?}", data.len())
        }
        #[cfg(feature = "cuda")]
        if let Ok(device) = device.as_cuda_device()
            && !data.is_empty()
        {
            let mut pinned = self
                .pinned
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let held = match pinned.take().filter(|p| p.is_to(device)) {
                Some(held) => held,
                None => pinned::Pinned::new(device)?,
            };
            return pinned.insert(held).tensor(data, dtype, shape);
        }
        Tensor::from_raw_buffer(data, dtype, shape, device)
    }
}
