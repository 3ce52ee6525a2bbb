//! What a writer asks of the model's scores behind an answer, and what it is told.

use std::cell::RefCell;
use std::rc::Rc;

use dragunov_kernels::TokenSet;

/// Behind which answer, and what.
pub(in crate::qwen_vl) struct Question {
    pub(in crate::qwen_vl) answer: Vec<u32>,
    pub(in crate::qwen_vl) wanted: Wanted,
}

pub(in crate::qwen_vl) enum Wanted {
    Nothing,
    /// The scores of these tokens, in their order.
    Scores(Vec<u32>),
    /// The likeliest of these tokens and the logarithm of its share among them.
    Best(Rc<TokenSet>),
}

#[derive(Debug, Clone)]
pub(in crate::qwen_vl) enum Answer {
    None,
    Scores(Vec<f32>),
    /// None where no score is a number.
    Best(Option<(u32, f64)>),
}

/// Sets of tokens that were asked for: most tokens of a text may be followed by the same ones, and a GPU is told of a set once.
#[derive(Default)]
pub(in crate::qwen_vl) struct TokenSets(RefCell<Vec<Rc<TokenSet>>>);

impl TokenSets {
    /// Sets that are kept, the last ones used.
    const MOST: usize = 32;

    /// The set of these tokens.
    pub(super) fn of(&self, vocabulary: usize, tokens: impl IntoIterator<Item = u32>) -> Rc<TokenSet> {
        let fresh = TokenSet::new(vocabulary, tokens);
        let mut known = self.0.borrow_mut();
        let found = known.iter().position(|set| **set == fresh);
        let set = found.map_or_else(|| Rc::new(fresh), |at| known.remove(at));
        known.insert(0, set.clone());
        known.truncate(Self::MOST);
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_made_once_while_it_is_used() {
        let sets = TokenSets::default();
        let first = sets.of(40, [1, 39]);
        for other in 2..TokenSets::MOST as u32 {
            assert!(!Rc::ptr_eq(&first, &sets.of(40, [other])));
            assert!(Rc::ptr_eq(&first, &sets.of(40, [39, 1, 1, 40])));
        }
        for other in 0..40 {
            sets.of(40, [other, 0]);
        }
        assert!(!Rc::ptr_eq(&first, &sets.of(40, [1, 39])), "not kept for ever");
    }
}
