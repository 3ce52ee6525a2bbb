//! Rust source as tokens, as far as paths need it.

/// Identifiers, `::`, and single characters of everything else; literals and comments are dropped.
pub(crate) fn tokens(text: &str) -> Vec<String> {
    let c: Vec<char> = text.chars().collect();
    let at = |i: usize| c.get(i).copied().unwrap_or('\0');
    let word = |x: char| x.is_alphanumeric() || x == '_';
    let mut out = Vec::new();
    let mut i = 0;
    while i < c.len() {
        match c[i] {
            '/' if at(i + 1) == '/' => {
                while i < c.len() && c[i] != '\n' {
                    i += 1;
                }
            }
            '/' if at(i + 1) == '*' => {
                let mut depth = 1;
                i += 2;
                while i < c.len() && depth > 0 {
                    let step = match (c[i], at(i + 1)) {
                        ('/', '*') => 1,
                        ('*', '/') => -1,
                        _ => 0,
                    };
                    depth += step;
                    i += if step == 0 { 1 } else { 2 };
                }
            }
            '"' => i = after_string(&c, i),
            // A character or a lifetime: only the former ends in a quote.
            '\'' if at(i + 1) == '\\' => {
                i += 3;
                while i < c.len() && c[i] != '\'' {
                    i += 1;
                }
                i += 1;
            }
            '\'' => i += if at(i + 2) == '\'' { 3 } else { 1 },
            ':' if at(i + 1) == ':' => {
                out.push("::".to_owned());
                i += 2;
            }
            x if word(x) => {
                let start = i;
                while i < c.len() && word(c[i]) {
                    i += 1;
                }
                let ident: String = c[start..i].iter().collect();
                let hashes = c[i..].iter().take_while(|x| **x == '#').count();
                let raw = matches!(ident.as_str(), "r" | "br" | "cr");
                if raw && at(i + hashes) == '"' {
                    i += hashes + 1;
                    let end: Vec<char> = std::iter::once('"').chain("#".repeat(hashes).chars()).collect();
                    while i < c.len() && !c[i..].starts_with(&end) {
                        i += 1;
                    }
                    i += end.len();
                } else {
                    out.push(ident);
                }
            }
            x => {
                if !x.is_whitespace() {
                    out.push(x.to_string());
                }
                i += 1;
            }
        }
    }
    out
}

/// The position after the string that opens at `i`.
fn after_string(c: &[char], mut i: usize) -> usize {
    i += 1;
    while i < c.len() && c[i] != '"' {
        i += if c[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}
