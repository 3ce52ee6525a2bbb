//! What a note says of the meal ("half of it", "with olive oil"): never taken for a fact, only for what to ask first.

use super::food::HiddenKind;

/// A note as far as it is understood.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Note {
    /// Share of the meal that was eaten, between 0 and 1.
    pub portion: Option<f64>,
    said: Vec<(&'static str, Amount)>,
}

/// How much of something is said to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Amount {
    None,
    Little,
    Some,
    Much,
}

/// Words that speak of what a question is about.
const ABOUT: &[(&str, &[&str])] = &[
    (
        "oil",
        &["oil", "butter", "ghee", "lard", "oily", "buttered", "margarine"],
    ),
    ("dressing", &["dressing", "vinaigrette", "mayo", "mayonnaise"]),
    ("sauce", &["sauce", "gravy", "ketchup", "syrup", "topping"]),
    ("sugar", &["sugar", "sweetened", "honey", "sugared"]),
    ("sugar_free", &["diet", "zero", "sugarfree", "unsweetened"]),
];
const NOT: &[&str] = &["no", "without", "not", "zero", "w/o", "hold"];
const LITTLE: &[&str] = &[
    "little", "bit", "splash", "drop", "drizzle", "light", "lightly", "teaspoon", "tsp",
];
const MUCH: &[&str] = &[
    "lot", "lots", "much", "extra", "heavy", "plenty", "drenched", "double", "loads",
];
/// Words between an amount and what it is of.
const REACH: usize = 4;
/// Words between a share and that it is what is left.
const LEFT_REACH: usize = 6;
/// Words that make a share one of the meal.
const OF_IT: &[&str] = &[
    "it",
    "this",
    "that",
    "them",
    "everything",
    "plate",
    "meal",
    "bowl",
    "portion",
    "dish",
];
const EATEN: &[&str] = &[
    "ate", "eaten", "eat", "had", "finished", "only", "share", "shared",
];

