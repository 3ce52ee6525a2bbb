//! How near a name is to a label.

use super::lists::BENIGN;
use crate::nutrition::text;

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
/// Preparations agree, or contradict each other: fried rice is not boiled rice, however alike the words.
const SAME_STATE_BONUS: f64 = 0.05;
const OTHER_STATE_BONUS: f64 = -0.2;
/// Against a name in a state that a plate seldom shows and the label does not say.
const DRY_PENALTY: f64 = 0.15;
const RAW_PENALTY: f64 = 0.1;
const MOST: f64 = 0.96;

/// States in which a plate seldom shows a food.
const DRY: &[&str] = &["dri", "dry", "uncook"];
const RAW: &str = "raw";

/// A stem of the names by its number; numbers are in the order of the alphabet.
pub(super) type Stem = u32;

/// What a word says, whichever name it stands in.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Meaning {
    /// As a bit of the states there are.
    state: u32,
    /// As bits: dry, raw.
    uneaten: u8,
    benign: bool,
    weight: f64,
}

impl Meaning {
    pub(super) fn of(stem: &str) -> Self {
        let state = text::STATES.iter().position(|s| *s == stem);
        let benign = BENIGN.contains(&stem);
        Self {
            state: state.map_or(0, |at| 1 << at),
            uneaten: match stem {
                RAW => 0b1000,
                _ => DRY.iter().position(|d| *d == stem).map_or(0, |at| 1 << at),
            },
            benign,
            weight: match state {
                _ if benign => BENIGN_WEIGHT,
                Some(_) => STATE_WEIGHT,
                None if stem.bytes().all(|b| b.is_ascii_digit()) => BENIGN_WEIGHT,
                None => 1.0,
            },
        }
    }
}

/// States of a set of words together.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct States {
    said: u32,
    uneaten: u8,
}

impl States {
    pub(super) fn add(&mut self, meaning: Meaning) {
        self.said |= meaning.state;
        self.uneaten |= meaning.uneaten;
    }
}

/// One name or alias, ready for comparison.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) food: usize,
    /// Sorted.
    pub(super) words: Box<[Stem]>,
    pub(super) head: Stem,
    pub(super) form: Option<Stem>,
    /// What the head is made of or qualified by: the words beside it in a name, or those of the part behind the comma.
    pub(super) qualifiers: Box<[Stem]>,
    pub(super) states: States,
}

impl Entry {
    pub(super) fn has(&self, stem: Stem) -> bool {
        self.words.contains(&stem)
    }
}

/// A word of a label.
#[derive(Debug)]
pub(super) struct Said {
    /// None where no name has it.
    pub(super) stem: Option<Stem>,
    pub(super) meaning: Meaning,
    /// The cut or form that was said of the food.
    pub(super) is_form: bool,
    /// May be a food that an entry without it is not.
    pub(super) may_be_food: bool,
    /// Is a vegetable or fruit.
    pub(super) plant: bool,
}

/// A label ready for comparison with many names.
#[derive(Debug)]
pub(super) struct Label {
    pub(super) head: Stem,
    pub(super) heads: Vec<Stem>,
    /// In the order of the alphabet, each once.
    pub(super) words: Vec<Said>,
    pub(super) states: States,
    /// More than one word was said.
    pub(super) qualified: bool,
    /// The head is made of what stands before it, or names a whole group.
    pub(super) made_of: bool,
    pub(super) often_replaced: bool,
    /// A name has the label's head as its own.
    pub(super) is_a_head: bool,
}

/// What the table knows of its words and foods.
pub(super) struct Facts<'a> {
    /// By stem.
    pub(super) meanings: &'a [Meaning],
    /// By stem: whether it is the head or form of a name.
    pub(super) food_words: &'a [bool],
    /// By food: kept by hand; eaten raw; eaten dried.
    pub(super) core: &'a [bool],
    pub(super) eaten_raw: &'a [bool],
    pub(super) eaten_dry: &'a [bool],
}

impl Label {
    fn says(&self, stem: Stem) -> bool {
        self.words.iter().any(|w| w.stem == Some(stem))
    }

    /// 0 to 0.96; none where the entry is another food than the label, however many words they share.
    pub(super) fn score(&self, entry: &Entry, facts: &Facts<'_>) -> Option<f64> {
        // Only the form agrees: a duck breast is no chicken breast.
        if !entry.has(self.head) || self.is_another_food(entry, facts) {
            return None;
        }
        let weight = |stem: Option<Stem>, meaning: Meaning| {
            if stem.is_some_and(|s| s == self.head || s == entry.head) {
                HEAD_WEIGHT
            } else {
                meaning.weight
            }
        };
        let (mut both, mut said) = (0.0, 0.0);
        for word in &self.words {
            let weight = weight(word.stem, word.meaning);
            said += weight;
            if word.stem.is_some_and(|s| entry.has(s)) {
                both += weight;
            }
        }
        let mut unsaid = 0.0;
        for &stem in entry.words.iter().filter(|s| !self.says(**s)) {
            let meaning = facts.meanings[stem as usize];
            let light = meaning.benign || meaning.state != 0;
            let other = !light && facts.food_words[stem as usize] && stem != entry.head;
            unsaid += if other {
                OTHER_FOOD_WEIGHT
            } else {
                weight(Some(stem), meaning)
            };
        }
        let named = both + unsaid;
        let score =
            COVERAGE_SHARE * both / said.max(1e-9) + (1.0 - COVERAGE_SHARE) * both / f64::max(named, 1e-9);
        let core = if facts.core[entry.food] { CORE_BONUS } else { 0.0 };
        let penalty = self.raw_penalty(entry, facts.eaten_raw[entry.food], facts.eaten_dry[entry.food]);
        Some((score + self.state_bonus(entry) + core - penalty).clamp(0.0, MOST))
    }

    fn is_another_food(&self, entry: &Entry, facts: &Facts<'_>) -> bool {
        let unsaid = |w: &&Said| !w.is_form && !w.stem.is_some_and(|s| entry.has(s));
        let mut unsaid_foods = self.words.iter().filter(unsaid).filter(|w| w.may_be_food);
        if self.made_of {
            let other_kind = self.qualified
                && !entry.qualifiers.is_empty()
                && entry
                    .qualifiers
                    .iter()
                    .all(|q| facts.food_words[*q as usize] && !self.says(*q));
            if other_kind || unsaid_foods.clone().next().is_some() {
                return true;
            }
        }
        if self.often_replaced && unsaid_foods.any(|w| w.plant) {
            return true;
        }
        // The head of the label only qualifies the entry: "egg" and egg noodles.
        let same_head = self.heads.contains(&entry.head);
        !same_head && self.is_a_head
    }

    fn state_bonus(&self, entry: &Entry) -> f64 {
        let (a, b) = (self.states.said, entry.states.said);
        match () {
            () if a == 0 || b == 0 => 0.0,
            () if a & b == 0 => OTHER_STATE_BONUS,
            () => SAME_STATE_BONUS,
        }
    }

    fn raw_penalty(&self, entry: &Entry, eaten_raw: bool, eaten_dry: bool) -> f64 {
        let unsaid = entry.states.uneaten & !self.states.uneaten;
        match () {
            () if unsaid & 0b0111 != 0 && !eaten_dry => DRY_PENALTY,
            () if unsaid & 0b1000 != 0 && !eaten_raw => RAW_PENALTY,
            () => 0.0,
        }
    }
}
