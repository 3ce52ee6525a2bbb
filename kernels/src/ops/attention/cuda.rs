use candle_core::{DType, Result, Tensor};
use candle_nn::ops::softmax_last_dim;

#[cfg(feature = "cuda")]
use super::softmax;
use super::{Attention, AttentionMask, Dims};
#[cfg(feature = "cuda")]
use crate::backend::Backend;

/// Scores held at a time: 1 GiB of f32. It also keeps candle's softmax, whose index is 32 bits wide, far from its end.
const MOST_SCORES: usize = 1 << 28;

/// Whether the kernels of `cu/flash.cu` and `cu/attention.cu` compute `op` of queries, keys and values.
pub(super) fn takes(op: &Attention<'_>, [q, k, v]: [&Tensor; 3]) -> bool {
    let Dims {
        batch, nq, nk, d, dv, ..
    } = op.dims;
    let some = batch * nq * nk > 0 && (1..=WIDEST).contains(&d) && d == dv;
    let same = k.dtype() == q.dtype() && v.dtype() == q.dtype();
    some && same
        && match (op.mask, q.dtype()) {
            (_, DType::F32) => true,
            // A tile of keys is whole rows of their grid.
            (AttentionMask::RelPos { rel_w, .. }, DType::BF16 | DType::F16) => {
                d <= WIDEST_ON_GRID && rel_w.dims()[3] <= 64
            }
            (_, DType::BF16 | DType::F16) => true,
            _ => false,
        }
}

/// Widest heads that kernels have room for; and of keys on a grid, in 16 bits.
pub(super) const WIDEST: usize = 128;
const WIDEST_ON_GRID: usize = 80;

/// Out of candle's own ops; holds at most [`MOST_SCORES`] at once.
pub(super) fn composed(op: &Attention<'_>, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
    composed_within(op, q, k, v, MOST_SCORES)
}

fn composed_within(
    op: &Attention<'_>,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    most_scores: usize,
) -> Result<Tensor> {
    if op.dims.nq == 0 || op.dims.nk == 0 {
        return Tensor::zeros(op.dims.out_shape(), q.dtype(), q.device());
    }
    let out = match op.mask {
        AttentionMask::Segments(segments) => {
            let segments = segments.cumulative().windows(2).filter(|w| w[1] > w[0]);
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
                in_parts(&op, &part(q)?, &part(k)?, &part(v)?, most_scores)
            });
            Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 2)?
        }
        _ => in_parts(op, q, k, v, most_scores)?,
    };
    out.transpose(1, 2)
}

/// (B, H, Nq, Dv), by batch elements and runs of queries whose scores stay within `most`, or one query if its scores
/// alone do not. Queries know nothing of each other, so the parts are the whole.
fn in_parts(op: &Attention<'_>, q: &Tensor, k: &Tensor, v: &Tensor, most: usize) -> Result<Tensor> {
    let &Dims {
        batch: b,
        heads: h,
        nq,
        nk,
        ..
    } = &op.dims;
    let of_one = h * nk;
    if b * nq * of_one <= most {
        return scored(op, q, k, v);
    }
    let elements = (most / (nq * of_one)).clamp(1, b);
    let queries = (most / (elements * of_one)).clamp(1, nq);
    let mut batches = Vec::new();
    for b0 in (0..b).step_by(elements) {
        let nb = elements.min(b - b0);
        let (k, v) = (k.narrow(0, b0, nb)?, v.narrow(0, b0, nb)?);
        let mut rows = Vec::new();
        for q0 in (0..nq).step_by(queries) {
            let n = queries.min(nq - q0);
            let narrow = |t: &Tensor| {
                // A size of 1 stands for all, where the other operand has more.
                let t = if t.dim(0)? == b {
                    t.narrow(0, b0, nb)?
                } else {
                    t.clone()
                };
                if t.dim(2)? == nq {
                    t.narrow(2, q0, n)
                } else {
                    Ok(t)
                }
            };
            let dims = Dims {
                batch: nb,
                nq: n,
                ..op.dims
            };
            let (rel_h, rel_w, bias);
            let mask = match op.mask {
                AttentionMask::None | AttentionMask::Segments(_) => AttentionMask::None,
                AttentionMask::Causal { offset } => AttentionMask::Causal { offset: offset + q0 },
                AttentionMask::RelPos { rel_h: h, rel_w: w } => {
                    (rel_h, rel_w) = (narrow(h)?, narrow(w)?);
                    AttentionMask::RelPos {
                        rel_h: &rel_h,
                        rel_w: &rel_w,
                    }
                }
                AttentionMask::Bias(whole) => {
                    bias = narrow(&whole.broadcast_as(op.dims.scores())?)?;
                    AttentionMask::Bias(&bias)
                }
            };
            let part = Attention { dims, mask, ..*op };
            rows.push(scored(&part, &narrow(q)?, &k, &v)?);
        }
        batches.push(Tensor::cat(&rows, 2)?);
    }
    Tensor::cat(&batches, 0)
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
    // A product of bf16 is rounded to bf16, and scores of tens lose whole units of the exponent by that: they are made in
    // f32, as on the CPU.
    let (q, k) = (q.to_dtype(DType::F32)?, k.to_dtype(DType::F32)?);
    let scores = q.matmul(&k.transpose(2, 3)?)?;
    let weights = shares(op, scores.reshape((b, h, nq, nk))?, v.dtype())?;
    let weights = weights.reshape((b, kv_heads, rows, nk))?;
    weights.matmul(&v)?.reshape((b, h, nq, dv))
}

/// Softmax of the scaled and masked scores (B, H, Nq, Nk).
fn shares(op: &Attention<'_>, scores: Tensor, dtype: DType) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if Backend::has_cuda_kernels(scores.device()) {
        return softmax::masked(op, &scores, dtype);
    }
    let scores = (scores * f64::from(op.scale))?;
    softmax_last_dim(&masked(op, scores)?)?.to_dtype(dtype)
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
    use crate::testing::{close, random};
    use crate::{Segments, attention};

    #[test]
    fn agrees_with_the_cpu_kernel_for_every_mask() {
        let segments = Segments::new([0, 7, 7, 30]);
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
            AttentionMask::Segments(&segments),
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
            // One batch element at a time, some queries at a time, and less than one query's scores.
            for most in [h * n * n, 7 * h * n, 1] {
                let parts = composed_within(&op, &q, &k, &v, most).unwrap();
                close(&fused, &parts, 2e-6);
            }
        }
    }

    #[test]
    fn no_keys_and_no_queries() {
        let segments = Segments::new([0, 0]);
        let empty = |n: usize| random((1, 1, n, 4));
        for (nq, nk, mask) in [
            (3, 0, AttentionMask::None),
            (0, 3, AttentionMask::None),
            (0, 0, AttentionMask::Segments(&segments)),
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
