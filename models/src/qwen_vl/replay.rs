//! Decoding by a graph: one step is kept from the GPU's queue and launched again for every token, one call of the driver where
//! the step makes some sixty a layer. `DRAGUNOV_CUDA_GRAPHS=1` asks for it; what does not go well is told once in the log, and steps
//! go on as without it.

use candle_core::Tensor;
use dragunov_kernels::graph::{self, Graph};
use dragunov_kernels::{StepRules, StepState};

use super::cache::KvCache;
use super::decoder::Decoder;
use super::input::EncodedPrompt;
use super::sampling::{GenerateOptions, Sampler, Sampling};
use crate::observer::{Observer, Stage, Unobserved};
use crate::{ModelError, Result, graphs};

/// What is behind the tokens that were chosen last.
#[derive(Debug)]
pub(super) enum Ahead {
    /// Their tokens, 0 for answers that had ended.
    Tokens(Vec<u32>),
    /// Scores (B, V) to draw from.
    Scores(Tensor),
}

/// The answers of a batch from their second tokens on.
#[derive(Debug)]
pub(super) struct Replay<'m> {
    decoder: &'m Decoder,
    batch: &'m [EncodedPrompt],
    steps: StepState,
    /// Of the cache that there is now: one that grows moves.
    graph: Option<Graph>,
    /// Whether a step was made as it is captured: it loaded the kernels' code, which a capture cannot.
    tried: bool,
}

impl<'m> Replay<'m> {
    /// None where steps are not to be launched as graphs, or cannot be. `first` holds the first tokens, which the samplers have seen.
    pub(super) fn new(
        decoder: &'m Decoder,
        batch: &'m [EncodedPrompt],
        options: &GenerateOptions,
        (samplers, first, ended): (&[Sampler], &[u32], &[bool]),
        (ends, cache): (&[u32], &KvCache),
    ) -> Option<Self> {
        if !graph::asked_for(decoder.device()) {
            return None;
        }
        let starts: Vec<_> = samplers
            .iter()
            .zip(first)
            .zip(ended.iter().zip(&cache.pads))
            .map(|((sampler, &token), (&ended, pad))| sampler.start(token, cache.len() - pad, ended))
            .collect();
        let greedy = options.sampling == Sampling::Greedy;
        let rules = greedy.then_some(StepRules {
            penalty: options.repetition_penalty,
            least: options.min_new_tokens,
        });
        let vocabulary = decoder.config().vocab_size;
        let steps = tables(decoder, batch, cache)
            .and_then(|tables| StepState::new(&starts, vocabulary, ends, rules, tables));
        match steps {
            Ok(steps) => Some(Self {
                decoder,
                batch,
                steps,
                graph: None,
                tried: false,
            }),
            Err(error) => {
                told(&error.into());
                None
            }
        }
    }

    /// What is behind `tokens`, the last ones; the cache grows by one. None where that is to be found as without graphs, now and later:
    /// the cache then is as it was.
    ///
    /// # Errors
    /// What `observer` answers.
    pub(super) fn next(
        &mut self,
        tokens: &[u32],
        cache: &mut KvCache,
        observer: &mut dyn Observer,
    ) -> Result<Option<Ahead>> {
        match self.step(tokens, cache, observer) {
            Ok(ahead) => {
                cache.len += 1;
                Ok(Some(ahead))
            }
            Err(error @ ModelError::Cancelled) => Err(error),
            Err(error) => {
                told(&error);
                Ok(None)
            }
        }
    }

    fn step(&mut self, tokens: &[u32], cache: &mut KvCache, observer: &mut dyn Observer) -> Result<Ahead> {
        if self.steps.logits().is_some() {
            self.steps.set_tokens(tokens)?;
        }
        if cache.is_full() {
            self.graph = None;
            cache.reserve(1)?;
            self.steps.set_tables(tables(self.decoder, self.batch, cache)?)?;
        }
        if self.tried {
            let graph = match self.graph.take() {
                Some(graph) => graph,
                None => graph::capture(self.decoder.device(), || {
                    let logits = self.decoder.step(&self.steps, cache, &mut Unobserved);
                    self.steps.end(&logits.map_err(candle_core::Error::wrap)?)
                })?,
            };
            self.graph.insert(graph).launch()?;
        } else {
            let logits = self.decoder.step(&self.steps, cache, observer)?;
            self.steps.end(&logits)?;
            self.tried = true;
        }
        if let Some(scores) = self.steps.logits() {
            return Ok(Ahead::Scores(
                observer.stage(Stage::of("text.scores"), scores.clone())?,
            ));
        }
        let tokens = observer.stage(Stage::of("text.tokens"), self.steps.tokens().clone())?;
        Ok(Ahead::Tokens(tokens.to_vec1()?))
    }
}

/// Rotations of all steps that the cache has room for, from the first one on.
fn tables(
    decoder: &Decoder,
    batch: &[EncodedPrompt],
    cache: &KvCache,
) -> candle_core::Result<(Tensor, Tensor)> {
    let longest = batch.iter().map(|e| e.ids.len()).max().unwrap_or(0);
    let steps = cache.capacity().saturating_sub(longest).max(1);
    let positions: Vec<_> = batch.iter().map(|e| e.position_of(0, steps)).collect();
    decoder.tables(&positions)
}

fn told(error: &ModelError) {
    graphs::not_launched("steps of decoding", error);
}
