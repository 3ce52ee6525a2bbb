//! A kernel row over a pixel is one contiguous run of `kw C` floats, so a convolution is a matrix product whose
//! left-hand rows are `kh` runs read where they lie: no im2col copy, whatever the kernel size. Only the few pixels
//! whose window crosses the left or right edge are copied, with zeros around them.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, Layout, Result, Shape};
use rayon::prelude::*;

use super::Conv2d;
use super::geometry::Geometry;
use super::windows::Windows;
use crate::cpu::block::{Block, EpilogueSlices, RowSource};
use crate::cpu::matmul::{Dims, matmul_nt};
use crate::cpu::memory::unwritten;
use crate::cpu::packed::PackedWeight;
use crate::cpu::panels::Panels;
use crate::cpu::parallel::grain;
use crate::cpu::storage::{F32Input, same_type};
use crate::cpu::tiles::product::{product, product_laid_out};
use crate::cpu::tiles::sweep::{Rows, Stored};
use crate::cpu::tiles::weight::{TiledWeight, layout_for};
use crate::cpu::tiles::{self, Engine};
use crate::cpu::view::{Elements, Output, View};
use crate::cpu::{scratch, simd};

pub(super) fn forward(
    op: &Conv2d,
    (x, xl): (&CpuStorage, &Layout),
    (w, wl): (&CpuStorage, &Layout),
) -> Result<(CpuStorage, Shape)> {
    let g = &op.geometry;
    let n = wl.dims()[0];
    if let Some(tiles) = layout_for(w.dtype(), wl.dims()) {
        let w = View::contiguous(w, wl)?;
        return by_tiles(op, (x, xl), n, Multiply::LaidOut(tiles, w));
    }
    let (data, w) = (View::contiguous(x, xl)?, F32Input::contiguous(w, wl)?);
    let k = g.kh * g.kw * g.channels;
    if is_pointwise(g) {
        return by_floats(op, (x, xl), n, |data, epilogue, out| {
            let m = out.len() / n;
            matmul_nt(Dims { m, n, k }, data, &w, epilogue, out);
        });
    }
    let shape = Panels::new(k, n);
    let mut out = Elements::unwritten(x, g.out_shape(n).elem_count())?;
    EpilogueSlices::read(&op.epilogue, |epilogue| {
        scratch::with(shape.len(), |packed| {
            packed
                .par_chunks_mut(shape.stride().max(1))
                .enumerate()
                .for_each(|(p, panel)| shape.pack_transposed(p, panel, &w, k));
            convolve(g, data, (shape, packed), epilogue, &mut out);
        });
    })?;
    Ok((out.storage(), g.out_shape(n)))
}

pub(super) fn forward_tiled(
    op: &Conv2d,
    x: (&CpuStorage, &Layout),
    w: &TiledWeight,
) -> Result<(CpuStorage, Shape)> {
    by_tiles(op, x, w.layout.n, Multiply::Tiled(w))
}

pub(super) fn forward_packed(
    op: &Conv2d,
    (x, xl): (&CpuStorage, &Layout),
    w: &PackedWeight,
) -> Result<(CpuStorage, Shape)> {
    let g = &op.geometry;
    let n = w.shape().n;
    if is_pointwise(g) {
        return by_floats(op, (x, xl), n, |data, epilogue, out| {
            w.multiply(out.len() / n, data, epilogue, out)
        });
    }
    let data = View::contiguous(x, xl)?;
    let mut out = Elements::unwritten(x, g.out_shape(n).elem_count())?;
    EpilogueSlices::read(&op.epilogue, |epilogue| {
        convolve(g, data, (w.shape(), w.panels()), epilogue, &mut out);
    })?;
    Ok((out.storage(), g.out_shape(n)))
}

/// Whether every output pixel is a product of the input pixel there.
fn is_pointwise(g: &Geometry) -> bool {
    (g.kh, g.kw, g.stride, g.padding) == (1, 1, 1, 0)
}

