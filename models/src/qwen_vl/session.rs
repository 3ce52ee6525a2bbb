//! A sequence that can be tried and taken back: the cache keeps the prompt, the answer behind it is replaced at will,
//! and only what differs is computed. Several go on in one pass of the decoder.

use candle_core::Tensor;
use dragunov_kernels::{AllowedRow, best_tokens};

use super::cache::KvCache;
use super::constrain::{Answer, Wanted};
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
    logits: Scores,
    prompt_logits: Scores,
}

/// Scores over the vocabulary, where they were made: a row of (rows, V).
#[derive(Debug, Clone)]
struct Scores {
    all: Tensor,
    row: usize,
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

    /// What is `wanted` of the scores behind each session's current answer. Only that is fetched from where they lie.
    pub(super) fn answers(sessions: &[Self], wanted: &[Wanted]) -> Result<Vec<Answer>> {
        let scores: Vec<&[u32]> = wanted
            .iter()
            .map(|wanted| match wanted {
                Wanted::Scores(ids) => ids.as_slice(),
                _ => &[],
            })
            .collect();
        let mut scores = Self::scores(sessions, &scores)?.into_iter();
        let sets: Vec<AllowedRow<'_>> = sessions
            .iter()
            .zip(wanted)
            .filter_map(|(session, wanted)| match wanted {
                Wanted::Best(allowed) => Some(AllowedRow {
                    logits: &session.logits.all,
                    row: session.logits.row,
                    allowed,
                }),
                _ => None,
            })
            .collect();
        let mut best = best_tokens(&sets)?.into_iter();
        let answer = |wanted: &Wanted| {
            let scores = scores.next().unwrap_or_default();
            match wanted {
                Wanted::Nothing => Answer::None,
                Wanted::Scores(_) => Answer::Scores(scores),
                Wanted::Best(_) => Answer::Best(best.next().flatten()),
            }
        };
        Ok(wanted.iter().map(answer).collect())
    }

    /// Scores of the tokens `wanted` of each session behind its current answer, in their order; -inf for those that are none. Only
    /// they are fetched from where scores lie, unless they are most of the vocabulary.
    fn scores(sessions: &[Self], wanted: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        let mut out: Vec<Vec<f32>> = wanted.iter().map(|ids| Vec::with_capacity(ids.len())).collect();
        let mut open: Vec<usize> = (0..sessions.len()).filter(|&i| !wanted[i].is_empty()).collect();
        while let Some(&first) = open.first() {
            let all = &sessions[first].logits.all;
            let vocabulary = all.dim(1)?;
            // Those whose scores were made together, and of them those that ask for few.
            let (together, later): (Vec<_>, Vec<_>) = open
                .into_iter()
                .partition(|&i| sessions[i].logits.all.id() == all.id());
            open = later;
            let (few, many): (Vec<_>, Vec<_>) = together
                .into_iter()
                .partition(|&i| 2 * wanted[i].len() < vocabulary && u32::try_from(all.elem_count()).is_ok());
            for i in many {
                let row = all.get(sessions[i].logits.row)?.to_vec1::<f32>()?;
                let score = |&id: &u32| row.get(id as usize).copied().unwrap_or(f32::NEG_INFINITY);
                out[i].extend(wanted[i].iter().map(score));
            }
            let mut places = Vec::new();
            for &i in &few {
                let first = sessions[i].logits.row * vocabulary;
                let inside = wanted[i].iter().filter(|id| (**id as usize) < vocabulary);
                places.extend(inside.map(|id| first as u32 + id));
            }
            // A GPU has no allocation of 0 bytes.
            if few.is_empty() {
                continue;
            }
            if places.is_empty() {
                places.push(0);
            }
            let places = Tensor::new(places, all.device())?;
            let mut found = all
                .flatten_all()?
                .index_select(&places, 0)?
                .to_vec1::<f32>()?
                .into_iter();
            for i in few {
                let mut score = |id: &u32| {
                    let there = ((*id as usize) < vocabulary).then(|| found.next()).flatten();
                    there.unwrap_or(f32::NEG_INFINITY)
                };
                out[i].extend(wanted[i].iter().map(&mut score));
            }
        }
        Ok(out)
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
                session.logits = session.prompt_logits.clone();
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
) -> Result<Vec<Scores>> {
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
    let all = decoder.logits(&last)?;
    let row = |row| Scores {
        all: all.clone(),
        row,
    };
    Ok((0..steps.len()).map(row).collect())
}
