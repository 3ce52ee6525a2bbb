//! Where the windows of a convolution lie.

use candle_core::{Result, Shape, Tensor};

/// Sizes of one convolution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geometry {
    pub batch: usize,
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    pub kh: usize,
    pub kw: usize,
    pub stride: usize,
    pub padding: usize,
    pub out_height: usize,
    pub out_width: usize,
}

impl Geometry {
    /// Of an input (B, H, W, C).
    ///
    /// # Errors
    /// A kernel that does not fit in.
    pub(crate) fn new(x: &Tensor, (kh, kw): (usize, usize), stride: usize, padding: usize) -> Result<Self> {
        let (batch, height, width, channels) = x.dims4()?;
        let out = |size: usize, kernel: usize| match (size + 2 * padding).checked_sub(kernel) {
            Some(room) if stride > 0 && kernel > 0 => Ok(room / stride + 1),
            _ => candle_core::bail!(
                "conv2d: kernel {kernel}, stride {stride}, padding {padding} on {size} pixels"
            ),
        };
        Ok(Self {
            batch,
            height,
            width,
            channels,
            kh,
            kw,
            stride,
            padding,
            out_height: out(height, kh)?,
            out_width: out(width, kw)?,
        })
    }

    /// Windows of one pixel each, on (B, H, W, C).
    #[cfg(feature = "cuda")]
    pub(crate) fn of_pixels((batch, height, width, channels): (usize, usize, usize, usize)) -> Self {
        Self {
            batch,
            height,
            width,
            channels,
            kh: 1,
            kw: 1,
            stride: 1,
            padding: 0,
            out_height: height,
            out_width: width,
        }
    }

    /// As `cu/convolution.cu` has them.
    ///
    /// # Errors
    /// More output pixels than they count.
    #[cfg(feature = "cuda")]
    pub(crate) fn arguments(&self) -> Result<Vec<crate::cuda::launch::Argument<'static>>> {
        use crate::cuda::launch::Argument;
        Argument::size(self.batch * self.out_height * self.out_width)?;
        let sizes = [
            self.batch,
            self.height,
            self.width,
            self.channels,
            self.kh,
            self.kw,
            self.stride,
            self.padding,
            self.out_height,
            self.out_width,
        ];
        sizes.into_iter().map(Argument::size).collect()
    }

    /// Kernel rows that meet the image at output row `y`.
    pub(crate) fn kernel_rows(&self, y: usize) -> std::ops::Range<usize> {
        let top = y * self.stride;
        let begin = self.padding.saturating_sub(top).min(self.kh);
        let end = (self.height + self.padding).saturating_sub(top).min(self.kh);
        begin..end.max(begin)
    }

    /// Lines of the image that those meet.
    pub(crate) fn lines(&self, y: usize) -> std::ops::Range<usize> {
        let rows = self.kernel_rows(y);
        match rows.is_empty() {
            true => 0..0,
            false => {
                let first = y * self.stride + rows.start - self.padding;
                first..first + rows.len()
            }
        }
    }

    /// Of the result, with `channels` of its own.
    pub(crate) fn out_shape(&self, channels: usize) -> Shape {
        Shape::from((self.batch, self.out_height, self.out_width, channels))
    }

    /// Output columns whose windows cross the left and the right edge: `0 .. left` and `right .. out_width`.
    pub(crate) fn edges(&self) -> (usize, usize) {
        let left = self.padding.div_ceil(self.stride).min(self.out_width);
        let inside = match (self.width + self.padding).checked_sub(self.kw) {
            Some(room) => room / self.stride + 1,
            None => 0,
        };
        (left, inside.clamp(left, self.out_width))
    }
}
