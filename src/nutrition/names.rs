//! The index of all names: by spelling, by words, by head.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::categories;
use super::food::{Food, Tier};
use super::phrase::Phrase;
use super::synonyms::SYNONYMS;
use super::text;

/// Foods of these heads are made of what stands before them: almond milk is no milk, whatever else lemon chicken is.
#[rustfmt::skip]
const MADE_OF: &[&str] = &[
    "milk", "butter", "juice", "oil", "sauce", "soup", "jam", "flour", "tea", "water", "chips", "burger", "salad", "pie",
    "cake", "cookie", "pudding", "cream", "bread", "roll", "dog", "cheese", "cup", "ring", "bar", "dip", "spread", "paste",
    "syrup", "candy", "drink", "sandwich", "wrap", "cracker", "curry", "stew", "dumpling", "muffin", "pizza", "beans", "ball",
    "cocktail", "tart",
];

/// Foods of these heads may be made of a vegetable in their stead: cauliflower rice, zucchini noodles.
const OFTEN_REPLACED: &[&str] = &[
    "rice",
    "noodles",
    "fries",
    "steak",
    "wing",
    "mash",
    "pasta",
    "spaghetti",
    "bacon",
    "mince",
];

/// Heads that only say a shape: of what, the word before says.
const SHAPED: &[&str] = &[
    "cake",
    "stick",
    "finger",
    "ball",
    "roll",
    "bite",
    "fritter",
    "loaf",
    "patty",
    "croquette",
    "skewer",
    "cocktail",
];

/// Words of an entry that say nothing against it where a label leaves them out.
#[rustfmt::skip]
const BENIGN: &[&str] = &[
    "cook", "whol", "plain", "regular", "all", "type", "ripe", "drain", "boil", "medium", "commercial", "prepar", "recip", "nfs",
    "year", "round", "averag", "varieti", "roast", "bak", "fresh", "can", "raw", "lean",
];

/// Preparations in which nobody eats the food, unless a label says so.
const UNEATEN_RAW: &[&str] = &["meat", "fish", "grain", "legume", "egg"];

/// Weights of words in a comparison.
const HEAD_WEIGHT: f64 = 2.0;
const STATE_WEIGHT: f64 = 0.3;
/// Of a word in a name that is a food of its own, and not in the label.
const OTHER_FOOD_WEIGHT: f64 = 1.5;
const BENIGN_WEIGHT: f64 = 0.25;
/// Shares of "what the label says is there" and "what the name says was said" in a score.
const COVERAGE_SHARE: f64 = 0.65;
/// What a row kept by hand is ahead of one made from a database.
const CORE_BONUS: f64 = 0.08;
/// A nearest name of a word never seen in another spelling: so many letters of it may differ.
const LONG_WORD: usize = 8;

/// A food near a label.
#[derive(Debug, Clone, Copy)]
pub(super) struct Nearest {
    /// Position in the table.
    pub food: usize,
    /// 0 to below 1.
    pub score: f64,
}

/// One name or alias, ready for comparison.
#[derive(Debug, Clone)]
struct Entry {
    food: usize,
    words: BTreeSet<String>,
    head: String,
    form: Option<String>,
    /// What the head is made of or qualified by: the words beside it in a name, or those of the part behind the comma.
    qualifiers: Vec<String>,
}

/// Names of all foods.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    /// Normalised words, joined by spaces.
    exact: HashMap<String, usize>,
    /// The name's letters without spaces: hotdog, hot dog.
    joined: HashMap<String, usize>,
    /// Sorted words to the entries that have them.
    sorted: HashMap<Vec<String>, Vec<usize>>,
    entries: Vec<Entry>,
    /// Stem to the entries whose head or form it is.
    by_head: HashMap<String, Vec<usize>>,
    /// Stem to all entries that hold it.
    by_word: HashMap<String, Vec<usize>>,
    /// Words as they are written in names, by length, for spelling.
    vocabulary: BTreeMap<usize, Vec<String>>,
    known: HashSet<String>,
    synonyms: HashMap<String, &'static str>,
    category: Vec<String>,
    core: Vec<bool>,
    /// Stems of [`MADE_OF`] and [`OFTEN_REPLACED`].
    made_of: HashSet<String>,
    often_replaced: HashSet<String>,
}

