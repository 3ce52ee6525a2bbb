//! A kernel row over a pixel is one contiguous run of `kw C` floats, so a convolution is a matrix product whose
//! left-hand rows are `kh` runs read where they lie: no im2col copy, whatever the kernel size. Only the few pixels
//! whose window crosses the left or right edge are copied, with zeros around them.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, Layout, Result, Shape};
use rayon::prelude::*;

use super::Conv2d;
use super::geometry::Geometry;
use super::windows::Windows;
use crate::cpu::block::{Block, Dense, EpilogueSlices, RowSource};
use crate::cpu::matmul::{Dims, matmul_nt};
use crate::cpu::memory::unwritten;
use crate::cpu::packed::PackedWeight;
use crate::cpu::panels::Panels;
use crate::cpu::parallel::grain;
use crate::cpu::storage::{F32Input, same_type};
use crate::cpu::tiles::product::{product, product_laid_out};
use crate::cpu::tiles::sweep::Rows;
use crate::cpu::tiles::weight::{TiledWeight, layout_for};
use crate::cpu::tiles::{self, Engine};
use crate::cpu::{scratch, simd};

pub(super) fn forward(
    op: &Conv2d,
    (x, xl): (&CpuStorage, &Layout),
    (w, wl): (&CpuStorage, &Layout),
) -> Result<(CpuStorage, Shape)> {
    let g = &op.geometry;
    let n = wl.dims()[0];
    let shape = g.out_shape(n);
    let tiles = layout_for(w.dtype(), wl.dims());
    let (data, w) = (F32Input::contiguous(x, xl)?, F32Input::contiguous(w, wl)?);
    let mut out = unwritten(shape.elem_count());
    let k = g.kh * g.kw * g.channels;
    EpilogueSlices::read(&op.epilogue, |epilogue| {
        if out.is_empty() {
        } else if let Some(tiles) = tiles {
            by_rows(g, &data, Multiply::LaidOut(tiles, &w), epilogue, &mut out);
        } else if (g.kh, g.kw, g.stride, g.padding) == (1, 1, 1, 0) {
            let m = out.len() / n;
            matmul_nt(Dims { m, n, k }, &data, &w, epilogue, &mut out);
        } else {
            let shape = Panels::new(k, n);
            scratch::with(shape.len(), |packed| {
                packed
                    .par_chunks_mut(shape.stride().max(1))
                    .enumerate()
                    .for_each(|(p, panel)| shape.pack_transposed(p, panel, &w, k));
                convolve(g, &data, (shape, packed), epilogue, &mut out);
            });
        }
    })?;
    Ok((same_type(x, out)?, shape))
}

pub(super) fn forward_tiled(
    op: &Conv2d,
    (x, xl): (&CpuStorage, &Layout),
    w: &TiledWeight,
) -> Result<(CpuStorage, Shape)> {
    let g = &op.geometry;
    let shape = g.out_shape(w.layout.n);
    let data = F32Input::contiguous(x, xl)?;
    let mut out = unwritten(shape.elem_count());
    EpilogueSlices::read(&op.epilogue, |epilogue| {
        by_rows(g, &data, Multiply::Tiled(w), epilogue, &mut out);
    })?;
    Ok((same_type(x, out)?, shape))
}

pub(super) fn forward_packed(
    op: &Conv2d,
    (x, xl): (&CpuStorage, &Layout),
    w: &PackedWeight,
) -> Result<(CpuStorage, Shape)> {
    let g = &op.geometry;
    let n = w.shape().n;
    let shape = g.out_shape(n);
    let data = F32Input::contiguous(x, xl)?;
    let mut out = unwritten(shape.elem_count());
    EpilogueSlices::read(&op.epilogue, |epilogue| {
        if out.is_empty() {
        } else if (g.kh, g.kw, g.stride, g.padding) == (1, 1, 1, 0) {
            w.multiply(out.len() / n, &data, epilogue, &mut out);
        } else {
            convolve(g, &data, (w.shape(), w.panels()), epilogue, &mut out);
        }
    })?;
    Ok((same_type(x, out)?, shape))
}

