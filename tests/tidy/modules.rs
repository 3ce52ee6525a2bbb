//! The module graph of the crate, read off its sources: which module names which other one.
//!
//! Every path that begins with `crate`, `super`, `self` or a child module counts, in `use` lines and in code. Comments,
//! literals and `#[cfg(test)]` modules do not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::tokens::tokens;

/// A module's path from the crate's root: `["geometry", "view", "camera"]`; empty for the root itself.
type Module = Vec<String>;

/// Who names whom.
#[derive(Debug, Default)]
pub(crate) struct Graph(BTreeMap<String, BTreeSet<String>>);

impl Graph {
    /// Of the library crate whose sources are under `src`.
    pub(crate) fn of_crate(src: &Path) -> Self {
        let mut files = Vec::new();
        collect(src, src, &mut files);
        Self::of_sources(&files)
    }

    /// Of files given as path below `src` and text.
    fn of_sources(files: &[(String, String)]) -> Self {
        let modules: Vec<Module> = files.iter().map(|(path, _)| module_of(path)).collect();
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (module, (_, text)) in modules.iter().zip(files) {
            let from = edges.entry(module.join("::")).or_default();
            for path in paths(&tokens(text), module, &modules) {
                // The longest part of the path that is a module; what follows is an item of it.
                let target = (0..=path.len())
                    .rev()
                    .map(|n| &path[..n])
                    .find(|p| modules.iter().any(|m| m == p));
                if let Some(target) = target.filter(|t| t != module) {
                    from.insert(target.join("::"));
                }
            }
        }
        Self(edges)
    }

    /// The part under `room`, by paths below it; the room's own file is the empty path.
    pub(crate) fn inside(&self, room: &str) -> Self {
        let below = |m: &String| match m.strip_prefix(room)? {
            "" => Some(String::new()),
            rest => rest.strip_prefix("::").map(str::to_owned),
        };
        let edges = self.0.iter().filter_map(|(from, to)| {
            let to = to.iter().filter_map(&below).collect();
            Some((below(from)?, to))
        });
        let out = Self(edges.collect());
        assert!(
            out.0.len() > 1,
            "no modules under {room}: the check would pass on nothing"
        );
        out
    }

    /// The graph of top-level modules: everything below one belongs to it.
    pub(crate) fn rooms(&self) -> Self {
        let top = |m: &String| m.split("::").next().unwrap_or_default().to_owned();
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in &self.0 {
            let room = edges.entry(top(from)).or_default();
            room.extend(to.iter().map(top).filter(|t| *t != top(from)));
        }
        Self(edges)
    }

    /// One circle, `a -> b -> a`, if there is any.
    pub(crate) fn circle(&self) -> Option<String> {
        // What names nobody that is left is in no circle.
        let mut left = self.0.clone();
        loop {
            let before = left.len();
            let names: BTreeSet<String> = left.keys().cloned().collect();
            left.retain(|_, to| to.iter().any(|t| names.contains(t)));
            if left.len() == before {
                break;
            }
        }
        let mut walk = vec![left.keys().next()?.clone()];
        loop {
            let here = &left[walk.last()?];
            let next = here.iter().find(|t| left.contains_key(*t))?.clone();
            if let Some(start) = walk.iter().position(|w| *w == next) {
                walk.push(next);
                return Some(walk[start..].join(" -> "));
            }
            walk.push(next);
        }
    }
}

fn collect(src: &Path, dir: &Path, out: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let below = path.strip_prefix(src).unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            collect(src, &path, out);
        } else if below.ends_with(".rs") && below != "main.rs" {
            out.push((below, fs::read_to_string(&path).unwrap()));
        }
    }
}

/// `geometry/view/camera.rs` and `geometry/view/camera/mod.rs` are `geometry::view::camera`.
fn module_of(path: &str) -> Module {
    let stem = path.strip_suffix(".rs").unwrap();
    let mut module: Module = stem.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|m| m == "mod") || stem == "lib" {
        module.pop();
    }
    module
}

