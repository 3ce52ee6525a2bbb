//! Rotary positions by halves: `x cos + rotate_half(x) sin`.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
pub(crate) mod reference;

use candle_core::{DType, Result, Tensor};
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
    #[cfg(feature = "cuda")]
    if Backend::has_cuda_kernels(x.device()) && cuda::takes(x) {
        return cuda::rotary(x, cos, sin);
    }
    if Backend::of(x.device(), false) == Backend::Kernel {
        return cpu::rotary(x, cos, sin);
    }
    let (cos, sin) = (cos.contiguous()?, sin.contiguous()?);
    if cos.dtype() == x.dtype() {
        return rope(&x.contiguous()?, &cos, &sin);
    }
    rope(&x.to_dtype(DType::F32)?.contiguous()?, &cos, &sin)?.to_dtype(x.dtype())
}
