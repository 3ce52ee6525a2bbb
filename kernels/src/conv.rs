//! 2-D convolutions on (B, H, W, C): the channels of a pixel, and of a row of neighbours, lie side by side.
//!
//! A kernel row over a pixel is one contiguous run of `kw C` floats, so a convolution is a matrix product whose
//! left-hand rows are `kh` runs read where they lie: no im2col copy, whatever the kernel size. Only the few pixels
//! whose window crosses the left or right edge are copied, with zeros around them.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::after::After;
use crate::block::{Block, Epilogue, RowSource};
use crate::matmul::{Dims, matmul_nt};
use crate::panels::Panels;
use crate::parallel::grain;
use crate::storage::{F32Input, same_type};
use crate::{scratch, simd};

#[derive(Debug, Clone)]
struct Conv2d {
    stride: usize,
    padding: usize,
    after: After,
}

/// `x` (B, H, W, in) and `weight` (out, kh, kw, in) to (B, H', W', out), zero padding on all sides; bias (out) and a
/// residual of the result's shape through `after`.
///
/// # Errors
/// Shapes that do not fit, another device than the CPU, another element type than f32, bf16 or f16.
pub fn conv2d(x: &Tensor, weight: &Tensor, stride: usize, padding: usize, after: After) -> Result<Tensor> {
    let op = Conv2d {
        stride,
        padding,
        after,
    };
    x.contiguous()?.apply_op2_no_bwd(&weight.contiguous()?, &op)
}

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
    pub(crate) fn new(x: &Layout, (kh, kw): (usize, usize), stride: usize, padding: usize) -> Result<Self> {
        let (batch, height, width, channels) = x.shape().dims4()?;
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

    /// Kernel rows that meet the image at output row `y`.
    pub(crate) fn kernel_rows(&self, y: usize) -> std::ops::Range<usize> {
        let top = y * self.stride;
        let begin = self.padding.saturating_sub(top).min(self.kh);
        let end = (self.height + self.padding).saturating_sub(top).min(self.kh);
        begin..end.max(begin)
    }

    /// Output columns whose windows cross the left and the right edge: `0 .. left` and `right .. out_width`.
    fn edges(&self) -> (usize, usize) {
        let left = self.padding.div_ceil(self.stride).min(self.out_width);
        let inside = match (self.width + self.padding).checked_sub(self.kw) {
            Some(room) => room / self.stride + 1,
            None => 0,
        };
        (left, inside.clamp(left, self.out_width))
    }
}

impl CustomOp2 for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (n, kh, kw, channels) = wl.shape().dims4()?;
        let g = Geometry::new(xl, (kh, kw), self.stride, self.padding)?;
        if channels != g.channels {
            candle_core::bail!("conv2d: input {:?} against a weight {:?}", xl.shape(), wl.shape())
        }
        let shape = Shape::from((g.batch, g.out_height, g.out_width, n));
        let (data, w) = (F32Input::contiguous(x, xl)?, F32Input::contiguous(w, wl)?);
        let mut out = vec![0f32; shape.elem_count()];
        let k = kh * kw * channels;
        self.after.read(&shape, |epilogue| {
            if out.is_empty() {
            } else if (kh, kw, g.stride, g.padding) == (1, 1, 1, 0) {
                let m = out.len() / n;
                matmul_nt(Dims { m, n, k }, &data, &w, epilogue, &mut out);
            } else {
                convolve(&g, &data, &w, epilogue, &mut out);
            }
        })?;
        Ok((same_type(x, out)?, shape))
    }
}

fn convolve(g: &Geometry, x: &[f32], w: &[f32], epilogue: Epilogue<'_>, out: &mut [f32]) {
    let k = g.kh * g.kw * g.channels;
    let n = out.len() / (g.batch * g.out_height * g.out_width);
    let shape = Panels::new(k, n);
    let (left, right) = g.edges();
    let run = g.kw * g.channels;
    let rows = grain(g.batch * g.out_height, 1, 1, 8.max(512 / g.out_width));
    scratch::with(shape.len(), |packed| {
        packed
            .par_chunks_mut(shape.stride().max(1))
            .enumerate()
            .for_each(|(p, panel)| shape.pack_transposed(p, panel, w, k));
        let packed = &*packed;
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
