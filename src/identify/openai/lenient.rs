//! JSON as language models write it: after a preamble, in a code fence, with trailing commas, stray or missing brackets,
//! quotes of the wrong kind, words without quotes, and cut off where the answer grew too long.
//!
//! Reading never fails and takes time linear in the text: what cannot be understood is left out, the rest is kept.

use serde_json::{Map, Number, Value};

/// Longer texts are read as if they were cut off here.
pub(super) const MAX_TEXT_BYTES: usize = 512 << 10;
/// What is nested deeper is left out.
const MAX_DEPTH: usize = 24;
/// A bare word ends here at the latest.
const MAX_WORD_CHARS: usize = 200;

/// Every object and list in a text that does not stand in another one, in order, and whether the text ends within one.
pub(super) fn values(text: &str) -> (Vec<Value>, bool) {
    let mut end = text.len().min(MAX_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut reader = Reader {
        rest: text[..end].chars().peekable(),
        cut_off: false,
    };
    let mut found = Vec::new();
    while let Some(c) = reader.rest.next() {
        match c {
            '{' => found.push(Value::Object(reader.object(1))),
            '[' => found.push(Value::Array(reader.array(1))),
            _ => {}
        }
    }
    (found, reader.cut_off)
}

struct Reader<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    /// The text ended before a bracket was closed.
    cut_off: bool,
}

impl Reader<'_> {
    fn peek(&mut self) -> Option<char> {
        self.rest.peek().copied()
    }

    /// Passes over spaces and comments; what comes then.
    fn skip_space(&mut self) -> Option<char> {
        loop {
            match self.peek()? {
                c if c.is_whitespace() => {
                    self.rest.next();
                }
                '/' => self.comment(),
                c => return Some(c),
            }
        }
    }

    /// The same with commas passed over, too: one too many means nothing.
    fn next_entry(&mut self) -> Option<char> {
        while self.skip_space()? == ',' {
            self.rest.next();
        }
        self.peek()
    }

    /// Takes a slash and, where it opens a comment, the comment.
    fn comment(&mut self) {
        self.rest.next();
        match self.peek() {
            Some('/') => while self.rest.next().is_some_and(|c| c != '\n') {},
            Some('*') => {
                let mut last = ' ';
                self.rest.next();
                for c in self.rest.by_ref() {
                    if last == '*' && c == '/' {
                        break;
                    }
                    last = c;
                }
            }
            _ => {}
        }
    }

    /// After its opening brace, to its closing one or where it evidently ends without.
    fn object(&mut self, depth: usize) -> Map<String, Value> {
        let mut out = Map::new();
        loop {
            match self.next_entry() {
                None => {
                    self.cut_off = true;
                    return out;
                }
                Some('}') => {
                    self.rest.next();
                    return out;
                }
                // A bracket that closes nothing.
                Some(']' | ':') => {
                    self.rest.next();
                    continue;
                }
                // The next object begins: a closing brace is missing.
                Some('{' | '[') => return out,
                Some(_) => {}
            }
            let Some(key) = self.word() else { continue };
            if self.skip_space() != Some(':') {
                continue;
            }
            self.rest.next();
            if let Some(value) = self.value(depth) {
                out.insert(key, value);
            }
        }
    }

    /// After its opening bracket, to its closing one or where it evidently ends without.
    fn array(&mut self, depth: usize) -> Vec<Value> {
        let mut out = Vec::new();
        loop {
            match self.next_entry() {
                // A brace here closes what the list stands in: the bracket is missing.
                Some('}') => return out,
                None => {
                    self.cut_off = true;
                    return out;
                }
                Some(']') => {
                    self.rest.next();
                    return out;
                }
                Some(':') => {
                    self.rest.next();
                }
                Some(_) => out.extend(self.value(depth)),
            }
        }
    }

    /// `None` for what is cut off by the text's end, nested too deep, or not there.
    fn value(&mut self, depth: usize) -> Option<Value> {
        match self.skip_space()? {
            open @ ('{' | '[') => {
                self.rest.next();
                if depth >= MAX_DEPTH {
                    return None;
                }
                Some(if open == '{' {
                    Value::Object(self.object(depth + 1))
                } else {
                    Value::Array(self.array(depth + 1))
                })
            }
            '}' | ']' | ',' => None,
            c if closing_quote(c).is_some() => self.word().map(Value::String),
            _ => self.word().map(|word| bare(&word)),
        }
    }

    /// A quoted text or a bare word; `None` where the text's end cuts it off.
    fn word(&mut self) -> Option<String> {
        match self.peek().and_then(closing_quote) {
            Some(closing) => {
                self.rest.next();
                self.quoted(closing)
            }
            None => self.bare_word(),
        }
    }

    /// To the closing quote. One that no end of a value follows is a part of the text: `"13" pizza"`.
    fn quoted(&mut self, closing: char) -> Option<String> {
        let mut out = String::new();
        loop {
            match self.rest.next()? {
                '\\' => match self.rest.next()? {
                    'n' | 't' | 'r' => out.push(' '),
                    'u' => out.extend(self.escaped()),
                    c => out.push(c),
                },
                c if c == closing && self.ends_value() => return Some(out),
                c => out.push(c),
            }
        }
    }

    /// Four hexadecimal digits; half a surrogate pair is dropped.
    fn escaped(&mut self) -> Option<char> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek()?.to_digit(16)?;
            code = code * 16 + digit;
            self.rest.next();
        }
        char::from_u32(code)
    }

    /// Whether a comma, colon, bracket, quote, line end or the text's end comes next, spaces aside.
    fn ends_value(&mut self) -> bool {
        let mut ahead = self.rest.clone();
        loop {
            match ahead.next() {
                None | Some(',' | ':' | '}' | ']' | '\n' | '\r') => return true,
                Some(c) if closing_quote(c).is_some() => return true,
                Some(c) if c.is_whitespace() => {}
                Some(_) => return false,
            }
        }
    }

    /// To the next comma, colon, bracket, quote or line end.
    fn bare_word(&mut self) -> Option<String> {
        let mut out = String::new();
        for _ in 0..MAX_WORD_CHARS {
            match self.peek()? {
                ',' | ':' | '{' | '}' | '[' | ']' | '"' | '\n' | '\r' => break,
                c => out.push(c),
            }
            self.rest.next();
        }
        Some(out.trim().to_owned())
    }
}

