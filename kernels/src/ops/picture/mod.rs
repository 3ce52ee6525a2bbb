//! A picture as a network takes it: resized, with a value for every byte, in the order of the network's input. From a GPU's host
//! cross bytes, not values.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
pub(crate) mod reference;

use candle_core::{DType, Device, Result, Tensor};

#[cfg(feature = "cuda")]
use crate::backend::Backend;
use crate::ops::mix::Mix;

const CHANNELS: usize = 3;

/// A picture of 8 bits a channel: interleaved RGB, row by row.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    /// (height, width, 3)
    pub bytes: &'a [u8],
    pub width: usize,
    pub height: usize,
}

impl Picture<'_> {
    fn check(&self) -> Result<()> {
        let (width, height, n) = (self.width, self.height, self.bytes.len());
        let wanted = width.checked_mul(height).and_then(|n| n.checked_mul(CHANNELS));
        if n == 0 || wanted != Some(n) {
            candle_core::bail!("{n} bytes for {width} x {height} pixels")
        }
        Ok(())
    }
}

/// Along one axis, in fixed point: the weights of a pixel are whole numbers that add up to about `1 << bits`.
#[derive(Debug, Clone, PartialEq)]
pub struct ByteMix {
    pub mix: Mix<i32>,
    /// 1 to 22.
    pub bits: u32,
}

/// Two passes, one along each axis, with bytes after each.
#[derive(Debug, Clone, PartialEq)]
pub struct ByteResize {
    /// None: as many columns as there are.
    pub columns: Option<ByteMix>,
    /// None: as many rows as there are.
    pub rows: Option<ByteMix>,
    /// Whether the pass from rows to rows comes first.
    pub rows_first: bool,
}

impl ByteResize {
    /// Width and height of the result.
    fn size(&self, picture: &Picture<'_>) -> (usize, usize) {
        let pixels = |mix: &Option<ByteMix>, all| mix.as_ref().map_or(all, |m| m.mix.len());
        (
            pixels(&self.columns, picture.width),
            pixels(&self.rows, picture.height),
        )
    }

    fn check(&self, picture: &Picture<'_>) -> Result<()> {
        picture.check()?;
        for (axis, cells) in [(&self.columns, picture.width), (&self.rows, picture.height)] {
            let Some(axis) = axis else { continue };
            fits(&axis.mix, cells)?;
            if !(1..=22).contains(&axis.bits) {
                candle_core::bail!("weights of {} bits", axis.bits)
            }
        }
        Ok(())
    }

    /// The resized picture in host memory: its bytes, row by row.
    ///
    /// # Errors
    /// Another number of bytes than the picture's size says, cells that it does not have.
    pub fn resized(&self, picture: Picture<'_>) -> Result<Vec<u8>> {
        self.check(&picture)?;
        Ok(cpu::resized(self, &picture))
    }
}

fn fits<W>(mix: &Mix<W>, cells: usize) -> Result<()> {
    let inside = |own: std::ops::Range<usize>| !own.is_empty() && own.end <= cells;
    if mix.is_empty() || !mix.cells().all(inside) {
        candle_core::bail!("{} pixels of other cells than {cells}", mix.len())
    }
    Ok(())
}

/// In what order a network takes the values of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PixelOrder {
    /// (1, 3, height, width): the picture in the upper left corner, zeros beside it.
    Planes { height: usize, width: usize },
    /// (patches, 3 frames side side): squares of `side` pixels, each as often as there are `frames`, those of a block of
    /// `merge` x `merge` one after the other, blocks row by row.
    Patches {
        side: usize,
        merge: usize,
        frames: usize,
    },
}

impl PixelOrder {
    /// Of the whole input.
    fn shape(&self, (width, height): (usize, usize)) -> Result<Vec<usize>> {
        match *self {
            Self::Planes {
                height: rows,
                width: columns,
            } if height <= rows && width <= columns => Ok(vec![1, CHANNELS, rows, columns]),
            Self::Patches { side, merge, frames }
                if frames > 0
                    && side * merge > 0
                    && width.is_multiple_of(side * merge)
                    && height.is_multiple_of(side * merge) =>
            {
                Ok(vec![
                    width / side * (height / side),
                    CHANNELS * frames * side * side,
                ])
            }
            _ => candle_core::bail!("{width} x {height} pixels as {self:?}"),
        }
    }
}

/// The value of each byte, for each channel.
pub type Levels = [[f32; 256]; CHANNELS];

/// A picture resized by bytes, as a network's input of `dtype` on `device`. To a GPU go the picture's bytes and the weights, in two
/// copies; two launches make the input of them, one where one axis stays.
///
/// # Errors
/// Another number of bytes than the picture's size says, cells that it does not have, a size that does not fit `order`.
pub fn byte_pixels(
    picture: Picture<'_>,
    resize: &ByteResize,
    levels: &Levels,
    order: PixelOrder,
    dtype: DType,
    device: &Device,
) -> Result<Tensor> {
    resize.check(&picture)?;
    let shape = order.shape(resize.size(&picture))?;
    #[cfg(feature = "cuda")]
    if Backend::has_cuda_kernels(device) && cuda::takes(&picture, &shape, dtype) {
        return cuda::byte_pixels(&picture, resize, levels, order, shape, dtype, device);
    }
    let bytes = cpu::resized(resize, &picture);
    let values = cpu::ordered(&bytes, resize.size(&picture), levels, order);
    Tensor::from_vec(values, shape, device)?.to_dtype(dtype)
}

/// What a channel's values, from 0 to 1, are taken to: less `mean`, over `deviation`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normal {
    pub mean: [f64; CHANNELS],
    pub deviation: [f64; CHANNELS],
}

/// A picture resized without rounding, in f64, and normalised: (1, 3, rows, columns) in f32 on `device`. To a GPU go the picture's
/// bytes and the weights, in two copies; one launch.
///
/// # Errors
/// Another number of bytes than the picture's size says, cells that it does not have.
pub fn float_pixels(
    picture: Picture<'_>,
    (columns, rows): (&Mix<f64>, &Mix<f64>),
    normal: &Normal,
    device: &Device,
) -> Result<Tensor> {
    picture.check()?;
    fits(columns, picture.width)?;
    fits(rows, picture.height)?;
    let shape = vec![1, CHANNELS, rows.len(), columns.len()];
    #[cfg(feature = "cuda")]
    if Backend::has_cuda_kernels(device) && cuda::takes(&picture, &shape, DType::F32) {
        return cuda::float_pixels(&picture, columns, rows, normal, shape, device);
    }
    Tensor::from_vec(cpu::floats(&picture, columns, rows, normal), shape, device)
}

/// Resizes interleaved RGB in f64, of `width` columns, first along rows, then along columns: (rows, columns, 3).
///
/// # Errors
/// Another number of values, cells that are not there.
pub fn resize_floats(
    data: &[f64],
    (width, height): (usize, usize),
    (columns, rows): (&Mix<f64>, &Mix<f64>),
) -> Result<Vec<f64>> {
    if data.len() != width * height * CHANNELS {
        candle_core::bail!("{} values for {width} x {height} pixels", data.len())
    }
    fits(columns, width)?;
    fits(rows, height)?;
    Ok(cpu::resized_floats(data, width, columns, rows))
}
