//! The likeliest of the tokens that may come, and its share among them.

#[cfg(feature = "cuda")]
mod cuda;

use std::sync::Mutex;

use candle_core::{DType, Result, Tensor};

#[cfg(feature = "cuda")]
use crate::backend::Backend;

/// Some tokens of a vocabulary. On a GPU they are kept once they were needed there, as a bit each.
#[derive(Debug)]
pub struct TokenSet {
    vocabulary: usize,
    words: Vec<u32>,
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))]
    there: Mutex<Option<Tensor>>,
}

impl TokenSet {
    /// Tokens outside of the vocabulary are left out.
    pub fn new(vocabulary: usize, tokens: impl IntoIterator<Item = u32>) -> Self {
        let mut words = vec![0u32; vocabulary.div_ceil(32)];
        for token in tokens {
            if (token as usize) < vocabulary {
                words[token as usize / 32] |= 1 << (token % 32);
            }
        }
        Self {
            vocabulary,
            words,
            there: Mutex::default(),
        }
    }

    fn has(&self, token: usize) -> bool {
        self.words[token / 32] >> (token % 32) & 1 == 1
    }
}

impl PartialEq for TokenSet {
    fn eq(&self, other: &Self) -> bool {
        (self.vocabulary, &self.words) == (other.vocabulary, &other.words)
    }
}

/// A row of logits (rows, vocabulary) in f32 where they lie, and the tokens that may come.
#[derive(Debug, Clone, Copy)]
pub struct AllowedRow<'a> {
    pub logits: &'a Tensor,
    pub row: usize,
    pub allowed: &'a TokenSet,
}

/// Of each row the token with the largest logit of those allowed, the first of equals, and the logarithm of its share in the softmax
/// over them. NaN and -inf never win: none where there is nothing else. From a GPU at most 1 kB a row comes back; to it go the allowed
/// tokens at a bit each, once.
///
/// # Errors
/// Other shapes and element types, rows that are not there, sets of other vocabularies.
pub fn best_tokens(rows: &[AllowedRow<'_>]) -> Result<Vec<Option<(u32, f64)>>> {
    for AllowedRow { logits, row, allowed } in rows {
        let (n, vocabulary) = logits.dims2()?;
        let fits = *row < n && vocabulary == allowed.vocabulary && u32::try_from(vocabulary).is_ok();
        if !fits || logits.dtype() != DType::F32 {
            let (shape, dtype, of) = (logits.shape(), logits.dtype(), allowed.vocabulary);
            candle_core::bail!("row {row} of {shape:?} of {dtype:?}, with {of} tokens")
        }
    }
    #[cfg(feature = "cuda")]
    if let Some(first) = rows.first()
        && Backend::has_cuda_kernels(first.logits.device())
        && cuda::takes(rows)
    {
        return cuda::best_tokens(rows);
    }
    let of = |row: &AllowedRow<'_>| {
        let logits = row.logits.narrow(0, row.row, 1)?.force_contiguous()?;
        Ok(best(&logits.flatten_all()?.to_vec1::<f32>()?, row.allowed))
    };
    rows.iter().map(of).collect()
}

fn best(logits: &[f32], allowed: &TokenSet) -> Option<(u32, f64)> {
    let own = || {
        let all = logits.iter().enumerate();
        all.filter(|(token, logit)| allowed.has(*token) && **logit > f32::NEG_INFINITY)
    };
    let (token, largest) = own().reduce(|best, next| if next.1 > best.1 { next } else { best })?;
    let total: f64 = own()
        .map(|(_, logit)| (f64::from(*logit) - f64::from(*largest)).exp())
        .sum();
    Some((token as u32, -total.ln()))
}
