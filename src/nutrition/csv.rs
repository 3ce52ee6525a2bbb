//! RFC 4180 text to records.

use std::iter::Peekable;
use std::str::Chars;

/// Fields of one record, and the line of the text that it begins on, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) line: usize,
    pub(crate) fields: Vec<String>,
}

/// Splits into records of fields; quotes doubled inside quoted fields, line ends `\n` or `\r\n`. Empty lines and a byte
/// order mark, which spreadsheets write, are skipped.
///
/// # Errors
/// The line of a record with a misplaced quote: one left open, or one inside an unquoted field.
pub(crate) fn records(text: &str) -> Result<Vec<Record>, usize> {
    let mut chars = text.strip_prefix('\u{feff}').unwrap_or(text).chars().peekable();
    let mut records = Vec::new();
    let mut line = 1;
    while chars.peek().is_some() {
        let mut fields = Vec::new();
        let begins = line;
        loop {
            let (field, breaks) = field(&mut chars).ok_or(begins)?;
            fields.push(field);
            line += breaks;
            match chars.next() {
                Some(',') => {}
                Some('\r') => {
                    chars.next_if_eq(&'\n');
                    break;
                }
                None | Some('\n') => break,
                Some(_) => return Err(begins),
            }
        }
        line += 1;
        if fields != [""] {
            records.push(Record { line: begins, fields });
        }
    }
    Ok(records)
}

/// The next field and the line ends inside of it. None for a misplaced quote.
fn field(chars: &mut Peekable<Chars<'_>>) -> Option<(String, usize)> {
    let mut field = String::new();
    if chars.next_if_eq(&'"').is_none() {
        while let Some(c) = chars.next_if(|c| !matches!(c, ',' | '\n' | '\r')) {
            if c == '"' {
                return None;
            }
            field.push(c);
        }
        return Some((field, 0));
    }
    loop {
        match chars.next()? {
            '"' if chars.next_if_eq(&'"').is_some() => field.push('"'),
            '"' => break,
            c => field.push(c),
        }
    }
    let breaks = field.matches('\n').count();
    Some((field, breaks))
}

/// One record as text, its line end included.
pub(crate) fn line(fields: &[String]) -> String {
    let quoted = fields.iter().map(|field| {
        if field.contains(['"', ',', '\n', '\r']) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field.clone()
        }
    });
    quoted.collect::<Vec<_>>().join(",") + "\n"
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::records;

    fn split(text: &str) -> Vec<(usize, Vec<String>)> {
        let all = records(text).unwrap();
        all.into_iter().map(|r| (r.line, r.fields)).collect()
    }

    #[test]
    fn quotes_commas_and_line_ends() {
        let got = split("a,\"b, \"\"c\"\"\",\r\n1,,3\n\"x\ny\",z,w\n\nlast,,");
        let row = |line: usize, fields: [&str; 3]| (line, fields.map(String::from).to_vec());
        assert_eq!(
            got,
            [
                row(1, ["a", "b, \"c\"", ""]),
                row(2, ["1", "", "3"]),
                row(3, ["x\ny", "z", "w"]),
                row(6, ["last", "", ""]),
            ]
        );
        assert_eq!(split(""), []);
        assert_eq!(split("\u{feff}a\n"), [(1, vec!["a".to_owned()])]);
    }

    #[test]
    fn a_misplaced_quote_is_told_with_its_line() {
        assert_eq!(records("\"open"), Err(1));
        assert_eq!(records("a,b\nc,d\"e\n"), Err(2));
        assert_eq!(records("\"a\nb\",c\n\"a\"b"), Err(3));
    }
}
