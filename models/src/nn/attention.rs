//! `softmax(scale q k^T + mask) v`, softmax in f32, grouped key/value heads.

use candle_core::{D, DType, Result, Tensor};
use dragunov_kernels as kernels;

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
    /// Self-attention inside segments only: cumulative lengths `0 = c0 <= c1 <= ... <= N` (`cu_seqlens`).
    Segments(&'a [usize]),
    /// Added to the scores after scaling; broadcasts to (B, H, Nq, Nk).
    Bias(&'a Tensor),
}

/// Scaled dot-product attention: `q` (B, H, Nq, D), `k` (B, Hkv, Nk, D), `v` (B, Hkv, Nk, Dv) to (B, H, Nq, Dv).
///
/// Query head `h` reads key/value head `h / (H / Hkv)`. `q`, `k` and `v` may be strided views, for instance of one
/// fused projection.
///
/// # Errors
/// Shapes that do not fit each other or the mask.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, scale: f32, mask: &AttentionMask<'_>) -> Result<Tensor> {
    check_shapes(q, k, v, mask)?;
    if q.device().is_cpu() {
        return fused(q, k, v, scale, mask);
    }
    composed(q, k, v, scale, mask)
}

/// One pass over tiles of keys. The result is a (B, H, Nq, Dv) view that lies in memory as (B, Nq, H, Dv), so that
/// merging the heads after a `transpose(1, 2)` copies nothing.
fn fused(q: &Tensor, k: &Tensor, v: &Tensor, scale: f32, mask: &AttentionMask<'_>) -> Result<Tensor> {
    let mask = match *mask {
        AttentionMask::None => kernels::Mask::None,
        AttentionMask::Causal { offset } => kernels::Mask::Causal { offset },
        AttentionMask::RelPos { rel_h, rel_w } => kernels::Mask::RelPos {
            rel_h: rel_h.clone(),
            rel_w: rel_w.clone(),
        },
        AttentionMask::Segments(cu) => kernels::Mask::Segments(cu.to_vec()),
        AttentionMask::Bias(bias) => {
            let (b, h, nq, _) = q.dims4()?;
            kernels::Mask::Bias(bias.broadcast_as((b, h, nq, k.dim(2)?))?)
        }
    };
    kernels::attention(q, k, v, scale, mask)?.transpose(1, 2)
}

/// The same out of candle's own ops; holds all scores of a segment at once.
pub(super) fn composed(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    scale: f32,
    mask: &AttentionMask<'_>,
) -> Result<Tensor> {
    match mask {
        AttentionMask::Segments(cu) => {
            let parts = cu
                .windows(2)
                .filter(|w| w[1] > w[0])
                .map(|w| {
                    let part = |t: &Tensor| t.narrow(2, w[0], w[1] - w[0]);
                    scored(&part(q)?, &part(k)?, &part(v)?, scale, &AttentionMask::None)
                })
                .collect::<Result<Vec<_>>>()?;
            Tensor::cat(&parts, 2)
        }
        mask => scored(q, k, v, scale, mask),
    }
}

fn scored(q: &Tensor, k: &Tensor, v: &Tensor, scale: f32, mask: &AttentionMask<'_>) -> Result<Tensor> {
    let (b, h, nq, d) = q.dims4()?;
    let (_, hkv, nk, dv) = v.dims4()?;
    let group = h / hkv;
    let (k, v) = (k.contiguous()?, v.contiguous()?);
    let q = q.contiguous()?.reshape((b, hkv, group * nq, d))?;
    let scores = q.matmul(&k.transpose(2, 3)?)?.to_dtype(DType::F32)?;
    let scores = (scores * f64::from(scale))?.reshape((b, h, nq, nk))?;
    let scores = match mask {
        AttentionMask::None | AttentionMask::Segments(_) => scores,
        AttentionMask::Causal { offset } => {
            let at = |begin: usize, n: usize| Tensor::arange(begin as u32, (begin + n) as u32, q.device());
            let (queries, keys) = (at(*offset, nq)?.reshape((nq, 1))?, at(0, nk)?.reshape((1, nk))?);
            let hidden = keys.broadcast_gt(&queries)?.broadcast_as(scores.shape())?;
            let never = Tensor::new(f32::NEG_INFINITY, q.device())?.broadcast_as(scores.shape())?;
            hidden.where_cond(&never, &scores)?
        }
        AttentionMask::RelPos { rel_h, rel_w } => {
            let (kh, kw) = (rel_h.dim(3)?, rel_w.dim(3)?);
            scores
                .reshape((b * h, nq, kh, kw))?
                .broadcast_add(&rel_h.to_dtype(DType::F32)?.reshape((b * h, nq, kh, 1))?)?
                .broadcast_add(&rel_w.to_dtype(DType::F32)?.reshape((b * h, nq, 1, kw))?)?
                .reshape((b, h, nq, nk))?
        }
        AttentionMask::Bias(bias) => scores.broadcast_add(&bias.to_dtype(DType::F32)?)?,
    };
    let weights = softmax_last_dim(&scores)?.to_dtype(v.dtype())?;
    let weights = weights.reshape((b, hkv, group * nq, nk))?;
    weights.matmul(&v)?.reshape((b, h, nq, dv))
}

fn softmax_last_dim(scores: &Tensor) -> Result<Tensor> {
    if scores.dim(D::Minus1)? == 0 {
        return Ok(scores.clone());
    }
    candle_nn::ops::softmax_last_dim(scores)
}

fn check_shapes(q: &Tensor, k: &Tensor, v: &Tensor, mask: &AttentionMask<'_>) -> Result<()> {
    let (b, h, nq, d) = q.dims4()?;
    let (bk, hk, nk, dk) = k.dims4()?;
    let (bv, hv, nv, _) = v.dims4()?;
    if (bk, dk) != (b, d) || (bv, hv, nv) != (b, hk, nk) || hk == 0 || !h.is_multiple_of(hk) {
        candle_core::bail!(
            "attention: q {:?}, k {:?}, v {:?}",
            q.shape(),
            k.shape(),
            v.shape()
        )
    }
    match mask {
        AttentionMask::RelPos { rel_h, rel_w } => {
            let (kh, kw) = (rel_h.dim(3)?, rel_w.dim(3)?);
            let fits = |t: &Tensor, n| t.dims() == [b, h, nq, n];
            if !fits(rel_h, kh) || !fits(rel_w, kw) || kh * kw != nk {
                let (rh, rw) = (rel_h.shape(), rel_w.shape());
                candle_core::bail!("attention: rel_h {rh:?}, rel_w {rw:?} for {nq} queries and {nk} keys")
            }
        }
        AttentionMask::Segments(cu) => {
            let rising = cu.windows(2).all(|w| w[0] <= w[1]);
            if nq != nk || cu.first() != Some(&0) || cu.last() != Some(&nq) || !rising {
                candle_core::bail!("attention: segments {cu:?} over {nq} queries and {nk} keys")
            }
        }
        AttentionMask::Causal { .. } | AttentionMask::None | AttentionMask::Bias(_) => {}
    }
    Ok(())
}
