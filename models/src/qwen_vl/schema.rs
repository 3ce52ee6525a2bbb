//! The shapes of answer that constrained decoding can be held to: a small part of JSON Schema, in code.

use crate::{ModelError, Result};

/// Arrays may lie in each other this deep.
pub(super) const MAX_DEPTH: usize = 4;
/// Largest magnitude of a number, so that its digits can be counted exactly.
const MAX_NUMBER: f64 = 1e12;

/// What an answer must look like. Answers are compact JSON (no spaces), all keys present, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Schema {
    Object(Vec<(String, Schema)>),
    /// Any text without control characters.
    Text {
        min_chars: usize,
        max_chars: usize,
    },
    /// One of these texts.
    Enum(Vec<String>),
    Integer {
        min: i64,
        max: i64,
    },
    /// A decimal number with at most `decimals` digits behind the point.
    Number {
        min: f64,
        max: f64,
        decimals: u8,
    },
    Array {
        items: Box<Schema>,
        min_len: usize,
        max_len: usize,
    },
    Boolean,
}

impl Schema {
    /// An object from pairs of key and schema.
    pub fn object<K: Into<String>>(fields: impl IntoIterator<Item = (K, Schema)>) -> Self {
        Self::Object(fields.into_iter().map(|(k, v)| (k.into(), v)).collect())
    }

    /// One of `values`.
    pub fn one_of<V: Into<String>>(values: impl IntoIterator<Item = V>) -> Self {
        Self::Enum(values.into_iter().map(Into::into).collect())
    }

    /// # Errors
    /// [`ModelError::Prompt`] naming the place (JSON pointer) that no answer could fit.
    pub fn check(&self) -> Result<()> {
        if matches!(self, Self::Integer { .. } | Self::Number { .. }) {
            return Err(ModelError::Prompt(
                "schema: a bare number has no end, put it into an object".into(),
            ));
        }
        self.check_at("", 0)
    }

    fn check_at(&self, path: &str, depth: usize) -> Result<()> {
        let refuse = |reason: &str| Err(ModelError::Prompt(format!("schema at {path:?}: {reason}")));
        match self {
            Self::Object(fields) => {
                for (i, (key, schema)) in fields.iter().enumerate() {
                    if fields[..i].iter().any(|(k, _)| k == key) {
                        return refuse(&format!("key {key:?} stands twice"));
                    }
                    schema.check_at(&format!("{path}/{key}"), depth)?;
                }
                Ok(())
            }
            Self::Text { min_chars, max_chars } if min_chars > max_chars || *max_chars > 65_535 => {
                refuse("lengths must be rising and under 65536")
            }
            Self::Enum(values) if values.is_empty() => refuse("an enum without values"),
            Self::Enum(values) => match values.iter().enumerate().find(|(i, v)| values[..*i].contains(v)) {
                Some((_, value)) => refuse(&format!("value {value:?} stands twice")),
                None => Ok(()),
            },
            Self::Integer { min, max } if min > max || min.abs().max(max.abs()) as f64 > MAX_NUMBER => {
                refuse("bounds must be rising and within 1e12")
            }
            Self::Number { min, max, decimals }
                if min.is_nan()
                    || max.is_nan()
                    || min > max
                    || min.abs().max(max.abs()) > MAX_NUMBER
                    || *decimals > 6 =>
            {
                refuse("bounds must be rising and within 1e12, with at most 6 decimals")
            }
            Self::Array {
                items,
                min_len,
                max_len,
            } => {
                if min_len > max_len || *max_len > 65_535 {
                    return refuse("lengths must be rising and under 65536");
                }
                if depth == MAX_DEPTH {
                    return refuse("arrays lie in each other over 4 deep");
                }
                items.check_at(&format!("{path}/*"), depth + 1)
            }
            _ => Ok(()),
        }
    }
}
