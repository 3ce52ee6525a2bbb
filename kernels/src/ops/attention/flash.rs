//! The whole of attention in one launch: of `cu/flash.cu` for 16-bit elements, of `cu/attention.cu` for f32.

use candle_core::{CudaStorage, DType, Layout, Result, Shape as Dimensions, Tensor};

use super::{Attention, AttentionMask};
use crate::backend::device_of;
use crate::cuda::arguments::{Shape, Strides};
use crate::cuda::launch::{self, ATTENTION, Argument, FLASH, Held, Module, Operand, Queue};

/// Threads of a block.
pub(super) const THREADS: u32 = 128;
/// More keys than there are: none is hidden.
const ALL_SEEN: usize = 1 << 30;

/// Of what [`super::cuda::takes`] lets through.
pub(super) fn forward(
    op: &Attention<'_>,
    [(q, ql), (k, kl), (v, vl)]: [(&CudaStorage, &Layout); 3],
) -> Result<(CudaStorage, Dimensions)> {
    let dims = op.dims;
    let queue = Queue::of(q);
    let dtype = queue.dtype();
    let like = |t: &Tensor| t.to_dtype(dtype);
    let (mut bias, mut rel_h, mut rel_w, mut segments) = (None, None, None, None);
    match op.mask {
        AttentionMask::None | AttentionMask::Causal { .. } => {}
        AttentionMask::RelPos { rel_h: h, rel_w: w } => {
            (rel_h, rel_w) = (Some(like(h)?.contiguous()?), Some(like(w)?.contiguous()?));
        }
        AttentionMask::Segments(of) => segments = Some(of.on(&device_of(q))?),
        AttentionMask::Bias(b) => bias = Some(like(b)?.broadcast_as(dims.scores())?),
    }
    let size = |n: usize| i32::try_from(n).map_err(|_| too_large(n));
    // Heads that share keys are rows of one block, unless each block has its own segment.
    let pack = if segments.is_some() { 1 } else { dims.group() };
    let (longest, across) = match op.mask {
        AttentionMask::Segments(of) => (of.longest(), of.cumulative().len() - 1),
        _ => (dims.nq, 1),
    };
    let kernel = Kernel::of(op, dtype);
    let tiles = (longest * pack).div_ceil(kernel.tall);
    let offset = match op.mask {
        AttentionMask::Causal { offset } => offset.min(ALL_SEEN),
        _ => ALL_SEEN,
    };
    let mut out = queue.output(dims.out_shape().elem_count())?;
    {
        let held = [&bias, &rel_h, &rel_w].map(|t| t.as_ref().map(Held::new));
        let from = |h: &Option<Held<'_>>| h.as_ref().map_or(0, |h| h.layout().start_offset());
        let mut extra: Vec<Option<Operand<'_>>> = Vec::new();
        for held in &held {
            let storage = held.as_ref().map(Held::storage).transpose()?;
            extra.push(storage.map(|s| queue.reads_from(s, from(held))).transpose()?);
        }
        let [bias, down, along] = [0, 1, 2].map(|i| launch::at(extra[i].as_ref()));
        let counts = Queue::of(q).with_type(DType::U32);
        let cumulative = segments.as_ref().map(Held::new);
        let cumulative = launch::optional(cumulative.as_ref(), &counts)?;
        let [q, k, v] = [(q, ql), (k, kl), (v, vl)]
            .map(|(storage, layout)| queue.reads_from(storage, layout.start_offset()));
        let (q, k, v) = (q?, k?, v?);
        let y = queue.writes(&mut out)?;
        let bias_strides = held[0].as_ref().map_or([0; 4], |h| strides(h.layout()));
        let layouts = [ql, kl, vl].map(strides);
        let shape = Shape {
            q: of(&layouts[0]),
            k: of(&layouts[1]),
            v: of(&layouts[2]),
            bias: of(&bias_strides),
            bias_key: bias_strides[3],
            heads: size(dims.heads)?,
            kv_heads: size(dims.kv_heads)?,
            pack: size(pack)?,
            queries: size(dims.nq)?,
            keys: size(dims.nk)?,
            d: size(dims.d)?,
            offset: size(offset)?,
            tiles: size(tiles)?,
            grid_rows: size(rel_h.as_ref().map_or(0, |t| t.dims()[3]))?,
            grid_columns: size(rel_w.as_ref().map_or(0, |t| t.dims()[3]))?,
            scale: op.scale,
            aligned: i32::from(
                [&q, &k, &v].iter().all(|t| t.is_aligned())
                    && layouts.iter().all(|l| in_vectors(l, dtype))
                    && in_vectors(&[dims.d as i64; 4], dtype),
            ),
        };
        let blocks = size(tiles * dims.batch * (dims.heads / pack))? as u32;
        let segments = u32::try_from(across).ok().filter(|n| *n <= MOST_SEGMENTS);
        let grid = (blocks, segments.ok_or_else(|| too_large(across))?);
        let shape = Argument::Shape(&shape);
        let (at_q, at_k, at_v, at_y) = (q.at(), k.at(), v.at(), y.at());
        let at_segments = launch::at(cumulative.as_ref());
        let arguments = match (dtype, op.mask) {
            (DType::F32, _) => vec![at_q, at_k, at_v, at_y, at_segments, bias, down, along, shape],
            (_, AttentionMask::RelPos { .. }) => vec![at_q, at_k, at_v, at_y, down, along, shape],
            (_, AttentionMask::Bias(_)) => vec![at_q, at_k, at_v, at_y, bias, shape],
            _ => vec![at_q, at_k, at_v, at_y, at_segments, shape],
        };
        queue.launch(kernel.module, kernel.name, (grid, (THREADS, 1)), &arguments)?;
    }
    Ok((out, dims.out_shape()))
}

