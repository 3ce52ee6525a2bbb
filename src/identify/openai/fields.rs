//! The fields of one thing in an answer, each read by itself: an odd one costs itself and nothing else.

use serde_json::{Map, Value};

use crate::contract::quote::said;
use crate::identify::{Identified, Kind};

/// One thing as a model describes it.
pub(super) type Fields = Map<String, Value>;

/// Grams that one item on a plate can weigh; a guess outside is none.
const ITEM_GRAMS: std::ops::RangeInclusive<f64> = 1.0..=2500.0;
/// Probability of what comes without one.
const UNSTATED_CONFIDENCE: f64 = 0.5;
/// Probability of another food without one, as a share of what the chosen name leaves.
const UNSTATED_ALTERNATIVE_SHARE: f64 = 0.1;
const MAX_ALTERNATIVES: usize = 5;
const MAX_LABEL_CHARS: usize = 80;
const MAX_QUANTITY_CHARS: usize = 40;

/// Other words for kinds that models use beside those they are given.
const KIND_WORDS: &[(&str, Kind)] = &[
    ("fruit", Kind::Food),
    ("vegetable", Kind::Food),
    ("meat", Kind::Food),
    ("drink", Kind::Food),
    ("beverage", Kind::Food),
    ("sauce", Kind::Food),
    ("dessert", Kind::Food),
    ("dish", Kind::Plate),
    ("cup", Kind::Glass),
    ("mug", Kind::Glass),
    ("bottle", Kind::Glass),
    ("fork", Kind::Cutlery),
    ("knife", Kind::Cutlery),
    ("spoon", Kind::Cutlery),
    ("chopsticks", Kind::Cutlery),
    ("utensil", Kind::Cutlery),
    ("utensils", Kind::Cutlery),
    ("cutting board", Kind::Board),
    ("tray", Kind::Board),
    ("bank card", Kind::Card),
    ("credit card", Kind::Card),
    ("tissue", Kind::Napkin),
    ("smartphone", Kind::Phone),
    ("background", Kind::Table),
    ("tablecloth", Kind::Table),
];

/// Whether this describes a thing, rather than holding a list of things.
pub(super) fn describes(fields: &Fields) -> bool {
    ["label", "name", "food", "kind"]
        .iter()
        .any(|key| matches!(fields.get(*key), Some(Value::String(_) | Value::Null)))
}

/// The thing with its kind, name and probabilities checked. Where it names no kind, a name alone will do if `kind_by_label`.
///
/// # Errors
/// Why it cannot be used, in words.
pub(super) fn identity(fields: &Fields, kind_by_label: bool) -> Result<Identified, String> {
    let label = ["label", "name", "food"]
        .iter()
        .find_map(|key| text(fields.get(*key)?));
    let named = fields.get("kind").or_else(|| fields.get("type")).and_then(text);
    let kind = match (named, &label) {
        (Some(name), _) => kind_of(&name).ok_or_else(|| format!("{:?} is no kind", said(&name)))?,
        (None, Some(label)) if kind_by_label => kind_of(label).unwrap_or(Kind::Food),
        (None, _) => return Err("it names no kind".into()),
    };
    let confidence = fields
        .get("confidence")
        .and_then(probability)
        .unwrap_or(UNSTATED_CONFIDENCE);
    if kind != Kind::Food {
        return Ok(Identified {
            kind,
            label: kind.as_str().into(),
            confidence,
            alternatives: Vec::new(),
            grams: None,
            novelty: None,
        });
    }
    let label = label.unwrap_or_else(|| Identified::UNKNOWN.into());
    let mut alternatives: Vec<(String, f64)> = fields
        .get("alternatives")
        .map(|all| alternatives(all, confidence))
        .unwrap_or_default();
    alternatives.retain(|(name, p)| *name != label && *p > 0.0);
    alternatives.truncate(MAX_ALTERNATIVES);
    alternatives.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(Identified {
        confidence: if label == Identified::UNKNOWN {
            0.0
        } else {
            confidence
        },
        kind,
        label,
        alternatives,
        grams: ["grams", "weight_g", "mass_g", "weight"]
            .iter()
            .find_map(|key| grams(fields.get(*key)?))
            .filter(|g| ITEM_GRAMS.contains(g)),
        novelty: None,
    })
}

