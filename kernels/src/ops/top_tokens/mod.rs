//! The likeliest tokens of each row of logits, to draw from.

#[cfg(feature = "cuda")]
mod cuda;
pub(crate) mod reference;

use candle_core::{Result, Tensor};

#[cfg(feature = "cuda")]
use crate::backend::Backend;
use crate::ops::argmax::{self, TokenRules};

/// The `k` largest logits of each row (rows, vocabulary) in f32 with their tokens, after `rules` of as many rows, falling, equals in
/// the order of their tokens; those that equal the last one stay in. Tokens outside of the vocabulary are left out. From a GPU at
/// most 2 kB a row come back, or 32 bytes a token wanted, unless a great many are as likely as the last one, or an eighth of the
/// vocabulary is wanted. `logits` are given up: what else holds their memory may find them changed.
///
/// # Errors
/// Other shapes and element types, another number of rules.
pub fn top_tokens(
    logits: Tensor,
    rules: &[TokenRules<'_>],
    penalty: f32,
    k: usize,
) -> Result<Vec<Vec<(u32, f32)>>> {
    argmax::check(&logits, rules)?;
    if logits.elem_count() == 0 || k == 0 {
        return Ok(vec![Vec::new(); rules.len()]);
    }
    #[cfg(feature = "cuda")]
    if Backend::has_cuda_kernels(logits.device()) && cuda::takes(&logits, k) {
        return cuda::top_tokens(&logits, rules, penalty, k);
    }
    let rows = logits.to_vec2::<f32>()?.into_iter().zip(rules);
    Ok(rows
        .map(|(mut row, rules)| {
            argmax::cpu::penalise(&mut row, rules, penalty);
            largest(row, k)
        })
        .collect())
}

fn largest(row: Vec<f32>, k: usize) -> Vec<(u32, f32)> {
    cut((0..).zip(row).collect(), k)
}

/// The `k` largest and what equals the last of them, of tokens in any order.
fn cut(mut tokens: Vec<(u32, f32)>, k: usize) -> Vec<(u32, f32)> {
    let falling = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if k <= tokens.len() {
        let (_, (_, last), _) = tokens.select_nth_unstable_by(k - 1, falling);
        let last = *last;
        tokens.retain(|(_, logit)| *logit >= last);
    }
    tokens.sort_unstable_by(falling);
    tokens
}
