//! Labels brought to one spelling.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Preparations that change density or energy; two labels that name different ones are different foods.
pub(super) const STATES: &[&str] = &[
    "raw", "fresh", "fried", "boiled", "steamed", "baked", "roast", "grill", "mash", "dri", "can", "smok",
    "scrambl", "breaded", "stew", "cook", "poach", "toast", "pickl", "frozen", "sweeten", "cream", "stuff",
    "deep",
];

/// Words that say nothing of the food.
const NOISE: &[&str] = &[
    "a", "an", "the", "of", "with", "and", "in", "on", "som", "serving", "portion", "plat",
];

/// States as they follow or precede a noun; unlike a stem of [`STATES`] these are never the food ("ice cream", "stew").
const STATE_WORDS: &[&str] = &[
    "raw",
    "fresh",
    "plain",
    "frozen",
    "uncooked",
    "unsalted",
    "unsweetened",
    "hot",
    "cold",
    "warm",
    "lean",
    "homemade",
    "crispy",
    "creamy",
    "spicy",
    "organic",
    "medium",
    "large",
    "small",
    "mixed",
    "shaven",
    "ripe",
    "dry",
    "cut",
];

/// Whether a word says how a food was prepared rather than which it is.
pub(super) fn is_state(token: &str) -> bool {
    STATE_WORDS.contains(&token)
        || (token.len() > 4 && token.ends_with("ed") && !matches!(token, "seed" | "weed" | "seaweed"))
}

/// Lower-case ASCII-folded words: accents stripped, punctuation to spaces.
pub(super) fn tokens(label: &str) -> Vec<String> {
    let folded: String = label
        .nfkd()
        .filter(|c| !is_combining_mark(*c))
        .take(400)
        .flat_map(char::to_lowercase)
        .map(|c| {
            if c.is_alphanumeric() {
                c
            } else if c == '\'' {
                '\u{0}'
            } else {
                ' '
            }
        })
        .filter(|c| *c != '\u{0}')
        .collect();
    folded.split_whitespace().map(str::to_owned).collect()
}

/// Stems of the words, plurals and endings cut, noise dropped.
pub(super) fn words(label: &str) -> Vec<String> {
    let all: Vec<String> = tokens(label).iter().map(|t| stem(t)).collect();
    let kept: Vec<String> = all
        .iter()
        .filter(|w| !NOISE.contains(&w.as_str()))
        .cloned()
        .collect();
    if kept.is_empty() { all } else { kept }
}

/// Cuts plural and simple endings so that both numbers of a noun meet: berries/berry, cookies/cookie,
/// tomatoes/tomato; and the forms of a preparation: roasted/roast, mashed/mash.
pub(super) fn stem(word: &str) -> String {
    let n = word.len();
    if !word.is_ascii() || n < 4 {
        return word.into();
    }
    if let Some(state) = preparation(word) {
        return state.into();
    }
    if ["ss", "us", "is"].iter().any(|e| word.ends_with(e)) {
        return word.into();
    }
    let single = word.strip_suffix('s').unwrap_or(word);
    let root = single.strip_suffix('e').unwrap_or(single);
    let root = if root.len() < 3 { single } else { root };
    match root.strip_suffix('y') {
        Some(rest) => format!("{rest}i"),
        None => root.into(),
    }
}

/// `roasted` and `roast` are one preparation; `fried` stays apart from `fry`.
fn preparation(word: &str) -> Option<&str> {
    let root = word.strip_suffix("ed")?;
    STATES
        .iter()
        .find(|s| **s == root || root.strip_suffix('n') == Some(**s) || **s == word)
        .copied()
        .or_else(|| (word == "dried").then_some("dri"))
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn spellings_meet() {
        for (a, b) in [
            ("Berries", "berry"),
            ("cookies", "cookie"),
            ("Tomatoes", "tomato"),
            ("crème brûlée", "creme brulee"),
            ("a slice of Pizza!", "pizza slice"),
            ("roasted potatoes", "roast potato"),
            ("shepherd's pie", "Shepherds pie"),
            ("grapes", "grape"),
            ("noodles", "noodle"),
            ("mashed potato", "mash potatoes"),
        ] {
            let sorted = |t: &str| {
                let mut w = words(t);
                w.sort();
                w
            };
            assert_eq!(sorted(a), sorted(b), "{a} / {b}");
        }
        assert_ne!(words("fried rice"), words("rice"));
        assert_eq!(words("couscous"), ["couscous"]);
        assert_ne!(words("cookie"), words("cooked"));
        assert!(words("  ?! ").is_empty());
        assert_eq!(words("the"), ["the"]);
    }
}
