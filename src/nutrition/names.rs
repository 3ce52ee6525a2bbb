//! The index of all names: by spelling, by words, by head.

mod lists;
mod score;
mod spelling;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::categories;
use super::food::{Food, Tier};
use super::phrase::Phrase;
use super::text;
use lists::{EATEN_DRY, MADE_OF, NO_WORDS, OFTEN_REPLACED, SHAPED, UNEATEN_RAW};
use score::{Entry, Facts, Label, Meaning, Said, States, Stem};
use spelling::Spelling;

/// A food near a label.
#[derive(Debug, Clone, Copy)]
pub(super) struct Nearest {
    /// Position in the table.
    pub food: usize,
    /// 0 to below 1.
    pub score: f64,
}

/// Names of all foods.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    /// Normalised words, joined by spaces.
    exact: HashMap<String, usize>,
    /// The name's letters without spaces: hotdog, hot dog.
    joined: HashMap<String, usize>,
    /// Sorted words, joined by spaces, to the entries that have them.
    sorted: HashMap<String, Vec<usize>>,
    entries: Vec<Entry>,
    stems: HashMap<String, Stem>,
    /// By stem: the entries whose head or form it is, and all that hold it.
    by_head: Vec<Vec<usize>>,
    by_word: Vec<Vec<usize>>,
    meanings: Vec<Meaning>,
    food_words: Vec<bool>,
    /// By stem: the category that nearly all foods of this head are of.
    category_of_stem: Vec<Option<String>>,
    spelling: Spelling,
    /// By food.
    category: Vec<String>,
    core: Vec<bool>,
    eaten_raw: Vec<bool>,
    eaten_dry: Vec<bool>,
    /// Stems of the lists.
    made_of: HashSet<String>,
    often_replaced: HashSet<String>,
    shaped: HashSet<String>,
}

/// A name read as a phrase.
struct Read {
    food: usize,
    phrase: Phrase,
    qualifiers: Vec<String>,
}

impl Names {
    /// `exact` maps normalised names to positions in `foods`.
    pub(super) fn new(foods: &[Food], exact: HashMap<String, usize>) -> Self {
        let stemmed = |list: &[&str]| list.iter().map(|m| text::stem(m)).collect();
        let mut names = Self {
            exact,
            category: foods.iter().map(|f| f.category.clone()).collect(),
            core: foods.iter().map(|f| f.tier == Tier::Core).collect(),
            eaten_raw: foods
                .iter()
                .map(|f| !UNEATEN_RAW.contains(&f.category.as_str()))
                .collect(),
            eaten_dry: foods.iter().map(|f| f.category == EATEN_DRY).collect(),
            made_of: stemmed(MADE_OF),
            often_replaced: stemmed(OFTEN_REPLACED),
            shaped: stemmed(SHAPED),
            ..Self::default()
        };
        let (mut vocabulary, mut stems) = (BTreeSet::new(), BTreeSet::new());
        let mut read = Vec::new();
        for (food, row) in foods.iter().enumerate() {
            for name in std::iter::once(&row.name).chain(&row.aliases) {
                let tokens = text::tokens(name);
                names.joined.entry(joined(&tokens)).or_insert(food);
                vocabulary.extend(
                    tokens
                        .into_iter()
                        .filter(|t| t.len() > 2 && t.bytes().all(|b| b.is_ascii_lowercase())),
                );
                let name = NO_WORDS
                    .iter()
                    .fold(name.clone(), |name, no| name.replace(no, ""));
                let phrase = Phrase::new(&name);
                let qualifiers = phrase.qualifiers(&name);
                stems.extend(
                    phrase
                        .words
                        .iter()
                        .chain(&phrase.heads)
                        .chain(&qualifiers)
                        .cloned(),
                );
                read.push(Read {
                    food,
                    phrase,
                    qualifiers,
                });
            }
        }
        names.spelling = Spelling::new(vocabulary);
        names.meanings = stems.iter().map(|s| Meaning::of(s)).collect();
        names.by_head = vec![Vec::new(); stems.len()];
        names.by_word = vec![Vec::new(); stems.len()];
        names.stems = (0..).zip(stems).map(|(number, stem)| (stem, number)).collect();
        for name in &read {
            names.add(name);
        }
        names.food_words = names.by_head.iter().map(|e| !e.is_empty()).collect();
        let stems = 0..names.by_head.len();
        names.category_of_stem = stems
            .map(|s| names.category_of_most(s).map(str::to_owned))
            .collect();
        names
    }

