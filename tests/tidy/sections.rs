//! Sections of the documentation that code cites.

use std::collections::BTreeSet;

/// Numbers of the headings of a document: `## 7 Volume`, `### 7.2 Two integrals`.
pub(crate) fn headings(document: &str) -> BTreeSet<String> {
    document
        .lines()
        .filter_map(|line| line.strip_prefix("## ").or_else(|| line.strip_prefix("### ")))
        .filter_map(|title| title.split_whitespace().next())
        .filter(|number| number.starts_with(|c: char| c.is_ascii_digit()))
        .map(str::to_owned)
        .collect()
}

/// Numbers that follow `name` in a text, `geometry.md 7.3, 7.4` being two.
pub(crate) fn citations(text: &str, name: &str) -> Vec<String> {
    let mut out = Vec::new();
    for rest in text.split(&format!("{name} ")).skip(1) {
        for part in rest.split(", ") {
            let end = part
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .unwrap_or(part.len());
            let number = part[..end].trim_end_matches('.');
            if number.is_empty() {
                break;
            }
            out.push(number.to_owned());
            if end < part.len() {
                break;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn citations_are_read_and_a_wrong_one_is_seen() {
        let text =
            "//! As there (geometry.md 7.3, 7.4).\n// geometry.md 9, and so on. See geometry.md for all.";
        assert_eq!(citations(text, "geometry.md"), ["7.3", "7.4", "9"]);
        let known = headings("# Title\n## 7 Volume\n### 7.3 Solids\ntext 7.4");
        let missing: Vec<_> = citations(text, "geometry.md")
            .into_iter()
            .filter(|c| !known.contains(c))
            .collect();
        assert_eq!(missing, ["7.4", "9"]);
    }
}