/// One product over all pixels, in f32, converted before and after where they are not.
fn by_floats(
    op: &Conv2d,
    (x, xl): (&CpuStorage, &Layout),
    n: usize,
    multiply: impl Fn(&[f32], EpilogueSlices<'_>, &mut [f32]),
) -> Result<(CpuStorage, Shape)> {
    let shape = op.geometry.out_shape(n);
    let data = F32Input::contiguous(x, xl)?;
    let mut out = unwritten(shape.elem_count());
    if !out.is_empty() {
        EpilogueSlices::read(&op.epilogue, |epilogue| multiply(&data, epilogue, &mut out))?;
    }
    Ok((same_type(x, out)?, shape))
}

/// A weight of tiles, or one to be laid out as such.
enum Multiply<'a> {
    Tiled(&'a TiledWeight),
    LaidOut((Engine, tiles::weight::Layout), View<'a>),
}

impl Multiply<'_> {
    fn run<A: Rows + Sync>(&self, a: &A, m: usize, epilogue: EpilogueSlices<'_>, out: &Output<'_>) {
        match *self {
            Self::Tiled(w) => product(a, m, w, epilogue, out),
            Self::LaidOut(tiles, w) => product_laid_out(tiles, a, m, w, epilogue, out),
        }
    }
}

/// Every output pixel as a row of one product; operands and result in their own type.
fn by_tiles(
    op: &Conv2d,
    (x, xl): (&CpuStorage, &Layout),
    n: usize,
    by: Multiply<'_>,
) -> Result<(CpuStorage, Shape)> {
    let g = &op.geometry;
    let shape = g.out_shape(n);
    let data = View::contiguous(x, xl)?;
    let pixels = g.batch * g.out_height * g.out_width;
    let mut out = Elements::unwritten(x, pixels * n)?;
    EpilogueSlices::read(&op.epilogue, |epilogue| {
        let out = out.output(0..pixels * n);
        let stride = g.channels;
        match is_pointwise(g) {
            true => by.run(&Stored { data, stride }, pixels, epilogue, &out),
            false => by.run(&Windows::new(g, data), pixels, epilogue, &out),
        }
    })?;
    Ok((out.storage(), shape))
}

fn convolve(
    g: &Geometry,
    x: View<'_>,
    (shape, packed): (Panels, &[f32]),
    epilogue: EpilogueSlices<'_>,
    out: &mut Elements,
) {
    let n = shape.n;
    let (left, right) = g.edges();
    let run = g.kw * g.channels;
    let rows = grain(g.batch * g.out_height, 1, 1, 8.max(512 / g.out_width.max(1)));
    let line = g.out_width * n;
    out.fill((rows * line).max(1), |index, out| {
        scratch::with((left + g.out_width - right) * g.kh * run, |edge| {
            for (r, out) in out.chunks_exact_mut(line).enumerate() {
                let row = index * rows + r;
                let (b, y) = (row / g.out_height, row % g.out_height);
                let lines = g.lines(y);
                let at = g.width * g.channels;
                let first = b * g.height + lines.start;
                x.part(first * at..(first + lines.len()) * at).with(|image| {
                    simd::dispatch(Block {
                        a: ConvRow::new(g, image, y, edge, (left, right)),
                        rows: g.out_width,
                        shape,
                        packed,
                        out,
                        stride: n,
                        column: 0,
                        accumulate: false,
                        epilogue: epilogue.rows(row * line..(row + 1) * line),
                    });
                });
            }
        });
    });
}

/// The windows of one output row.
struct ConvRow<'a> {
    /// The lines of the image that the kernel meets.
    image: &'a [f32],
    /// First kernel row that meets the image, and how many do.
    first: usize,
    count: usize,
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
                let src = r * line;
                let src = &image[src + (x0 - g.padding) * g.channels..src + (x1 - g.padding) * g.channels];
                let at = ky * run + (x0 - start) * g.channels;
                window[at..at + src.len()].copy_from_slice(src);
            }
        }
        Self {
            image,
            first: rows.start,
            count: rows.len(),
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
            None => &self.image[s * self.line + i * self.step - self.shift..][..self.run],
        }
    }
}