/// Absolute paths named in a file, each as segments from the crate's root.
fn paths(tokens: &[String], module: &Module, modules: &[Module]) -> Vec<Vec<String>> {
    let token = |i: usize| tokens.get(i).map_or("", String::as_str);
    let is_child = |name: &str| {
        modules
            .iter()
            .any(|m| m.len() == module.len() + 1 && m.starts_with(module) && m[module.len()] == name)
    };
    let mut out = Vec::new();
    // Inline modules that are open, each with the depth of braces outside it.
    let mut inline: Vec<(String, usize)> = Vec::new();
    let mut depth = 0usize;
    let mut i = 0;
    while i < tokens.len() {
        match token(i) {
            "mod" if token(i + 2) == "{" => {
                if is_test(&tokens[..i]) {
                    i = after_block(tokens, i + 2);
                    continue;
                }
                inline.push((token(i + 1).to_owned(), depth));
                depth += 1;
                i += 3;
                continue;
            }
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                if inline.last().is_some_and(|(_, outside)| *outside == depth) {
                    inline.pop();
                }
            }
            first if token(i + 1) == "::" && !(i > 0 && matches!(token(i - 1), "::" | ".")) => {
                let visibility = i >= 2 && token(i - 1) == "in" && token(i - 2) == "(";
                let mut here = module.clone();
                here.extend(inline.iter().map(|(name, _)| name.clone()));
                let start = match first {
                    "crate" => Some((Vec::new(), i + 2)),
                    "self" => Some((here, i + 2)),
                    "super" => {
                        let mut next = i;
                        while token(next) == "super" && token(next + 1) == "::" {
                            here.pop();
                            next += 2;
                        }
                        Some((here, next))
                    }
                    name if inline.is_empty() && is_child(name) => Some((here, i)),
                    _ => None,
                };
                if let Some((prefix, next)) = start.filter(|_| !visibility) {
                    i = tree(tokens, next, prefix, &mut out);
                    continue;
                }
            }
            _ => {}
        }
        i += 1;
    }
    out
}

/// Whether one of the attributes at the end of these tokens is `#[cfg(test)]`.
fn is_test(mut before: &[String]) -> bool {
    let test = ["#", "[", "cfg", "(", "test", ")", "]"];
    while before.last().is_some_and(|t| t == "]") {
        if before.ends_with(&test.map(str::to_owned)) {
            return true;
        }
        let Some(open) = before.iter().rposition(|t| t == "#") else {
            return false;
        };
        before = &before[..open];
    }
    false
}

/// Reads what follows a `::`: a name, a `*` or a group of trees; the position after it.
fn tree(tokens: &[String], mut i: usize, mut prefix: Vec<String>, out: &mut Vec<Vec<String>>) -> usize {
    loop {
        match tokens.get(i).map_or("", String::as_str) {
            "{" => {
                i += 1;
                while tokens.get(i).is_some_and(|t| t != "}") {
                    i = tree(tokens, i, prefix.clone(), out);
                    while tokens.get(i).is_some_and(|t| t != "," && t != "}") {
                        i += 1;
                    }
                    i += usize::from(tokens.get(i).is_some_and(|t| t == ","));
                }
                return i + 1;
            }
            // `module::{self}` and `module::*` are the module.
            "self" | "*" => {
                out.push(prefix);
                return i + 1;
            }
            name => {
                prefix.push(name.to_owned());
                if tokens.get(i + 1).is_some_and(|t| t == "::") {
                    i += 2;
                } else {
                    out.push(prefix);
                    return i + 1;
                }
            }
        }
    }
}

