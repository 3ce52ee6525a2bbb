//! The likeliest token of each row of logits.

pub(super) mod cpu;
#[cfg(feature = "cuda")]
pub(super) mod cuda;
pub(crate) mod reference;

use candle_core::{DType, Result, Tensor};

#[cfg(feature = "cuda")]
use crate::backend::Backend;

/// What is held against tokens of one row; each of both kinds at most once.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokenRules<'a> {
    /// Their positive logits are divided by the penalty, their negative ones multiplied.
    pub seen: &'a [u32],
    /// They are not chosen, seen or not.
    pub barred: &'a [u32],
}

/// Index of the largest logit of each row (rows, vocabulary) in f32, after `rules` of as many rows; the first of equals. NaN and
/// -inf never win: 0 where there is nothing else. Tokens outside of the vocabulary are left out. From a GPU 8 bytes a row come back.
/// `logits` are given up: what else holds their memory may find them changed.
///
/// # Errors
/// Other shapes and element types, another number of rules.
pub fn argmax_tokens(logits: Tensor, rules: &[TokenRules<'_>], penalty: f32) -> Result<Vec<u32>> {
    check(&logits, rules)?;
    if logits.elem_count() == 0 {
        return Ok(vec![0; rules.len()]);
    }
    #[cfg(feature = "cuda")]
    if Backend::has_cuda_kernels(logits.device()) && cuda::takes(&logits) {
        return cuda::argmax_tokens(&logits, rules, penalty);
    }
    let rows = logits.to_vec2::<f32>()?.into_iter().zip(rules);
    Ok(rows
        .map(|(row, rules)| cpu::argmax(row, rules, penalty))
        .collect())
}

/// Logits (rows, vocabulary) in f32, and rules of as many rows.
pub(super) fn check(logits: &Tensor, rules: &[TokenRules<'_>]) -> Result<()> {
    let (rows, vocabulary) = logits.dims2()?;
    if rules.len() != rows || logits.dtype() != DType::F32 || u32::try_from(vocabulary).is_err() {
        let n = rules.len();
        candle_core::bail!(
            "{n} rules for logits {:?} of {:?}",
            logits.shape(),
            logits.dtype()
        )
    }
    Ok(())
}