impl Note {
    /// Reads English; what it does not understand says nothing.
    pub fn read(text: &str) -> Self {
        let lower = text
            .to_lowercase()
            .replace("sugar-free", "sugarfree")
            .replace("sugar free", "sugarfree");
        let words: Vec<&str> = lower
            .split(|c: char| !(c.is_alphanumeric() || matches!(c, '/' | '%' | '½' | '⅓' | '¼' | '¾' | '⅔')))
            .filter(|w| !w.is_empty())
            .collect();
        let mut said: Vec<(&'static str, Amount)> = Vec::new();
        for (at, word) in words.iter().enumerate() {
            for (question, about) in ABOUT {
                if about.contains(word) && !said.iter().any(|(q, _)| q == question) {
                    said.push((question, amount(&words[at.saturating_sub(REACH)..at])));
                }
            }
        }
        Self {
            portion: portion(&words),
            said,
        }
    }

    /// The option of a food's question that the note chooses, by place; none if it says nothing of it.
    pub(super) fn option(&self, kind: HiddenKind, question: &str) -> Option<usize> {
        let (_, amount) = self.said.iter().find(|(about, _)| *about == question)?;
        Some(match (kind, amount) {
            (HiddenKind::SugarFree, Amount::None) => 0,
            (HiddenKind::SugarFree, _) => 1,
            (_, Amount::None) => 0,
            (HiddenKind::OilIncluded, Amount::Little) => 0,
            (_, Amount::Little | Amount::Some) => 1,
            (_, Amount::Much) => 2,
        })
    }
}

/// What the words before something say of how much of it there is.
fn amount(before: &[&str]) -> Amount {
    for word in before.iter().rev() {
        match () {
            () if NOT.contains(word) => return Amount::None,
            () if LITTLE.contains(word) => return Amount::Little,
            () if MUCH.contains(word) => return Amount::Much,
            () => {}
        }
    }
    Amount::Some
}

/// "half of it", "I ate two thirds", "only 40 %".
fn portion(words: &[&str]) -> Option<f64> {
    (0..words.len()).find_map(|at| {
        let (share, after) = share(&words[at..])?;
        let rest = &words[at + after..];
        let of_it = rest.first() == Some(&"of") && rest.iter().skip(1).take(3).any(|w| OF_IT.contains(w));
        let eaten = words[at.saturating_sub(3)..at].iter().any(|w| EATEN.contains(w))
            && rest.first().is_none_or(|w| *w != "of" || of_it)
            && rest.first().is_none_or(|w| OF_IT.contains(w) || *w == "of");
        let left = rest
            .iter()
            .take(LEFT_REACH)
            .any(|w| matches!(*w, "left" | "leftover" | "remains"));
        (of_it || eaten || left).then_some(if left { 1.0 - share } else { share })
    })
}

/// A share at the beginning of the words, and how many words it takes.
fn share(words: &[&str]) -> Option<(f64, usize)> {
    let parts = |word: &str| match word {
        "half" | "halves" | "½" | "1/2" => Some(2.0),
        "third" | "thirds" | "⅓" | "1/3" => Some(3.0),
        "quarter" | "quarters" | "fourth" | "fourths" | "¼" | "1/4" => Some(4.0),
        "fifth" | "fifths" | "1/5" => Some(5.0),
        _ => None,
    };
    let number = |word: &str| match word {
        "a" | "one" | "1" => Some(1.0),
        "two" | "2" => Some(2.0),
        "three" | "3" => Some(3.0),
        "four" | "4" => Some(4.0),
        _ => None,
    };
    let first = words.first()?;
    if let Some(whole) = parts(first) {
        return Some((1.0 / whole, 1));
    }
    match *first {
        "¾" | "3/4" => return Some((0.75, 1)),
        "⅔" | "2/3" => return Some((2.0 / 3.0, 1)),
        _ => {}
    }
    let percent = |text: &str| {
        text.parse::<f64>()
            .ok()
            .filter(|p| (1.0..100.0).contains(p))
            .map(|p| p / 100.0)
    };
    if let Some(share) = first.strip_suffix('%').and_then(percent) {
        return Some((share, 1));
    }
    let second = words.get(1)?;
    if matches!(*second, "%" | "percent") {
        return Some((percent(first)?, 2));
    }
    let share = number(first)? / parts(second)?;
    (share < 1.0).then_some((share, 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_the_meal_are_read_and_shares_of_foods_are_not() {
        for (text, want) in [
            ("half of it", Some(0.5)),
            ("I only ate half", Some(0.5)),
            ("ate two thirds of this", Some(2.0 / 3.0)),
            ("¾ of the plate", Some(0.75)),
            ("had about 40% of it", Some(0.4)),
            ("a quarter of the meal is left", Some(0.75)),
            ("half an avocado and toast", None),
            ("two eggs, half a lemon", None),
            ("3.5% fat milk", None),
            ("", None),
        ] {
            assert_eq!(Note::read(text).portion, want, "{text}");
        }
    }

    #[test]
    fn what_is_added_chooses_an_option() {
        let oil = |text: &str| Note::read(text).option(HiddenKind::OilAdded, "oil");
        assert_eq!(oil("with olive oil"), Some(1));
        assert_eq!(oil("no butter, no oil"), Some(0));
        assert_eq!(oil("fried in a lot of oil"), Some(2));
        assert_eq!(oil("with a little bit of butter"), Some(1));
        assert_eq!(oil("steamed"), None);
        let dressing = |text: &str| Note::read(text).option(HiddenKind::Dressing, "dressing");
        assert_eq!(
            (dressing("without dressing"), dressing("extra mayo")),
            (Some(0), Some(2))
        );
        assert_eq!(
            Note::read("diet coke").option(HiddenKind::SugarFree, "sugar_free"),
            Some(1)
        );
        assert_eq!(
            Note::read("with olive oil").option(HiddenKind::Dressing, "dressing"),
            None
        );
    }
}
