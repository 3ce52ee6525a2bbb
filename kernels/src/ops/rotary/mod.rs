//! Rotary positions by halves: `x cos + rotate_half(x) sin`.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
pub(crate) mod reference;

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};
use candle_nn::rotary_emb::rope;

use crate::backend::Backend;

/// `x` (B, H, N, d) by any strides, turned: element i and element i + d/2 of a row by the angle whose cosine and sine are
/// `cos[n, i]` and `sin[n, i]`; tables (N, d/2), or (B, N, d/2) with angles of each batch element. The result is dense.
///
/// With tables of x's type every operation is rounded to it, as in PyTorch; with tables in f32 the result alone is.
///
/// # Errors
/// Tables of other shapes or types, an odd width.
pub fn rotary(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let (b, _, n, d) = x.dims4()?;
    let fits = |t: &Tensor| t.dims() == [n, d / 2] || t.dims() == [b, n, d / 2];
    let wide = cos.dtype() == DType::F32;
    let typed = cos.dtype() == sin.dtype() && (wide || cos.dtype() == x.dtype());
    if !fits(cos) || cos.dims() != sin.dims() || d % 2 == 1 || !typed {
        let (x, cos, sin) = (x.layout(), cos.layout(), sin.layout());
        candle_core::bail!("rotary: {x:?} by tables {cos:?}, {sin:?}")
    }
    let (cos, sin) = (cos.contiguous()?, sin.contiguous()?);
    let floats = matches!(x.dtype(), DType::F32 | DType::BF16 | DType::F16);
    match Backend::of(x.device(), floats && x.elem_count() > 0) {
        Backend::Kernel => {
            let x = match x.stride().last() {
                Some(1) => x.clone(),
                _ => x.contiguous()?,
            };
            x.apply_op1_no_bwd(&Rotary { cos, sin })
        }
        Backend::Composed if cos.dtype() == x.dtype() => rope(&x.contiguous()?, &cos, &sin),
        Backend::Composed => rope(&x.to_dtype(DType::F32)?.contiguous()?, &cos, &sin)?.to_dtype(x.dtype()),
    }
}

/// Of x whose last dimension is dense, by dense tables that were checked.
struct Rotary {
    cos: Tensor,
    sin: Tensor,
}

impl CustomOp1 for Rotary {
    fn name(&self) -> &'static str {
        "rotary"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        cpu::forward(self, x, layout)
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        cuda::forward(self, x, layout)
    }
}