impl Names {
    /// `exact` maps normalised names to positions in `foods`.
    pub(super) fn new(foods: &[Food], exact: HashMap<String, usize>) -> Self {
        let mut names = Self {
            exact,
            category: foods.iter().map(|f| f.category.clone()).collect(),
            core: foods.iter().map(|f| f.tier == Tier::Core).collect(),
            synonyms: SYNONYMS
                .iter()
                .map(|(said, is)| (stems(said).join(" "), *is))
                .collect(),
            made_of: MADE_OF.iter().map(|m| text::stem(m)).collect(),
            often_replaced: OFTEN_REPLACED.iter().map(|m| text::stem(m)).collect(),
            ..Self::default()
        };
        let mut vocabulary: BTreeSet<String> = BTreeSet::new();
        for (i, food) in foods.iter().enumerate() {
            for name in std::iter::once(&food.name).chain(&food.aliases) {
                names.add(i, name, &mut vocabulary);
            }
        }
        for word in vocabulary {
            names.known.insert(text::stem(&word));
            names.vocabulary.entry(word.len()).or_default().push(word);
        }
        names
    }

    fn add(&mut self, food: usize, name: &str, vocabulary: &mut BTreeSet<String>) {
        let tokens = text::tokens(name);
        self.joined.entry(joined(&tokens)).or_insert(food);
        vocabulary.extend(
            tokens
                .into_iter()
                .filter(|t| t.len() > 2 && t.bytes().all(|b| b.is_ascii_lowercase())),
        );
        let phrase = Phrase::new(name);
        let at = self.entries.len();
        let mut sorted = phrase.words.clone();
        sorted.sort();
        self.sorted.entry(sorted).or_default().push(at);
        for head in &phrase.heads {
            self.by_head.entry(head.clone()).or_default().push(at);
        }
        let words: BTreeSet<String> = phrase.words.iter().cloned().collect();
        for word in &words {
            self.by_word.entry(word.clone()).or_default().push(at);
        }
        self.entries.push(Entry {
            food,
            words,
            head: phrase.head().to_owned(),
            form: phrase.heads.get(1).cloned(),
            qualifiers: phrase.qualifiers(name),
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
        let mut sorted = phrase.words.clone();
        sorted.sort();
        let entries = || {
            self.sorted
                .get(&sorted)
                .into_iter()
                .flatten()
                .map(|&at| &self.entries[at])
        };
        let about_it = |e: &&Entry| {
            e.head == phrase.head()
                || phrase.heads.get(1) == Some(&e.head)
                || e.form.as_deref() == Some(phrase.head())
        };
        // As tables and other languages write it, the food first: "cake chocolate". A chocolate milk is no milk chocolate.
        let food_first =
            |e: &&Entry| phrase.main.first() == Some(&e.head) && !self.made_of.contains(phrase.head());
        entries()
            .find(about_it)
            .or_else(|| entries().find(food_first))
            .map(|e| e.food)
    }

    /// Other spellings of a label whose words are not all known: synonyms, words joined or split, letters mended.
    pub(super) fn respelled(&self, label: &str) -> Vec<String> {
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
            if let Some(meant) = self.synonyms.get(&text::stem(&pair)) {
                let mut one = tokens[..at - 1].to_vec();
                one.extend(meant.split(' ').map(str::to_owned));
                one.extend_from_slice(&tokens[at + 1..]);
                out.push(one.join(" "));
            } else if self.known.contains(&text::stem(&pair)) {
                let mut one = tokens[..at - 1].to_vec();
                one.push(pair);
                one.extend_from_slice(&tokens[at + 1..]);
                out.push(one.join(" "));
            }
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

    /// Pairs of words first, then single ones, put as the table says them.
    fn with_synonyms(&self, tokens: &[String]) -> Vec<String> {
        let mut out: Vec<String> = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            let length = (1..=3usize.min(tokens.len() - at)).rev().find(|n| {
                self.synonyms
                    .contains_key(&stems(&tokens[at..at + n].join(" ")).join(" "))
            });
            match length {
                Some(n) => {
                    let key = stems(&tokens[at..at + n].join(" ")).join(" ");
                    out.extend(self.synonyms[&key].split(' ').map(str::to_owned));
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
        if self.is_known(token) || !token.is_ascii() || token.len() < 6 {
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
        if !(5..=24).contains(&n) || self.is_known(token) || !token.bytes().all(|b| b.is_ascii_lowercase()) {
            return None;
        }
        let allowed = if n >= LONG_WORD { 2 } else { 1 };
        (n - allowed..=n + allowed)
            .filter_map(|length| self.vocabulary.get(&length))
            .flatten()
            .filter(|word| word.len() > 3)
            .map(|word| {
                (
                    strsim::osa_distance(word, token),
                    word.as_bytes()[0] != token.as_bytes()[0],
                    word,
                )
            })
            .filter(|(distance, _, _)| *distance <= allowed)
            .min()
            .map(|(_, _, word)| word.clone())
    }

    fn is_known(&self, token: &str) -> bool {
        self.known.contains(&text::stem(token)) || text::is_state(token)
    }

    /// Foods of the same head by score, best first, a food once.
    pub(super) fn nearest(&self, phrase: &Phrase) -> Vec<Nearest> {
        let label: BTreeSet<String> = phrase.words.iter().cloned().collect();
        let head = phrase.head();
        let mut candidates: Vec<usize> = phrase
            .heads
            .iter()
            .filter_map(|h| self.by_head.get(h))
            .flatten()
            .copied()
            .collect();
        if candidates.is_empty() {
            candidates = self.implied(head);
        }
        candidates.sort_unstable();
        candidates.dedup();
        let mut best: HashMap<usize, f64> = HashMap::new();
        for at in candidates {
            let entry = &self.entries[at];
            if let Some(score) = self.score(&label, phrase, entry) {
                let kept = best.entry(entry.food).or_default();
                *kept = kept.max(score);
            }
        }
        ranked(best)
    }

    /// Entries of a word that is no head anywhere but always means one kind of food: a camembert is a cheese.
    fn implied(&self, word: &str) -> Vec<usize> {
        let Some(entries) = self.by_word.get(word) else {
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

    /// None where the entry is another food than the label, however many words they share.
    fn score(&self, label: &BTreeSet<String>, phrase: &Phrase, entry: &Entry) -> Option<f64> {
        // Only the form agrees: a duck breast is no chicken breast.
        if !entry.words.contains(phrase.head()) {
            return None;
        }
        let unsaid = |w: &&String| !entry.words.contains(*w) && phrase.heads.get(1) != Some(*w);
        let food_word = |w: &String| self.by_head.contains_key(w);
        let unsaid_foods = || {
            label
                .iter()
                .filter(unsaid)
                // What a named dish is served with makes no other dish of it: chicken curry with naan.
                .filter(|w| phrase.main.len() < 2 || phrase.main.contains(*w))
                .filter(|w| food_word(w) || !self.known.contains(*w))
        };
        if self.made_of.contains(phrase.head()) || categories::of_word(phrase.head()).is_some() {
            let other_kind = phrase.words.len() > 1
                && !entry.qualifiers.is_empty()
                && entry
                    .qualifiers
                    .iter()
                    .all(|q| !label.contains(q) && food_word(q));
            if other_kind || unsaid_foods().next().is_some() {
                return None;
            }
        }
        let plant = |w: &String| matches!(self.category_of_word(w), Some("vegetable" | "fruit"));
        if self.often_replaced.contains(phrase.head()) && unsaid_foods().any(plant) {
            return None;
        }
        // The head of the label only qualifies the entry: "egg" and egg noodles.
        let same_head = entry.head == phrase.head() || phrase.heads.contains(&entry.head);
        if !same_head
            && self
                .by_head
                .get(phrase.head())
                .is_some_and(|e| e.iter().any(|&at| self.entries[at].head == phrase.head()))
        {
            return None;
        }
        let weight = |w: &String| match w.as_str() {
            w if w == phrase.head() || w == entry.head => HEAD_WEIGHT,
            w if BENIGN.contains(&w) => BENIGN_WEIGHT,
            w if text::STATES.contains(&w) => STATE_WEIGHT,
            w if w.bytes().all(|b| b.is_ascii_digit()) => BENIGN_WEIGHT,
            _ => 1.0,
        };
        let light = |w: &String| match w {
            w if BENIGN.contains(&w.as_str()) || text::STATES.contains(&w.as_str()) => weight(w),
            w if food_word(w) && *w != entry.head => OTHER_FOOD_WEIGHT,
            w => weight(w),
        };
        let both: f64 = label.intersection(&entry.words).map(weight).sum();
        let said: f64 = label.iter().map(weight).sum();
        let named: f64 = both + entry.words.difference(label).map(light).sum::<f64>();
        let score = COVERAGE_SHARE * both / said.max(1e-9) + (1.0 - COVERAGE_SHARE) * both / named.max(1e-9);
        let core = if self.core[entry.food] { CORE_BONUS } else { 0.0 };
        Some(
            (score + state_bonus(label, &entry.words) + core - self.raw_penalty(label, entry))
                .clamp(0.0, 0.96),
        )
    }

    /// Against names in a state that a plate seldom shows and the label does not say.
    fn raw_penalty(&self, label: &BTreeSet<String>, entry: &Entry) -> f64 {
        let unsaid = |words: &[&str]| {
            words
                .iter()
                .any(|w| entry.words.contains(*w) && !label.contains(*w))
        };
        let eaten_raw = !UNEATEN_RAW.contains(&self.category[entry.food].as_str());
        match () {
            () if unsaid(&["dri", "dry", "uncook"]) => 0.15,
            () if unsaid(&["raw"]) && !eaten_raw => 0.1,
            () => 0.0,
        }
    }

    /// Rows that share words with a label of another head: to show what there is, never to answer with.
    pub(super) fn sharing_words(&self, words: &[String]) -> Vec<Nearest> {
        let mut best: HashMap<usize, f64> = HashMap::new();
        for word in words {
            for &at in self.by_word.get(word).into_iter().flatten() {
                let entry = &self.entries[at];
                let all = entry.words.len().max(words.len()) as f64;
                let both = words.iter().filter(|w| entry.words.contains(*w)).count() as f64;
                let kept = best.entry(entry.food).or_default();
                *kept = kept.max(0.4 * both / all);
            }
        }
        ranked(best)
    }

    /// The category of a phrase that no row fits: of its head; of a cake or stick of fish, fish.
    pub(super) fn category_of(&self, phrase: &Phrase) -> Option<&str> {
        let shaped = SHAPED.iter().any(|s| text::stem(s) == phrase.head());
        let sweet_too = phrase.head() == "cak";
        let of_what = shaped.then(|| {
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

    /// The category that nearly all foods of a head are of.
    fn category_of_word(&self, head: &str) -> Option<&str> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for &at in self
            .by_head
            .get(head)?
            .iter()
            .filter(|&&at| self.entries[at].head == head)
        {
            *counts.entry(&self.category[self.entries[at].food]).or_default() += 1;
        }
        let all: usize = counts.values().sum();
        let (name, most) = counts.into_iter().max_by_key(|(_, n)| *n)?;
        (most * 3 >= all * 2).then_some(name)
    }
}

/// Best first; equal scores in the order of the table.
fn ranked(best: HashMap<usize, f64>) -> Vec<Nearest> {
    let mut ranked: Vec<Nearest> = best
        .into_iter()
        .map(|(food, score)| Nearest { food, score })
        .collect();
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.food.cmp(&b.food)));
    ranked
}

/// Letters of a name without spaces, its last word without its ending.
fn joined(tokens: &[String]) -> String {
    match tokens.split_last() {
        Some((last, rest)) => rest.concat() + &text::stem(last),
        None => String::new(),
    }
}

fn stems(phrase: &str) -> Vec<String> {
    text::tokens(phrase).iter().map(|t| text::stem(t)).collect()
}

/// Agreement of the preparations: fried rice is not boiled rice, however alike the words.
fn state_bonus(a: &BTreeSet<String>, b: &BTreeSet<String>) -> f64 {
    let states = |s: &BTreeSet<String>| -> BTreeSet<String> {
        s.iter()
            .filter(|w| text::STATES.contains(&w.as_str()))
            .cloned()
            .collect()
    };
    let (a, b) = (states(a), states(b));
    if a.is_empty() || b.is_empty() {
        0.0
    } else if a.is_disjoint(&b) {
        -0.2
    } else {
        0.05
    }
}
