//! `softmax(scale q k^T + mask) v` without ever holding more than a tile of the scores.
//!
//! A task owns some query rows of one key/value head. It lays the keys out as panels and the values as rows, then for
//! each tile of queries walks over tiles of keys with a running maximum and sum (online softmax): scores, exponentials
//! and weighted values of a tile stay in the second-level cache. Grouped query heads are further rows of one head.

mod rows;
mod tile;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::parallel::grain;
use crate::shared::Shared;
use crate::storage::{F32Input, TensorInput, same_type};
use rows::{Heads, Strided};
use tile::{Job, Task};

/// Which keys a query sees, or what is added to its scores.
#[derive(Debug, Clone)]
pub enum Mask {
    None,
    /// Query `i` sees keys `0 ..= i + offset`.
    Causal {
        offset: usize,
    },
    /// Adds `rel_h[b, h, q, y] + rel_w[b, h, q, x]` to the score of key `y Kw + x`; (B, H, Nq, Kh) and (B, H, Nq, Kw).
    RelPos {
        rel_h: Tensor,
        rel_w: Tensor,
    },
    /// Cumulative lengths, first 0 and last N, of segments that see only themselves.
    Segments(Vec<usize>),
    /// Added after scaling; (B, H, Nq, Nk), strided (broadcast) views welcome.
    Bias(Tensor),
}

#[derive(Debug, Clone)]
struct Attention {
    scale: f32,
    mask: Mask,
}

/// `q` (B, H, Nq, D), `k` (B, Hkv, Nk, D), `v` (B, Hkv, Nk, Dv), strided views welcome as long as the last dimension is
/// dense; gives (B, Nq, H, Dv), contiguous. Query head `h` reads key/value head `h / (H / Hkv)`.
///
/// A query that sees no key at all gets 0.
///
/// # Errors
/// Shapes that do not fit, another device than the CPU, another element type than f32, bf16 or f16.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, scale: f32, mask: Mask) -> Result<Tensor> {
    let dense = |t: &Tensor| match t.stride().last() {
        Some(1) => Ok(t.clone()),
        _ => t.contiguous(),
    };
    dense(q)?.apply_op3_no_bwd(&dense(k)?, &dense(v)?, &Attention { scale, mask })
}

impl CustomOp3 for Attention {
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
        let (b, h, nq, d) = ql.shape().dims4()?;
        let (bk, hkv, nk, dk) = kl.shape().dims4()?;
        let (bv, hv, nv, dv) = vl.shape().dims4()?;
        if (bk, dk) != (b, d) || (bv, hv, nv) != (b, hkv, nk) || hkv == 0 || !h.is_multiple_of(hkv) {
            candle_core::bail!(
                "attention: q {:?}, k {:?}, v {:?}",
                ql.shape(),
                kl.shape(),
                vl.shape()
            )
        }
        let heads = Heads {
            nq,
            nk,
            d,
            dv,
            heads: h,
            group: h / hkv,
        };
        let shape = Shape::from((b, nq, h, dv));
        let mut out = vec![0f32; shape.elem_count()];
        if out.is_empty() || nk == 0 {
            return Ok((same_type(q, out)?, shape));
        }

        let (qs, ks, vs) = (
            F32Input::strided(q, ql)?,
            F32Input::strided(k, kl)?,
            F32Input::strided(v, vl)?,
        );
        let operands = operands(&self.mask, [b, h, nq, nk])?;
        let inputs = operands
            .iter()
            .map(TensorInput::strided)
            .collect::<Result<Vec<_>>>()?;
        let masks: Vec<Strided<'_>> = operands
            .iter()
            .zip(&inputs)
            .map(|(t, data)| Strided::new(data, t.layout()))
            .collect();
        let job = Job {
            heads,
            scale: self.scale,
            q: Strided::new(&qs, ql),
            k: Strided::new(&ks, kl),
            v: Strided::new(&vs, vl),
            mask: match (&self.mask, masks.as_slice()) {
                (Mask::Causal { offset }, _) => tile::Mask::Causal { offset: *offset },
                (Mask::RelPos { .. }, &[rel_h, rel_w]) => tile::Mask::RelPos {
                    rel_h,
                    rel_w,
                    kw: operands[1].layout().dims()[3],
                },
                (Mask::Bias(_), &[bias]) => tile::Mask::Bias(bias),
                _ => tile::Mask::None,
            },
            out: Shared::new(&mut out),
        };
        tasks(&heads, b * hkv, &self.mask)?
            .into_par_iter()
            .for_each(|task| job.run(task));
        Ok((same_type(q, out)?, shape))
    }
}

/// The mask's own tensors, checked.
fn operands(mask: &Mask, [b, h, nq, nk]: [usize; 4]) -> Result<Vec<TensorInput<'_>>> {
    match mask {
        Mask::RelPos { rel_h, rel_w } => {
            let (kh, kw) = (rel_h.dim(3)?, rel_w.dim(3)?);
            if kh * kw != nk {
                candle_core::bail!("attention: relative positions over {kh} x {kw} for {nk} keys")
            }
            Ok(vec![
                TensorInput::new(rel_h, &[b, h, nq, kh])?,
                TensorInput::new(rel_w, &[b, h, nq, kw])?,
            ])
        }
        Mask::Bias(bias) => Ok(vec![TensorInput::new(bias, &[b, h, nq, nk])?]),
        _ => Ok(Vec::new()),
    }
}

/// Cuts the work: per key/value head (and segment) as many pieces of the query rows as keep the threads busy.
fn tasks(heads: &Heads, batch_heads: usize, mask: &Mask) -> Result<Vec<Task>> {
    let &Heads { nq, nk, group, .. } = heads;
    let whole = [0, nk];
    let cuts: &[usize] = match mask {
        Mask::Segments(cu) => cu,
        _ => &whole,
    };
    if let Mask::Segments(cu) = mask {
        let rising = cu.windows(2).all(|w| w[0] <= w[1]);
        if nq != nk || cu.first() != Some(&0) || cu.last() != Some(&nk) || !rising {
            candle_core::bail!("attention: segments {cu:?} over {nq} queries and {nk} keys")
        }
    }
    let segments = cuts.windows(2).filter(|w| w[0] < w[1]);
    let mut tasks = Vec::new();
    for segment in segments {
        let keys = segment[0]..segment[1];
        let queries = match mask {
            Mask::Segments(_) => keys.clone(),
            _ => 0..nq,
        };
        let rows = queries.len() * group;
        // Every piece lays out the keys anew, so few, large ones.
        let pieces = (4 * rayon::current_num_threads()).div_ceil(batch_heads * (cuts.len() - 1));
        let piece = rows.div_ceil(pieces).max(grain(rows, tile::QUERIES, 256, 1024));
        for head in 0..batch_heads {
            for begin in (0..rows).step_by(piece) {
                tasks.push(Task {
                    head,
                    queries: queries.clone(),
                    rows: begin..(begin + piece).min(rows),
                    keys: keys.clone(),
                });
            }
        }
    }
    Ok(tasks)
}
