//! How much of what a caller wrote may stand in an error text or a log line: at most [`SHOWN`] characters of a value,
//! and nothing of the signatures and passwords inside URLs.

use std::fmt::Display;

/// Most characters of one value that are repeated.
pub const SHOWN: usize = 80;

/// The start of a value that somebody sent, fit for a message: no control characters, no secrets of URLs.
pub fn said(value: &str) -> String {
    cut(&urls(value))
}

/// What a parser says, which may repeat all of what it could not read. What it expected instead, which the parser
/// says last and in words of its own, stays whole.
pub fn parsed(error: impl Display) -> String {
    let text = urls(&error.to_string());
    let at = text
        .rfind(", expected ")
        .filter(|_| !text.contains(", there are no "));
    match at {
        Some(at) if text.len() - at <= 1000 => cut(&text[..at]) + &text[at..],
        _ => cut(&text),
    }
}

/// An error and what caused it, one a line, each cut like a parser's message.
pub fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str("\ncaused by: ");
        text.push_str(&parsed(cause));
        next = cause.source();
    }
    text
}

fn cut(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let total = text.chars().count();
    if total <= SHOWN {
        return text.chars().map(plain).collect();
    }
    let head: String = text.chars().take(SHOWN - 20).map(plain).collect();
    format!("{head}... ({total} characters)")
}

/// The text with the query and the user information of every URL in it replaced by `***`.
pub fn urls(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after
            .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | '\\'))
            .unwrap_or(after.len());
        let (url, tail) = after.split_at(end);
        let (base, query) = url.find(['?', '#']).map_or((url, ""), |i| url.split_at(i));
        let host_end = base.find('/').unwrap_or(base.len());
        let base = match base[..host_end].rfind('@') {
            Some(i) => {
                out.push_str("***@");
                &base[i + 1..]
            }
            None => base,
        };
        out.push_str(base);
        if !query.is_empty() {
            out.push_str("?***");
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::contract::{ErrorCode, ScanError};

    #[test]
    fn a_long_value_is_only_begun() {
        let photo = "/9j/4AAQ".repeat(50_000);
        for text in [
            said(&photo),
            parsed(format!("unknown variant `{photo}`, expected one of `s3`, `url`")),
            parsed(format!("invalid type: string \"{photo}\", expected f64")),
            parsed(format!("unknown field `, expected {photo}`, there are no fields")),
            causes(&ScanError::new(ErrorCode::Internal, "x").source(photo.clone())),
        ] {
            assert!(text.len() < 200, "{text}");
            assert!(!text.contains(&photo[..SHOWN]), "{text}");
        }
        assert!(parsed(format!("unknown variant `{photo}`, expected `s3`")).ends_with(", expected `s3`"));
        assert_eq!(said("a\nb"), "a b");
        assert_eq!(parsed("missing field `image`"), "missing field `image`");
    }

    #[test]
    fn queries_and_passwords_go() {
        for (text, want) in [
            ("no address", "no address"),
            (
                "unknown variant `https://b.s3.example/k?X-Amz-Signature=abc`, expected `s3`",
                "unknown variant `https://b.s3.example/k?***`, expected `s3`",
            ),
            (
                "at https://me:pw@host/p and http://x/#t.",
                "at https://***@host/p and http://x/?***",
            ),
            ("https://h?a=1 https://h/b", "https://h?*** https://h/b"),
            ("://", "://"),
        ] {
            assert_eq!(urls(text), want);
        }
    }
}
