//! `docs/api.md` holds the tables of the contract and the routes, word for word.
//!
//! `DRAGUNOV_WRITE_DOCS=1 cargo test --lib docs` writes them anew.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::Path;

use crate::contract::kinds::Kind;
use crate::contract::model_answer::DepthUnit;
use crate::contract::*;
use crate::jobs;
use crate::runtime::ModelTask;

/// Name and rows of every table, in the order of the document.
fn tables() -> Vec<(&'static str, String)> {
    macro_rules! words {
        ($($name:literal $of:ty;)*) => { vec![$(($name, {
            let mut table = String::from("| Value | Meaning | What to do |\n|---|---|---|\n");
            for word in <$of>::ALL {
                let _ = writeln!(table, "| `{word}` | {} | {} |", word.meaning(), word.action());
            }
            table
        }),)*] };
    }
    let mut tables = words! {
        "TiltSource" TiltSource;
        "GravitySource" GravitySource;
        "FovSource" FovSource;
        "ScaleSource" ScaleSource;
        "FoodSourceKind" FoodSourceKind;
        "ItemFlag" ItemFlag;
        "WarningCode" WarningCode;
        "Stage" Stage;
        "ScanStatus" ScanStatus;
        "JobStatus" jobs::Status;
        "Fault" Fault;
        "ReferenceKind" ReferenceKind;
        "MaskFormat" MaskFormat;
        "ModelTask" ModelTask;
        "DepthUnit" DepthUnit;
        "Kind" Kind;
        "Origin" recompute::Origin;
        "DepthFormat" DepthFormat;
        "DepthMapUnit" DepthMapUnit;
        "DepthSource" DepthSource;
        "ReshootAction" ReshootAction;
        "MatchKind" crate::nutrition::MatchKind;
    };
    let mut codes =
        String::from("| Code | HTTP | Fault | Retry | Meaning | What to do |\n|---|---|---|---|---|---|\n");
    for code in ErrorCode::ALL {
        let retry = if code.retryable() { "yes" } else { "no" };
        let (http, fault) = (code.http_status(), code.fault());
        let _ = writeln!(
            codes,
            "| `{code}` | {http} | {fault} | {retry} | {} | {} |",
            code.meaning(),
            code.action()
        );
    }
    tables.push(("ErrorCode", codes));
    tables.push(("routes", routes()));
    tables
}

fn routes() -> String {
    let api = serde_json::to_value(super::description(true)).unwrap();
    let mut rows = Vec::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let key = if operation["security"].is_null() {
                "no"
            } else {
                "yes"
            };
            let text = operation["summary"].as_str().unwrap();
            rows.push(format!(
                "| `{path}` | {} | {key} | {text} |\n",
                method.to_uppercase()
            ));
        }
    }
    rows.sort();
    format!(
        "| Route | Method | Key | What it does |\n|---|---|---|---|\n{}",
        rows.concat()
    )
}

#[test]
fn docs_hold_the_tables_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api.md");
    let mut text = std::fs::read_to_string(&path).unwrap();
    let write = std::env::var_os("DRAGUNOV_WRITE_DOCS").is_some();
    for (name, table) in tables() {
        let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
        let from = text
            .find(&begin)
            .unwrap_or_else(|| panic!("docs/api.md has no {begin}"))
            + begin.len();
        let to = from
            + text[from..]
                .find(&end)
                .unwrap_or_else(|| panic!("docs/api.md has no {end}"));
        if write {
            text.replace_range(from..to, &table);
        } else {
            assert_eq!(text[from..to], table, "{name}: run with DRAGUNOV_WRITE_DOCS=1");
        }
    }
    if write {
        std::fs::write(&path, text).unwrap();
    }
}

/// Every enum that OpenAPI lists is explained.
#[test]
fn every_listed_word_is_in_the_docs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api.md");
    let text = std::fs::read_to_string(path).unwrap();
    let api = serde_json::to_value(super::description(true)).unwrap();
    let mut seen = 0;
    for (name, schema) in api["components"]["schemas"].as_object().unwrap() {
        for word in schema["enum"].as_array().into_iter().flatten() {
            let word = word.as_str().unwrap();
            assert!(text.contains(&format!("| `{word}` |")), "{name}: {word}");
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen}");
}
