use candle_core::{CpuStorage, Layout, Result, Shape};

use super::Linear;
use crate::cpu::block::EpilogueSlices;
use crate::cpu::matmul::{Dims, matmul_nt};
use crate::cpu::storage::{F32Input, same_type};

pub(super) fn forward(
    op: &Linear,
    (x, xl): (&CpuStorage, &Layout),
    (w, wl): (&CpuStorage, &Layout),
) -> Result<(CpuStorage, Shape)> {
    let dims = op.shape.dims();
    let (k, n) = (op.k, dims[dims.len() - 1]);
    let (a, w) = (F32Input::contiguous(x, xl)?, F32Input::contiguous(w, wl)?);
    let mut out = vec![0f32; op.shape.elem_count()];
    // As many rows as the residual has: all, or one entry of the batch.
    let rows = match &op.epilogue.residual {
        Some(residual) => residual.elem_count() / n.max(1),
        None => dims[..dims.len() - 1].iter().product(),
    };
    EpilogueSlices::read(&op.epilogue, |epilogue| {
        for (i, out) in out.chunks_mut((rows * n).max(1)).enumerate() {
            let a = &a[i * rows * k..(i + 1) * rows * k];
            matmul_nt(Dims { m: rows, n, k }, a, &w, epilogue, out);
        }
    })?;
    Ok((same_type(x, out)?, op.shape.clone()))
}