/// The position after the block that opens at `i`.
fn after_block(tokens: &[String], mut i: usize) -> usize {
    let mut depth = 0usize;
    while i < tokens.len() {
        match tokens[i].as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        i += 1;
        if depth == 0 {
            break;
        }
    }
    i
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(files: &[(&str, &str)]) -> Graph {
        let owned: Vec<_> = files
            .iter()
            .map(|(p, t)| ((*p).to_owned(), (*t).to_owned()))
            .collect();
        Graph::of_sources(&owned)
    }

    fn names(files: &[(&str, &str)], module: &str) -> Vec<String> {
        graph(files).0[module].iter().cloned().collect()
    }

    /// Three modules in a room, the last of which has this text.
    fn with(text: &str) -> Vec<(&str, &str)> {
        vec![
            ("lib.rs", ""),
            ("room.rs", "mod one; mod two;"),
            ("room/one.rs", ""),
            ("room/two.rs", text),
        ]
    }

    #[test]
    fn paths_are_found_however_they_are_written() {
        for text in [
            "use crate::room::one::Thing;",
            "use super::one::{self, Thing};",
            "use crate::{room::{one::{A, B as C}}};",
            "use {std::fs, super::one};",
            "fn f() -> u8 { super::one::thing(1) }",
            "pub(crate) use super::one::*;",
            "mod inner { fn f() { super::super::one::g() } }",
            "macro_rules! m { () => { $crate::room::one::f() } }",
            "fn f() { let c = '\"'; let d = '\\''; super::one::g(c) }",
        ] {
            assert_eq!(names(&with(text), "room::two"), ["room::one"], "{text}");
        }
    }

    #[test]
    fn what_is_no_path_is_not_taken_for_one() {
        for text in [
            "// use super::one::Thing;",
            "/* a /* nested */ super::one::f() */",
            "const A: &str = \"super::one::f()\";",
            "const A: &str = r#\"say \"super::one::f()\"#;",
            "#[cfg(test)]\nmod tests { use super::super::one::f; fn g() {} }",
            "#[cfg(test)]\n#[allow(unused)]\nmod tests { use super::super::one::f; fn g() {} }",
            "pub(in crate::room::one) fn f<'a>(x: &'a str) {}",
            "use std::one::room; use other::super_one;",
            "fn f(&self) { self.one::<u8>() }",
        ] {
            assert!(names(&with(text), "room::two").is_empty(), "{text}");
        }
    }

    #[test]
    fn a_planted_circle_is_found() {
        let straight = [
            ("lib.rs", "pub mod a; pub mod b; pub mod c; pub use a::A;"),
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "use crate::c::{C};"),
            ("c.rs", "fn f() {}"),
        ];
        assert_eq!(graph(&straight).circle(), None);
        let mut round = straight;
        round[3].1 = "fn f() { crate::a::x() }";
        assert_eq!(graph(&round).circle().unwrap(), "a -> b -> c -> a");
        // Through what the root exports again.
        round[3].1 = "use crate::A;";
        assert!(graph(&round).circle().unwrap().contains("b -> c ->"));
    }

    #[test]
    fn a_circle_between_rooms_needs_none_between_files() {
        let files = [
            ("lib.rs", ""),
            ("a.rs", "mod one; mod two;"),
            ("b.rs", "mod one; mod two;"),
            ("a/one.rs", "use crate::b::one::X;"),
            ("a/two.rs", ""),
            ("b/one.rs", ""),
            ("b/two.rs", "use crate::a::two::Y;"),
        ];
        assert_eq!(graph(&files).circle(), None);
        assert_eq!(graph(&files).rooms().circle().unwrap(), "a -> b -> a");
    }

    #[test]
    fn a_child_that_uses_its_parent_and_is_used_by_it_is_a_circle() {
        let files = [
            ("lib.rs", ""),
            ("dish.rs", "mod model; use model::Base; pub struct Samples;"),
            ("dish/model.rs", "use super::Samples; pub struct Base;"),
        ];
        assert_eq!(graph(&files).circle().unwrap(), "dish -> dish::model -> dish");
    }
}
