//! Picture and plane resampling with the arithmetic of the libraries that the reference implementations call.
//!
//! | function | reproduces | agreement (tests/parity/resample.rs) |
//! |---|---|---|
//! | [`pil`] | Pillow 13 `Image.resize`, 8 bits a channel, bilinear or bicubic (a = -0.5) | every byte |
//! | [`torchvision_u8`] | torchvision `resize(antialias=True)` of uint8 on the CPU (ATen, 16-bit weights) | every byte |
//! | [`torch_planes`] | `torch.nn.functional.interpolate` of f32, bilinear or bicubic (a = -0.75; -0.5 with antialias) | f32 rounding |
//! | [`cv2_cubic`] | `cv2.resize(float64, INTER_CUBIC)`: a = -0.75, no antialias, no clamping | f64 rounding |
//!
//! All work on host memory, in parallel over rows; what prepares a network's input resizes where the network runs, by the same
//! weights (`dragunov_kernels::byte_pixels`). [`resize_on_host`] is [`torch_planes`] for tensors.
//! Inside a network use [`crate::nn::upsample_bilinear`], which stays on the tensor's device.

mod cv2;
mod fixed;
mod taps;
mod tensor;
mod torch;

pub use cv2::cv2_cubic;
pub use fixed::{pil, torchvision_u8};
pub(crate) use fixed::{pil_passes, torchvision_passes};
pub(crate) use taps::cubic_cv2;
pub use tensor::resize_on_host;
pub use torch::{TorchResize, torch_planes};

/// Interpolation kernel. The cubic constant and the support scaling depend on the function, not on this choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Filter {
    Bilinear,
    Bicubic,
}

/// Why a resize was refused; `None` if the target can be made.
pub(crate) fn check_target(width: usize, height: usize) -> crate::Result<()> {
    let pixels = width
        .checked_mul(height)
        .and_then(|n| n.checked_mul(3 * size_of::<f64>()));
    if width == 0 || height == 0 || pixels.is_none_or(|n| n > isize::MAX as usize) {
        let reason = "cannot be the size of a resized image".to_owned();
        return Err(crate::ModelError::Image {
            width,
            height,
            reason,
        });
    }
    Ok(())
}
