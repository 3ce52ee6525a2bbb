//! Attention without ever holding more than a tile of the scores.
//!
//! A task owns some query rows of one key/value head. It lays the keys out as panels and the values as rows, then for
//! each tile of queries walks over tiles of keys with a running maximum and sum (online softmax): scores, exponentials
//! and weighted values of a tile stay in the second-level cache. Grouped query heads are further rows of one head.

mod softmax;
mod tile;
mod tiled;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, Device, Layout, Result, Shape};
use rayon::prelude::*;

use super::{Attention, AttentionMask, Dims};
use crate::backend::tiles;
use crate::cpu::parallel::grain;
use crate::cpu::storage::TensorInput;
use crate::cpu::strided::Strided;
use crate::cpu::view::{Elements, View};
use tile::{Job, Task};

/// Of `q`, `k` and `v`, whose last dimensions are dense.
pub(super) fn forward(
    op: &Attention<'_>,
    [(q, ql), (k, kl), (v, vl)]: [(&CpuStorage, &Layout); 3],
) -> Result<(CpuStorage, Shape)> {
    let dims = op.dims;
    let shape = dims.out_shape();
    if dims.nk == 0 {
        return Ok((Elements::zeros(q, shape.elem_count())?.storage(), shape));
    }
    let mut out = Elements::unwritten(q, shape.elem_count())?;
    let (qs, ks, vs) = (
        View::strided(q, ql)?,
        View::strided(k, kl)?,
        View::strided(v, vl)?,
    );
    let operands: Vec<TensorInput<'_>> = match op.mask {
        AttentionMask::RelPos { rel_h, rel_w } => vec![TensorInput::new(rel_h), TensorInput::new(rel_w)],
        AttentionMask::Bias(bias) => vec![TensorInput::new(bias)],
        AttentionMask::None | AttentionMask::Causal { .. } | AttentionMask::Segments(_) => Vec::new(),
    };
    let inputs = operands
        .iter()
        .map(TensorInput::strided)
        .collect::<Result<Vec<_>>>()?;
    let masks: Vec<Strided<'_>> = operands
        .iter()
        .zip(&inputs)
        .map(|(t, &data)| Strided::new(data, t.layout()))
        .collect();
    let job = Job {
        dims,
        scale: op.scale,
        q: Strided::new(qs, ql),
        k: Strided::new(ks, kl),
        v: Strided::new(vs, vl),
        mask: match (op.mask, masks.as_slice()) {
            (AttentionMask::Causal { offset }, _) => tile::Mask::Causal { offset },
            (AttentionMask::RelPos { .. }, &[rel_h, rel_w]) => tile::Mask::RelPos {
                rel_h,
                rel_w,
                kw: operands[1].layout().dims()[3],
            },
            (AttentionMask::Bias(_), &[bias]) => tile::Mask::Bias(bias),
            _ => tile::Mask::None,
        },
        out: out.output(0..shape.elem_count()),
    };
    let by_tiles = tiles(&Device::Cpu, q.dtype()).filter(|_| dims.d.min(dims.dv) >= tiled::LEAST);
    tasks(&dims, op.mask).par_iter().for_each(|task| match by_tiles {
        Some((engine, terms)) if task.rows.len().min(task.keys.len()) >= tiled::LEAST => {
            job.run_tiled(task, engine, terms);
        }
        _ => job.run(task),
    });
    Ok((out.storage(), shape))
}

/// Cuts the work: per key/value head (and segment) as many pieces of the query rows as keep the threads busy.
fn tasks(dims: &Dims, mask: AttentionMask<'_>) -> Vec<Task> {
    let batch_heads = dims.batch * dims.kv_heads;
    let whole = [0, dims.nk];
    let cuts: &[usize] = match mask {
        AttentionMask::Segments(segments) => segments.cumulative(),
        _ => &whole,
    };
    let mut tasks = Vec::new();
    for segment in cuts.windows(2).filter(|w| w[0] < w[1]) {
        let keys = segment[0]..segment[1];
        let queries = match mask {
            AttentionMask::Segments(_) => keys.clone(),
            _ => 0..dims.nq,
        };
        let rows = queries.len() * dims.group();
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
    tasks
}
