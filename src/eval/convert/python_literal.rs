//! Texts in lists that Python printed: January's benchmark keeps its ingredients so.

/// What stands between the texts matters only where it is one of these.
#[derive(Debug, Clone, PartialEq)]
enum Token {
    Text(String),
    Colon,
}

/// The texts that `'name'` leads to in a printed list of objects, or all texts of a printed list of texts. A list that was printed
/// twice is one text that holds the list. `None` where nothing of the kind stands there.
pub(super) fn names(printed: &str) -> Option<Vec<String>> {
    let tokens = tokens(printed)?;
    if let [Token::Text(inner)] = &tokens[..]
        && inner.trim_start().starts_with('[')
    {
        return names_of(&self::tokens(inner)?);
    }
    names_of(&tokens)
}

fn names_of(tokens: &[Token]) -> Option<Vec<String>> {
    let text = |t: &Token| match t {
        Token::Text(text) => Some(text.clone()),
        Token::Colon => None,
    };
    let found: Vec<String> = if tokens.contains(&Token::Colon) {
        let named = |w: &[Token]| w[1] == Token::Colon && matches!(&w[0], Token::Text(key) if key == "name");
        tokens
            .windows(3)
            .filter(|w| named(w))
            .filter_map(|w| text(&w[2]))
            .collect()
    } else {
        tokens.iter().filter_map(text).collect()
    };
    (!found.is_empty()).then_some(found)
}

/// `None` of a text that is left open.
fn tokens(printed: &str) -> Option<Vec<Token>> {
    let mut out = Vec::new();
    let mut chars = printed.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' | '"' => {
                let mut text = String::new();
                loop {
                    match chars.next()? {
                        '\\' => match chars.next()? {
                            'n' | 't' | 'r' => text.push(' '),
                            other => text.push(other),
                        },
                        end if end == c => break,
                        other => text.push(other),
                    }
                }
                out.push(Token::Text(text));
            }
            ':' => out.push(Token::Colon),
            _ => {}
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_printed_objects() {
        let once = r#"[{'name': 'Chicken Breast', 'quantity': 3.5, 'unit': 'oz'}, {'name': "Baker's yeast", 'calories': 1}]"#;
        let want = Some(vec!["Chicken Breast".to_owned(), "Baker's yeast".to_owned()]);
        assert_eq!(names(once), want);
        let twice = r#""[{'name': 'Chicken Breast', 'calories': 1}, {'name': \"Baker's yeast\"}]""#;
        assert_eq!(names(twice), want);
        assert_eq!(
            names("['rice', 'peas']"),
            Some(vec!["rice".to_owned(), "peas".to_owned()])
        );
        for nothing in ["", "[]", "nan", "['open", "[{'name': 3}]"] {
            assert_eq!(names(nothing), None, "{nothing}");
        }
    }
}