fn closing_quote(opening: char) -> Option<char> {
    match opening {
        '"' => Some('"'),
        '\'' => Some('\''),
        '“' => Some('”'),
        '`' => Some('`'),
        _ => None,
    }
}

/// A word without quotes as JSON or Python mean it, otherwise as text.
fn bare(word: &str) -> Value {
    match word {
        "true" | "True" => Value::Bool(true),
        "false" | "False" => Value::Bool(false),
        "null" | "None" | "NaN" | "nan" | "" => Value::Null,
        _ => word
            .parse()
            .ok()
            .and_then(Number::from_f64)
            .map_or_else(|| Value::String(word.to_owned()), Value::Number),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_read_as_json() {
        let value = json!({"a": [1, -2.5e3, "x \"y\", z", null, true, {}], "b": {"c": "ü\n"}, "": []});
        let (found, _) = values(&value.to_string());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0]["a"][1].as_f64(), Some(-2500.0));
        assert_eq!(found[0]["a"][2], "x \"y\", z");
        assert_eq!(found[0]["a"][4], true);
        assert_eq!(found[0]["b"]["c"], "ü ");
        assert_eq!(
            values(&value.to_string()),
            values(&serde_json::to_string_pretty(&value).unwrap_or_default())
        );
    }

    #[test]
    fn what_models_write_is_understood() {
        let same = json!([{"a": 1.0, "b": "rice"}, {"a": 2.0}]);
        for text in [
            "Sure [1]! Here: ```json\n[{\"a\": 1, \"b\": \"rice\",}, {\"a\": 2},]\n```",
            "[{'a': 1, 'b': 'rice'} {'a': 2}]",
            "[{a: 1, b: rice}, {a: 2}]",
            "[{\"a\": 1, // one\n \"b\": /* food */ \"rice\"]}, {\"a\": 2}}]",
            "[{\"a\": 1 \"b\": \"rice\", {\"a\": 2",
            "[{“a”: 1, “b”: “rice”}, {“a”: 2}, {",
        ] {
            let (found, _) = values(text);
            let list = found.iter().find(|v| v.as_array().is_some_and(|l| l.len() > 1));
            let list = list.cloned().unwrap_or_default();
            let got: Vec<&Value> = list
                .as_array()
                .into_iter()
                .flatten()
                .filter(|v| **v != json!({}))
                .collect();
            let whole = if text.ends_with("2") { 1 } else { 2 };
            assert_eq!(got, [&same[0], &same[1]][..whole], "{text}");
        }
    }

    #[test]
    fn a_quote_in_a_name_and_words_without_quotes_are_kept() {
        let (found, _) = values(r#"{"label": "13" pan pizza", "grams": 120 g, "x": None, "y": .5}"#);
        assert_eq!(
            found,
            [json!({"label": "13\" pan pizza", "grams": "120 g", "x": null, "y": 0.5})]
        );
    }

    #[test]
    fn hostile_texts_take_no_time() {
        let start = std::time::Instant::now();
        for piece in [
            "{", "[", "{\"a\":", "\"", "{\"a\":[", "\" ", "/*", "{'", "\\", "{a",
        ] {
            values(&piece.repeat(4 << 20));
        }
        assert!(
            start.elapsed() < std::time::Duration::from_secs(10),
            "{:?}",
            start.elapsed()
        );
    }
}
