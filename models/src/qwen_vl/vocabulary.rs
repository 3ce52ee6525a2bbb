//! All tokens as byte strings, sorted, so that one pass finds those that an automaton accepts.

use super::automaton::{Automaton, State};

/// Ordinary tokens in the order of their bytes.
#[derive(Debug)]
pub(super) struct Vocabulary {
    /// Bytes by id; `None` for special tokens and holes.
    bytes: Vec<Option<Vec<u8>>>,
    /// Ids in the order of their bytes.
    sorted: Vec<u32>,
    /// Bytes that each of `sorted` shares with the one before.
    shared: Vec<usize>,
}

impl Vocabulary {
    pub(super) fn new(bytes: Vec<Option<Vec<u8>>>) -> Self {
        let mut sorted: Vec<u32> = (0..bytes.len() as u32)
            .filter(|&id| bytes[id as usize].is_some())
            .collect();
        sorted.sort_by(|&a, &b| bytes[a as usize].cmp(&bytes[b as usize]));
        let text = |id: u32| bytes[id as usize].as_deref().unwrap_or_default();
        let common = |a: &[u8], b: &[u8]| a.iter().zip(b).take_while(|(x, y)| x == y).count();
        let shared = (0..sorted.len())
            .map(|i| {
                if i == 0 {
                    0
                } else {
                    common(text(sorted[i - 1]), text(sorted[i]))
                }
            })
            .collect();
        Self {
            bytes,
            sorted,
            shared,
        }
    }

    /// Ids, special ones and holes included.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn bytes(&self, id: u32) -> Option<&[u8]> {
        self.bytes.get(id as usize)?.as_deref()
    }

    /// The bytes of a sequence, if all of it is ordinary.
    pub(super) fn join(&self, ids: &[u32]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        for &id in ids {
            out.extend_from_slice(self.bytes(id)?);
        }
        Some(out)
    }

    /// Tokens all of whose bytes the automaton accepts from `state`, with the state behind each.
    pub(super) fn allowed(&self, automaton: &Automaton, state: State) -> Vec<(u32, State)> {
        let mut out = Vec::new();
        // states[d]: behind the first d bytes of the last token tried
        let mut states = vec![state];
        let mut rejected = usize::MAX;
        for (&id, &shared) in self.sorted.iter().zip(&self.shared) {
            // Shares the byte that was refused: refused as well.
            if shared > rejected {
                continue;
            }
            rejected = usize::MAX;
            states.truncate(shared + 1);
            let text = self.bytes(id).unwrap_or_default();
            for (depth, &byte) in text.iter().enumerate().skip(states.len() - 1) {
                match automaton.step(states[depth], byte) {
                    Some(next) => states.push(next),
                    None => {
                        rejected = depth;
                        break;
                    }
                }
            }
            if rejected == usize::MAX {
                out.push((id, states[text.len()]));
            }
        }
        out
    }

    /// A way to write `text` with the longest tokens first; `None` if some byte has no token.
    pub(super) fn longest(&self, text: &[u8]) -> Option<Vec<u32>> {
        let mut out = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let found = (1..=text.len() - at).rev().find_map(|n| {
                let wanted = &text[at..at + n];
                let i = self
                    .sorted
                    .binary_search_by(|&id| self.bytes(id).unwrap_or_default().cmp(wanted));
                i.ok().map(|i| (self.sorted[i], n))
            });
            let (id, n) = found?;
            out.push(id);
            at += n;
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::qwen_vl::schema::Schema;

    /// The one-pass search finds what trying every token finds.
    #[test]
    fn agrees_with_trying_all() {
        let words = [
            "\"",
            "\"a",
            "\"ap",
            "\"ab\"",
            "a",
            "ap",
            "app",
            "apple",
            "apple\"",
            "\"apple\"",
            "\"b",
            "b",
            "p",
            "ple",
            "\",",
            "é",
            "\u{1F600}",
            "x\"y",
            "]",
            "le\"",
        ];
        let mut bytes: Vec<_> = words.iter().map(|w| Some(w.as_bytes().to_vec())).collect();
        bytes.extend([None, Some(vec![0xC3]), Some(vec![0xA9]), Some(vec![0xFF])]);
        let vocabulary = Vocabulary::new(bytes.clone());
        let text = Schema::Text {
            min_chars: 2,
            max_chars: 5,
        };
        for schema in [text, Schema::one_of(["apple", "ab"])] {
            let automaton = Automaton::new(&schema).unwrap();
            let mut open = vec![automaton.start()];
            for _ in 0..3 {
                for state in std::mem::take(&mut open) {
                    let mut found = vocabulary.allowed(&automaton, state);
                    found.sort_by_key(|(id, _)| *id);
                    let tried: Vec<_> = (0..bytes.len() as u32)
                        .filter_map(|id| {
                            let then = automaton.step_all(state, bytes[id as usize].as_deref()?)?;
                            Some((id, then))
                        })
                        .collect();
                    assert_eq!(found, tried);
                    open.extend(found.into_iter().map(|(_, then)| then));
                }
            }
        }
        assert_eq!(vocabulary.longest(b"apple\"b").unwrap().len(), 2);
        assert!(vocabulary.longest(b"z").is_none());
    }
}
