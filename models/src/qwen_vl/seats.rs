//! Answers in JSON by graphs. Caches of a batch lie in one place from one request to the next, and a step of a few new tokens of each
//! sequence is kept as a graph over all of it, one for each number of tokens. Which sequences moved, how long they are and what they
//! read lies on the device: where nothing is new of one, it computes on what nobody asks for, behind the end of its cache.
//! `DRAGUNOV_CUDA_GRAPHS=1` asks for it; what does not go well is told once in the log, and steps go on as without it.

use std::sync::{Mutex, PoisonError};

use candle_core::{DType, Result as Candle, Tensor};
use dragunov_kernels::graph::{self, Graph, Values};

use super::cache::KvCache;
use super::decoder::{Decoder, NewTokens};
use super::grid::Positions;
use super::input::EncodedPrompt;
use crate::{Result, graphs};

/// Most sequences of one batch: what a kernel takes at once.
const MOST_SEQUENCES: usize = 64;
/// Most tokens that the caches have room for together: 1.2 GB of Qwen2.5-VL 3B in bf16.
const MOST_TOKENS: usize = 1 << 15;
/// Room of a cache is a multiple of this, so that prompts of other lengths find the same.
const ROOM: usize = 32;
/// New tokens of all sequences that one step is made of: up to there it waits for the weights it reads.
const MOST_NEW: usize = 64;

/// What a model keeps of its last batch.
#[derive(Debug, Default)]
pub(super) struct SeatsKept(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    seats: Option<Seats>,
    /// No second try.
    given_up: bool,
}

impl SeatsKept {
    /// Caches for a batch of that many sequences, of so many tokens at most. None where steps are not to be launched as graphs.
    pub(super) fn take(&self, decoder: &Decoder, sequences: usize, tokens: usize) -> Option<Seats> {
        let (rows, room) = (sequences.next_power_of_two(), tokens.next_multiple_of(ROOM));
        let fits = |rows: usize, room: usize| rows <= MOST_SEQUENCES && rows * room <= MOST_TOKENS;
        if !graph::asked_for(decoder.device()) || !fits(rows, room) {
            return None;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.given_up {
            return None;
        }
        let (mut rows, mut room) = (rows, room);
        if let Some(seats) = kept.seats.take() {
            if seats.rows() >= rows && seats.room() >= room {
                return Some(seats);
            }
            // Of batches in turn each fits into what the largest of them needs.
            let (most, longest) = (rows.max(seats.rows()), room.max(seats.room()));
            if fits(most, longest) {
                (rows, room) = (most, longest);
            }
        }
        match Seats::new(decoder, rows, room) {
            Ok(seats) => Some(seats),
            Err(error) => {
                told(&error);
                kept.given_up = true;
                None
            }
        }
    }

    /// Keeps them for the next batch.
    pub(super) fn give_back(&self, seats: Seats) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match seats.given_up {
            true => kept.given_up = true,
            false => kept.seats = Some(seats),
        }
    }
}

/// Caches with the graphs over them.
#[derive(Debug)]
pub(super) struct Seats {
    cache: KvCache,
    /// (rows, V) f32, behind the last step.
    scores: Tensor,
    steps: Vec<Step>,
    given_up: bool,
}

/// A step of so many new tokens of each sequence.
#[derive(Debug)]
struct Step {
    each: usize,
    /// u32: the tokens of all rows, then of each row the tokens in its cache and which of the new ones is its last.
    words: Tensor,
    new: NewTokens,
    graph: Option<Graph>,
    /// Whether it was made as it is captured.
    rehearsed: bool,
}

/// What is new of a sequence.
#[derive(Debug)]
pub(super) struct Seated<'a> {
    pub(super) prompt: &'a EncodedPrompt,
    /// Tokens of its answer that its cache holds.
    pub(super) answered: usize,
    pub(super) new: &'a [u32],
}

impl Seats {
    fn new(decoder: &Decoder, rows: usize, room: usize) -> Result<Self> {
        let (config, device) = (decoder.config(), decoder.device());
        Ok(Self {
            cache: KvCache::new(config, vec![0; rows], room, decoder.dtype(), device)?,
            scores: Tensor::zeros((rows, config.vocab_size), DType::F32, device)?,
            steps: Vec::new(),
            given_up: false,
        })
    }

    fn rows(&self) -> usize {
        self.cache.pads.len()
    }

