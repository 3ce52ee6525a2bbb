//! Steps of decoding of which everything that changes lies on the GPU, at addresses that stay: so that one step, kept as a
//! graph, is every later one ([`crate::graph`]). The CPU has no use for them.

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(not(feature = "cuda"))]
mod cuda {
    use super::{Result, StepState, Tensor};

    pub(super) fn begin(_: &StepState, embedding: &Tensor) -> Result<Tensor> {
        candle_core::bail!("a step on {:?}, which has no CUDA kernels", embedding.device())
    }

    pub(super) fn end(_: &StepState, logits: &Tensor) -> Result<()> {
        candle_core::bail!("a step on {:?}, which has no CUDA kernels", logits.device())
    }
}

use candle_core::{D, DType, Result, Tensor};

use crate::graph::{self, Values};

/// Of a token's byte, as in `cu/decoding.cu`.
const SEEN: u8 = 1;
const ENDS: u8 = 2;

/// What is held against tokens, of all sequences alike.
#[derive(Debug, Clone, Copy)]
pub struct StepRules {
    /// As in [`argmax_tokens`](crate::argmax_tokens), of tokens seen.
    pub penalty: f32,
    /// Tokens that end an answer may not come before so many of it are there.
    pub least: usize,
}

/// The state of some sequences between two steps.
#[derive(Debug)]
pub struct StepState {
    /// (steps, sequences, d / 2): the rotation of each step's tokens.
    tables: (Tensor, Tensor),
    /// (sequences) u32: what the next step reads.
    tokens: Tensor,
    /// (1 + 2 sequences) u32: steps done; of each sequence the tokens in its cache, and whether it has ended.
    counts: Tensor,
    choice: Choice,
}

#[derive(Debug)]
enum Choice {
    Greedy(Greedy),
    /// (sequences, vocabulary) f32, of the last step: who asks draws from it.
    Drawn(Tensor),
}

#[derive(Debug)]
#[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "of the kernels"))]
struct Greedy {
    rules: StepRules,
    /// (sequences, vocabulary) bytes.
    noted: Tensor,
    /// (2 sequences) u32, zero between steps.
    best: Tensor,
}

/// What a step begins with.
#[derive(Debug)]
pub struct StepInputs {
    /// (sequences, C), the tokens' rows of the embedding.
    pub x: Tensor,
    /// (sequences, d / 2), in the embedding's type.
    pub cos: Tensor,
    pub sin: Tensor,
}

/// A sequence before the first step.
#[derive(Debug, Clone, Copy)]
pub struct StepStart<'a> {
    /// The answer's first token, which the first step reads.
    pub token: u32,
    /// Tokens in its cache.
    pub cached: usize,
    /// Each once, that token among them; those outside of the vocabulary are left out.
    pub seen: &'a [u32],
    pub ended: bool,
}

