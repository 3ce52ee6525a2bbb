//! Attention of several sequences that lie one after the other, each with a cache of keys and values of its own.

use candle_core::{DType, Result, Tensor};

use super::{AttentionMask, attention};

/// New tokens of a sequence, and where its keys and values are kept.
#[derive(Debug, Clone, Copy)]
pub struct CachedSequence<'a> {
    /// (1, Hkv, room, d), dense.
    pub keys: &'a Tensor,
    /// As `keys`.
    pub values: &'a Tensor,
    /// Tokens that were there before the new ones.
    pub cached: usize,
    /// New tokens.
    pub new: usize,
}

/// `q` (1, H, N, d), the new tokens of one sequence after the other, to (1, N, H, d): each sees what its sequence's cache holds
/// up to itself. One launch on a GPU.
///
/// # Errors
/// Sequences whose tokens do not add up, caches without room, mixed element types.
pub fn attention_ragged(q: &Tensor, sequences: &[CachedSequence<'_>], scale: f32) -> Result<Tensor> {
    check(q, sequences)?;
    #[cfg(feature = "cuda")]
    if cuda::takes(q, sequences) {
        return cuda::attend(q, sequences, scale, None);
    }
    let mut first = 0;
    let mut outs = Vec::with_capacity(sequences.len());
    for s in sequences.iter().filter(|s| s.new > 0) {
        let seen = |t: &Tensor| t.narrow(2, 0, s.cached + s.new);
        let mask = match s.new {
            1 => AttentionMask::None,
            _ => AttentionMask::Causal { offset: s.cached },
        };
        let q = q.narrow(2, first, s.new)?;
        outs.push(attention(&q, &seen(s.keys)?, &seen(s.values)?, scale, mask)?);
        first += s.new;
    }
    Tensor::cat(&outs, 1)
}

/// [`attention_ragged`] behind as many tokens as `cached` (sequences, u32) says on the GPU, where alone it is known: what is launched once
/// can be launched again. Of a sequence's `cached` only the room is held against. Keys and values may be parts of a larger cache, a
/// head further than its room apart.
///
/// # Errors
/// As there; devices without CUDA kernels, and what these do not take.
pub fn attention_ragged_behind(
    q: &Tensor,
    sequences: &[CachedSequence<'_>],
    scale: f32,
    cached: &Tensor,
) -> Result<Tensor> {
    check_behind(q, sequences, cached)?;
    #[cfg(feature = "cuda")]
    if cuda::takes(q, sequences) {
        return cuda::attend(q, sequences, scale, Some(cached));
    }
    let _ = scale;
    candle_core::bail!("{:?} counts no tokens on a device", q.device())
}

/// [`check`], of what a graph's kernels get.
pub(crate) fn check_behind(t: &Tensor, sequences: &[CachedSequence<'_>], cached: &Tensor) -> Result<()> {
    if sequences.is_empty() || cached.dims() != [sequences.len()] || cached.dtype() != DType::U32 {
        candle_core::bail!("{:?} for {} sequences", cached.layout(), sequences.len())
    }
    check_with(t, sequences, |s| {
        room(s.keys).is_some() && room(s.keys) == room(s.values)
    })
}

/// Tokens between one head and the next of keys or values (1, heads, n, d) whose tokens lie one after the other.
fn room(t: &Tensor) -> Option<usize> {
    let (&[_, head, token, 1], &[_, _, n, d]) = (t.stride(), t.dims()) else {
        return None;
    };
    let whole = d > 0 && token == d && head.is_multiple_of(d);
    whole.then(|| head / d).filter(|room| *room >= n)
}

/// `t` (1, heads, N, d) holds the new tokens of `sequences`.
pub(crate) fn check(t: &Tensor, sequences: &[CachedSequence<'_>]) -> Result<()> {
    check_with(t, sequences, |s| {
        s.keys.is_contiguous() && s.values.is_contiguous()
    })
}

fn check_with(
    t: &Tensor,
    sequences: &[CachedSequence<'_>],
    lies: impl Fn(&CachedSequence<'_>) -> bool,
) -> Result<()> {
    let (b, h, n, d) = t.dims4()?;
    let tokens: usize = sequences.iter().map(|s| s.new).sum();
    if b != 1 || tokens != n || n == 0 {
        candle_core::bail!("{tokens} new tokens of sequences, {:?} given", t.shape())
    }
    for s in sequences {
        let (one, heads, room, width) = s.keys.dims4()?;
        let fits = one == 1 && width == d && heads > 0 && h.is_multiple_of(heads) && s.cached + s.new <= room;
        if !fits || !lies(s) || s.keys.dims() != s.values.dims() {
            let (keys, values) = (s.keys.layout(), s.values.layout());
            candle_core::bail!(
                "{:?} behind {} tokens of a cache {keys:?}, {values:?}",
                t.shape(),
                s.cached
            )
        }
    }
    Ok(())
}

#[cfg(feature = "cuda")]
pub(crate) mod cuda {
    use candle_core::{
        CpuStorage, CudaStorage, CustomOp1, DType, Layout, Result, Shape as Dimensions, Tensor,
    };

    use super::CachedSequence;
    use crate::backend::Backend;
    use crate::cuda::arguments::{MOST_SEQUENCES, Sequences, Shape};
    use crate::cuda::launch::{self, Argument, Held, Operand, Queue};
    use crate::ops::attention::cuda::WIDEST;
    use crate::ops::attention::flash::{Kernel, THREADS, in_vectors, of, strides};

    pub(crate) fn takes(t: &Tensor, sequences: &[CachedSequence<'_>]) -> bool {
        let floats = matches!(t.dtype(), DType::F32 | DType::BF16 | DType::F16);
        let (heads, d) = (sequences[0].keys.dims()[1], t.dims()[3]);
        let alike = |s: &CachedSequence<'_>| {
            s.keys.dims()[1] == heads && s.keys.dtype() == t.dtype() && s.values.dtype() == t.dtype()
        };
        let fits = floats && d <= WIDEST && d.is_multiple_of(2) && sequences.iter().all(alike);
        fits && Backend::has_cuda_kernels(t.device())
    }

    fn dense_rows(t: &Tensor) -> Result<Tensor> {
        match t.stride().last() {
            Some(1) => Ok(t.clone()),
            _ => t.contiguous(),
        }
    }

    /// As many sequences as a launch takes, with the first of their tokens.
    pub(crate) fn launches<'a, 'b>(
        sequences: &'b [CachedSequence<'a>],
    ) -> impl Iterator<Item = (usize, &'b [CachedSequence<'a>])> {
        let mut first = 0;
        sequences.chunks(MOST_SEQUENCES).map(move |chunk| {
            let begin = first;
            first += chunk.iter().map(|s| s.new).sum::<usize>();
            (begin, chunk)
        })
    }

    /// Where the counts of the `i`-th launch's sequences are, if they are in memory.
    pub(crate) fn of_launch(counted: Option<&Operand<'_>>, i: usize) -> Argument<'static> {
        let first = (i * MOST_SEQUENCES * size_of::<u32>()) as u64;
        counted.map_or(Argument::At(0), |counted| Argument::At(counted.address() + first))
    }

    /// What a kernel takes of `chunk`. The memory is that of `held`, and stays while it is held.
    pub(crate) fn described(
        queue: &Queue,
        chunk: &[CachedSequence<'_>],
        held: &[(Held<'_>, Held<'_>)],
        mut first: usize,
    ) -> Result<(Sequences, bool)> {
        let size = |n: usize| i32::try_from(n).map_err(candle_core::Error::wrap);
        let mut all = Sequences {
            k: [0; MOST_SEQUENCES],
            v: [0; MOST_SEQUENCES],
            first: [0; MOST_SEQUENCES],
            queries: [0; MOST_SEQUENCES],
            keys: [0; MOST_SEQUENCES],
            room: [0; MOST_SEQUENCES],
        };
        let mut aligned = true;
        for (i, (s, (keys, values))) in chunk.iter().zip(held).enumerate() {
            let from = |held: &Held<'_>| held.layout().start_offset();
            let k = queue.reads_from(keys.storage()?, from(keys))?;
            let v = queue.reads_from(values.storage()?, from(values))?;
            aligned &= k.is_aligned() && v.is_aligned();
            (all.k[i], all.v[i]) = (k.address(), v.address());
            all.first[i] = size(first)?;
            all.queries[i] = size(s.new)?;
            all.keys[i] = size(s.cached + s.new)?;
            all.room[i] = size(super::room(s.keys).unwrap_or(s.keys.dims()[2]))?;
            first += s.new;
        }
        Ok((all, aligned))
    }

    pub(crate) fn held<'a>(chunk: &[CachedSequence<'a>]) -> Vec<(Held<'a>, Held<'a>)> {
        chunk
            .iter()
            .map(|s| (Held::new(s.keys), Held::new(s.values)))
            .collect()
    }

    pub(super) fn attend(
        q: &Tensor,
        sequences: &[CachedSequence<'_>],
        scale: f32,
        cached: Option<&Tensor>,
    ) -> Result<Tensor> {
        let op = Ragged {
            sequences,
            scale,
            cached,
        };
        dense_rows(q)?.apply_op1_no_bwd(&op)
    }

    struct Ragged<'a, 'b> {
        sequences: &'b [CachedSequence<'a>],
        scale: f32,
        cached: Option<&'b Tensor>,
    }

    impl CustomOp1 for Ragged<'_, '_> {
        fn name(&self) -> &'static str {
            "attention_ragged"
        }

        fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Dimensions)> {
            candle_core::bail!("the CPU attends to one sequence after the other")
        }

        fn cuda_fwd(&self, q: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Dimensions)> {
            let (_, heads, n, d) = layout.shape().dims4()?;
            let kv_heads = self.sequences[0].keys.dims()[1];
            let queue = Queue::of(q);
            let size = |n: usize| i32::try_from(n).map_err(candle_core::Error::wrap);
            let mut out = queue.output(n * heads * d)?;
            {
                let from = queue.reads_from(q, layout.start_offset())?;
                let to = queue.writes(&mut out)?;
                let q_strides = strides(layout);
                let kernel = Kernel::of_sequences(d, queue.dtype());
                let pack = heads / kv_heads;
                let (words, counted) = (Queue::of(q).with_type(DType::U32), self.cached.map(Held::new));
                let counted = launch::optional(counted.as_ref(), &words)?;
                for (i, (first, chunk)) in launches(self.sequences).enumerate() {
                    let caches = held(chunk);
                    let (all, aligned) = described(&queue, chunk, &caches, first)?;
                    let most = chunk.iter().map(|s| s.new).max().unwrap_or(0);
                    let tiles = (most * pack).div_ceil(kernel.tall).max(1);
                    let in_cache = [0, 0, d as i64, 1];
                    let whole = |s: &[i64; 4]| in_vectors(s, queue.dtype());
                    let shape = Shape {
                        q: of(&q_strides),
                        k: of(&in_cache),
                        v: of(&in_cache),
                        heads: size(heads)?,
                        kv_heads: size(kv_heads)?,
                        pack: size(pack)?,
                        queries: size(n)?,
                        d: size(d)?,
                        tiles: size(tiles)?,
                        scale: self.scale,
                        aligned: i32::from(
                            aligned && from.is_aligned() && whole(&q_strides) && whole(&in_cache),
                        ),
                        ..Shape::default()
                    };
                    let blocks = size(tiles * kv_heads)? as u32;
                    let arguments = [
                        from.at(),
                        to.at(),
                        Argument::Sequences(&all),
                        of_launch(counted.as_ref(), i),
                        Argument::Shape(&shape),
                    ];
                    let grid = (blocks, chunk.len() as u32);
                    queue.launch(kernel.module, kernel.name, (grid, (THREADS, 1)), &arguments)?;
                }
            }
            Ok((out, Dimensions::from((1, n, heads, d))))
        }
    }
}