    fn add(&mut self, name: &Read) {
        let Read {
            food,
            phrase,
            qualifiers,
        } = name;
        let at = self.entries.len();
        self.sorted.entry(sorted(phrase)).or_default().push(at);
        let number = |stem: &String| self.stems[stem];
        let heads: Vec<Stem> = phrase.heads.iter().map(number).collect();
        let mut words: Vec<Stem> = phrase.words.iter().map(number).collect();
        words.sort_unstable();
        words.dedup();
        let qualifiers = qualifiers.iter().map(number).collect();
        for head in &heads {
            self.by_head[*head as usize].push(at);
        }
        let mut states = States::default();
        for word in &words {
            self.by_word[*word as usize].push(at);
            states.add(self.meanings[*word as usize]);
        }
        self.entries.push(Entry {
            food: *food,
            words: words.into(),
            // A name without a letter is found by its spelling alone.
            head: heads.first().copied().unwrap_or(Stem::MAX),
            form: heads.get(1).copied(),
            qualifiers,
            states,
        });
    }

    /// The food that bears this name, with or without its spaces.
    pub(super) fn exact(&self, label: &str) -> Option<usize> {
        let words = text::words(label);
        if words.is_empty() {
            return None;
        }
        self.exact
            .get(&words.join(" "))
            .or_else(|| self.joined.get(&joined(&text::tokens(label))))
            .copied()
    }

    /// The food whose name has the same words, about the same head.
    pub(super) fn same_words(&self, phrase: &Phrase) -> Option<usize> {
        let same = self.sorted.get(&sorted(phrase))?;
        let entries = || same.iter().map(|&at| &self.entries[at]);
        let stem = |word: Option<&String>| word.and_then(|w| self.stems.get(w)).copied();
        let (head, form) = (stem(phrase.heads.first()), stem(phrase.heads.get(1)));
        let about_it = |e: &&Entry| {
            let head = head.is_some_and(|h| e.head == h || e.form == Some(h));
            head || form == Some(e.head)
        };
        // As tables and other languages write it, the food first: "cake chocolate". A chocolate milk is no milk chocolate.
        let first = stem(phrase.main.first()).filter(|_| !self.made_of.contains(phrase.head()));
        let food_first = |e: &&Entry| first == Some(e.head);
        entries()
            .find(about_it)
            .or_else(|| entries().find(food_first))
            .map(|e| e.food)
    }

    /// Other spellings of a label whose words are not all known: synonyms, words joined or split, letters mended.
    pub(super) fn respelled(&self, label: &str) -> Vec<String> {
        self.spelling.others(label)
    }