fn kind_of(name: &str) -> Option<Kind> {
    Kind::parse(name).or_else(|| {
        KIND_WORDS
            .iter()
            .find_map(|(word, kind)| (*word == name).then_some(*kind))
    })
}

/// Foods with their probabilities: objects, bare names, or one text with commas.
fn alternatives(value: &Value, confidence: f64) -> Vec<(String, f64)> {
    let unstated = UNSTATED_ALTERNATIVE_SHARE * (1.0 - confidence);
    let of_one = |other: &Value| match other {
        Value::Object(fields) => {
            let name = ["label", "name", "food"]
                .iter()
                .find_map(|key| text(fields.get(*key)?))?;
            Some((
                name,
                fields.get("confidence").and_then(probability).unwrap_or(unstated),
            ))
        }
        other => Some((text(other)?, unstated)),
    };
    match value {
        Value::Array(list) => list.iter().filter_map(of_one).collect(),
        Value::String(names) => names
            .split([',', ';'])
            .filter_map(|name| Some((clean(name)?, unstated)))
            .collect(),
        // {"paella": 0.2}
        Value::Object(map) if !map.contains_key("label") => map
            .iter()
            .filter_map(|(name, p)| Some((clean(name)?, probability(p).unwrap_or(unstated))))
            .collect(),
        other => of_one(other).into_iter().collect(),
    }
}

/// A name: a text, or the first of a list.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => clean(text),
        Value::Array(list) => list.first().and_then(|first| clean(first.as_str()?)),
        _ => None,
    }
}

/// One line of lower-case text of sane length; none if nothing is left.
fn clean(label: &str) -> Option<String> {
    let text = label
        .chars()
        .map(|c| if c.is_control() || c == '_' { ' ' } else { c })
        .take(MAX_LABEL_CHARS)
        .collect::<String>()
        .to_lowercase();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (!text.is_empty()).then_some(text)
}

/// 0 to 1; also as text, and in percent from 2 on.
fn probability(value: &Value) -> Option<f64> {
    let (number, unit) = match value {
        Value::Number(n) => (n.as_f64()?, ""),
        Value::String(text) => quantity(text)?,
        _ => return None,
    };
    if !number.is_finite() {
        return None;
    }
    let percent = unit == "%" || (2.0..=100.0).contains(&number);
    Some((if percent { number / 100.0 } else { number }).clamp(0.0, 1.0))
}

/// Grams; a text may carry another unit of mass, and a range means its middle.
fn grams(value: &Value) -> Option<f64> {
    let (number, unit) = match value {
        Value::Number(n) => (n.as_f64()?, ""),
        Value::String(text) => quantity(text)?,
        _ => return None,
    };
    let factor = match unit {
        "" | "g" | "gr" | "gram" | "grams" | "gm" => 1.0,
        "kg" | "kilogram" | "kilograms" => 1000.0,
        "mg" | "milligram" | "milligrams" => 0.001,
        "oz" | "ounce" | "ounces" => 28.349_523,
        "lb" | "lbs" | "pound" | "pounds" => 453.592_37,
        _ => return None,
    };
    Some(number * factor)
}

