//! Who computes an op: the only place of this package that looks at a tensor's device.

use std::sync::OnceLock;

use candle_core::{DType, Device};

use crate::cpu::tiles::{Engine, Terms};
use crate::products;

/// What an op's public function hands its checked operands to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    /// The op's own kernel: `cpu_fwd` or `cuda_fwd`, which candle calls by device.
    Kernel,
    /// candle's own ops put together, in the op's `cuda.rs`.
    Composed,
}

impl Backend {
    /// `cuda_kernel`: whether the op's `cuda_fwd` launches a kernel of ours for these operands. Every op has one for the CPU.
    pub(crate) fn of(device: &Device, cuda_kernel: bool) -> Self {
        match device {
            Device::Cpu => Self::Kernel,
            Device::Cuda(_) if cuda_kernel && !reference_asked_for() => Self::Kernel,
            Device::Cuda(_) | Device::Metal(_) => Self::Composed,
        }
    }

    /// Whether what several ops share (epilogues) is a kernel of ours there.
    #[cfg(feature = "cuda")]
    pub(crate) fn has_cuda_kernels(device: &Device) -> bool {
        device.is_cuda() && Self::of(device, true) == Self::Kernel
    }
}

/// Where `storage` lies.
#[cfg(feature = "cuda")]
pub(crate) fn device_of(storage: &candle_core::CudaStorage) -> Device {
    Device::Cuda(storage.device.clone())
}

/// Whether a chain of ops is quicker on one element of a batch after the other, as on the CPU, where what one op wrote is still
/// in the cache when the next reads it. On a GPU all elements together cost as many launches as one.
pub fn works_in_pieces(device: &Device) -> bool {
    matches!(device, Device::Cpu)
}

/// Who multiplies operands of this element type by tiles of bf16 there; none where products are computed otherwise.
pub(crate) fn tiles(device: &Device, dtype: DType) -> Option<(Engine, Terms)> {
    match device {
        Device::Cpu => products::tiles_of(dtype),
        Device::Cuda(_) | Device::Metal(_) => None,
    }
}

/// Whether operands of this element type are multiplied there by the inner loop of f32, which reads its right-hand side in panels.
pub(crate) fn multiplies_f32(device: &Device, dtype: DType) -> bool {
    matches!(device, Device::Cpu) && dtype == DType::F32 && tiles(device, dtype).is_none()
}

/// `DRAGUNOV_CUDA_GRAPHS=1`: steps of decoding and calls of SAM's mask decoder are launched as graphs where they can be.
#[cfg(feature = "cuda")]
pub(crate) fn graphs_asked_for() -> bool {
    static ASKED: OnceLock<bool> = OnceLock::new();
    *ASKED.get_or_init(|| std::env::var_os("DRAGUNOV_CUDA_GRAPHS").is_some_and(|v| v == "1"))
}

/// `DRAGUNOV_CUDA_REFERENCE=1`: every op on CUDA is composed of candle's, to tell whose fault a wrong number is.
fn reference_asked_for() -> bool {
    static ASKED: OnceLock<bool> = OnceLock::new();
    *ASKED.get_or_init(|| std::env::var_os("DRAGUNOV_CUDA_REFERENCE").is_some_and(|v| v == "1"))
}
