//! RFC 4180 text to records.

/// Splits into records of fields; quotes doubled inside quoted fields, line ends `\n` or `\r\n`. None if a quote is
/// left open or stands inside an unquoted field.
pub(super) fn records(text: &str) -> Option<Vec<Vec<String>>> {
    let mut records = Vec::new();
    let mut record = Vec::new();
    let mut chars = text.chars().peekable();
    while chars.peek().is_some() {
        let mut field = String::new();
        if chars.next_if_eq(&'"').is_some() {
            loop {
                match chars.next()? {
                    '"' if chars.next_if_eq(&'"').is_some() => field.push('"'),
                    '"' => break,
                    c => field.push(c),
                }
            }
        } else {
            while let Some(c) = chars.next_if(|c| !matches!(c, ',' | '\n' | '\r')) {
                if c == '"' {
                    return None;
                }
                field.push(c);
            }
        }
        record.push(field);
        match chars.next() {
            Some(',') => {
                if matches!(chars.peek(), None | Some('\n' | '\r')) {
                    record.push(String::new());
                    end_of_line(&mut chars);
                    records.push(std::mem::take(&mut record));
                }
            }
            None | Some('\n') => records.push(std::mem::take(&mut record)),
            Some('\r') => {
                chars.next_if_eq(&'\n');
                records.push(std::mem::take(&mut record));
            }
            Some(_) => return None,
        }
    }
    Some(records)
}

fn end_of_line(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    chars.next_if_eq(&'\r');
    chars.next_if_eq(&'\n');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::records;

    #[test]
    fn quotes_commas_and_line_ends() {
        let got = records("a,\"b, \"\"c\"\"\",\r\n1,,3\n\"x\ny\",z,w").unwrap();
        assert_eq!(
            got,
            [
                vec!["a", "b, \"c\"", ""],
                vec!["1", "", "3"],
                vec!["x\ny", "z", "w"]
            ]
        );
        assert_eq!(records(""), Some(vec![]));
        assert_eq!(records("\"open"), None);
        assert_eq!(records("a\"b,c"), None);
        assert_eq!(records("\"a\"b"), None);
    }
}
