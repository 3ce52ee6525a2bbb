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

/// Lower-case ASCII-folded words: accents stripped, punctuation to spaces, plurals and endings cut, noise dropped.
pub(super) fn words(label: &str) -> Vec<String> {
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
    let all: Vec<String> = folded.split_whitespace().map(stem).collect();
    let kept: Vec<String> = all
        .iter()
        .filter(|w| !NOISE.contains(&w.as_str()))
        .cloned()
        .collect();
    if kept.is_empty() { all } else { kept }
}

/// Cuts plural and simple endings so that both numbers of a noun meet: berries/berry, cookies/cookie,
/// tomatoes/tomato; and the forms of a preparation: roasted/roast, mashed/mash.
fn stem(word: &str) -> String {
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

/// Character trigrams of the words, each padded with a space on both sides.
pub(super) fn trigrams(words: &[String]) -> Vec<[char; 3]> {
    let padded: Vec<char> = std::iter::once(' ')
        .chain(words.iter().flat_map(|w| w.chars().chain([' '])))
        .collect();
    padded.windows(3).map(|w| [w[0], w[1], w[2]]).collect()
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
