//! The windows of a convolution as rows of a product that copies its rows anyway.

use std::ops::Range;

use super::geometry::Geometry;
use crate::cpu::tiles::sweep::Rows;

/// Row `i` is the window of output pixel `i` (batch, row, column), zeros where it leaves the image: (kh, kw, C).
pub(super) struct Windows<'a> {
    geometry: &'a Geometry,
    /// (B, H, W, C)
    x: &'a [f32],
}

impl<'a> Windows<'a> {
    pub(super) fn new(geometry: &'a Geometry, x: &'a [f32]) -> Self {
        Self { geometry, x }
    }
}

impl Rows for Windows<'_> {
    fn row<'a>(&'a self, i: usize, k: Range<usize>, buffer: &'a mut [f32]) -> &'a [f32] {
        let g = self.geometry;
        let (line, run) = (g.width * g.channels, g.kw * g.channels);
        let (pixel, x) = (i / g.out_width, i % g.out_width);
        let (batch, y) = (pixel / g.out_height, pixel % g.out_height);
        let image = &self.x[batch * g.height * line..][..g.height * line];
        let mut at = k.start;
        while at < k.end {
            let (ky, inside) = (at / run, at % run);
            let len = (run - inside).min(k.end - at);
            let part = &mut buffer[at - k.start..][..len];
            at += len;
            let row = (y * g.stride + ky)
                .checked_sub(g.padding)
                .filter(|&r| r < g.height);
            let Some(row) = row else {
                part.fill(0.);
                continue;
            };
            // Where the part begins in the image's row, counted from `padding` columns before it.
            let (begin, edge) = (x * g.stride * g.channels + inside, g.padding * g.channels);
            let before = edge.saturating_sub(begin).min(len);
            let first = (begin + before).saturating_sub(edge).min(line);
            let count = (len - before).min(line - first);
            part[..before].fill(0.);
            part[before..before + count].copy_from_slice(&image[row * line + first..][..count]);
            part[before + count..].fill(0.);
        }
        buffer
    }
}
