//! How much memory the device that work runs on has.

use candle_core::Device;

/// Bytes of a GPU, as the driver counts them for all processes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceMemory {
    pub free_bytes: u64,
    pub total_bytes: u64,
}

/// None on the CPU, and where the driver does not tell.
pub fn of(device: &Device) -> Option<DeviceMemory> {
    read(device)
}

/// Bytes of a GPU that this process holds for tensors, in use or kept for the next ones; none on the CPU.
pub fn held(device: &Device) -> Option<u64> {
    pool(device)
}

#[cfg(feature = "cuda")]
fn pool(device: &Device) -> Option<u64> {
    super::cuda::held(device.as_cuda_device().ok()?)
}

#[cfg(not(feature = "cuda"))]
fn pool(_: &Device) -> Option<u64> {
    None
}

#[cfg(feature = "cuda")]
fn read(device: &Device) -> Option<DeviceMemory> {
    let (free, total) = device
        .as_cuda_device()
        .ok()?
        .cuda_stream()
        .context()
        .mem_get_info()
        .ok()?;
    Some(DeviceMemory {
        free_bytes: free as u64,
        total_bytes: total as u64,
    })
}

#[cfg(not(feature = "cuda"))]
fn read(_: &Device) -> Option<DeviceMemory> {
    None
}
