//! From logits to the next token, in the order of transformers' `generate`: repetition penalty, length, then
//! temperature, top-k and top-p; and the settings of `generation_config.json`.

use candle_core::Tensor;
use dragunov_kernels::{StepStart, TokenRules, argmax_tokens, top_tokens};
use serde::Deserialize;

use super::config::Config;
use crate::Result;
use crate::checkpoint::Checkpoint;

/// What `generation_config.json` says.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationConfig {
    /// Tokens that end an answer; empty: only the length ends it.
    pub eos_token_ids: Vec<u32>,
    pub repetition_penalty: f32,
    pub temperature: f32,
    pub top_k: usize,
    pub top_p: f32,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    One(u32),
    Many(Vec<u32>),
}

#[derive(Deserialize)]
struct Raw {
    eos_token_id: Option<Ids>,
    repetition_penalty: Option<f32>,
    temperature: Option<f32>,
    top_k: Option<usize>,
    top_p: Option<f32>,
}

impl GenerationConfig {
    /// Reads the file; without one, the stop tokens of `config.json` and no penalty.
    pub fn read(checkpoint: &Checkpoint, config: &Config) -> Result<Self> {
        const FILE: &str = "generation_config.json";
        let raw: Option<Raw> = if checkpoint.has(FILE) {
            Some(checkpoint.json(FILE)?)
        } else {
            None
        };
        let eos_token_ids = match &raw {
            None => config.eos_token_ids.clone(),
            Some(raw) => match &raw.eos_token_id {
                None => Vec::new(),
                Some(Ids::One(id)) => vec![*id],
                Some(Ids::Many(ids)) => ids.clone(),
            },
        };
        let raw = raw.as_ref();
        Ok(Self {
            eos_token_ids,
            repetition_penalty: raw.and_then(|r| r.repetition_penalty).unwrap_or(1.),
            temperature: raw.and_then(|r| r.temperature).unwrap_or(1.),
            // transformers' own default
            top_k: raw.and_then(|r| r.top_k).unwrap_or(50),
            top_p: raw.and_then(|r| r.top_p).unwrap_or(1.),
        })
    }
}

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampling {
    /// The likeliest token; the first of equals.
    Greedy,
    /// A draw from the warped distribution, the same for the same seed.
    Seeded {
        seed: u64,
        /// Divides the logits; positive.
        temperature: f32,
        /// Keeps the k likeliest tokens; 0 keeps all.
        top_k: usize,
        /// Keeps the likeliest tokens that together reach this share; 1 keeps all.
        top_p: f32,
    },
}

/// One request's settings.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateOptions {
    pub max_new_tokens: usize,
    /// Stop tokens do not count before that many tokens.
    pub min_new_tokens: usize,
    pub sampling: Sampling,
    /// Divides positive and multiplies negative logits of every token seen, the prompt's included; 1 does nothing.
    pub repetition_penalty: f32,
}

impl GenerateOptions {
    /// Greedy with the checkpoint's repetition penalty: `generate(do_sample=False)`.
    pub fn greedy(config: &GenerationConfig, max_new_tokens: usize) -> Self {
        Self {
            max_new_tokens,
            min_new_tokens: 0,
            sampling: Sampling::Greedy,
            repetition_penalty: config.repetition_penalty,
        }
    }

    /// Sampling with the checkpoint's temperature, top-k, top-p and repetition penalty.
    pub fn seeded(config: &GenerationConfig, seed: u64, max_new_tokens: usize) -> Self {
        Self {
            sampling: Sampling::Seeded {
                seed,
                temperature: config.temperature,
                top_k: config.top_k,
                top_p: config.top_p,
            },
            ..Self::greedy(config, max_new_tokens)
        }
    }
}

/// The choosing state of one sequence.
#[derive(Debug)]
pub(super) struct Sampler {
    options: GenerateOptions,
    eos: Vec<u32>,
    random: SplitMix,
    /// Token ids seen so far, by id, and in the order in which they were first seen.
    seen: Vec<bool>,
    order: Vec<u32>,
    generated: usize,
}

