//! Other spellings of a label: synonyms, words joined or split, letters mended.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::nutrition::synonyms::SYNONYMS;
use crate::nutrition::text;

/// A nearest name of a word never seen in another spelling: so many letters of it may differ.
const LONG_WORD: usize = 8;
/// A label of more words than this is a sentence, and its letters are left as they are.
const MENDED_WORDS: usize = 16;
/// Words in one synonym at most.
const SYNONYM_WORDS: usize = 3;

/// Every word of the names, as it is written.
#[derive(Debug, Clone, Default)]
pub(super) struct Spelling {
    /// Stems.
    known: HashSet<String>,
    /// Words by length.
    by_length: BTreeMap<usize, Words>,
    /// Stems joined by spaces to what the table says.
    synonyms: HashMap<String, &'static str>,
}

/// Words of one length and the letters of each.
#[derive(Debug, Clone, Default)]
struct Words {
    letters: Vec<u32>,
    words: Vec<String>,
}

/// The letters of a word as a set. One that is replaced changes two of them at most, one that is moved none.
fn letters(word: &str) -> u32 {
    word.bytes().fold(0, |set, b| {
        set | 1 << (b.to_ascii_lowercase().wrapping_sub(b'a') & 31)
    })
}

impl Spelling {
    pub(super) fn new(vocabulary: BTreeSet<String>) -> Self {
        let stems =
            |said: &str| -> Vec<String> { text::tokens(said).iter().map(|t| text::stem(t)).collect() };
        let mut spelling = Self {
            synonyms: SYNONYMS
                .iter()
                .map(|(said, is)| (stems(said).join(" "), *is))
                .collect(),
            ..Self::default()
        };
        for word in vocabulary {
            spelling.known.insert(text::stem(&word));
            let same_length = spelling.by_length.entry(word.len()).or_default();
            same_length.letters.push(letters(&word));
            same_length.words.push(word);
        }
        spelling
    }

    /// Whether a name has this stem.
    pub(super) fn knows(&self, stem: &str) -> bool {
        self.known.contains(stem)
    }

    /// Other spellings of a label whose words are not all known.
    pub(super) fn others(&self, label: &str) -> Vec<String> {
        let tokens = text::tokens(label);
        let mut out = Vec::new();
        let meant = self.with_synonyms(&tokens);
        if meant != tokens {
            out.push(meant.join(" "));
        }
        let parted: Vec<String> = tokens
            .iter()
            .flat_map(|t| self.parted(t).unwrap_or_else(|| vec![t.clone()]))
            .collect();
        if parted != tokens {
            out.push(parted.join(" "));
        }
        for at in 1..tokens.len() {
            let pair = format!("{}{}", tokens[at - 1], tokens[at]);
            let stem = text::stem(&pair);
            let one = if let Some(meant) = self.synonyms.get(&stem) {
                meant
            } else if self.knows(&stem) {
                pair.as_str()
            } else {
                continue;
            };
            let words = tokens[..at - 1].iter().map(String::as_str);
            let words = words
                .chain([one])
                .chain(tokens[at + 1..].iter().map(String::as_str));
            out.push(words.collect::<Vec<_>>().join(" "));
        }
        if meant.len() > MENDED_WORDS {
            return out;
        }
        let mended: Vec<String> = meant
            .iter()
            .map(|t| self.mended(t).unwrap_or_else(|| t.clone()))
            .collect();
        if mended != meant {
            let again = self.with_synonyms(&mended);
            out.push(again.join(" "));
        }
        out
    }

    /// Groups of words first, then single ones, put as the table says them.
    fn with_synonyms(&self, tokens: &[String]) -> Vec<String> {
        let stems: Vec<String> = tokens.iter().map(|t| text::stem(t)).collect();
        let mut out: Vec<String> = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            let longest = SYNONYM_WORDS.min(tokens.len() - at);
            let meant = (1..=longest).rev().find_map(|n| {
                let said = match n {
                    1 => self.synonyms.get(&stems[at]),
                    _ => self.synonyms.get(&stems[at..at + n].join(" ")),
                };
                Some((n, said?))
            });
            match meant {
                Some((n, meant)) => {
                    out.extend(meant.split(' ').map(str::to_owned));
                    at += n;
                }
                None => {
                    out.push(tokens[at].clone());
                    at += 1;
                }
            }
        }
        out
    }

    /// An unknown word as two known ones.
    fn parted(&self, token: &str) -> Option<Vec<String>> {
        if token.len() < 6 || !token.is_ascii() || self.is_known(token) {
            return None;
        }
        (3..=token.len() - 3)
            .map(|at| token.split_at(at))
            .find(|(a, b)| self.is_known(a) && self.is_known(b))
            .map(|(a, b)| vec![a.to_owned(), b.to_owned()])
    }

    /// The known word that an unknown one is a misspelling of: one letter off, or two in a long word.
    fn mended(&self, token: &str) -> Option<String> {
        let n = token.len();
        if !(5..=24).contains(&n) || !token.bytes().all(|b| b.is_ascii_lowercase()) || self.is_known(token) {
            return None;
        }
        let allowed = if n >= LONG_WORD { 2 } else { 1 };
        let (set, first) = (letters(token), token.as_bytes()[0]);
        let most = 2 * allowed as u32;
        (n - allowed..=n + allowed)
            .filter(|length| *length > 3)
            .filter_map(|length| self.by_length.get(&length))
            .flat_map(|same| same.letters.iter().zip(&same.words))
            .filter(|(letters, _)| (*letters ^ set).count_ones() <= most)
            .map(|(_, word)| {
                (
                    strsim::osa_distance(word, token),
                    word.as_bytes()[0] != first,
                    word,
                )
            })
            .filter(|(distance, _, _)| *distance <= allowed)
            .min()
            .map(|(_, _, word)| word.clone())
    }

    fn is_known(&self, token: &str) -> bool {
        self.knows(&text::stem(token)) || text::is_state(token)
    }
}
