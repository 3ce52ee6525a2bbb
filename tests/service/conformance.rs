//! The list of cases at the head of `main.rs` names tests that exist, and leaves no case out.

use std::collections::BTreeSet;
use std::path::Path;

/// How many cases each letter has.
const CASES: [(char, usize); 9] = [
    ('A', 9),
    ('B', 19),
    ('C', 22),
    ('D', 9),
    ('E', 7),
    ('F', 6),
    ('G', 9),
    ('H', 22),
    ('I', 7),
];

#[test]
fn every_case_has_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut listed = BTreeSet::new();
    for row in include_str!("main.rs")
        .lines()
        .filter_map(|l| l.strip_prefix("//! | "))
    {
        let Some((cases, test)) = row.trim_end_matches(" |").split_once(" | ") else {
            continue;
        };
        if !cases.starts_with(|c: char| c.is_ascii_uppercase()) {
            continue;
        }
        listed.extend(cases.split(", ").map(str::to_owned));
        let (file, name) = match test.split_once("::") {
            None => (test.to_owned(), None),
            Some((file, name)) if file.ends_with(".rs") => (file.to_owned(), Some(name)),
            Some((module, name)) => (format!("tests/service/{module}.rs"), Some(name)),
        };
        let text = std::fs::read_to_string(root.join(&file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        if let Some(name) = name {
            assert!(text.contains(&format!("fn {name}(")), "{file} has no {name}");
        }
    }
    let all: BTreeSet<String> = CASES
        .iter()
        .flat_map(|&(letter, n)| (1..=n).map(move |i| format!("{letter}{i}")))
        .collect();
    assert_eq!(listed, all);
}
