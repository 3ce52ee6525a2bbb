//! One sequence that can be tried and taken back: the cache keeps the prompt, the answer behind it is replaced at
//! will, and only what differs is computed.

use super::decoder::{Decoder, KvCache};
use super::input::Encoded;
use crate::Result;

pub(super) struct Session<'m> {
    decoder: &'m Decoder,
    encoded: &'m Encoded,
    cache: KvCache,
    /// Answer tokens in the cache.
    answer: Vec<u32>,
    /// Scores behind them, and behind the prompt alone.
    logits: Vec<f32>,
    prompt_logits: Vec<f32>,
}

impl<'m> Session<'m> {
    /// `cache` holds the prompt (without padding) and `logits` the scores behind it.
    pub(super) fn new(decoder: &'m Decoder, encoded: &'m Encoded, cache: KvCache, logits: Vec<f32>) -> Self {
        Self {
            decoder,
            encoded,
            cache,
            answer: Vec::new(),
            prompt_logits: logits.clone(),
            logits,
        }
    }

    /// Scores over the vocabulary behind the current answer.
    pub(super) fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// Makes `answer` the current answer.
    pub(super) fn go_to(&mut self, answer: &[u32]) -> Result<()> {
        if self.answer == answer {
            return Ok(());
        }
        let prompt = self.encoded.ids.len();
        if answer.is_empty() {
            self.cache.truncate(prompt);
            self.answer.clear();
            self.logits.clone_from(&self.prompt_logits);
            return Ok(());
        }
        let shared = self.answer.iter().zip(answer).take_while(|(a, b)| a == b).count();
        // Scores are kept for the end only: a shorter answer's last token is read again.
        let keep = shared.min(answer.len() - 1);
        self.cache.truncate(prompt + keep);
        self.answer.truncate(keep);
        let x = self.decoder.embed(&answer[keep..])?.unsqueeze(0)?;
        let positions = self.encoded.position_of(keep, answer.len() - keep);
        let hidden = self.decoder.forward(&x, &[positions], &mut self.cache)?;
        let last = hidden.narrow(1, answer.len() - keep - 1, 1)?;
        self.logits = self.decoder.logits(&last)?.flatten_all()?.to_vec1()?;
        self.answer = answer.to_vec();
        Ok(())
    }
}