    /// Tokens that each cache has room for.
    pub(super) fn room(&self) -> usize {
        self.cache.capacity()
    }

    /// The cache of a sequence, empty. One that grows has left its seat.
    pub(super) fn cache(&self, row: usize) -> Candle<KvCache> {
        self.cache.row(row)
    }

    /// Scores (rows, V) behind what is new of all sequences, which are all seated; rows where nothing is new hold nothing. The caches'
    /// own lengths stay. None where that is to be computed as without graphs.
    pub(super) fn step(&mut self, decoder: &Decoder, rows: &[Seated<'_>]) -> Option<Tensor> {
        let most = rows.iter().map(|row| row.new.len()).max()?;
        let each = most.next_power_of_two();
        let ends = |row: &Seated<'_>| row.prompt.ids.len() + row.answered + each;
        if self.given_up || each * self.rows() > MOST_NEW || rows.iter().any(|row| ends(row) > self.room()) {
            return None;
        }
        match self.scores(decoder, rows, each) {
            Ok(scores) => Some(scores),
            Err(error) => {
                told(&error);
                self.given_up = true;
                None
            }
        }
    }

    fn scores(&mut self, decoder: &Decoder, rows: &[Seated<'_>], each: usize) -> Result<Tensor> {
        let known = self.steps.iter().position(|step| step.each == each);
        let at = match known {
            Some(at) => at,
            None => {
                self.steps.push(Step::new(decoder, self.rows(), each)?);
                self.steps.len() - 1
            }
        };
        let (step, seats) = (&mut self.steps[at], self.cache.pads.len());
        step.fill(decoder, rows, seats)?;
        step.run(decoder, &self.cache, &self.scores)?;
        Ok(self.scores.force_contiguous()?)
    }
}

impl Step {
    fn new(decoder: &Decoder, rows: usize, each: usize) -> Candle<Self> {
        let (n, half) = (rows * each, decoder.config().head_dim() / 2);
        let words = Tensor::zeros(n + 2 * rows, DType::U32, decoder.device())?;
        Ok(Self {
            each,
            new: NewTokens {
                tokens: words.narrow(0, 0, n)?,
                angles: Tensor::zeros((1, n, half), DType::F32, decoder.device())?,
                cached: words.narrow(0, n, rows)?,
                last: words.narrow(0, n + rows, rows)?,
            },
            words,
            graph: None,
            rehearsed: false,
        })
    }

    /// Tells the device what is new of the first of the `seats`.
    fn fill(&self, decoder: &Decoder, rows: &[Seated<'_>], seats: usize) -> Candle<()> {
        let word = |n: usize| u32::try_from(n).map_err(candle_core::Error::wrap);
        let (mut tokens, mut cached) = (vec![0; seats * self.each], vec![0; seats]);
        let last = (0..seats).map(|seat| word(seat * self.each));
        let mut last = last.collect::<Candle<Vec<_>>>()?;
        let mut positions = Positions::text(0, self.each * seats);
        for (seat, row) in rows.iter().enumerate() {
            let first = seat * self.each;
            tokens[first..][..row.new.len()].copy_from_slice(row.new);
            cached[seat] = word(row.prompt.ids.len() + row.answered)?;
            last[seat] += word(row.new.len().max(1) - 1)?;
            let own = row.prompt.position_of(row.answered, self.each);
            for (all, own) in positions.axes.iter_mut().zip(&own.axes) {
                all[first..][..self.each].copy_from_slice(own);
            }
        }
        let words = [tokens, cached, last].concat();
        graph::refill(&self.words, Values::Words(&words))?;
        graph::refill(&self.new.angles, Values::Floats(&decoder.angles(&[positions])))
    }

    fn run(&mut self, decoder: &Decoder, cache: &KvCache, scores: &Tensor) -> Result<()> {
        let work = || -> Result<()> {
            let found = decoder.step_of_rows(&self.new, cache)?;
            Ok(scores.slice_set(&found, 0, 0)?)
        };
        if !self.rehearsed {
            graph::rehearse(decoder.device(), work)?;
            self.rehearsed = true;
            return Ok(());
        }
        let graph = match self.graph.take() {
            Some(graph) => graph,
            None => graph::capture(decoder.device(), || work().map_err(candle_core::Error::wrap))?,
        };
        Ok(self.graph.insert(graph).launch()?)
    }
}

fn told(error: &crate::ModelError) {
    graphs::not_launched("steps of answers in JSON", error);
}