impl Sampler {
    pub(super) fn new(options: &GenerateOptions, eos: &[u32], prompt: &[u32], vocab: usize) -> Self {
        let seed = match options.sampling {
            Sampling::Greedy => 0,
            Sampling::Seeded { seed, .. } => seed,
        };
        let mut this = Self {
            options: options.clone(),
            eos: eos.to_vec(),
            random: SplitMix(seed),
            seen: vec![false; vocab],
            order: Vec::new(),
            generated: 0,
        };
        for &id in prompt {
            this.note(id);
        }
        this
    }

    fn note(&mut self, id: u32) {
        if let Some(seen) = self.seen.get_mut(id as usize).filter(|seen| !**seen) {
            *seen = true;
            self.order.push(id);
        }
    }

    /// What is held against tokens now.
    fn rules(&self) -> TokenRules<'_> {
        let barred = if self.generated < self.options.min_new_tokens {
            self.eos.as_slice()
        } else {
            &[]
        };
        TokenRules {
            seen: &self.order,
            barred,
        }
    }

    /// Remembers the token that was picked.
    fn took(&mut self, id: u32) {
        self.note(id);
        self.generated += 1;
    }

    /// Where the first step of [`StepState`](dragunov_kernels::StepState) begins, after `token`.
    pub(super) fn start(&self, token: u32, cached: usize, ended: bool) -> StepStart<'_> {
        StepStart {
            token,
            cached,
            seen: &self.order,
            ended,
        }
    }

    /// Remembers a token that was found elsewhere, of an answer that had not ended.
    pub(super) fn follow(&mut self, id: u32) {
        self.took(id);
    }

    pub(super) fn ends(&self, id: u32) -> bool {
        self.eos.contains(&id)
    }
}

/// The next token of each row of `logits` (rows, V), of those that have not ended; 0 for the others. Found where the scores lie:
/// the likeliest one, or those that are drawn from.
pub(super) fn choose(logits: Tensor, samplers: &mut [Sampler], ended: &[bool]) -> Result<Vec<u32>> {
    let Some(options) = samplers.first().map(|sampler| sampler.options.clone()) else {
        return Ok(Vec::new());
    };
    let rules: Vec<_> = samplers.iter().map(Sampler::rules).collect();
    let penalty = options.repetition_penalty;
    let found: Vec<u32> = match options.sampling {
        Sampling::Greedy => argmax_tokens(logits, &rules, penalty)?,
        Sampling::Seeded {
            temperature,
            top_k,
            top_p,
            ..
        } => {
            let k = if top_k == 0 { logits.dim(1)? } else { top_k };
            let likeliest = top_tokens(logits, &rules, penalty, k)?;
            let rows = samplers.iter_mut().zip(ended).zip(likeliest);
            rows.map(|((sampler, ended), tokens)| {
                if *ended {
                    return 0;
                }
                draw(&tokens, temperature, top_p, sampler.random.unit())
            })
            .collect()
        }
    };
    let rows = samplers.iter_mut().zip(ended).zip(found);
    Ok(rows
        .map(|((sampler, ended), id)| {
            if *ended {
                return 0;
            }
            sampler.took(id);
            id
        })
        .collect())
}

