//! `bio-bff dev` as a stranger runs it: started, and its walk-through pasted as printed.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bio_bff::dev::guide::PASTE;
use serde_json::Value;

use crate::harness::PATIENCE;

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// Everything that is printed up to the last of the commands.
fn printed(out: impl Read) -> String {
    let mut text = String::new();
    for line in BufReader::new(out).lines() {
        let line = line.unwrap();
        text.push_str(&line);
        text.push('\n');
        let no_scans = text.contains("not at hand") && line.contains("/me/export");
        if no_scans || (text.contains("/confirm") && line.contains("/dashboard/state")) {
            return text;
        }
    }
    panic!("it ended early: {text}");
}

#[test]
fn the_walk_through_works_as_printed() {
    if crate::harness::servers().is_none() || !has("curl") {
        assert!(std::env::var("CI").is_err(), "CI must have curl");
        eprintln!("NOT RUN: needs the servers of PostgreSQL and Redis, and curl");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut dev = Command::new(env!("CARGO_BIN_EXE_bio-bff"))
        .args(["dev", "--listen", "127.0.0.1:0", "--dir"])
        .arg(folder.path().join("dev"))
        .env_remove("DATABASE_URL")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = dev.stdout.take().unwrap();
    let text = std::thread::spawn(move || printed(out)).join().unwrap();
    let commands = text.split_once(PASTE).unwrap().1;
    let pasted = Command::new("sh")
        .args(["-e", "-c", commands])
        // The photo that is scanned is named from there.
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    // Ctrl-C's signal, so that what it started ends with it.
    let stop = Command::new("kill")
        .args(["-INT", &dev.id().to_string()])
        .status();
    assert!(stop.unwrap().success() && dev.wait().unwrap().success());
    let errors = String::from_utf8_lossy(&pasted.stderr);
    assert!(pasted.status.success(), "{}\n{errors}", pasted.status);
    let answers = String::from_utf8(pasted.stdout).unwrap();
    let exported = answers.lines().any(|line| line.starts_with("export: 200, "));
    let answers: Vec<Value> = answers
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let [
        before,
        energy,
        leftovers,
        eaten,
        after,
        synced,
        felt,
        plan,
        scanned @ ..,
    ] = answers.as_slice()
    else {
        panic!("{answers:#?}");
    };
    assert!(energy["score"].as_f64().unwrap() > 40.0, "{energy}");
    assert_eq!(leftovers["items"][0]["recipe_name"], "Lentil stew");
    assert_eq!(eaten["food_log"]["calories"], 210);
    let ate = |state: &Value| state["totals"]["calories"].as_i64().unwrap();
    assert_eq!(ate(after), ate(before) + 210);
    assert!(
        after["rings"]["inner_percent"].as_f64() > before["rings"]["inner_percent"].as_f64(),
        "{before} {after}"
    );
    assert_eq!(synced["counts"]["rejected"], 0, "{synced}");
    assert_eq!(felt["value"], 5);
    assert!(plan["energy_score"].as_f64().unwrap() < 40.0, "{plan}");
    // The sample user fasts from 20 to 10 o'clock in Berlin; this runs at any hour.
    let suggestion = &plan["next_meal_suggestion"];
    let fasting = suggestion["reason"].as_str().unwrap().contains("fasting");
    let status = if fasting { "none" } else { "suggested" };
    assert_eq!(suggestion["status"], status, "{plan}");
    // The hour may strike between two answers.
    let mut shown = [Some(after), scanned.last()].into_iter().flatten();
    assert!(shown.any(|state| state["fasting_active"] == fasting), "{plan}");
    assert!(exported, "no export");
    if let Some(confirmed) = scanned.last() {
        assert!(ate(confirmed) > ate(after), "{confirmed}");
    }
    // Nothing it started is left: the folder of its server can go.
    let begun = Instant::now();
    while folder.path().join("dev/data/postmaster.pid").exists() {
        assert!(begun.elapsed() < PATIENCE, "PostgreSQL goes on");
        std::thread::sleep(Duration::from_millis(20));
    }
}
