//! Who computes an op: the only place of this package that looks at a tensor's device.

use candle_core::Device;

/// What an op's public function hands its checked operands to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    /// The op's own kernel: `cpu_fwd` or `cuda_fwd`, which candle calls by device.
    Kernel,
    /// candle's own ops put together, in the op's `cuda.rs`.
    Composed,
}

impl Backend {
    /// `cuda_kernel`: whether the op's `cuda_fwd` launches a kernel of ours. Every op has one for the CPU.
    pub(crate) fn of(device: &Device, cuda_kernel: bool) -> Self {
        match device {
            Device::Cpu => Self::Kernel,
            Device::Cuda(_) if cuda_kernel => Self::Kernel,
            Device::Cuda(_) | Device::Metal(_) => Self::Composed,
        }
    }
}
