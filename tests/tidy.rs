//! The rules of docs/architecture.md, as checks over the sources.
#![allow(clippy::unwrap_used)]

#[path = "tidy/dependencies.rs"]
mod dependencies;
#[path = "tidy/modules.rs"]
mod modules;
#[path = "tidy/sections.rs"]
mod sections;
#[path = "tidy/tokens.rs"]
mod tokens;

use std::fs;
use std::path::{Path, PathBuf};

use dragunov::geometry::priors::Scale;
use modules::Graph;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every `.rs` file of a module: `dir/**` and `dir.rs`.
fn sources(dir: &str) -> Vec<(PathBuf, String)> {
    fn walk(path: &Path, out: &mut Vec<(PathBuf, String)>) {
        if path.is_dir() {
            let mut entries: Vec<_> = fs::read_dir(path).unwrap().map(|e| e.unwrap().path()).collect();
            entries.sort();
            entries.iter().for_each(|p| walk(p, out));
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push((
                path.strip_prefix(root()).unwrap().to_owned(),
                fs::read_to_string(path).unwrap(),
            ));
        }
    }
    let mut out = Vec::new();
    for path in [root().join(dir), root().join(format!("{dir}.rs"))] {
        if path.exists() {
            walk(&path, &mut out);
        }
    }
    assert!(
        !out.is_empty(),
        "no sources under {dir}: the check would pass on nothing"
    );
    out
}

/// Lines of code (comments dropped) that contain one of `words`, as `file:line: text`.
fn lines_with(dir: &str, words: &[&str]) -> Vec<String> {
    let mut hits = Vec::new();
    for (path, text) in sources(dir) {
        for (n, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if words.iter().any(|w| code.contains(w)) {
                hits.push(format!("{}:{}: {}", path.display(), n + 1, line.trim()));
            }
        }
    }
    hits
}

fn none(what: &str, hits: &[String]) {
    assert!(hits.is_empty(), "{what}:\n{}", hits.join("\n"));
}

const IMPURE: &[&str] = &[
    "candle",
    "tokio",
    "axum",
    "reqwest",
    "sqlx",
    "std::fs",
    "std::net",
    "std::time",
    "std::env",
    "Instant::now",
    "Timestamp::now",
];

#[test]
fn geometry_nutrition_and_the_backends_domain_are_pure() {
    for dir in ["src/geometry", "src/nutrition", "bff/src/domain"] {
        none("a pure module reaches outside", &lines_with(dir, IMPURE));
    }
}

#[test]
fn fronts_do_not_know_each_other() {
    none(
        "http knows another front",
        &lines_with("src/http", &["crate::worker", "crate::cli"]),
    );
    none(
        "worker knows another front",
        &lines_with("src/worker", &["crate::http", "crate::cli"]),
    );
}

#[test]
fn async_code_holds_no_tensor() {
    for dir in ["src/http", "src/worker", "src/jobs", "src/intake"] {
        none(
            "a tensor outside the device thread",
            &lines_with(dir, &["candle_core", "Tensor"]),
        );
    }
}

#[test]
fn feature_switches_stand_in_few_places() {
    let allowed = ["models/src/device", "src/intake.rs", "src/intake/heif.rs"];
    let hits: Vec<_> = ["src", "models/src"]
        .iter()
        .flat_map(|dir| lines_with(dir, &["feature = "]))
        .filter(|hit| !allowed.iter().any(|a| hit.starts_with(a)))
        .collect();
    none("a cargo feature is tested outside kernels and device", &hits);
}

/// An op chooses its kernel by device; models, which are built of ops, do not ask.
#[test]
fn the_device_is_chosen_inside_an_op() {
    const ASKING: &[&str] = &["is_cpu()", "is_cuda()", "Device::Cuda("];
    let asking = ["models/src", "kernels/src"]
        .iter()
        .flat_map(|dir| lines_with(dir, ASKING))
        .filter(|hit| !hit.starts_with("kernels/src/backend.rs"))
        .collect::<Vec<_>>();
    none("a device is asked for outside Backend::of", &asking);
}

#[test]
fn unsafe_is_explained_and_rare() {
    for dir in ["src", "models/src", "kernels/src"] {
        for (path, text) in sources(dir) {
            let lines: Vec<_> = text.lines().collect();
            for (n, line) in lines.iter().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                if !code.contains("unsafe ") {
                    continue;
                }
                assert!(
                    !path.starts_with("src"),
                    "unsafe in the service: {}:{}",
                    path.display(),
                    n + 1
                );
                let near = &lines[n.saturating_sub(6)..=n];
                let explained = near
                    .iter()
                    .any(|l| l.contains("SAFETY") || l.contains("# Safety"));
                assert!(explained, "no SAFETY line before {}:{}", path.display(), n + 1);
            }
        }
    }
}

#[test]
fn candle_is_pinned_exactly() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for name in ["candle-core", "candle-nn"] {
        assert!(
            manifest.contains(&format!("{name} = \"=")),
            "{name} must be pinned with ="
        );
    }
}

/// Data flows one way through the rooms of geometry, and between the files of one.
#[test]
fn geometry_has_no_import_circle() {
    let geometry = Graph::of_crate(&root().join("src")).inside("geometry");
    assert_eq!(geometry.circle(), None, "files");
    assert_eq!(geometry.rooms().circle(), None, "rooms");
}

#[test]
fn top_level_modules_have_no_import_circle() {
    for src in ["src", "bff/src"] {
        let graph = Graph::of_crate(&root().join(src)).rooms();
        assert_eq!(graph.circle(), None, "{src}");
    }
}

#[test]
fn cited_sections_exist() {
    let document = fs::read_to_string(root().join("docs/geometry.md")).unwrap();
    let known = sections::headings(&document);
    let mut cited = 0;
    for dir in ["src", "models/src", "kernels/src", "tests"] {
        for (path, text) in sources(dir) {
            if path.ends_with("tidy/sections.rs") {
                continue;
            }
            for section in sections::citations(&text, "geometry.md") {
                assert!(
                    known.contains(&section),
                    "{}: geometry.md {section}",
                    path.display()
                );
                cited += 1;
            }
            let private =
                ["food.md", "quation ("].map(|what| text.contains(what) && !path.ends_with("tidy.rs"));
            assert_eq!(private, [false; 2], "{} cites what is not here", path.display());
        }
    }
    assert!(cited > 20, "{cited}");
}

#[test]
fn documented_priors_are_those_of_the_code() {
    let document = fs::read_to_string(root().join("docs/geometry.md")).unwrap();
    for (name, prior) in dragunov::geometry::priors::ALL {
        let of = match prior.scale {
            Scale::Log => "the logarithm",
            Scale::Linear => "the value",
        };
        let row = format!(
            "| {name} | {} | {} | {of} | {} |",
            prior.value, prior.sigma, prior.source
        );
        assert!(document.contains(&row), "docs/geometry.md 6.4 lacks\n{row}");
    }
}