impl StepState {
    /// `tables` as in [`set_tables`](Self::set_tables); tokens that end an answer in `ends`. Without `rules` tokens are drawn elsewhere,
    /// from [`logits`](Self::logits), and [set](Self::set_tokens).
    ///
    /// # Errors
    /// No sequences or more than 1,024, tables that do not fit.
    pub fn new(
        starts: &[StepStart<'_>],
        vocabulary: usize,
        ends: &[u32],
        rules: Option<StepRules>,
        tables: (Tensor, Tensor),
    ) -> Result<Self> {
        let (n, device) = (starts.len(), tables.0.device().clone());
        if n == 0 || n > 1024 || vocabulary == 0 || rules.is_some_and(|r| i32::try_from(r.least).is_err()) {
            candle_core::bail!("{n} sequences of {vocabulary} tokens, {rules:?}")
        }
        let choice = match rules {
            Some(rules) => Choice::Greedy(Greedy {
                rules,
                noted: Tensor::from_vec(noted(starts, ends, vocabulary), (n, vocabulary), &device)?,
                best: Tensor::zeros(2 * n, DType::U32, &device)?,
            }),
            None => Choice::Drawn(Tensor::zeros((n, vocabulary), DType::F32, &device)?),
        };
        let count = |n: usize| u32::try_from(n).map_err(candle_core::Error::wrap);
        let mut counts = vec![0];
        for start in starts {
            counts.push(count(start.cached)?);
        }
        counts.extend(starts.iter().map(|start| u32::from(start.ended)));
        let tokens: Vec<u32> = starts.iter().map(|start| start.token).collect();
        let mut this = Self {
            tables: tables.clone(),
            tokens: Tensor::from_vec(tokens, n, &device)?,
            counts: Tensor::from_vec(counts, 1 + 2 * n, &device)?,
            choice,
        };
        this.set_tables(tables)?;
        Ok(this)
    }

    /// Cosines and sines (steps, sequences, d / 2) of the tokens of each step from the first one on, for as many steps as will be made.
    ///
    /// # Errors
    /// Other shapes.
    pub fn set_tables(&mut self, (cos, sin): (Tensor, Tensor)) -> Result<()> {
        let fits = |t: &Tensor| t.rank() == 3 && t.dims()[1] == self.tokens.dims()[0] && t.is_contiguous();
        if !fits(&cos) || !fits(&sin) || cos.dims() != sin.dims() || cos.dtype() != sin.dtype() {
            let (cos, sin, n) = (cos.layout(), sin.layout(), self.tokens.dims());
            candle_core::bail!("tables {cos:?}, {sin:?} for {n:?} sequences")
        }
        self.tables = (cos, sin);
        Ok(())
    }

    /// How many tokens the caches hold, (sequences) u32, as [`linear_rotated`](crate::linear_rotated) reads it.
    pub fn cached(&self) -> Result<Tensor> {
        self.counts.narrow(0, 1, self.tokens.dims()[0])
    }

    /// Where the tokens found last are, (sequences) u32.
    pub fn tokens(&self) -> &Tensor {
        &self.tokens
    }

    /// What this step's tokens are to the network: rows of `embedding` (V, C), and their rotations. One launch.
    ///
    /// # Errors
    /// Devices without CUDA kernels, tables of another type, half a head wider than C.
    pub fn begin(&self, embedding: &Tensor) -> Result<StepInputs> {
        let (_, width) = embedding.dims2()?;
        let (rows, half) = (self.tokens.dims()[0], self.tables.0.dim(D::Minus1)?);
        if embedding.dtype() != self.tables.0.dtype() || half > width || half == 0 {
            candle_core::bail!(
                "an embedding {:?} and tables {:?}",
                embedding.layout(),
                self.tables.0.layout()
            )
        }
        let all = cuda::begin(self, embedding)?;
        let part =
            |first: usize, columns: usize| all.narrow(0, first, rows * columns)?.reshape((rows, columns));
        Ok(StepInputs {
            x: part(0, width)?,
            cos: part(rows * width, half)?,
            sin: part(rows * (width + half), half)?,
        })
    }

    /// Scores of the last step, (sequences, vocabulary) in f32, where the next tokens are to be drawn from them. The next step needs
    /// nothing of them.
    pub fn logits(&self) -> Option<&Tensor> {
        match &self.choice {
            Choice::Greedy(_) => None,
            Choice::Drawn(logits) => Some(logits),
        }
    }

    /// Makes tokens that were drawn those of the next step.
    ///
    /// # Errors
    /// Another number of them; devices without CUDA.
    pub fn set_tokens(&self, tokens: &[u32]) -> Result<()> {
        if tokens.len() != self.tokens.dims()[0] {
            candle_core::bail!("{} tokens for {:?}", tokens.len(), self.tokens.shape())
        }
        graph::refill(&self.tokens, Values::Words(tokens))
    }

    /// Finds the next tokens by `logits` (sequences, vocabulary) in f32, and makes them the next step's; or keeps the logits, where they
    /// are to be drawn. Two launches.
    ///
    /// # Errors
    /// Other shapes, devices without CUDA kernels.
    pub fn end(&self, logits: &Tensor) -> Result<()> {
        let (Choice::Greedy(Greedy { noted: like, .. }) | Choice::Drawn(like)) = &self.choice;
        if logits.dims() != like.dims() || logits.dtype() != DType::F32 || !logits.is_contiguous() {
            candle_core::bail!("logits {:?} for {:?}", logits.layout(), like.shape())
        }
        if let Choice::Drawn(kept) = &self.choice {
            kept.slice_set(logits, 0, 0)?;
        }
        cuda::end(self, logits)
    }
}

/// Bytes of all tokens of each sequence.
fn noted(starts: &[StepStart<'_>], ends: &[u32], vocabulary: usize) -> Vec<u8> {
    let mut noted = vec![0; starts.len() * vocabulary];
    for (noted, start) in noted.chunks_exact_mut(vocabulary).zip(starts) {
        for (ids, bit) in [(start.seen, SEEN), (ends, ENDS)] {
            for id in ids {
                if let Some(of_it) = noted.get_mut(*id as usize) {
                    *of_it |= bit;
                }
            }
        }
    }
    noted
}
