//! Answers, token by token: free text, and JSON that fits a schema.

use candle_core::Tensor;

use super::constrain::{Answer, JsonAnswer, JsonOptions, TokenSets, Wanted, Writer};
use super::input::EncodedPrompt;
use super::replay::{Ahead, Replay};
use super::sampling::{GenerateOptions, Sampler, choose};
use super::seats::Seats;
use super::session::Session;
use super::{ImageInfo, Prompt, QwenVl, Schema};
use crate::observer::Observer;
use crate::{ModelError, Result};

/// Room for that many generated tokens is allocated ahead.
const ROOM: usize = 256;
/// The same for each of the many short answers in JSON; a longer one makes more.
const JSON_ROOM: usize = 32;

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// The model said so.
    EndToken,
    /// `max_new_tokens` were written.
    Length,
}

/// A free answer.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Generation {
    /// New tokens, the stop token included.
    pub token_ids: Vec<u32>,
    /// Their text without special tokens.
    pub text: String,
    pub prompt_tokens: usize,
    pub stop: Stop,
    /// The images as the model saw them, to map boxes back (see [`super::grounding::parse`]).
    pub images: Vec<ImageInfo>,
}

impl QwenVl {
    /// The next token of each row behind `hidden` (rows, N, C), of those that have not ended; 0 for the others.
    fn next(&self, hidden: &Tensor, samplers: &mut [Sampler], ended: &[bool]) -> Result<Vec<u32>> {
        let last = hidden.narrow(1, hidden.dim(1)? - 1, 1)?.squeeze(1)?;
        choose(self.decoder.logits(&last)?, samplers, ended)
    }

    /// Answers one prompt.
    ///
    /// # Errors
    /// Those of [`encode`](Self::encode), and what `observer` answers.
    pub fn generate(
        &self,
        prompt: &Prompt,
        options: &GenerateOptions,
        observer: &mut dyn Observer,
    ) -> Result<Generation> {
        let mut all = self.generate_batch(&[self.encode(prompt)?], options, observer)?;
        all.pop().ok_or_else(|| ModelError::Prompt("no prompt".into()))
    }

    /// Answers several prompts in one batch; each answer is the same as alone, up to rounding.
    ///
    /// # Errors
    /// What `observer` answers.
    pub fn generate_batch(
        &self,
        batch: &[EncodedPrompt],
        options: &GenerateOptions,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Generation>> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let (mut hidden, mut cache) = self.prefill(batch, options.max_new_tokens.min(ROOM), observer)?;
        let eos = &self.generation.eos_token_ids;
        let vocab = self.config.text.vocab_size;
        let mut samplers: Vec<_> = batch
            .iter()
            .map(|e| Sampler::new(options, eos, &e.ids, vocab))
            .collect();
        let mut answers = vec![(Vec::new(), Stop::Length); batch.len()];
        let mut replay = None;
        // What a graph found, where one did.
        let mut found = None;
        for step in 0..options.max_new_tokens {
            let ended: Vec<bool> = answers.iter().map(|(_, stop)| *stop == Stop::EndToken).collect();
            let next = match found.take() {
                Some(Ahead::Scores(scores)) => choose(scores, &mut samplers, &ended)?,
                Some(Ahead::Tokens(next)) => {
                    let rows = samplers.iter_mut().zip(&next).zip(&ended);
                    rows.filter(|(_, ended)| !**ended)
                        .for_each(|((sampler, id), _)| sampler.follow(*id));
                    next
                }
                None => self.next(&hidden, &mut samplers, &ended)?,
            };
            for (row, (ids, stop)) in answers.iter_mut().enumerate() {
                if ended[row] {
                    continue;
                }
                ids.push(next[row]);
                if samplers[row].ends(next[row]) {
                    *stop = Stop::EndToken;
                }
            }
            if answers.iter().all(|(_, stop)| *stop == Stop::EndToken) || step + 1 == options.max_new_tokens {
                break;
            }
            if step == 0 {
                let ended: Vec<bool> = answers.iter().map(|(_, stop)| *stop == Stop::EndToken).collect();
                let state = (samplers.as_slice(), next.as_slice(), ended.as_slice());
                replay = Replay::new(&self.decoder, batch, options, state, (eos, &cache));
            }
            if let Some(steps) = &mut replay {
                found = steps.next(&next, &mut cache, observer)?;
                if found.is_some() {
                    continue;
                }
                replay = None;
            }
            let positions: Vec<_> = batch.iter().map(|e| e.position_of(step, 1)).collect();
            let x = self.decoder.embed(&next)?.unsqueeze(1)?;
            hidden = self.decoder.forward(&x, &positions, &mut cache, observer)?;
        }
        batch
            .iter()
            .zip(answers)
            .map(|(encoded, (token_ids, stop))| {
                Ok(Generation {
                    text: self.tokenizer.decode(&token_ids)?,
                    token_ids,
                    prompt_tokens: encoded.ids.len(),
                    stop,
                    images: encoded.images.clone(),
                })
            })
            .collect()
    }

