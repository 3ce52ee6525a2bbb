//! A sequence that can be tried and taken back: the cache keeps the prompt, the answer behind it is replaced at will,
//! and only what differs is computed. Several go on in one pass of the decoder.

use candle_core::Tensor;

use super::cache::KvCache;
use super::decoder::{Decoder, Step};
use super::input::EncodedPrompt;
use crate::Result;
use crate::observer::Observer;

pub(super) struct Session<'m> {
    prompt: &'m EncodedPrompt,
    cache: KvCache,
    /// Answer tokens in the cache.
    answer: Vec<u32>,
    /// Scores behind them, and behind the prompt alone.
    logits: Vec<f32>,
    prompt_logits: Vec<f32>,
}

impl<'m> Session<'m> {
    /// Reads the prompts of a batch, embedded one after the other as `x` (1, N, C); every cache gets room for `room`
    /// more tokens.
    pub(super) fn open(
        decoder: &Decoder,
        batch: &'m [EncodedPrompt],
        x: &Tensor,
        room: usize,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Self>> {
        let cache = |prompt: &EncodedPrompt| {
            let capacity = prompt.ids.len() + room;
            KvCache::new(
                decoder.config(),
                vec![0],
                capacity,
                decoder.dtype(),
                decoder.device(),
            )
        };
        let mut caches = batch.iter().map(cache).collect::<candle_core::Result<Vec<_>>>()?;
        let mut steps: Vec<Step<'_>> = caches
            .iter_mut()
            .zip(batch)
            .map(|(cache, prompt)| Step {
                cache,
                positions: prompt.positions.clone(),
            })
            .collect();
        let logits = forward(decoder, x, &mut steps, observer)?;
        Ok(batch
            .iter()
            .zip(caches)
            .zip(logits)
            .map(|((prompt, cache), logits)| Self {
                prompt,
                cache,
                answer: Vec::new(),
                prompt_logits: logits.clone(),
                logits,
            })
            .collect())
    }

    /// Scores over the vocabulary behind the current answer.
    pub(super) fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// Makes each answer the current one of its session.
    pub(super) fn go_to(
        decoder: &Decoder,
        moves: Vec<(&mut Self, Vec<u32>)>,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let mut moved = Vec::new();
        let mut tokens = Vec::new();
        for (session, answer) in moves {
            if session.answer == answer {
                continue;
            }
            if answer.is_empty() {
                session.cache.truncate(session.prompt.ids.len());
                session.answer.clear();
                session.logits.clone_from(&session.prompt_logits);
                continue;
            }
            let shared = session
                .answer
                .iter()
                .zip(&answer)
                .take_while(|(a, b)| a == b)
                .count();
            // Scores are kept for the end only: a shorter answer's last token is read again.
            let keep = shared.min(answer.len() - 1);
            session.cache.truncate(session.prompt.ids.len() + keep);
            tokens.extend_from_slice(&answer[keep..]);
            let positions = session.prompt.position_of(keep, answer.len() - keep);
            session.answer = answer;
            moved.push((session, positions));
        }
        if moved.is_empty() {
            return Ok(());
        }
        let x = decoder.embed(&tokens)?.unsqueeze(0)?;
        let mut outputs = Vec::new();
        let mut steps = Vec::new();
        for (session, positions) in moved {
            steps.push(Step {
                cache: &mut session.cache,
                positions,
            });
            outputs.push(&mut session.logits);
        }
        for (output, logits) in outputs
            .into_iter()
            .zip(forward(decoder, &x, &mut steps, observer)?)
        {
            *output = logits;
        }
        Ok(())
    }
}

/// Scores behind the last new token of each sequence.
fn forward(
    decoder: &Decoder,
    x: &Tensor,
    steps: &mut [Step<'_>],
    observer: &mut dyn Observer,
) -> Result<Vec<Vec<f32>>> {
    let hidden = decoder.forward_ragged(x, steps, observer)?.squeeze(0)?;
    let mut end = 0;
    let last: Vec<u32> = steps
        .iter()
        .map(|step| {
            end += step.positions.len() as u32;
            end - 1
        })
        .collect();
    let last = hidden.index_select(&Tensor::new(last, hidden.device())?, 0)?;
    Ok(decoder.logits(&last)?.to_vec2()?)
}
