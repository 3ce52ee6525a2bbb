//! Answers held to a schema: what must come is written without asking the model, a finite choice is scored exactly,
//! free text is decoded token by token among those that keep the answer valid.
//!
//! A finite choice (an enum, a boolean, whether an array goes on) is a tree of token sequences: the tokenizer's own
//! writing of every option in its context. At each fork the model's probabilities are renormalised over the
//! branches, so that the options' probabilities add up to one. The tree is searched best first; that finds the
//! likeliest options in order without visiting the rest.

mod question;
mod search;

use super::automaton::{Automaton, Branch, Choice, State};
use super::schema::Schema;
use super::tokenizer::Tokenizer;
use super::vocabulary::Vocabulary;
use crate::{ModelError, Result};
use question::Question;
pub(super) use question::{Answer, TokenSets, Wanted};
use search::{Candidate, Search, log_sum_exp};

/// How much is told about each choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonOptions {
    /// Options listed beside the chosen one, for enums and booleans.
    pub alternatives: usize,
}

impl Default for JsonOptions {
    fn default() -> Self {
        Self { alternatives: 4 }
    }
}

/// One value of an answer and how sure the model is of it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FieldScore {
    /// JSON pointer, `/items/0/label`.
    pub pointer: String,
    pub value: serde_json::Value,
    /// Probability of this value among those that the schema allows here, given the answer before it.
    pub probability: f64,
    /// The next likely values and their probabilities, falling; empty for texts and numbers.
    pub alternatives: Vec<(serde_json::Value, f64)>,
}

/// An answer that fits its schema.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct JsonAnswer {
    pub value: serde_json::Value,
    /// The answer as written: compact JSON.
    pub text: String,
    pub token_ids: Vec<u32>,
    /// Enums, booleans, texts and numbers in the order of the answer.
    pub fields: Vec<FieldScore>,
}

impl JsonAnswer {
    /// The score of the value at a JSON pointer.
    pub fn field(&self, pointer: &str) -> Option<&FieldScore> {
        self.fields.iter().find(|f| f.pointer == pointer)
    }
}

/// A text or number while it is being written.
struct Open {
    field: usize,
    pointer: String,
    log_probability: f64,
}

/// Where a writer stands between two questions to the model.
enum Phase {
    /// Before whatever comes next in this state.
    At(State),
    /// A finite choice, being searched.
    Search(Search),
    /// A text or number, one token at a time: those that may come, and the states behind them.
    Free(Vec<(u32, State)>),
    Done,
}