/// A weight of tiles, or one to be laid out as such.
enum Multiply<'a> {
    Tiled(&'a TiledWeight),
    LaidOut((Engine, tiles::weight::Layout), &'a [f32]),
}

/// Every output pixel as a row of one product.
fn by_rows(g: &Geometry, x: &[f32], by: Multiply<'_>, epilogue: EpilogueSlices<'_>, out: &mut [f32]) {
    fn run<A: Rows + Sync>(a: &A, m: usize, by: Multiply<'_>, epilogue: EpilogueSlices<'_>, out: &mut [f32]) {
        match by {
            Multiply::Tiled(w) => product(a, m, w, epilogue, out),
            Multiply::LaidOut(tiles, w) => product_laid_out(tiles, a, m, w, epilogue, out),
        }
    }
    let pixels = g.batch * g.out_height * g.out_width;
    match (g.kh, g.kw, g.stride, g.padding) {
        (1, 1, 1, 0) => run(&Dense::new(x, g.channels), pixels, by, epilogue, out),
        _ => run(&Windows::new(g, x), pixels, by, epilogue, out),
    }
}

fn convolve(
    g: &Geometry,
    x: &[f32],
    (shape, packed): (Panels, &[f32]),
    epilogue: EpilogueSlices<'_>,
    out: &mut [f32],
) {
    let n = shape.n;
    let (left, right) = g.edges();
    let run = g.kw * g.channels;
    let rows = grain(g.batch * g.out_height, 1, 1, 8.max(512 / g.out_width));
    let line = g.out_width * n;
    out.par_chunks_mut(rows * line)
        .enumerate()
        .for_each(|(index, out)| {
            scratch::with((left + g.out_width - right) * g.kh * run, |edge| {
                for (r, out) in out.chunks_exact_mut(line).enumerate() {
                    let row = index * rows + r;
                    let (b, y) = (row / g.out_height, row % g.out_height);
                    let image = g.height * g.width * g.channels;
                    let a = ConvRow::new(g, &x[b * image..(b + 1) * image], y, edge, (left, right));
                    simd::dispatch(Block {
                        a,
                        rows: g.out_width,
                        shape,
                        packed,
                        out,
                        stride: n,
                        column: 0,
                        accumulate: false,
                        epilogue: epilogue.rows(row * line..(row + 1) * line),
                    });
                }
            });
        });
}

/// The windows of one output row.
struct ConvRow<'a> {
    image: &'a [f32],
    /// First kernel row that meets the image, and how many do.
    first: usize,
    count: usize,
    /// Offset in `image` of the run of kernel row `first` at output column 0, were there no left edge.
    top: usize,
    /// Floats from image row to image row, from output column to output column, and of a run.
    line: usize,
    step: usize,
    run: usize,
    /// `padding C`
    shift: usize,
    /// Zero-padded runs of the edge pixels: pixel, kernel row, run.
    edge: &'a [f32],
    kh: usize,
    left: usize,
    right: usize,
}

impl<'a> ConvRow<'a> {
    fn new(
        g: &Geometry,
        image: &'a [f32],
        y: usize,
        edge: &'a mut [f32],
        (left, right): (usize, usize),
    ) -> Self {
        let rows = g.kernel_rows(y);
        let run = g.kw * g.channels;
        let line = g.width * g.channels;
        let first_line = (y * g.stride + rows.start).saturating_sub(g.padding);
        for (i, pixel) in (0..left).chain(right..g.out_width).enumerate() {
            let window = &mut edge[i * g.kh * run..(i + 1) * g.kh * run];
            window.fill(0.);
            let start = pixel * g.stride;
            let x0 = start.max(g.padding);
            let x1 = (start + g.kw).min(g.width + g.padding);
            if x0 >= x1 {
                continue;
            }
            for (r, ky) in rows.clone().enumerate() {
                let src = (first_line + r) * line;
                let src = &image[src + (x0 - g.padding) * g.channels..src + (x1 - g.padding) * g.channels];
                let at = ky * run + (x0 - start) * g.channels;
                window[at..at + src.len()].copy_from_slice(src);
            }
        }
        Self {
            image,
            first: rows.start,
            count: rows.len(),
            top: first_line * line,
            line,
            step: g.stride * g.channels,
            run,
            shift: g.padding * g.channels,
            edge,
            kh: g.kh,
            left,
            right,
        }
    }
}

impl RowSource for ConvRow<'_> {
    #[inline(always)]
    fn segments(&self) -> usize {
        self.count
    }

    #[inline(always)]
    fn start(&self, s: usize) -> usize {
        (self.first + s) * self.run
    }

    #[inline(always)]
    fn segment(&self, i: usize, s: usize) -> &[f32] {
        let edge = match i {
            i if i < self.left => Some(i),
            i if i >= self.right => Some(self.left + i - self.right),
            _ => None,
        };
        match edge {
            Some(pixel) => &self.edge[(pixel * self.kh + self.first + s) * self.run..][..self.run],
            None => &self.image[self.top + s * self.line + i * self.step - self.shift..][..self.run],
        }
    }
}
