//! The windows of a convolution as rows of a product that copies its rows anyway.

use std::ops::Range;

use super::geometry::Geometry;
use crate::cpu::memory::Number;
use crate::cpu::tiles::sweep::Rows;
use crate::cpu::view::{Elements, View};

/// Row `i` is the window of output pixel `i` (batch, row, column), zeros where it leaves the image: (kh, kw, C).
pub(super) struct Windows<'a> {
    geometry: &'a Geometry,
    /// (B, H, W, C)
    x: View<'a>,
}

impl<'a> Windows<'a> {
    pub(super) fn new(geometry: &'a Geometry, x: View<'a>) -> Self {
        Self { geometry, x }
    }
}

impl Rows for Windows<'_> {
    fn row<'a>(&'a self, i: usize, k: Range<usize>, room: &'a mut Elements) -> View<'a> {
        match (self.x, room) {
            (View::F32(x), Elements::F32(room)) => View::F32(window(self.geometry, x, i, k, room)),
            (View::Bf16(x), Elements::Bf16(room)) => View::Bf16(window(self.geometry, x, i, k, room)),
            (View::F16(x), Elements::F16(room)) => View::F16(window(self.geometry, x, i, k, room)),
            _ => unreachable!("room of another type than was given"),
        }
    }

    fn room(&self, len: usize) -> Elements {
        self.x.room(len)
    }
}

/// Numbers `k` of the window of output pixel `i` of `x`, in `room`.
fn window<'a, T: Number>(g: &Geometry, x: &[T], i: usize, k: Range<usize>, room: &'a mut [T]) -> &'a [T] {
    let (line, run) = (g.width * g.channels, g.kw * g.channels);
    let (pixel, column) = (i / g.out_width, i % g.out_width);
    let (batch, y) = (pixel / g.out_height, pixel % g.out_height);
    let image = &x[batch * g.height * line..][..g.height * line];
    let mut at = k.start;
    while at < k.end {
        let (ky, inside) = (at / run, at % run);
        let len = (run - inside).min(k.end - at);
        let part = &mut room[at - k.start..][..len];
        at += len;
        let row = (y * g.stride + ky)
            .checked_sub(g.padding)
            .filter(|&r| r < g.height);
        let Some(row) = row else {
            part.fill(T::ZERO);
            continue;
        };
        // Where the part begins in the image's row, counted from `padding` columns before it.
        let (begin, edge) = (column * g.stride * g.channels + inside, g.padding * g.channels);
        let before = edge.saturating_sub(begin).min(len);
        let first = (begin + before).saturating_sub(edge).min(line);
        let count = (len - before).min(line - first);
        part[..before].fill(T::ZERO);
        part[before..before + count].copy_from_slice(&image[row * line + first..][..count]);
        part[before + count..].fill(T::ZERO);
    }
    room
}
