//! One item: text that is only text, numbers in range that agree with each other.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use unicode_normalization::UnicodeNormalization;
use utoipa::ToSchema;

use super::number;

/// One thing on a menu, in one portion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Item {
    #[schema(min_length = 1, max_length = 120)]
    pub name: String,
    /// What one portion is, in the restaurant's words.
    #[schema(required, max_length = 60)]
    pub serving: Option<String>,
    #[schema(minimum = 0, maximum = 3000)]
    pub kcal: f64,
    #[schema(minimum = 0, maximum = 300)]
    pub protein_g: f64,
    #[schema(minimum = 0, maximum = 300)]
    pub carbs_g: f64,
    #[schema(minimum = 0, maximum = 300)]
    pub fat_g: f64,
    /// `macros_inconsistent`: energy and 4/4/9 of the macros differ by more than 20 % (and 25 kcal). `alcohol`: energy
    /// that the macros do not explain is expected.
    pub flags: Vec<Flag>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    MacrosInconsistent,
    Alcohol,
}

#[derive(Debug)]
pub(super) enum Verdict {
    Good(Item),
    Doubtful(Item),
    Bad,
}

impl Item {
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let fold = |s: &str| s.to_lowercase();
        fold(&self.name) == fold(&other.name)
            && self.serving.as_deref().map(fold) == other.serving.as_deref().map(fold)
    }
}

const NAME: usize = 120;
const SERVING: usize = 60;
/// A dish is not named in sentences.
const WORDS: usize = 16;
/// What the alcohol of one drink can explain: 100 g at 7 kcal.
const ALCOHOL_KCAL: f64 = 700.0;

pub(super) fn check(raw: &Value) -> Verdict {
    let text = |field: &str| raw.get(field).and_then(Value::as_str);
    let grams = |field: &str| {
        let n = raw.get(field).and_then(|v| number::read(v, "g"))?;
        (0.0..=300.0).contains(&n).then_some((n * 10.0).round() / 10.0)
    };
    let Some(name) = text("name").and_then(plain).filter(|n| is_a_name(n)) else {
        return Verdict::Bad;
    };
    let serving = text("serving")
        .and_then(plain)
        .filter(|s| s.chars().count() <= SERVING);
    if serving.as_deref().is_some_and(is_per_hundred) {
        return Verdict::Bad;
    }
    let kcal = raw.get("kcal").and_then(|v| number::read(v, "kcal"));
    let (Some(kcal), Some(p), Some(c), Some(f)) =
        (kcal, grams("protein_g"), grams("carbs_g"), grams("fat_g"))
    else {
        return Verdict::Bad;
    };
    if !(0.0..=3000.0).contains(&kcal) {
        return Verdict::Bad;
    }
    let alcohol = raw.get("alcohol").and_then(Value::as_bool).unwrap_or(false);
    let mut item = Item {
        name,
        serving,
        kcal: kcal.round(),
        protein_g: p,
        carbs_g: c,
        fat_g: f,
        flags: Vec::new(),
    };
    let explained = 4.0 * p + 4.0 * c + 9.0 * f;
    let gap = (kcal - explained).abs();
    if alcohol {
        item.flags.push(Flag::Alcohol);
    }
    if gap <= f64::max(25.0, 0.2 * kcal) || (alcohol && explained <= kcal && gap <= ALCOHOL_KCAL) {
        Verdict::Good(item)
    } else if gap <= 0.4 * kcal {
        item.flags.push(Flag::MacrosInconsistent);
        Verdict::Doubtful(item)
    } else {
        // Kilojoules called kcal are among these: 4.184 times too much.
        Verdict::Bad
    }
}

/// Text without markup, control characters or invisible direction marks; `None` if nothing or too much remains.
pub(super) fn plain(text: &str) -> Option<String> {
    if text.len() > 4096 {
        return None;
    }
    let mut bare = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        bare.push_str(before);
        match after.split_once('>') {
            Some((_, behind)) => rest = behind,
            None => rest = after,
        }
        bare.push(' ');
    }
    bare.push_str(rest);
    let visible = |c: &char| !matches!(c, '<' | '>' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    let spaced = bare
        .nfc()
        .map(|c| if c.is_control() { ' ' } else { c })
        .filter(visible);
    let words = spaced.collect::<String>();
    let out = words.split_whitespace().collect::<Vec<_>>().join(" ");
    (1..=NAME).contains(&out.chars().count()).then_some(out)
}

fn is_a_name(name: &str) -> bool {
    let lower = name.to_lowercase();
    let address = ["://", "www.", "@", "javascript:", "data:"]
        .iter()
        .any(|s| lower.contains(s));
    let order = ["ignore ", "disregard ", "system prompt", "instructions"]
        .iter()
        .any(|s| lower.contains(s));
    !address && !order && name.chars().any(char::is_alphabetic) && name.split(' ').count() <= WORDS
}

fn is_per_hundred(serving: &str) -> bool {
    let s = serving.to_lowercase().replace(' ', "");
    ["100g", "100ml", "per100", "pro100"]
        .iter()
        .any(|p| s.starts_with(p))
}