/// Writes one answer. It asks for scores and is given them, so that many can ask in one pass of the model.
pub(super) struct Writer<'a> {
    automaton: Automaton,
    tokenizer: &'a Tokenizer,
    vocabulary: &'a Vocabulary,
    sets: &'a TokenSets,
    options: JsonOptions,
    phase: Phase,
    text: Vec<u8>,
    ids: Vec<u32>,
    fields: Vec<FieldScore>,
    open: Option<Open>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        schema: &Schema,
        tokenizer: &'a Tokenizer,
        (vocabulary, sets): (&'a Vocabulary, &'a TokenSets),
        options: JsonOptions,
    ) -> Result<Self> {
        let automaton = Automaton::new(schema)?;
        Ok(Self {
            phase: Phase::At(automaton.start()),
            automaton,
            tokenizer,
            vocabulary,
            sets,
            options,
            text: Vec::new(),
            ids: Vec::new(),
            fields: Vec::new(),
            open: None,
        })
    }

    /// Goes on with the answer to what was last asked for, up to the next question. `None` when the answer is finished.
    pub(super) fn go_on(&mut self, told: &Answer) -> Result<Option<Question>> {
        match (std::mem::replace(&mut self.phase, Phase::Done), told) {
            (Phase::Search(mut search), Answer::Scores(scores)) => {
                search.split(scores);
                self.phase = Phase::Search(search);
            }
            (Phase::Free(allowed), Answer::Scores(scores)) => {
                let best = best(&allowed, scores);
                self.phase = Phase::At(self.free(&allowed, best)?);
            }
            (Phase::Free(allowed), Answer::Best(best)) => {
                self.phase = Phase::At(self.free(&allowed, *best)?);
            }
            (phase, _) => self.phase = phase,
        }
        loop {
            match std::mem::replace(&mut self.phase, Phase::Done) {
                Phase::At(state) if self.automaton.is_end(state) => return Ok(None),
                Phase::At(state) => {
                    let (forced, then) = self.automaton.forced(state);
                    if self.automaton.is_end(then) {
                        let ids = self.spell(&forced)?;
                        self.accept(&forced, &ids);
                        return Ok(None);
                    }
                    match self.automaton.branch(then) {
                        Branch::Options { field, options } => {
                            self.phase = Phase::Search(self.search(&forced, then, field, options)?);
                        }
                        Branch::Free { field } => {
                            let ids = self.spell(&forced)?;
                            self.accept(&forced, &ids);
                            self.enter_field(field, then);
                            let allowed = self.vocabulary.allowed(&self.automaton, then);
                            let wanted = self.wanted(&allowed);
                            self.phase = Phase::Free(allowed);
                            let answer = self.ids.clone();
                            return Ok(Some(Question { answer, wanted }));
                        }
                    }
                }
                Phase::Search(mut search) => {
                    if let Some((path, wanted)) = search.next_fork() {
                        self.phase = Phase::Search(search);
                        let answer = [self.ids.as_slice(), &path].concat();
                        let wanted = Wanted::Scores(wanted);
                        return Ok(Some(Question { answer, wanted }));
                    }
                    self.phase = Phase::At(self.choose(search)?);
                }
                Phase::Free(_) | Phase::Done => return Ok(None),
            }
        }
    }

    /// Text or number number `field` is being written; a new one closes the one before.
    fn enter_field(&mut self, field: usize, state: State) {
        let pointer = self.automaton.pointer(field, state);
        if self
            .open
            .as_ref()
            .is_some_and(|o| o.field == field && o.pointer == pointer)
        {
            return;
        }
        self.close_field();
        self.open = Some(Open {
            field,
            pointer,
            log_probability: 0.,
        });
    }

    fn close_field(&mut self) {
        if let Some(open) = self.open.take() {
            self.fields.push(FieldScore {
                pointer: open.pointer,
                value: serde_json::Value::Null,
                probability: open.log_probability.exp(),
                alternatives: Vec::new(),
            });
        }
    }

    /// Adds to the answer.
    fn accept(&mut self, bytes: &[u8], ids: &[u32]) {
        self.text.extend_from_slice(bytes);
        self.ids.extend_from_slice(ids);
    }

    /// The tokenizer's ids for `bytes` behind the answer so far.
    fn spell(&self, bytes: &[u8]) -> Result<Vec<u32>> {
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        let fits = |ids: &[u32]| self.vocabulary.join(ids).as_deref() == Some(bytes);
        let whole = [self.text.as_slice(), bytes].concat();
        if let Ok(text) = std::str::from_utf8(&whole) {
            let ids = self.tokenizer.encode_fragment(text)?;
            if let Some(rest) = ids.strip_prefix(self.ids.as_slice())
                && fits(rest)
            {
                return Ok(rest.to_vec());
            }
        }
        if let Ok(text) = std::str::from_utf8(bytes) {
            let ids = self.tokenizer.encode_fragment(text)?;
            if fits(&ids) {
                return Ok(ids);
            }
        }
        // The tokenizer changes the text (normalisation, an added space): write it byte for byte.
        let missing = || ModelError::Prompt("the tokenizer cannot write this schema's texts".into());
        self.vocabulary.longest(bytes).ok_or_else(missing)
    }

    /// Spells every way to go on with a finite choice.
    fn search(&self, forced: &[u8], at: State, field: Option<usize>, options: Vec<Choice>) -> Result<Search> {
        let mut candidates = Vec::new();
        for (option, choice) in options.iter().enumerate() {
            for (tail, then) in self.continuations(choice.then) {
                let bytes = [forced, &choice.bytes, &tail].concat();
                let ids = self.spell(&bytes)?;
                candidates.push(Candidate {
                    option,
                    bytes,
                    ids,
                    then,
                });
            }
        }
        let exhaustive = candidates.len() > options.len();
        let wanted = if exhaustive {
            usize::MAX
        } else {
            1 + self.options.alternatives
        };
        Ok(Search::new(at, field, options, candidates, wanted))
    }

    /// Decides a finite choice by the model's exact scores.
    fn choose(&mut self, search: Search) -> Result<State> {
        let Search {
            at,
            field,
            options,
            candidates,
            ranked,
            ..
        } = search;
        let Some(&(best, _)) = ranked.first() else {
            return Err(ModelError::Prompt("a choice without options".into()));
        };
        // Sum over what an option can be followed by.
        let mut scores: Vec<(usize, f64)> = Vec::new();
        for &(candidate, log_probability) in &ranked {
            let option = candidates[candidate].option;
            match scores.iter_mut().find(|(o, _)| *o == option) {
                Some((_, p)) => *p += log_probability.exp(),
                None => scores.push((option, log_probability.exp())),
            }
        }
        scores.sort_by(|a, b| b.1.total_cmp(&a.1));
        let chosen = &candidates[best];
        if let Some(field) = field {
            let value = |option: usize| options[option].value.clone();
            let probability = scores
                .iter()
                .find(|(o, _)| *o == chosen.option)
                .map_or(0., |s| s.1);
            let others = scores.iter().filter(|(o, _)| *o != chosen.option);
            let score = FieldScore {
                pointer: self.automaton.pointer(field, at),
                value: value(chosen.option),
                probability,
                alternatives: others
                    .take(self.options.alternatives)
                    .map(|&(o, p)| (value(o), p))
                    .collect(),
            };
            self.close_field();
            self.fields.push(score);
        }
        self.accept(&chosen.bytes, &chosen.ids);
        Ok(chosen.then)
    }

    /// What is forced behind an option, through one more small choice (does the array go on?), so that the tokens
    /// chosen are those that the tokenizer joins across the border.
    fn continuations(&self, then: State) -> Vec<(Vec<u8>, State)> {
        let (forced, state) = self.automaton.forced(then);
        if self.automaton.is_end(state) {
            return vec![(forced, state)];
        }
        match self.automaton.branch(state) {
            Branch::Options { field: None, options } => options
                .into_iter()
                .map(|choice| {
                    let (tail, then) = self.automaton.forced(choice.then);
                    ([forced.as_slice(), &choice.bytes, &tail].concat(), then)
                })
                .collect(),
            _ => vec![(forced, state)],
        }
    }

    /// What is asked about tokens of which one may come: where a GPU would send and fetch less, the best one alone.
    fn wanted(&self, allowed: &[(u32, State)]) -> Wanted {
        let (ids, vocabulary) = (allowed.iter().map(|(id, _)| *id), self.vocabulary.len());
        // A token and its score take 8 bytes, a set a bit for every token.
        if allowed.len() * 64 < vocabulary {
            Wanted::Scores(ids.collect())
        } else {
            Wanted::Best(self.sets.of(vocabulary, ids))
        }
    }

    /// One token of a text or number: the best of those allowed, and the logarithm of its share among them.
    fn free(&mut self, allowed: &[(u32, State)], best: Option<(u32, f64)>) -> Result<State> {
        // Where no score is a number any token will do.
        let (best, share) = best.unwrap_or((allowed.first().map_or(0, |(id, _)| *id), f64::NEG_INFINITY));
        let Some(&(id, then)) = allowed.iter().find(|(id, _)| *id == best) else {
            return Err(ModelError::Prompt(
                "no token of the vocabulary goes on with this answer".into(),
            ));
        };
        if let Some(open) = &mut self.open {
            open.log_probability += share;
        }
        let bytes = self.vocabulary.bytes(id).unwrap_or_default().to_vec();
        self.accept(&bytes, &[id]);
        Ok(then)
    }

    /// Parses the answer and fills the values of texts and numbers in.
    pub(super) fn finish(mut self) -> Result<JsonAnswer> {
        self.close_field();
        let text =
            String::from_utf8(self.text).map_err(|_| ModelError::Prompt("the answer is not UTF-8".into()))?;
        let value: serde_json::Value = serde_json::from_str(&text)
            .map_err(|e| ModelError::Prompt(format!("the answer {text:?} is not JSON: {e}")))?;
        for field in &mut self.fields {
            if let Some(found) = value.pointer(&field.pointer) {
                field.value = found.clone();
            }
        }
        Ok(JsonAnswer {
            value,
            text,
            token_ids: self.ids,
            fields: self.fields,
        })
    }
}

/// The likeliest of the tokens by their scores, the first of equals by its id, and the logarithm of its share among them.
fn best(allowed: &[(u32, State)], scores: &[f32]) -> Option<(u32, f64)> {
    let numbers = allowed
        .iter()
        .zip(scores)
        .filter(|(_, score)| **score > f32::NEG_INFINITY);
    let ((id, _), score) = numbers.reduce(|best, next| {
        let before = next.1 > best.1 || next.1 == best.1 && next.0.0 < best.0.0;
        if before { next } else { best }
    })?;
    let norm = log_sum_exp(scores.iter().map(|&s| f64::from(s)));
    Some((*id, f64::from(*score) - norm))
}
