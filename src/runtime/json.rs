//! JSON of strangers, parsed with a budget: 26 MB of `{}` would take a gigabyte.

use serde_json::Value;

use crate::contract::{ErrorCode, ScanError};

/// Values and keys of one text. A scan with 64 hints has some 700.
pub const MAX_VALUES: usize = 20_000;

/// # Errors
/// `bad_request` for what is no JSON or has more values than any job.
pub fn parse(text: &[u8]) -> Result<Value, ScanError> {
    check(text)?;
    serde_json::from_slice(text).map_err(|e| bad(format!("this is not JSON: {e}")))
}

/// Counts values and keys without making them; whether it is JSON is for the parser to find out.
///
/// # Errors
/// `bad_request` over [`MAX_VALUES`].
pub fn check(text: &[u8]) -> Result<(), ScanError> {
    let mut values = 0;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            // A comma or a bracket for each value, a colon for each key.
            b'{' | b'[' | b',' | b':' => values += 1,
            b'"' => at += string_end(&text[at..]),
            _ => {}
        }
        if values > MAX_VALUES {
            return Err(bad(format!("this JSON has over {MAX_VALUES} values")));
        }
    }
    Ok(())
}

/// Length up to and with the closing quote.
fn string_end(text: &[u8]) -> usize {
    let mut at = 0;
    // Photos are strings of megabytes: runs without quote and backslash are skipped at once.
    while let Some(n) = text[at..].iter().position(|&b| b == b'"' || b == b'\\') {
        at += n + 1;
        if text[at - 1] == b'"' {
            return at;
        }
        at = (at + 1).min(text.len());
    }
    text.len()
}

fn bad(message: String) -> ScanError {
    ScanError::new(ErrorCode::BadRequest, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_in_strings_is_not_counted() {
        let quoted = format!(r#"{{"a": "{}\"[[[,,"}}"#, "[,".repeat(MAX_VALUES));
        assert!(parse(quoted.as_bytes()).is_ok());
        let many = format!("[{}1]", "1,".repeat(MAX_VALUES));
        assert_eq!(parse(many.as_bytes()).unwrap_err().code, ErrorCode::BadRequest);
        let objects = format!("[{}{{}}]", "{},".repeat(MAX_VALUES));
        assert!(check(objects.as_bytes()).is_err());
        for odd in ["", "\"", "\"\\", "\"\\\"", "[\"a\\"] {
            assert!(parse(odd.as_bytes()).is_err(), "{odd}");
        }
    }
}
