//! Where the rows of a strided (B, H, N, D) tensor lie.

use candle_core::Layout;

use super::scratch;
use super::view::View;

/// A (B, H, N, D) tensor: elements from its first on, and the strides of B, H, N and D.
#[derive(Clone, Copy)]
pub(crate) struct Strided<'a> {
    pub data: View<'a>,
    pub stride: [usize; 4],
}

impl<'a> Strided<'a> {
    /// `layout` has rank 4.
    pub(crate) fn new(data: View<'a>, layout: &Layout) -> Self {
        let mut stride = [0; 4];
        stride.copy_from_slice(layout.stride());
        Self { data, stride }
    }

    fn at(&self, b: usize, h: usize, n: usize) -> usize {
        b * self.stride[0] + h * self.stride[1] + n * self.stride[2]
    }

    /// Everything from row `n` of a head on.
    pub(crate) fn from(&self, b: usize, h: usize, n: usize) -> View<'a> {
        self.data.from(self.at(b, h, n))
    }

    /// `f` of `count` rows of `width` from row `n` of a head on, in f32, with the floats from row to row: where they lie, or widened
    /// in memory of the thread. The last stride is 1.
    pub(crate) fn floats<R>(
        &self,
        [b, h, n]: [usize; 3],
        (count, width): (usize, usize),
        f: impl FnOnce(&[f32], usize) -> R,
    ) -> R {
        match self.from(b, h, n) {
            View::F32(data) => f(data, self.stride[2]),
            data => scratch::with(count * width, |floats| {
                for (i, row) in floats.chunks_exact_mut(width.max(1)).enumerate() {
                    let at = i * self.stride[2];
                    data.part(at..at + width).copy_to(row);
                }
                f(floats, width)
            }),
        }
    }

    /// Elements `begin ..` of row `n` in f32, whatever the last stride.
    pub(crate) fn copy(&self, [b, h, n]: [usize; 3], begin: usize, dst: &mut [f32]) {
        let start = self.at(b, h, n) + begin * self.stride[3];
        match self.stride[3] {
            1 => self.data.part(start..start + dst.len()).copy_to(dst),
            step => {
                for (i, v) in dst.iter_mut().enumerate() {
                    let at = start + i * step;
                    self.data.part(at..at + 1).copy_to(std::slice::from_mut(v));
                }
            }
        }
    }
}
