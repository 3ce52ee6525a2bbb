use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, Layout, Result, Shape};

use super::Linear;
use crate::cpu::block::{Dense, EpilogueSlices};
use crate::cpu::matmul::{Dims, FEW_ROWS, matmul_nt};
use crate::cpu::memory::unwritten;
use crate::cpu::packed::PackedWeight;
use crate::cpu::storage::{F32Input, same_type};
use crate::cpu::tiles::product::{product, product_laid_out};
use crate::cpu::tiles::weight::{TiledWeight, layout_for};

pub(super) fn forward(
    op: &Linear,
    (x, xl): (&CpuStorage, &Layout),
    (w, wl): (&CpuStorage, &Layout),
) -> Result<(CpuStorage, Shape)> {
    let tiles = layout_for(w.dtype(), &wl.dims()[..2]);
    let w = F32Input::contiguous(w, wl)?;
    forward_by(op, (x, xl), |dims, a, epilogue, out| match tiles {
        Some(tiles) if dims.m > FEW_ROWS => {
            product_laid_out(tiles, &Dense::new(a, dims.k), dims.m, &w, epilogue, out);
        }
        _ => matmul_nt(dims, a, &w, epilogue, out),
    })
}

pub(super) fn forward_tiled(
    op: &Linear,
    x: (&CpuStorage, &Layout),
    w: &TiledWeight,
) -> Result<(CpuStorage, Shape)> {
    forward_by(op, x, |dims, a, epilogue, out| {
        product(&Dense::new(a, dims.k), dims.m, w, epilogue, out)
    })
}

pub(super) fn forward_packed(
    op: &Linear,
    x: (&CpuStorage, &Layout),
    w: &PackedWeight,
) -> Result<(CpuStorage, Shape)> {
    forward_by(op, x, |dims, a, epilogue, out| {
        w.multiply(dims.m, a, epilogue, out)
    })
}

fn forward_by(
    op: &Linear,
    (x, xl): (&CpuStorage, &Layout),
    multiply: impl Fn(Dims, &[f32], EpilogueSlices<'_>, &mut [f32]),
) -> Result<(CpuStorage, Shape)> {
    let dims = op.shape.dims();
    let (k, n) = (op.k, dims[dims.len() - 1]);
    let a = F32Input::contiguous(x, xl)?;
    let mut out = unwritten(op.shape.elem_count());
    // As many rows as the residual has: all, or one entry of the batch.
    let rows = match &op.epilogue.residual {
        Some(residual) => residual.elem_count() / n.max(1),
        None => dims[..dims.len() - 1].iter().product(),
    };
    EpilogueSlices::read(&op.epilogue, |epilogue| {
        for (i, out) in out.chunks_mut((rows * n).max(1)).enumerate() {
            let a = &a[i * rows * k..(i + 1) * rows * k];
            multiply(Dims { m: rows, n, k }, a, epilogue, out);
        }
    })?;
    Ok((same_type(x, out)?, op.shape.clone()))
}
