//! Scale, mask and softmax of scores in one launch of `cu/softmax.cu`.

use candle_core::{CpuStorage, CudaStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};

use super::{Attention, AttentionMask};
use crate::cuda::launch::{self, Argument, Held, Queue, SOFTMAX, warps};

/// `scores` (B, H, Nq, Nk) in f32 to weights of `dtype`.
pub(super) fn masked(op: &Attention<'_>, scores: &Tensor, dtype: DType) -> Result<Tensor> {
    let like = |t: &Tensor| t.to_dtype(dtype)?.contiguous();
    let (kind, down, along) = match op.mask {
        AttentionMask::None | AttentionMask::Segments(_) => (Kind::Whole, None, None),
        AttentionMask::Causal { offset } => (Kind::Causal(offset), None, None),
        AttentionMask::RelPos { rel_h, rel_w } => {
            (Kind::Grid(rel_w.dim(3)?), Some(like(rel_h)?), Some(like(rel_w)?))
        }
        AttentionMask::Bias(bias) => {
            let whole = bias.to_dtype(dtype)?.broadcast_as(op.dims.scores())?;
            (Kind::Bias, Some(whole), None)
        }
    };
    scores.apply_op1_no_bwd(&Softmax {
        dims: (op.dims.heads, op.dims.nq, op.dims.nk),
        scale: op.scale,
        dtype,
        kind,
        down,
        along,
    })
}

/// Which keys count and what is added, with the numbers of `cu/softmax.cu`.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Whole,
    /// Keys before the first query.
    Causal(usize),
    /// Columns of the grid of keys.
    Grid(usize),
    Bias,
}

struct Softmax {
    /// Heads, queries, keys.
    dims: (usize, usize, usize),
    scale: f32,
    dtype: DType,
    kind: Kind,
    down: Option<Tensor>,
    along: Option<Tensor>,
}

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "masked_softmax"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        candle_core::bail!("the CPU's attention has its softmax inside")
    }

    fn cuda_fwd(&self, scores: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (reading, queue) = (Queue::of(scores), Queue::of(scores).with_type(self.dtype));
        let (heads, queries, keys) = self.dims;
        let rows = layout.shape().elem_count() / keys;
        let (code, offset, side) = match self.kind {
            Kind::Whole => (0, 0, 1),
            Kind::Causal(offset) => (1, offset, 1),
            Kind::Grid(side) => (2, 0, side),
            Kind::Bias => (3, 0, 1),
        };
        let mut out = queue.output(rows * keys)?;
        {
            let held = [&self.down, &self.along].map(|t| t.as_ref().map(Held::new));
            let [down, along] = held.each_ref().map(Option::as_ref);
            let from = |h: Option<&'_ Held<'_>>| h.map_or(0, |h| h.layout().start_offset());
            let (first_down, first_along) = (from(down), from(along));
            let down = down.map(Held::storage).transpose()?;
            let along = along.map(Held::storage).transpose()?;
            let down = down.map(|s| queue.reads_from(s, first_down)).transpose()?;
            let along = along.map(|s| queue.reads_from(s, first_along)).transpose()?;
            let (x, y) = (reading.reads(scores, layout)?, queue.writes(&mut out)?);
            let mut arguments = vec![
                x.at(),
                y.at(),
                launch::at(down.as_ref()),
                launch::at(along.as_ref()),
            ];
            let strides = held[0].as_ref().map_or([0; 4], |h| {
                let mut strides = [0; 4];
                for (to, from) in strides.iter_mut().zip(h.layout().stride()) {
                    *to = *from as i64;
                }
                strides
            });
            arguments.extend(strides.map(Argument::Long));
            arguments.push(Argument::Int(code));
            for n in [rows, heads, queries, keys, offset, side] {
                arguments.push(Argument::size(n)?);
            }
            arguments.push(Argument::Float(self.scale));
            queue.launch(&SOFTMAX, "masked_softmax", warps(rows), &arguments)?;
        }
        Ok((out, layout.shape().clone()))
    }
}
