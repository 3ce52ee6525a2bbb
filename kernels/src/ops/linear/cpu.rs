use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, Layout, Result, Shape};

use super::Linear;
use crate::cpu::block::EpilogueSlices;
use crate::cpu::matmul::{Dims, FEW_ROWS, matmul_nt};
use crate::cpu::memory::unwritten;
use crate::cpu::packed::PackedWeight;
use crate::cpu::storage::{F32Input, same_type};
use crate::cpu::tiles::product::{product, product_laid_out};
use crate::cpu::tiles::sweep::Stored;
use crate::cpu::tiles::weight::{TiledWeight, layout_for};
use crate::cpu::view::{Elements, Output, View};

pub(super) fn forward(
    op: &Linear,
    (x, xl): (&CpuStorage, &Layout),
    (w, wl): (&CpuStorage, &Layout),
) -> Result<(CpuStorage, Shape)> {
    match layout_for(w.dtype(), &wl.dims()[..2]) {
        Some(tiles) if op.rows() > FEW_ROWS => {
            let w = View::contiguous(w, wl)?;
            by_tiles(op, (x, xl), |m, a, epilogue, out| {
                product_laid_out(tiles, a, m, w, epilogue, out)
            })
        }
        _ => {
            let w = F32Input::contiguous(w, wl)?;
            by_floats(op, (x, xl), |dims, a, epilogue, out| {
                matmul_nt(dims, a, &w, epilogue, out)
            })
        }
    }
}

pub(super) fn forward_tiled(
    op: &Linear,
    x: (&CpuStorage, &Layout),
    w: &TiledWeight,
) -> Result<(CpuStorage, Shape)> {
    by_tiles(op, x, |m, a, epilogue, out| product(a, m, w, epilogue, out))
}

pub(super) fn forward_packed(
    op: &Linear,
    x: (&CpuStorage, &Layout),
    w: &PackedWeight,
) -> Result<(CpuStorage, Shape)> {
    by_floats(op, x, |dims, a, epilogue, out| {
        w.multiply(dims.m, a, epilogue, out)
    })
}

impl Linear {
    fn n(&self) -> usize {
        self.shape.dims().last().copied().unwrap_or(0)
    }

    /// Rows that are multiplied at once, as many as the residual has: all, or one entry of the batch.
    fn rows(&self) -> usize {
        match &self.epilogue.residual {
            Some(residual) => residual.elem_count() / self.n().max(1),
            None => self.shape.elem_count() / self.n().max(1),
        }
    }

    /// How often that is done.
    fn entries(&self) -> usize {
        let at_once = self.rows() * self.n();
        self.shape.elem_count().checked_div(at_once).unwrap_or(0)
    }
}

/// Operands and result in their own type.
fn by_tiles(
    op: &Linear,
    (x, xl): (&CpuStorage, &Layout),
    multiply: impl Fn(usize, &Stored<'_>, EpilogueSlices<'_>, &Output<'_>),
) -> Result<(CpuStorage, Shape)> {
    let (m, n, k) = (op.rows(), op.n(), op.k);
    let a = View::contiguous(x, xl)?;
    let mut out = Elements::unwritten(x, op.shape.elem_count())?;
    EpilogueSlices::read(&op.epilogue, |epilogue| {
        for i in 0..op.entries() {
            let a = Stored {
                data: a.part(i * m * k..(i + 1) * m * k),
                stride: k,
            };
            multiply(m, &a, epilogue, &out.output(i * m * n..(i + 1) * m * n));
        }
    })?;
    Ok((out.storage(), op.shape.clone()))
}

/// In f32, converted before and after where they are not.
fn by_floats(
    op: &Linear,
    (x, xl): (&CpuStorage, &Layout),
    multiply: impl Fn(Dims, &[f32], EpilogueSlices<'_>, &mut [f32]),
) -> Result<(CpuStorage, Shape)> {
    let (m, n, k) = (op.rows(), op.n(), op.k);
    let a = F32Input::contiguous(x, xl)?;
    let mut out = unwritten(op.shape.elem_count());
    EpilogueSlices::read(&op.epilogue, |epilogue| {
        for (i, out) in out.chunks_mut((m * n).max(1)).enumerate() {
            let a = &a[i * m * k..(i + 1) * m * k];
            multiply(Dims { m, n, k }, a, epilogue, out);
        }
    })?;
    Ok((same_type(x, out)?, op.shape.clone()))
}