/// Blocks along y.
const MOST_SEGMENTS: u32 = 65_535;

fn too_large(n: usize) -> candle_core::Error {
    candle_core::Error::Msg(format!("attention: {n} is more than a CUDA kernel counts"))
}

/// Of (batch, head, token, element), 0 where a dimension has one place only.
pub(super) fn strides(layout: &Layout) -> [i64; 4] {
    let mut strides = [0; 4];
    for ((to, stride), n) in strides.iter_mut().zip(layout.stride()).zip(layout.dims()) {
        *to = if *n == 1 { 0 } else { *stride as i64 };
    }
    strides
}

pub(super) fn of(strides: &[i64; 4]) -> Strides {
    let [batch, head, token, _] = *strides;
    Strides { batch, head, token }
}

/// Whether rows that begin at these strides begin at whole vectors of 16 bytes.
pub(super) fn in_vectors(strides: &[i64; 4], dtype: DType) -> bool {
    let vector = 16 / dtype.size_in_bytes() as i64;
    strides[..3].iter().all(|n| n % vector == 0)
}

/// Which kernel, and the rows of its blocks.
pub(super) struct Kernel {
    pub(super) module: &'static Module,
    pub(super) name: &'static str,
    pub(super) tall: usize,
}

/// The first name whose width is at least `d`.
fn widest(d: usize, names: [(usize, &'static str); 4]) -> &'static str {
    names
        .into_iter()
        .find(|(width, _)| d <= *width)
        .map_or(names[3].1, |(_, name)| name)
}

macro_rules! names {
    ($d:expr, $($prefix:literal $width:literal),*) => {
        widest($d, [$(($width, concat!($prefix, $width))),*])
    };
}

impl Kernel {
    fn of(op: &Attention<'_>, dtype: DType) -> Self {
        let d = op.dims.d;
        if dtype == DType::F32 {
            return Self {
                module: &ATTENTION,
                name: names!(d, "attention_" 32, "attention_" 64, "attention_" 80, "attention_" 128),
                tall: rows_of_f32(d),
            };
        }
        let name = match op.mask {
            AttentionMask::Bias(_) => {
                names!(d, "flash_bias_" 32, "flash_bias_" 64, "flash_bias_" 128, "flash_bias_" 128)
            }
            AttentionMask::RelPos { rel_w, .. } if rel_w.dims()[3] <= 16 => {
                names!(d, "flash_grid16_" 32, "flash_grid16_" 64, "flash_grid16_" 80, "flash_grid16_" 80)
            }
            AttentionMask::RelPos { .. } => {
                names!(d, "flash_grid64_" 32, "flash_grid64_" 64, "flash_grid64_" 80, "flash_grid64_" 80)
            }
            _ => names!(d, "flash_" 32, "flash_" 64, "flash_" 80, "flash_" 128),
        };
        Self {
            module: &FLASH,
            name,
            tall: 64,
        }
    }

    /// Of sequences with caches of their own.
    pub(super) fn of_sequences(d: usize, dtype: DType) -> Self {
        if dtype == DType::F32 {
            return Self {
                module: &ATTENTION,
                name: names!(d, "attention_ragged_" 32, "attention_ragged_" 64, "attention_ragged_" 80, "attention_ragged_" 128),
                tall: rows_of_f32(d),
            };
        }
        Self {
            module: &FLASH,
            name: names!(d, "flash_ragged_" 32, "flash_ragged_" 64, "flash_ragged_" 128, "flash_ragged_" 128),
            tall: 64,
        }
    }
}

/// As in `cu/attention.cu`.
fn rows_of_f32(d: usize) -> usize {
    if d > 64 { 32 } else { 64 }
}
