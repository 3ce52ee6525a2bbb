//! Decomposed relative positions of SAM's attention (Li et al., arXiv 2112.01526): what a row and what a column of the grid of
//! keys adds to the scores of a query.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;

use candle_core::{Result, Tensor};

use crate::backend::Backend;

/// `q` (B, H, side side, d), queries on a square grid row by row, by any strides; `down` and `along` (side, d, side), entries
/// `[line, .., key]` of the tables by distance. Returns `rel_h`, `rel_w` (B, H, side side, side):
///
/// `rel_h[.., (y, x), k] = q[.., (y, x)] . down[y, .., k]`, `rel_w[.., (y, x), k] = q[.., (y, x)] . along[x, .., k]`
///
/// # Errors
/// Shapes that do not fit each other.
pub fn relative_positions(q: &Tensor, down: &Tensor, along: &Tensor) -> Result<(Tensor, Tensor)> {
    let (b, h, n, d) = q.dims4()?;
    let side = down.dim(0)?;
    if down.dims() != [side, d, side] || along.dims() != down.dims() || side * side != n {
        let (q, down, along) = (q.shape(), down.shape(), along.shape());
        candle_core::bail!("relative positions: {q:?} by tables {down:?}, {along:?}")
    }
    #[cfg(feature = "cuda")]
    if Backend::has_cuda_kernels(q.device()) && cuda::takes(q, down, along) {
        return cuda::relative(q, down, along);
    }
    if Backend::of(q.device(), false) == Backend::Kernel {
        return Ok((cpu::by_rows(q, down)?, cpu::by_columns(q, along)?));
    }
    let (q, t) = (q.contiguous()?, b * h);
    let lines = |x: Tensor, table: &Tensor| x.matmul(table);
    let by_row = q.reshape((t, side, side, d))?.transpose(0, 1)?;
    let rel_h = lines(by_row.reshape((side, t * side, d))?, down)?
        .reshape((side, t, side, side))?
        .transpose(0, 1)?
        .reshape((b, h, n, side))?;
    let by_column = q.reshape((t * side, side, d))?.transpose(0, 1)?.contiguous()?;
    let rel_w = lines(by_column, along)?
        .transpose(0, 1)?
        .reshape((t * n, side))?
        .reshape((b, h, n, side))?;
    Ok((rel_h, rel_w))
}
