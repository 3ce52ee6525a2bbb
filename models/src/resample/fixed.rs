//! 8-bit resizing with integer weights in two passes, rounded to bytes after each.

use dragunov_kernels::{ByteMix, ByteResize, Mix};

use super::taps::antialias;
use super::{Filter, check_target};
use crate::{Result, RgbImage};

/// Resizes as Pillow's `Image.resize((width, height), filter)` does for RGB: byte for byte.
///
/// Antialiased, cubic constant -0.5, weights in 22-bit fixed point, bytes between the two passes (`Resample.c`). Since
/// version 13 the vertical pass comes first where it takes away more than twice as many lines as the other; on such
/// pictures earlier versions differ by one level here and there.
///
/// # Errors
/// [`crate::ModelError::Image`] if a side is zero.
pub fn pil(image: &RgbImage, width: usize, height: usize, filter: Filter) -> Result<RgbImage> {
    resized(
        image,
        (width, height),
        &pil_passes(image, (width, height), filter)?,
    )
}

/// The passes of [`pil`].
pub(crate) fn pil_passes(
    image: &RgbImage,
    (width, height): (usize, usize),
    filter: Filter,
) -> Result<ByteResize> {
    let (rows, columns) = (
        image.height() as i128 - height as i128,
        image.width() as i128 - width as i128,
    );
    Ok(ByteResize {
        rows_first: rows > 0 && rows > 2 * columns,
        ..passes(image, (width, height), filter, |axis| fixed(axis, 22))?
    })
}

/// Resizes as torchvision's `resize(uint8, [height, width], antialias=True)` does on a CPU: byte for byte.
///
/// Same taps as [`pil`], but weights rounded to 16 bits at a precision that depends on the largest of them, so
/// bytes differ from Pillow's by one at most (ATen `UpSampleKernelAVXAntialias.h`).
///
/// # Errors
/// [`crate::ModelError::Image`] if a side is zero.
pub fn torchvision_u8(image: &RgbImage, width: usize, height: usize, filter: Filter) -> Result<RgbImage> {
    resized(
        image,
        (width, height),
        &torchvision_passes(image, (width, height), filter)?,
    )
}

/// The passes of [`torchvision_u8`].
pub(crate) fn torchvision_passes(
    image: &RgbImage,
    size: (usize, usize),
    filter: Filter,
) -> Result<ByteResize> {
    passes(image, size, filter, |axis| {
        let largest = axis.weights().iter().copied().fold(0.0, f64::max);
        let fits = |bits: u32| 0.5 + largest * f64::from(1u32 << bits) < f64::from(1 << 15);
        let bits = (0..22).find(|&bits| !fits(bits + 1)).unwrap_or(22);
        fixed(axis, bits)
    })
}

/// Whole weights that add up to `1 << bits`.
fn fixed(axis: &Mix<f64>, bits: u32) -> ByteMix {
    let one = f64::from(1u32 << bits);
    // Half away from zero by truncation, as the C sources do.
    let round = |w: &f64| {
        if *w < 0.0 {
            (w * one - 0.5) as i32
        } else {
            (w * one + 0.5) as i32
        }
    };
    ByteMix {
        mix: axis.map(round),
        bits,
    }
}

/// Columns first; no pass along an axis that keeps its size.
fn passes(
    image: &RgbImage,
    (width, height): (usize, usize),
    filter: Filter,
    fix: impl Fn(&Mix<f64>) -> ByteMix,
) -> Result<ByteResize> {
    check_target(width, height)?;
    let axis = |input: usize, output: usize| {
        (input != output).then(|| fix(&antialias(filter, input, output, input as f64 / output as f64)))
    };
    Ok(ByteResize {
        columns: axis(image.width(), width),
        rows: axis(image.height(), height),
        rows_first: false,
    })
}

fn resized(image: &RgbImage, (width, height): (usize, usize), passes: &ByteResize) -> Result<RgbImage> {
    RgbImage::new(width, height, passes.resized(image.picture())?)
}
