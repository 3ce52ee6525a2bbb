//! Every dependency that a manifest names is used in that package's code.

use std::fs;
use std::path::{Path, PathBuf};

use super::root;

/// Crates whose library has another name than the package.
const LIBRARIES: [(&str, &str); 1] = [("kamadak-exif", "exif")];
/// Named for a feature only, as the manifest says, or about to be used.
const FOR_FEATURES: [&str; 2] = ["gemm", "utoipa-axum"];

fn manifest(dir: &Path) -> toml::Table {
    fs::read_to_string(dir.join("Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap()
}

/// All code of the package in `dir`, without other packages inside of it, and the files that its manifest names elsewhere.
fn code(dir: &Path) -> Vec<(PathBuf, String)> {
    fn walk(path: &Path, out: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(path).unwrap().map(|e| e.unwrap().path()) {
            let name = entry.file_name().unwrap().to_string_lossy().into_owned();
            if entry.is_dir()
                && !name.starts_with('.')
                && name != "target"
                && !entry.join("Cargo.toml").exists()
            {
                walk(&entry, out);
            } else if entry.extension().is_some_and(|e| e == "rs") {
                out.push(entry);
            }
        }
    }
    let mut files = Vec::new();
    walk(dir, &mut files);
    for target in ["bench", "test", "example"] {
        for named in manifest(dir)
            .get(target)
            .and_then(|t| t.as_array())
            .into_iter()
            .flatten()
        {
            if let Some(path) = named
                .get("path")
                .and_then(|p| p.as_str())
                .filter(|p| p.starts_with(".."))
            {
                walk(dir.join(path).parent().unwrap(), &mut files);
            }
        }
    }
    files
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

/// Whether a line of code, comments dropped, names `library` as a path, a macro or an import.
fn uses(text: &str, library: &str) -> bool {
    text.lines().any(|line| {
        let code = line.split("//").next().unwrap_or_default();
        code.match_indices(library).any(|(at, _)| {
            let before = code[..at].chars().next_back();
            let after = &code[at + library.len()..];
            !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
                && (after.starts_with("::")
                    || after.starts_with('!')
                    || after.starts_with(';')
                    || after.starts_with(" as "))
        })
    })
}

#[test]
fn every_dependency_is_used() {
    let members = manifest(root())["workspace"]["members"]
        .as_array()
        .unwrap()
        .clone();
    let dirs =
        std::iter::once(root().to_owned()).chain(members.iter().map(|m| root().join(m.as_str().unwrap())));
    let (mut checked, mut unused) = (0, Vec::new());
    for dir in dirs {
        let all = code(&dir);
        let product: Vec<&str> = all
            .iter()
            .filter(|(path, _)| path.starts_with(dir.join("src")))
            .map(|(_, text)| text.as_str())
            .collect();
        let anywhere: Vec<&str> = all.iter().map(|(_, text)| text.as_str()).collect();
        let build: Vec<&str> = all
            .iter()
            .filter(|(path, _)| *path == dir.join("build.rs"))
            .map(|(_, text)| text.as_str())
            .collect();
        for (section, texts) in [
            ("dependencies", &product),
            ("dev-dependencies", &anywhere),
            ("build-dependencies", &build),
        ] {
            let table = manifest(&dir);
            for name in table
                .get(section)
                .and_then(|t| t.as_table())
                .into_iter()
                .flat_map(|t| t.keys())
            {
                let library = LIBRARIES
                    .iter()
                    .find(|(package, _)| package == name)
                    .map_or_else(|| name.replace('-', "_"), |(_, library)| (*library).to_owned());
                checked += 1;
                if !FOR_FEATURES.contains(&name.as_str()) && !texts.iter().any(|text| uses(text, &library)) {
                    unused.push(format!("{}: {name} in [{section}]", dir.display()));
                }
            }
        }
    }
    assert!(
        checked > 60,
        "{checked} dependencies: the check would pass on nothing"
    );
    assert!(unused.is_empty(), "named but unused:\n{}", unused.join("\n"));
}

#[test]
fn a_use_is_told_from_a_mention() {
    for used in [
        "use rayon::prelude::*;",
        "    rayon::join(a, b);",
        "rayon!{}",
        "use rayon;",
        "use rayon as r;",
    ] {
        assert!(uses(used, "rayon"), "{used}");
    }
    for not in [
        "// rayon::join",
        "use crayon::x;",
        "let rayon = 1;",
        "RAYON_NUM_THREADS",
        "my_rayon::x",
    ] {
        assert!(!uses(not, "rayon"), "{not}");
    }
}