    /// Foods of the same head by score, best first, a food once.
    pub(super) fn nearest(&self, phrase: &Phrase) -> Vec<Nearest> {
        let mut near = self.near(phrase);
        near.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.food.cmp(&b.food)));
        near
    }

    /// The first of [`Self::nearest`].
    pub(super) fn nearest_one(&self, phrase: &Phrase) -> Option<Nearest> {
        let near = self.near(phrase).into_iter();
        near.max_by(|a, b| a.score.total_cmp(&b.score).then(b.food.cmp(&a.food)))
    }

    /// Foods of the same head, a food once, in the order of the table.
    fn near(&self, phrase: &Phrase) -> Vec<Nearest> {
        let heads: Vec<Stem> = phrase
            .heads
            .iter()
            .filter_map(|h| self.stems.get(h))
            .copied()
            .collect();
        let mut candidates: Vec<usize> = heads
            .iter()
            .flat_map(|h| &self.by_head[*h as usize])
            .copied()
            .collect();
        if candidates.is_empty() {
            candidates = self.implied(phrase.head());
        }
        candidates.sort_unstable();
        candidates.dedup();
        let Some(label) = self.label(phrase, heads) else {
            return Vec::new();
        };
        let facts = Facts {
            meanings: &self.meanings,
            food_words: &self.food_words,
            core: &self.core,
            eaten_raw: &self.eaten_raw,
            eaten_dry: &self.eaten_dry,
        };
        let mut near: Vec<Nearest> = Vec::new();
        for at in candidates {
            let entry = &self.entries[at];
            let Some(score) = label.score(entry, &facts) else {
                continue;
            };
            // Names of a food follow one another.
            match near.last_mut().filter(|n| n.food == entry.food) {
                Some(kept) => kept.score = kept.score.max(score),
                None => near.push(Nearest {
                    food: entry.food,
                    score,
                }),
            }
        }
        near
    }

    /// None where no name has its head.
    fn label(&self, phrase: &Phrase, heads: Vec<Stem>) -> Option<Label> {
        let head = *self.stems.get(phrase.head())?;
        let made_of = self.made_of.contains(phrase.head()) || categories::of_word(phrase.head()).is_some();
        let unique: BTreeSet<&String> = phrase.words.iter().collect();
        let mut states = States::default();
        let words = unique
            .into_iter()
            .map(|word| {
                let stem = self.stems.get(word).copied();
                let meaning = stem.map_or_else(|| Meaning::of(word), |s| self.meanings[s as usize]);
                states.add(meaning);
                // What a named dish is served with makes no other dish of it: chicken curry with naan.
                let of_dish = phrase.main.len() < 2 || phrase.main.contains(word);
                let food_word = stem.is_some_and(|s| self.food_words[s as usize]);
                Said {
                    stem,
                    meaning,
                    is_form: phrase.heads.get(1) == Some(word),
                    may_be_food: of_dish && (food_word || !self.spelling.knows(word)),
                    plant: matches!(self.category_of_word(word), Some("vegetable" | "fruit")),
                }
            })
            .collect();
        Some(Label {
            head,
            heads,
            words,
            states,
            qualified: phrase.words.len() > 1,
            made_of,
            often_replaced: self.often_replaced.contains(phrase.head()),
            is_a_head: self.by_head[head as usize]
                .iter()
                .any(|&at| self.entries[at].head == head),
        })
    }

    /// Entries of a word that is no head anywhere but always means one kind of food: a camembert is a cheese.
    fn implied(&self, word: &str) -> Vec<usize> {
        let Some(entries) = self.stems.get(word).map(|s| &self.by_word[*s as usize]) else {
            return Vec::new();
        };
        let kind = |at: usize| &self.category[self.entries[at].food];
        let one = entries.iter().all(|&at| kind(at) == kind(entries[0]));
        if one && !text::STATES.contains(&word) {
            entries.clone()
        } else {
            Vec::new()
        }
    }

    /// Rows that share words with a label of another head: to show what there is, never to answer with.
    pub(super) fn sharing_words(&self, words: &[String]) -> Vec<Nearest> {
        let stems: Vec<Stem> = words.iter().filter_map(|w| self.stems.get(w)).copied().collect();
        let mut best: BTreeMap<usize, f64> = BTreeMap::new();
        for stem in &stems {
            for &at in &self.by_word[*stem as usize] {
                let entry = &self.entries[at];
                let all = entry.words.len().max(words.len()) as f64;
                let both = stems.iter().filter(|s| entry.has(**s)).count() as f64;
                let kept = best.entry(entry.food).or_default();
                *kept = kept.max(0.4 * both / all);
            }
        }
        let mut near: Vec<Nearest> = best
            .into_iter()
            .map(|(food, score)| Nearest { food, score })
            .collect();
        near.sort_by(|a, b| b.score.total_cmp(&a.score));
        near
    }

    /// The category of a phrase that no row fits: of its head; of a cake or stick of fish, fish.
    pub(super) fn category_of(&self, phrase: &Phrase) -> Option<&str> {
        let sweet_too = phrase.head() == "cak";
        let of_what = self.shaped.contains(phrase.head()).then(|| {
            let before = phrase.words.iter().rev().filter(|w| *w != phrase.head());
            before.filter_map(|w| self.category_of_word(w)).find(|c| {
                matches!(*c, "fish" | "meat") || !sweet_too && matches!(*c, "vegetable" | "legume" | "egg")
            })
        });
        let of_head = || match phrase.head() {
            // Most butters of a table are of nuts and most tarts come from a toaster: the word's own meaning counts.
            head if self.made_of.contains(head) => categories::of_stem(head),
            _ => None,
        };
        of_what
            .flatten()
            .or_else(of_head)
            .or_else(|| self.category_of_word(phrase.head()))
    }

    fn category_of_word(&self, stem: &str) -> Option<&str> {
        let stem = *self.stems.get(stem)?;
        self.category_of_stem[stem as usize].as_deref()
    }

    /// The category that nearly all foods of a head are of.
    fn category_of_most(&self, head: usize) -> Option<&str> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let of_head = self.by_head[head].iter().map(|&at| &self.entries[at]);
        for entry in of_head.filter(|e| e.head as usize == head) {
            *counts.entry(&self.category[entry.food]).or_default() += 1;
        }
        let all: usize = counts.values().sum();
        let (name, most) = counts.into_iter().max_by_key(|(_, n)| *n)?;
        (most * 3 >= all * 2).then_some(name)
    }
}

/// Letters of a name without spaces, its last word without its ending.
fn joined(tokens: &[String]) -> String {
    match tokens.split_last() {
        Some((last, rest)) => rest.concat() + &text::stem(last),
        None => String::new(),
    }
}

fn sorted(phrase: &Phrase) -> String {
    let mut words: Vec<&str> = phrase.words.iter().map(String::as_str).collect();
    words.sort_unstable();
    words.join(" ")
}
