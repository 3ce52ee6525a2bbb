//! The one picture type: upright, sRGB, 8 bits a channel, interleaved.

use dragunov_kernels::Picture;

use crate::{ModelError, Result};

/// Upright sRGB picture, row-major, 3 bytes a pixel. Never empty.
#[derive(Clone, PartialEq, Eq)]
pub struct RgbImage {
    width: usize,
    height: usize,
    data: Vec<u8>,
}

impl RgbImage {
    /// `data` holds `height * width * 3` bytes.
    ///
    /// # Errors
    /// [`ModelError::Image`] if a side is zero or the length does not fit.
    pub fn new(width: usize, height: usize, data: Vec<u8>) -> Result<Self> {
        let err = |reason: String| {
            Err(ModelError::Image {
                width,
                height,
                reason,
            })
        };
        if width == 0 || height == 0 {
            return err("a side is zero".into());
        }
        if width.checked_mul(height).and_then(|n| n.checked_mul(3)) != Some(data.len()) {
            return err(format!("{} bytes do not make that many RGB pixels", data.len()));
        }
        Ok(Self { width, height, data })
    }

    /// The `width` x `height` pixels whose upper left one is (`x0`, `y0`).
    ///
    /// # Errors
    /// [`ModelError::Image`] if a side is zero or the part lies outside.
    pub fn crop(&self, x0: usize, y0: usize, width: usize, height: usize) -> Result<Self> {
        let fits =
            |at: usize, length: usize, whole: usize| at.checked_add(length).is_some_and(|end| end <= whole);
        if !fits(x0, width, self.width) || !fits(y0, height, self.height) {
            return Err(ModelError::Image {
                width,
                height,
                reason: format!(
                    "at ({x0}, {y0}) it leaves the {} x {} picture",
                    self.width, self.height
                ),
            });
        }
        let mut data = Vec::with_capacity(width * height * 3);
        for row in self.data.chunks_exact(self.width * 3).skip(y0).take(height) {
            data.extend_from_slice(&row[x0 * 3..(x0 + width) * 3]);
        }
        Self::new(width, height, data)
    }

    pub fn width(&self) -> usize {
        self.width
    }

    pub fn height(&self) -> usize {
        self.height
    }

    /// Row-major interleaved RGB bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.data
    }

    /// As kernels take it.
    pub(crate) fn picture(&self) -> Picture<'_> {
        Picture {
            bytes: &self.data,
            width: self.width,
            height: self.height,
        }
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.data
    }

    /// # Panics
    /// If the pixel lies outside.
    pub fn pixel(&self, x: usize, y: usize) -> [u8; 3] {
        let i = (y * self.width + x) * 3;
        [self.data[i], self.data[i + 1], self.data[i + 2]]
    }
}

impl std::fmt::Debug for RgbImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RgbImage({} x {})", self.width, self.height)
    }
}
