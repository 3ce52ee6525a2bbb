use candle_core::{DType, Result, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::{Attention, AttentionMask, Dims};

/// Out of candle's own ops; holds all scores of a segment at once.
pub(super) fn composed(op: &Attention<'_>, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
    if op.dims.nq == 0 || op.dims.nk == 0 {
        return Tensor::zeros(op.dims.out_shape(), q.dtype(), q.device());
    }
    let out = match op.mask {
        AttentionMask::Segments(cu) => {
            let segments = cu.windows(2).filter(|w| w[1] > w[0]);
            let parts = segments.map(|w| {
                let n = w[1] - w[0];
                let part = |t: &Tensor| t.narrow(2, w[0], n);
                let op = Attention {
                    dims: Dims {
                        nq: n,
                        nk: n,
                        ..op.dims
                    },
                    mask: AttentionMask::None,
                    ..*op
                };
                scored(&op, &part(q)?, &part(k)?, &part(v)?)
            });
            Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 2)?
        }
        _ => scored(op, q, k, v)?,
    };
    out.transpose(1, 2)
}

/// (B, H, Nq, Dv)
fn scored(op: &Attention<'_>, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
    let &Dims {
        batch: b,
        heads: h,
        kv_heads,
        nq,
        nk,
        d,
        dv,
    } = &op.dims;
    let rows = op.dims.group() * nq;
    let (k, v) = (k.contiguous()?, v.contiguous()?);
    let q = q.contiguous()?.reshape((b, kv_heads, rows, d))?;
    let scores = q.matmul(&k.transpose(2, 3)?)?.to_dtype(DType::F32)?;
    let scores = (scores * f64::from(op.scale))?.reshape((b, h, nq, nk))?;
    let weights = softmax_last_dim(&masked(op, scores)?)?.to_dtype(v.dtype())?;
    let weights = weights.reshape((b, kv_heads, rows, nk))?;
    weights.matmul(&v)?.reshape((b, h, nq, dv))
}

fn masked(op: &Attention<'_>, scores: Tensor) -> Result<Tensor> {
    let &Dims {
        batch: b,
        heads: h,
        nq,
        nk,
        ..
    } = &op.dims;
    match op.mask {
        AttentionMask::None | AttentionMask::Segments(_) => Ok(scores),
        AttentionMask::Causal { offset } => {
            let at =
                |begin: usize, n: usize| Tensor::arange(begin as u32, (begin + n) as u32, scores.device());
            let (queries, keys) = (at(offset, nq)?.reshape((nq, 1))?, at(0, nk)?.reshape((1, nk))?);
            let hidden = keys.broadcast_gt(&queries)?.broadcast_as(scores.shape())?;
            let never = Tensor::new(f32::NEG_INFINITY, scores.device())?.broadcast_as(scores.shape())?;
            hidden.where_cond(&never, &scores)
        }
        AttentionMask::RelPos { rel_h, rel_w } => {
            let (kh, kw) = (rel_h.dim(3)?, rel_w.dim(3)?);
            scores
                .reshape((b * h, nq, kh, kw))?
                .broadcast_add(&rel_h.to_dtype(DType::F32)?.reshape((b * h, nq, kh, 1))?)?
                .broadcast_add(&rel_w.to_dtype(DType::F32)?.reshape((b * h, nq, 1, kw))?)?
                .reshape((b, h, nq, nk))
        }
        AttentionMask::Bias(bias) => scores.broadcast_add(&bias.to_dtype(DType::F32)?),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::attention;
    use crate::testing::{close, random};

    #[test]
    fn agrees_with_the_cpu_kernel_for_every_mask() {
        let (b, h, n) = (2, 4, 30);
        let (q, k, v) = (random((b, h, n, 16)), random((b, 2, n, 16)), random((b, 2, n, 8)));
        let (rel_h, rel_w) = (random((b, h, n, 5)), random((b, h, n, 6)));
        let bias = random((1, h, n, n));
        for mask in [
            AttentionMask::None,
            AttentionMask::Causal { offset: 3 },
            AttentionMask::RelPos {
                rel_h: &rel_h,
                rel_w: &rel_w,
            },
            AttentionMask::Segments(&[0, 7, 7, 30]),
            AttentionMask::Bias(&bias),
        ] {
            let fused = attention(&q, &k, &v, 0.25, mask).unwrap();
            assert_eq!(fused.dims(), [b, n, h, 8]);
            let op = Attention {
                dims: Dims::of(&q, &k, &v).unwrap(),
                scale: 0.25,
                mask,
            };
            close(&fused, &composed(&op, &q, &k, &v).unwrap(), 2e-6);
        }
    }

    #[test]
    fn no_keys_and_no_queries() {
        let empty = |n: usize| random((1, 1, n, 4));
        for (nq, nk, mask) in [
            (3, 0, AttentionMask::None),
            (0, 3, AttentionMask::None),
            (0, 0, AttentionMask::Segments(&[0, 0])),
        ] {
            let (q, k) = (empty(nq), empty(nk));
            let op = Attention {
                dims: Dims::of(&q, &k, &k).unwrap(),
                scale: 1.,
                mask,
            };
            let y = composed(&op, &q, &k, &k).unwrap();
            close(
                &y,
                &Tensor::zeros((1, nq, 1, 4), DType::F32, q.device()).unwrap(),
                0.,
            );
        }
    }
}