    /// Answers in JSON that fits `schema`, with the probability of every value.
    ///
    /// # Errors
    /// [`ModelError::Prompt`] for a schema that nothing can fit; [`ModelError::Tokenizer`] if tokens are not byte
    /// strings; those of [`encode`](Self::encode), and what `observer` answers.
    pub fn generate_json(
        &self,
        prompt: &Prompt,
        schema: &Schema,
        options: JsonOptions,
        observer: &mut dyn Observer,
    ) -> Result<JsonAnswer> {
        let mut all = self.generate_json_batch(&[self.encode(prompt)?], schema, options, observer)?;
        all.pop().ok_or_else(|| ModelError::Prompt("no prompt".into()))
    }

    /// [`generate_json`](Self::generate_json) for several prompts at once: images and prompts are read in one pass, and
    /// so is every step of the answers, however different they are. Each answer is the same as alone, up to rounding.
    pub fn generate_json_batch(
        &self,
        batch: &[EncodedPrompt],
        schema: &Schema,
        options: JsonOptions,
        observer: &mut dyn Observer,
    ) -> Result<Vec<JsonAnswer>> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        schema.check()?;
        let vocabulary = self.vocabulary()?;
        let longest = batch.iter().map(|e| e.ids.len()).max().unwrap_or(0);
        let mut seats = match observer.looks_inside() {
            true => None,
            false => {
                let room = longest + JSON_ROOM.max(ROOM / batch.len());
                self.seats.take(&self.decoder, batch.len(), room)
            }
        };
        let sets = TokenSets::default();
        let writer = |_| Writer::new(schema, &self.tokenizer, (vocabulary, &sets), options);
        let writers = batch.iter().map(writer).collect::<Result<Vec<_>>>();
        let written = writers.and_then(|writers| self.write(batch, writers, seats.as_mut(), observer));
        if let Some(seats) = seats {
            self.seats.give_back(seats);
        }
        written
    }

    /// All answers of a batch, each by its writer.
    fn write(
        &self,
        batch: &[EncodedPrompt],
        mut writers: Vec<Writer<'_>>,
        mut seats: Option<&mut Seats>,
        observer: &mut dyn Observer,
    ) -> Result<Vec<JsonAnswer>> {
        let x = self.embed_rows(batch, &vec![0; batch.len()], observer)?;
        let rooms = (JSON_ROOM, seats.as_deref());
        let mut sessions = Session::open(&self.decoder, batch, &x.unsqueeze(0)?, rooms, observer)?;
        let mut answers = vec![Answer::None; batch.len()];
        loop {
            let asked = writers
                .iter_mut()
                .zip(&answers)
                .map(|(writer, a)| writer.go_on(a));
            let asked = asked.collect::<Result<Vec<_>>>()?;
            if asked.iter().all(Option::is_none) {
                break;
            }
            let questions = asked
                .into_iter()
                .map(|question| question.map_or((None, Wanted::Nothing), |q| (Some(q.answer), q.wanted)));
            let (behind, wanted): (Vec<_>, Vec<_>) = questions.unzip();
            Session::go_to(
                &self.decoder,
                &mut sessions,
                behind,
                seats.as_deref_mut(),
                observer,
            )?;
            answers = Session::answers(&sessions, &wanted)?;
        }
        writers.into_iter().map(Writer::finish).collect()
    }
}
