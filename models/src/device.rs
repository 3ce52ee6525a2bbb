//! Which device computes: parsed from the command line, opened once, never replaced by another one.

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(all(feature = "cuda", target_os = "linux", target_arch = "x86_64"))]
mod driver;
pub mod fault;
pub mod memory;
pub(crate) mod upload;

use std::fmt;
use std::str::FromStr;

use candle_core::Device;

use crate::{ModelError, Result};

/// `cpu` or `cuda:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DeviceChoice {
    #[default]
    Cpu,
    /// The N-th device that the driver shows (after `CUDA_VISIBLE_DEVICES`).
    Cuda(usize),
}

/// Parses `cpu`, `cuda` (the first GPU) or `cuda:N`.
///
/// # Errors
/// [`ModelError::Device`] for anything else.
pub fn parse(text: &str) -> Result<DeviceChoice> {
    text.parse()
}

impl FromStr for DeviceChoice {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self> {
        let ordinal = match text {
            "cpu" => return Ok(Self::Cpu),
            "cuda" => Some(0),
            other => other.strip_prefix("cuda:").and_then(|n| n.parse().ok()),
        };
        ordinal
            .map(Self::Cuda)
            .ok_or_else(|| ModelError::Device(format!("{text:?} is neither cpu nor cuda:N")))
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

impl DeviceChoice {
    /// Whether this binary was built with feature `cuda`.
    pub const CUDA_BUILT: bool = cfg!(feature = "cuda");

    /// The CUDA version, as major and minor, that a GPU's driver must run for this binary's kernels; none without `cuda`.
    #[cfg(feature = "cuda")]
    pub const NEEDED_CUDA: Option<(u32, u32)> = Some(cuda::version(cuda::TOOLKIT));
    #[cfg(not(feature = "cuda"))]
    pub const NEEDED_CUDA: Option<(u32, u32)> = None;

    /// Opens the device.
    ///
    /// # Errors
    /// [`ModelError::Device`] if CUDA is asked for and this build or this machine has none: the work is refused,
    /// it never moves to the CPU.
    pub fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(_) if !Self::CUDA_BUILT => Err(ModelError::Device(format!(
                "{self} was asked for, but this binary was built without feature `cuda`; use cpu, or the CUDA build"
            ))),
            Self::Cuda(_) if !Self::driver_present() => Err(ModelError::Device(format!(
                "{self} was asked for, but there is no NVIDIA driver here (libcuda.so.1); in a container it comes with \
                 `--gpus` or the platform's GPU image"
            ))),
            Self::Cuda(ordinal) => Self::open_cuda(ordinal)
                .map_err(|why| ModelError::Device(format!("{self} was asked for, but {why}"))),
        }
    }

    #[cfg(feature = "cuda")]
    fn open_cuda(ordinal: usize) -> std::result::Result<Device, String> {
        cuda::open(ordinal)
    }

    #[cfg(not(feature = "cuda"))]
    fn open_cuda(_: usize) -> std::result::Result<Device, String> {
        Err("this binary was built without feature `cuda`".into())
    }

    #[cfg(all(feature = "cuda", target_os = "linux", target_arch = "x86_64"))]
    fn driver_present() -> bool {
        driver::present()
    }

    /// Elsewhere this process would not have started without one.
    #[cfg(not(all(feature = "cuda", target_os = "linux", target_arch = "x86_64")))]
    fn driver_present() -> bool {
        true
    }

    /// The same device with a queue of its own: a model that is loaded here computes beside one on [`Self::open`]'s, from
    /// any thread. The CPU has one queue. Tensors of the two must not meet in one operation.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_beside(self) -> Result<Device> {
        self.open()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_round_trip() {
        for text in ["cpu", "cuda:0", "cuda:7"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        assert_eq!(parse("cuda").unwrap(), DeviceChoice::Cuda(0));
    }

    #[test]
    fn other_names_are_refused() {
        for text in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "CPU", "cpu:0", "metal"] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains("neither cpu nor cuda:N"), "{message}");
        }
    }

    #[test]
    fn cuda_without_a_gpu_is_refused() {
        // Ordinal 4096 exists on no machine, so this holds with and without a GPU.
        let message = DeviceChoice::Cuda(4096).open().unwrap_err().to_string();
        assert!(message.contains("cuda:4096 was asked for"), "{message}");
    }
}
