//! Convolutions by `cu/convolution.cu`: the windows of all pixels times a weight, without the windows in memory.

use candle_core::{CudaStorage, DType, Layout, Result, Shape};

use super::launch::{self, Argument, CONVOLUTION, Held, Queue};
use crate::ops::conv2d::geometry::Geometry;
use crate::{Epilogue, tf32};

/// Rows and threads of a block.
const ROWS: usize = 128;
const THREADS: u32 = 128;
/// Blocks that keep a GPU busy: two for each of an A100's processors.
const BUSY: usize = 216;
/// Steps of 64 bytes that a block takes at least, where several share the terms of one sum.
const LEAST_STEPS: usize = 16;

/// `residual + f(window weight + bias)` of x (B, H, W, C) and a weight (columns, kh kw C), both dense and with elements. The
/// columns are the outputs of every cell of (rows, columns), and each cell is a pixel of the result, (B, H' rows, W' columns,
/// outputs).
#[derive(Debug)]
pub(crate) struct Implicit<'a> {
    pub(crate) geometry: &'a Geometry,
    pub(crate) outputs: usize,
    /// (1, 1) but for transposed convolutions.
    pub(crate) cell: (usize, usize),
    /// Of the operands' element type, dense.
    pub(crate) epilogue: &'a Epilogue,
}

impl Implicit<'_> {
    /// # Errors
    /// Operands of several element types, sizes beyond what the kernel counts, what the driver answers.
    pub(crate) fn forward(
        &self,
        (x, xl): (&CudaStorage, &Layout),
        (w, wl): (&CudaStorage, &Layout),
    ) -> Result<(CudaStorage, Shape)> {
        let (queue, sums) = (Queue::of(x), Queue::of(x).with_type(DType::F32));
        let g = self.geometry;
        let shape = Shape::from((
            g.batch,
            g.out_height * self.cell.0,
            g.out_width * self.cell.1,
            self.outputs,
        ));
        let rows = g.batch * g.out_height * g.out_width;
        let columns = self.outputs * self.cell.0 * self.cell.1;
        let held = [&self.epilogue.bias, &self.epilogue.residual].map(|t| t.as_ref().map(Held::new));
        let [bias, residual] = held.each_ref().map(Option::as_ref);
        let (bias, residual) = (
            launch::optional(bias, &queue)?,
            launch::optional(residual, &queue)?,
        );
        let (x, w) = (queue.reads(x, xl)?, queue.reads(w, wl)?);
        // Elements of a vector of 16 bytes.
        let width = 16 / queue.dtype().size_in_bytes();
        let even = g.channels.is_multiple_of(width) && x.is_aligned() && w.is_aligned();
        let aligned =
            self.outputs.is_multiple_of(width) && residual.as_ref().is_none_or(launch::Operand::is_aligned);
        let f32 = queue.dtype() == DType::F32;
        let (kernel, across) = match (even, f32 && columns <= 32, f32 && tf32::is_allowed()) {
            (false, ..) => ("implicit_uneven", 64),
            (true, false, false) => ("implicit", 64),
            (true, true, false) => ("implicit_narrow", 32),
            (true, false, true) => ("implicit_tf32", 64),
            (true, true, true) => ("implicit_narrow_tf32", 32),
        };
        let blocks = rows.div_ceil(ROWS) * columns.div_ceil(across);
        let shares = shares(blocks, (g.kh * g.kw * g.channels).div_ceil(4 * width));
        let mut out = queue.output(shape.elem_count())?;
        let mut parts = match shares {
            1 => None,
            n => Some(sums.output(n * rows * columns)?),
        };
        {
            let y = queue.writes(&mut out)?;
            let parts = parts.as_mut().map(|parts| sums.writes(parts)).transpose()?;
            let mut arguments = vec![
                x.at(),
                w.at(),
                launch::at(bias.as_ref()),
                launch::at(residual.as_ref()),
                y.at(),
                launch::at(parts.as_ref()),
            ];
            arguments.extend(self.arguments(shares, aligned)?);
            Argument::size(blocks * shares)?;
            let grid = ((blocks * shares) as u32, 1);
            queue.launch(&CONVOLUTION, kernel, (grid, (THREADS, 1)), &arguments)?;
            if parts.is_some() {
                queue.launch(&CONVOLUTION, "join", launch::tiles(columns, rows), &arguments)?;
            }
        }
        Ok((out, shape))
    }

    fn arguments(&self, shares: usize, aligned: bool) -> Result<Vec<Argument<'static>>> {
        let g = self.geometry;
        // Pixels and terms are counted by ints, a few steps beyond the last one.
        Argument::size(g.batch * g.height * g.width)?;
        Argument::size(g.kh * g.kw * g.channels + 1024)?;
        let (rows, columns) = self.cell;
        Argument::size(self.outputs * rows * columns + ROWS)?;
        let mut arguments = Vec::new();
        for n in [self.outputs, rows, columns] {
            arguments.push(Argument::size(n)?);
        }
        arguments.push(Argument::Int(self.epilogue.activation.code()));
        arguments.push(Argument::size(shares)?);
        arguments.push(Argument::Int(i32::from(aligned)));
        arguments.extend(g.arguments()?);
        Ok(arguments)
    }
}

/// Among how many blocks the `steps` of every sum are shared out: where there are few sums, for processors that would be idle.
fn shares(blocks: usize, steps: usize) -> usize {
    (BUSY / blocks.max(1)).min(steps / LEAST_STEPS).max(1)
}
