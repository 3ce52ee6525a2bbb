//! A sequence that can be tried and taken back: the cache keeps the prompt, the answer behind it is replaced at will,
//! and only what differs is computed. Several go on in one pass of the decoder.

use candle_core::Tensor;
use dragunov_kernels::{AllowedRow, best_tokens};

use super::cache::KvCache;
use super::constrain::{Answer, Wanted};
use super::decoder::{Decoder, Step};
use super::input::EncodedPrompt;
use super::seats::{Seated, Seats};
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
    /// more tokens, or is that of its row of `seats`.
    pub(super) fn open(
        decoder: &Decoder,
        batch: &'m [EncodedPrompt],
        x: &Tensor,
        (room, seats): (usize, Option<&Seats>),
        observer: &mut dyn Observer,
    ) -> Result<Vec<Self>> {
        let cache = |(row, prompt): (usize, &EncodedPrompt)| {
            if let Some(seats) = seats {
                return seats.cache(row);
            }
            let capacity = prompt.ids.len() + room;
            KvCache::new(
                decoder.config(),
                vec![0],
                capacity,
                decoder.dtype(),
                decoder.device(),
            )
        };
        let caches = batch.iter().enumerate().map(cache);
        let mut caches = caches.collect::<candle_core::Result<Vec<_>>>()?;
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

    /// Makes each answer, where there is one, the current one of its session.
    pub(super) fn go_to(
        decoder: &Decoder,
        sessions: &mut [Self],
        answers: Vec<Option<Vec<u32>>>,
        seats: Option<&mut Seats>,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let moved: Vec<_> = sessions
            .iter_mut()
            .zip(answers)
            .map(|(session, answer)| session.turn_to(answer?))
            .collect();
        if moved.iter().all(Option::is_none) {
            return Ok(());
        }
        if let Some(seats) = seats.filter(|_| !observer.looks_inside())
            && let Some(all) = Self::step_seated(decoder, sessions, &moved, seats)
        {
            for (row, (session, kept)) in sessions.iter_mut().zip(moved).enumerate() {
                if let Some(kept) = kept {
                    session.cache.len += session.answer.len() - kept;
                    session.logits = Scores {
                        all: all.clone(),
                        row,
                    };
                }
            }
            return Ok(());
        }
        let (mut tokens, mut outputs, mut steps) = (Vec::new(), Vec::new(), Vec::new());
        for (session, kept) in sessions.iter_mut().zip(moved) {
            let Some(kept) = kept else { continue };
            tokens.extend_from_slice(&session.answer[kept..]);
            steps.push(Step {
                cache: &mut session.cache,
                positions: session.prompt.position_of(kept, session.answer.len() - kept),
            });
            outputs.push(&mut session.logits);
        }
        let x = decoder.embed(&tokens)?.unsqueeze(0)?;
        for (output, logits) in outputs
            .into_iter()
            .zip(forward(decoder, &x, &mut steps, observer)?)
        {
            *output = logits;
        }
        Ok(())
    }

    /// Makes `answer` the current one, up to what is to be computed: all behind the tokens that the cache holds of it, whose number this
    /// is. None where nothing is.
    fn turn_to(&mut self, answer: Vec<u32>) -> Option<usize> {
        if self.answer == answer {
            return None;
        }
        if answer.is_empty() {
            self.cache.truncate(self.prompt.ids.len());
            self.answer.clear();
            self.logits = self.prompt_logits.clone();
            return None;
        }
        let shared = self.answer.iter().zip(&answer).take_while(|(a, b)| a == b);
        // Scores are kept for the end only: a shorter answer's last token is read again.
        let kept = shared.count().min(answer.len() - 1);
        self.cache.truncate(self.prompt.ids.len() + kept);
        self.answer = answer;
        Some(kept)
    }

    /// Scores behind the answers of all sessions, of those that `moved`, by their rows; none where they are to be computed otherwise.
    fn step_seated(
        decoder: &Decoder,
        sessions: &[Self],
        moved: &[Option<usize>],
        seats: &mut Seats,
    ) -> Option<Tensor> {
        if sessions
            .iter()
            .any(|session| session.cache.capacity() != seats.room())
        {
            return None;
        }
        let seated = sessions.iter().zip(moved).map(|(session, kept)| {
            let answered = kept.unwrap_or(session.answer.len());
            Seated {
                prompt: session.prompt,
                answered,
                new: &session.answer[answered..],
            }
        });
        seats.step(decoder, &seated.collect::<Vec<_>>())
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