/// The number of a text, or the middle of two with a dash between, and the word or sign behind it: `~120 g`, `100-150g`, `85%`.
fn quantity(text: &str) -> Option<(f64, &str)> {
    let end = text
        .char_indices()
        .nth(MAX_QUANTITY_CHARS)
        .map_or(text.len(), |(at, _)| at);
    let text = &text[..end];
    let digits = |c: char| c.is_ascii_digit() || c == '.';
    let start = text.find(digits)?;
    let rest = &text[start..];
    let end = rest.find(|c| !digits(c)).unwrap_or(rest.len());
    let first: f64 = rest[..end].parse().ok()?;
    // A sign before the first number makes it negative, which nothing here is.
    if text[..start].trim_end().ends_with('-') {
        return None;
    }
    let behind = rest[end..].trim_start();
    let (number, behind) = match behind
        .strip_prefix(['-', '–'])
        .and_then(|r| quantity(r.trim_start()))
    {
        Some((second, _)) => {
            let after = behind.trim_start_matches(|c| digits(c) || c == '-' || c == '–' || c == ' ');
            (0.5 * (first + second), after)
        }
        None => (first, behind),
    };
    let unit = behind
        .split(|c: char| c.is_whitespace() || matches!(c, '(' | ',' | ';' | '.'))
        .next()
        .unwrap_or_default();
    Some((number, unit))
}

/// All numbers in a value, those in texts and nested lists included, at most `limit`.
pub(super) fn numbers(value: &Value, limit: usize) -> Vec<f64> {
    let mut out = Vec::new();
    collect_numbers(value, limit, &mut out);
    out
}

fn collect_numbers(value: &Value, limit: usize, out: &mut Vec<f64>) {
    if out.len() >= limit {
        return;
    }
    match value {
        Value::Number(n) => out.extend(n.as_f64()),
        Value::String(text) => out.extend(
            text.split(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e')))
                .filter_map(|word| word.parse::<f64>().ok()),
        ),
        Value::Array(list) => list.iter().for_each(|v| collect_numbers(v, limit, out)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn of(value: Value) -> Result<Identified, String> {
        identity(value.as_object().unwrap(), true)
    }

    #[test]
    fn odd_fields_cost_themselves_alone() {
        for (grams, want) in [
            (json!(120), Some(120.0)),
            (json!("120 g"), Some(120.0)),
            (json!("~120g (cooked)"), Some(120.0)),
            (json!("100-150 g"), Some(125.0)),
            (json!("0.2 kg"), Some(200.0)),
            (json!("2 cups"), None),
            (json!(null), None),
            (json!({"value": 3}), None),
            (json!(-5), None),
            (json!(1e9), None),
        ] {
            let found =
                of(json!({"label": "Rice", "kind": "Food", "grams": grams, "confidence": "0.9"})).unwrap();
            assert_eq!((found.label.as_str(), found.confidence), ("rice", 0.9));
            assert_eq!(found.grams, want, "{grams}");
        }
        for (confidence, want) in [
            (json!("85%"), 0.85),
            (json!(85), 0.85),
            (json!(null), 0.5),
            (json!("high"), 0.5),
            (json!([1]), 0.5),
            (json!(1.5), 1.0),
            (json!(-1), 0.0),
        ] {
            let found = of(json!({"label": "rice", "confidence": confidence})).unwrap();
            assert!((found.confidence - want).abs() < 1e-12, "{confidence}");
        }
    }

    #[test]
    fn kinds_by_other_words_and_alternatives_in_other_forms() {
        assert_eq!(
            of(json!({"kind": "utensil", "label": "fork"})).unwrap().kind,
            Kind::Cutlery
        );
        assert_eq!(of(json!({"label": "fork"})).unwrap().kind, Kind::Cutlery);
        assert_eq!(
            of(json!({"kind": "fruit", "label": ["apple", "pear"]}))
                .unwrap()
                .label,
            "apple"
        );
        assert!(
            of(json!({"kind": "spaceship", "label": "x"}))
                .unwrap_err()
                .contains("spaceship")
        );
        let one = json!([{"label": "paella", "confidence": 0.2}, "pilaf", 7, null]);
        for (others, names) in [
            (one, vec!["paella", "pilaf"]),
            (json!("paella, pilaf"), vec!["paella", "pilaf"]),
            (json!({"paella": 0.2}), vec!["paella"]),
            (json!(null), vec![]),
        ] {
            let found = of(json!({"label": "rice", "confidence": 0.5, "alternatives": others})).unwrap();
            let got: Vec<&str> = found.alternatives.iter().map(|(n, _)| n.as_str()).collect();
            assert_eq!(got, names);
        }
    }
}
