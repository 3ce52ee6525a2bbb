//! Opening a GPU: what it and its driver must be, and how its queue and memory are to be kept.
#![allow(unsafe_code)]

use candle_core::cuda_backend::cudarc::driver::{result, sys};
use candle_core::cuda_backend::{CudaDevice, WrapErr};
use candle_core::{Device, Result};

/// The toolkit that this binary's kernels were compiled with, as the driver counts versions. candle's are PTX, which only a
/// driver at least as new compiles.
pub(super) const TOOLKIT: u32 = sys::CUDA_VERSION;
/// Lowest compute capability that this binary has code for.
const LOWEST: (i32, i32) = (8, 0);

/// As major and minor.
pub(super) const fn version(number: u32) -> (u32, u32) {
    (number / 1000, number % 1000 / 10)
}

/// Why no tensor can be made there, in words that follow "cuda:N was asked for, but".
pub(super) fn open(ordinal: usize) -> std::result::Result<Device, String> {
    let driver = driver_version().map_err(|e| format!("its driver does not answer: {e}"))?;
    if driver < TOOLKIT {
        let ((found, found_minor), (major, minor)) = (version(driver), version(TOOLKIT));
        return Err(format!(
            "its driver runs CUDA {found}.{found_minor} at most and this binary needs {major}.{minor}{}; update the driver, \
             or use an image that was built with an older toolkit",
            driver_branch(TOOLKIT)
                .map(|branch| format!(" (NVIDIA driver {branch} or newer)"))
                .unwrap_or_default()
        ));
    }
    // A queue of its own: the driver's default one is another for every thread that touches a tensor.
    let device =
        Device::new_cuda_with_stream(ordinal).map_err(|e| format!("no usable GPU answers there: {e}"))?;
    let cuda = device.as_cuda_device().map_err(|e| e.to_string())?;
    let capability = cuda.cuda_stream().context().compute_capability();
    let capability = capability.map_err(|e| format!("it does not tell what it is: {e}"))?;
    if capability < LOWEST {
        return Err(format!(
            "its compute capability is {}.{} and this binary has code for {}.{} and newer",
            capability.0, capability.1, LOWEST.0, LOWEST.1
        ));
    }
    keep(cuda).map_err(|e| format!("its memory cannot be set up: {e}"))?;
    Ok(device)
}

fn driver_version() -> Result<u32> {
    let mut version = 0;
    // SAFETY: an int is written to.
    unsafe { sys::cuDriverGetVersion(&raw mut version) }
        .result()
        .w()?;
    Ok(version.unsigned_abs())
}

/// The oldest driver branch that comes with a toolkit's version.
fn driver_branch(toolkit: u32) -> Option<u32> {
    match toolkit {
        12_040 => Some(550),
        12_080 => Some(570),
        12_090 => Some(575),
        13_000 => Some(580),
        _ => None,
    }
}

fn keep(device: &CudaDevice) -> Result<()> {
    // SAFETY: all work on the tensors of a device is queued on its one stream, and tensors of two devices never meet, so there
    // is no order that events would have to keep. cudarc makes and destroys two per tensor.
    unsafe { device.disable_event_tracking() };
    let context = device.cuda_stream().context().clone();
    // SAFETY: the device is open; the attribute is a u64.
    unsafe {
        // Freed memory stays in the pool. By default all of it goes back to the driver whenever the host waits.
        let pool = result::device::get_default_mem_pool(context.cu_device()).w()?;
        let mut threshold = u64::MAX;
        let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        result::mem_pool::set_attribute(pool, attribute, (&raw mut threshold).cast()).w()?;
    }
    Ok(())
}

/// Bytes that the pool of this process holds, in use or kept for the next tensors.
pub(super) fn held(device: &CudaDevice) -> Option<u64> {
    let context = device.cuda_stream().context().clone();
    let mut bytes = 0u64;
    // SAFETY: the device is open; the attribute is a u64.
    unsafe {
        let pool = result::device::get_default_mem_pool(context.cu_device()).ok()?;
        let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT;
        result::mem_pool::get_attribute(pool, attribute, (&raw mut bytes).cast()).ok()?;
    }
    Some(bytes)
}
