//! Numbers as models write them.

use serde_json::Value;

/// A plain number, or a string of one with `~` before and its unit behind. A range, `1,200` (thousands or thousandths?)
/// and anything else is none.
pub(super) fn read(value: &Value, unit: &str) -> Option<f64> {
    let n = match value {
        Value::Number(n) => n.as_f64()?,
        Value::String(text) => {
            let text = text.trim().trim_start_matches(['~', '≈']).trim_start();
            let text = text.strip_suffix(unit).unwrap_or(text).trim_end();
            decimal(text)?
        }
        _ => return None,
    };
    n.is_finite().then_some(n)
}

fn decimal(text: &str) -> Option<f64> {
    let (whole, part) = match text.split_once([',', '.']) {
        Some((whole, part)) => (whole, Some(part)),
        None => (text, None),
    };
    let digits =
        |s: &str, most: usize| (1..=most).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole, 5) || !part.is_none_or(|p| digits(p, 2)) {
        return None;
    }
    format!("{whole}.{}", part.unwrap_or("0")).parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_means_one_number() {
        for (value, expected) in [
            (json!(350), Some(350.0)),
            (json!(3.5), Some(3.5)),
            (json!("350"), Some(350.0)),
            (json!("~350 kcal"), Some(350.0)),
            (json!("350kcal"), Some(350.0)),
            (json!("1,2"), Some(1.2)),
            (json!("1.25"), Some(1.25)),
            (json!("1,200"), None),
            (json!("300-400"), None),
            (json!("1464 kJ"), None),
            (json!("-3"), None),
            (json!("1e3"), None),
            (json!(""), None),
            (json!(null), None),
            (json!([1]), None),
        ] {
            assert_eq!(read(&value, "kcal"), expected, "{value}");
        }
    }
}
