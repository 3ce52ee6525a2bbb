//! `softmax(scale q k^T + mask) v`, softmax in f32, grouped key/value heads.

mod cpu;
mod cuda;
#[cfg(feature = "cuda")]
mod flash;
pub(crate) mod ragged;
pub(crate) mod reference;
mod segments;
#[cfg(feature = "cuda")]
mod softmax;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

use crate::backend::Backend;
pub use segments::Segments;

/// Which keys a query sees, or what is added to its scores.
#[derive(Debug, Clone, Copy)]
pub enum AttentionMask<'a> {
    /// Every query sees every key.
    None,
    /// Query `i` sees keys `0 ..= i + offset`; `offset` is the number of keys already in the cache.
    Causal { offset: usize },
    /// Decomposed relative positions over keys on a Kh x Kw grid, row-major: adds
    /// `rel_h[b, h, q, y] + rel_w[b, h, q, x]` to the score of key `y Kw + x`.
    RelPos {
        /// (B, H, Nq, Kh)
        rel_h: &'a Tensor,
        /// (B, H, Nq, Kw)
        rel_w: &'a Tensor,
    },
    /// Self-attention inside segments only.
    Segments(&'a Segments),
    /// Added to the scores after scaling; broadcasts to (B, H, Nq, Nk).
    Bias(&'a Tensor),
}

/// Checked sizes of one attention.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dims {
    batch: usize,
    /// Query heads.
    heads: usize,
    kv_heads: usize,
    nq: usize,
    nk: usize,
    d: usize,
    dv: usize,
}

#[derive(Debug)]
pub(crate) struct Attention<'a> {
    dims: Dims,
    scale: f32,
    mask: AttentionMask<'a>,
}

/// `q` (B, H, Nq, D), `k` (B, Hkv, Nk, D), `v` (B, Hkv, Nk, Dv) to (B, Nq, H, Dv), so that merging the heads is a
/// reshape. Strided views are welcome, for instance of one fused projection. Query head `h` reads key/value head
/// `h / (H / Hkv)`.
///
/// With a [`AttentionMask::Bias`] of minus infinity for every key, a query gets 0.
///
/// # Errors
/// Shapes that do not fit each other or the mask, another element type than f32, bf16 or f16.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, scale: f32, mask: AttentionMask<'_>) -> Result<Tensor> {
    let dims = Dims::of(q, k, v)?;
    mask.check(&dims)?;
    let op = Attention { dims, scale, mask };
    match Backend::of(q.device(), cuda::takes(&op, [q, k, v])) {
        Backend::Kernel => {
            let whole = match mask {
                AttentionMask::Bias(bias) => Some(bias.broadcast_as(dims.scores())?),
                _ => None,
            };
            let mask = whole.as_ref().map_or(mask, AttentionMask::Bias);
            let dense = |t: &Tensor| match t.stride().last() {
                Some(1) => Ok(t.clone()),
                _ => t.contiguous(),
            };
            dense(q)?.apply_op3_no_bwd(&dense(k)?, &dense(v)?, &Attention { dims, scale, mask })
        }
        Backend::Composed => cuda::composed(&op, q, k, v),
    }
}

impl Dims {
    fn of(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Self> {
        let (b, h, nq, d) = q.dims4()?;
        let (bk, hk, nk, dk) = k.dims4()?;
        let (bv, hv, nv, dv) = v.dims4()?;
        if (bk, dk) != (b, d) || (bv, hv, nv) != (b, hk, nk) || hk == 0 || !h.is_multiple_of(hk) {
            candle_core::bail!(
                "attention: q {:?}, k {:?}, v {:?}",
                q.shape(),
                k.shape(),
                v.shape()
            )
        }
        Ok(Self {
            batch: b,
            heads: h,
            kv_heads: hk,
            nq,
            nk,
            d,
            dv,
        })
    }

    /// Query heads per key/value head.
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Of the scores.
    fn scores(&self) -> (usize, usize, usize, usize) {
        (self.batch, self.heads, self.nq, self.nk)
    }

    /// Of the result.
    fn out_shape(&self) -> Shape {
        Shape::from((self.batch, self.nq, self.heads, self.dv))
    }
}

impl AttentionMask<'_> {
    fn check(&self, dims: &Dims) -> Result<()> {
        let &Dims { nq, nk, .. } = dims;
        match self {
            Self::None | Self::Causal { .. } => {}
            Self::RelPos { rel_h, rel_w } => {
                let (kh, kw) = (rel_h.dim(3)?, rel_w.dim(3)?);
                let fits = |t: &Tensor, n| t.dims() == [dims.batch, dims.heads, nq, n];
                if !fits(rel_h, kh) || !fits(rel_w, kw) || kh * kw != nk {
                    let (rh, rw) = (rel_h.shape(), rel_w.shape());
                    candle_core::bail!("attention: rel_h {rh:?}, rel_w {rw:?} for {nq} queries and {nk} keys")
                }
            }
            Self::Segments(segments) => {
                if nq != nk || !segments.cover(nk) {
                    let cumulative = segments.cumulative();
                    candle_core::bail!("attention: segments {cumulative:?} over {nq} queries and {nk} keys")
                }
            }
            Self::Bias(bias) => {
                bias.broadcast_as(dims.scores())?;
            }
        }
        Ok(())
    }
}

impl CustomOp3 for Attention<'_> {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        ql: &Layout,
        k: &CpuStorage,
        kl: &Layout,
        v: &CpuStorage,
        vl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        cpu::forward(self, [(q, ql), (k, kl), (v, vl)])
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        q: &candle_core::CudaStorage,
        ql: &Layout,
        k: &candle_core::CudaStorage,
        kl: &Layout,
        v: &candle_core::CudaStorage,
        vl: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        flash::forward(self, [(q, ql), (k, kl), (v, vl)])
    }
}