/// Draws by `unit` in 0 .. 1 from the softmax of the logits of `likeliest`, which fall, over `temperature`, cut to `top_p`.
fn draw(likeliest: &[(u32, f32)], temperature: f32, top_p: f32, unit: f64) -> u32 {
    let top = likeliest.first().map_or(0., |&(_, logit)| f64::from(logit));
    let weight =
        |&(_, logit): &(u32, f32)| ((f64::from(logit) - top) / f64::from(temperature.max(1e-6))).exp();
    let weights: Vec<f64> = likeliest.iter().map(weight).collect();
    let total: f64 = weights.iter().sum();
    // A token stays while those likelier than it hold less than top_p.
    let mut before = 0.;
    let mut keep = weights.len();
    if top_p < 1. {
        for (i, w) in weights.iter().enumerate() {
            if i > 0 && before >= f64::from(top_p) * total {
                keep = i;
                break;
            }
            before += w;
        }
    }
    let mut left = unit * weights[..keep].iter().sum::<f64>();
    for ((id, _), w) in likeliest.iter().zip(&weights[..keep]) {
        left -= w;
        if left < 0. {
            return *id;
        }
    }
    likeliest.get(keep.saturating_sub(1)).map_or(0, |(id, _)| *id)
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same on every platform and version.
#[derive(Debug)]
struct SplitMix(u64);

impl SplitMix {
    /// Uniform in 0 .. 1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use candle_core::Device;

    use super::*;

    fn options(sampling: Sampling, repetition_penalty: f32) -> GenerateOptions {
        GenerateOptions {
            max_new_tokens: 9,
            min_new_tokens: 1,
            sampling,
            repetition_penalty,
        }
    }

    fn next(sampler: &mut Sampler, logits: &[f32]) -> u32 {
        let row = Tensor::from_slice(logits, (1, logits.len()), &Device::Cpu).unwrap();
        choose(row, std::slice::from_mut(sampler), &[false]).unwrap()[0]
    }

    #[test]
    fn penalty_covers_the_prompt_once_per_token() {
        for sampling in [Sampling::Greedy, seeded(1)] {
            let mut sampler = Sampler::new(&options(sampling, 2.), &[3], &[0, 0, 1], 4);
            let logits = [4., -1., 1.9, 9.];
            // Token 3 ends the answer and is barred at first; 4 / 2 beats 1.9, and would not twice.
            assert_eq!(next(&mut sampler, &logits), 0);
            assert_eq!(next(&mut sampler, &logits), 3);
            assert!(sampler.ends(3));
        }
        // A negative one is multiplied: -2 falls behind -1.5.
        let mut sampler = Sampler::new(&options(Sampling::Greedy, 2.), &[3], &[1], 4);
        assert_eq!(next(&mut sampler, &[-9., -1., -1.5, 0.]), 2);
    }

    /// The likeliest alone, or of several by a seed.
    fn seeded(top_k: usize) -> Sampling {
        Sampling::Seeded {
            seed: 7,
            temperature: 1.,
            top_k,
            top_p: 1.,
        }
    }

    #[test]
    fn draws_follow_the_cut_distribution() {
        // Softmax of these is 0.5, 0.25, 0.125, 0.125.
        let logits = [4f32, 2., 1., 1.].map(f32::ln);
        let pick = |k: usize, p, unit| {
            let row = Tensor::from_slice(&logits, (1, 4), &Device::Cpu).unwrap();
            let likeliest = top_tokens(row, &[TokenRules::default()], 1., k).unwrap();
            draw(&likeliest[0], 1., p, unit)
        };
        assert_eq!([0.49, 0.51, 0.76, 0.99].map(|u| pick(4, 1., u)), [0, 1, 2, 3]);
        assert_eq!(pick(2, 1., 0.999), 1);
        assert_eq!(pick(3, 1., 0.999), 3, "equals of the third stay");
        assert_eq!(pick(4, 0.5, 0.999), 0);
        assert_eq!(pick(4, 0.51, 0.999), 1);
        assert_eq!(draw(&[(5, 1.), (2, 0.)], 1e-6, 1., 0.999), 5);
        assert_eq!(draw(&[], 1., 1., 0.5), 0);
    }

    #[test]
    fn seeds_repeat() {
        let run = || {
            let mut sampler = Sampler::new(&options(seeded(0), 1.), &[], &[], 8);
            (0..8).map(|_| next(&mut sampler, &[0.; 8])).collect::<Vec<_>>()
        };
        assert_eq!(run(), run());
        assert!(run().windows(2).any(|w| w[0] != w[1]));
    }
}
