//! Rows of a matrix in another order, on all cores: windows of a map of tokens, and back.

mod cpu;

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor};

use crate::backend::Backend;

struct TakeRows;

/// Rows `index` (M, u32) of `x` (N, C): (M, C).
///
/// # Errors
/// Other ranks or types; a number that is no row.
pub fn take_rows(x: &Tensor, index: &Tensor) -> Result<Tensor> {
    x.dims2()?;
    if index.rank() != 1 || index.dtype() != DType::U32 {
        candle_core::bail!("take_rows: rows {:?} of {:?}", index.layout(), x.shape())
    }
    match Backend::of(x.device(), false) {
        Backend::Kernel => x.contiguous()?.apply_op2_no_bwd(&index.contiguous()?, &TakeRows),
        Backend::Composed => x.index_select(index, 0),
    }
}

impl CustomOp2 for TakeRows {
    fn name(&self) -> &'static str {
        "take_rows"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        index: &CpuStorage,
        il: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        cpu::forward((x, xl), (index, il))
    }
}
