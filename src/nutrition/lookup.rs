//! From a label to a row: exact name, same words, nearest name of the same head, category, unknown.
//!
//! A label is an English noun phrase, so its head decides: swiss cheese is a cheese and chocolate milk a milk, however
//! alike other names are spelled. A row of another head is never answered; where no row fits, the head's category is,
//! with its wide interval.

use std::cell::OnceCell;

use super::amount::{self, Amount};
use super::food::Food;
use super::names::Nearest;
use super::phrase::Phrase;
use super::table::FoodTable;
use super::{categories, text};
use crate::contract::vocabulary::vocabulary;

vocabulary! {
    /// How a row was found, best first.
    MatchKind {
        Exact = "exact":
            "The label is a name or alias, in one of its spellings.",
            "Nothing.";
        SameWords = "same_words":
            "The same words in another order, about the same head.",
            "Nothing.";
        Fuzzy = "fuzzy":
            "The nearest name of the same head.",
            "Show the name for confirmation.";
        Category = "category":
            "Only the category is known; averages with wide intervals.",
            "Let the user choose a food.";
        Unknown = "unknown":
            "Nothing fits; the average food.",
            "Let the user choose a food.";
    }
}

/// A row found for a label.
#[derive(Debug, Clone, Copy)]
pub struct FoodMatch<'a> {
    pub food: &'a Food,
    pub kind: MatchKind,
    /// 1 for exact; below 1 a similarity, 0 for `unknown`.
    pub score: f64,
    /// How much the label itself says there is.
    pub amount: Option<Amount>,
}

/// A fuzzy match below this is no match.
pub const LEAST_SCORE: f64 = 0.5;
/// Scores of a name in another order, and of a category.
const SAME_WORDS_SCORE: f64 = 0.97;
const CATEGORY_SCORE: f64 = 0.3;

/// A label, and what is worked out of it once it is needed.
struct Label<'a> {
    text: &'a str,
    phrase: OnceCell<Phrase>,
    respelled: OnceCell<Vec<String>>,
}

impl<'a> Label<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            phrase: OnceCell::new(),
            respelled: OnceCell::new(),
        }
    }

    fn phrase(&self) -> &Phrase {
        self.phrase.get_or_init(|| Phrase::new(self.text))
    }

    fn respelled(&self, table: &FoodTable) -> &[String] {
        self.respelled.get_or_init(|| table.names.respelled(self.text))
    }
}

impl FoodTable {
    /// The row for a label, or an average to fall back on. Never fails.
    pub fn lookup(&self, label: &str) -> FoodMatch<'_> {
        let label = Label::new(label);
        if let Some(found) = self.find_named(&label) {
            return found;
        }
        let Some((amount, rest)) = amount::split(label.text) else {
            return self.find_near(&label);
        };
        let rest = Label::new(&rest);
        let found = self.find_named(&rest).unwrap_or_else(|| self.find_near(&rest));
        FoodMatch { amount, ..found }
    }

    /// A row that bears this name.
    fn find_named(&self, label: &Label<'_>) -> Option<FoodMatch<'_>> {
        let names = &self.names;
        if let Some(food) = names.exact(label.text) {
            return Some(self.found(food, MatchKind::Exact, 1.0));
        }
        let phrase = label.phrase();
        // A bare category ("salad") is no particular dish of it.
        if phrase.words.len() == 1 && categories::of_word(&phrase.words[0]).is_some() {
            return None;
        }
        if let Some(food) = names.same_words(phrase) {
            return Some(self.found(food, MatchKind::SameWords, SAME_WORDS_SCORE));
        }
        label.respelled(self).iter().find_map(|spelling| {
            if let Some(food) = names.exact(spelling) {
                return Some(self.found(food, MatchKind::Exact, 0.99));
            }
            let food = names.same_words(&Phrase::new(spelling))?;
            Some(self.found(food, MatchKind::SameWords, SAME_WORDS_SCORE))
        })
    }

    /// The nearest row of the same head, else the head's category, else the average food.
    fn find_near(&self, label: &Label<'_>) -> FoodMatch<'_> {
        let phrase = label.phrase().clone();
        if phrase.words.is_empty() || phrase.words == ["unknown"] {
            return self.found_average(self.unknown(), MatchKind::Unknown, 0.0);
        }
        let bare = phrase.words.len() == 1 && categories::of_word(&phrase.words[0]).is_some();
        let mut spellings = vec![phrase];
        spellings.extend(label.respelled(self).iter().map(|s| Phrase::new(s)));
        if !bare {
            let nearest = spellings
                .iter()
                .filter_map(|s| self.names.nearest_one(s))
                .max_by(|a, b| a.score.total_cmp(&b.score).then(b.food.cmp(&a.food)));
            if let Some(Nearest { food, score }) = nearest.filter(|n| n.score >= LEAST_SCORE) {
                return self.found(food, MatchKind::Fuzzy, score);
            }
        }
        let category = spellings.iter().find_map(|phrase| {
            let names = &self.names;
            names
                .category_of(phrase)
                .or_else(|| categories::of_phrase(phrase))
                .and_then(|name| self.category(name))
        });
        match category {
            Some(food) => self.found_average(food, MatchKind::Category, CATEGORY_SCORE),
            None => self.found_average(self.unknown(), MatchKind::Unknown, 0.0),
        }
    }

    fn found(&self, food: usize, kind: MatchKind, score: f64) -> FoodMatch<'_> {
        self.found_average(&self.foods()[food], kind, score)
    }

    fn found_average<'a>(&'a self, food: &'a Food, kind: MatchKind, score: f64) -> FoodMatch<'a> {
        FoodMatch {
            food,
            kind,
            score,
            amount: None,
        }
    }

    /// The `n` nearest rows, best first, whatever their score.
    pub fn search(&self, label: &str, n: usize) -> Vec<FoodMatch<'_>> {
        let label = match amount::split(label) {
            Some((_, rest)) if self.names.exact(label).is_none() => rest,
            _ => label.to_owned(),
        };
        let first = self.find_named(&Label::new(&label));
        let taken = first.map(|m| m.food.name.clone());
        let near = self.names.nearest(&Phrase::new(&label));
        let mut spellings = self.names.respelled(&label).into_iter();
        let near = if near.is_empty() {
            spellings
                .find_map(|s| Some(self.names.nearest(&Phrase::new(&s))).filter(|n| !n.is_empty()))
                .unwrap_or_else(|| self.names.sharing_words(&text::words(&label)))
        } else {
            near
        };
        first
            .into_iter()
            .chain(
                near.into_iter()
                    .map(|m| self.found(m.food, MatchKind::Fuzzy, m.score))
                    .filter(move |m| Some(&m.food.name) != taken.as_ref()),
            )
            .take(n)
            .collect()
    }
}
