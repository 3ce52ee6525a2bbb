//! Where the rows of a strided (B, H, N, D) tensor lie.

use candle_core::Layout;

/// A (B, H, N, D) tensor: floats from its first element on, and the strides of B, H, N and D.
#[derive(Clone, Copy)]
pub(super) struct Strided<'a> {
    pub data: &'a [f32],
    pub stride: [usize; 4],
}

impl<'a> Strided<'a> {
    /// `layout` has rank 4.
    pub(super) fn new(data: &'a [f32], layout: &Layout) -> Self {
        let mut stride = [0; 4];
        stride.copy_from_slice(layout.stride());
        Self { data, stride }
    }

    fn at(&self, b: usize, h: usize, n: usize) -> usize {
        b * self.stride[0] + h * self.stride[1] + n * self.stride[2]
    }

    /// Everything from row `n` of a head on.
    pub(super) fn from(&self, b: usize, h: usize, n: usize) -> &'a [f32] {
        &self.data[self.at(b, h, n)..]
    }

    /// Floats `begin ..` of row `n`, copied or added up whatever the last stride.
    pub(super) fn copy(&self, [b, h, n]: [usize; 3], begin: usize, dst: &mut [f32]) {
        let start = self.at(b, h, n) + begin * self.stride[3];
        match self.stride[3] {
            1 => dst.copy_from_slice(&self.data[start..start + dst.len()]),
            step => {
                for (i, v) in dst.iter_mut().enumerate() {
                    *v = self.data[start + i * step];
                }
            }
        }
    }
}
