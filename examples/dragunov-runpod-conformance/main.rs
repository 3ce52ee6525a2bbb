//! `dragunov-runpod-conformance`: does a RunPod serverless worker, in whatever language, keep to the platform's
//! protocol, and does it survive what a platform and a network do? See `docs/conformance.md`.
//!
//! Each case starts the given command against a scripted control plane on loopback, watches the wire, and ends it.
#![allow(clippy::print_stdout)]

mod case;
mod cases;
#[path = "../../tests/common/plane.rs"]
mod plane;
mod subject;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use futures::StreamExt;

use case::{Case, Rig, Skill};

/// Run the numbered cases against a worker and print a table. Exit code 0 if every case ended as expected.
#[derive(Debug, Parser)]
#[command(name = "dragunov-runpod-conformance")]
struct Args {
    /// Only these cases or letters: `A`, `B7`.
    #[arg(long, value_delimiter = ',', value_name = "CASES")]
    only: Vec<String>,
    /// What the worker's handler does not do; the cases that need it are left out.
    #[arg(long, value_delimiter = ',', value_enum, value_name = "SKILLS")]
    without: Vec<Skill>,
    /// Cases known to fail. One that passes after all counts as wrong, so that the list stays true.
    #[arg(long, value_delimiter = ',', value_name = "CASES")]
    known: Vec<String>,
    /// Variable through which the worker is told how many jobs it may hold at a time.
    #[arg(long, default_value = "CONCURRENCY", value_name = "NAME")]
    concurrency_variable: String,
    /// Cases at a time.
    #[arg(long, default_value_t = 4, value_name = "N")]
    parallel: usize,
    /// Most time for a case.
    #[arg(long, default_value = "150s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// List the cases and end.
    #[arg(long)]
    list: bool,
    /// The worker's command.
    #[arg(last = true)]
    command: Vec<String>,
}

/// How a case ended.
enum End {
    Passed,
    Failed(String),
    LeftOut,
}

struct Row {
    case: Case,
    end: End,
    took: Duration,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    // The control plane breaks connections off by panicking in their tasks.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str() != Some("a scripted reset") {
            usual(panic);
        }
    }));
    let chosen = |case: &Case| {
        let is = |name: &String| case.id == name || case.id.starts_with(name) && name.len() == 1;
        args.only.is_empty() || args.only.iter().any(is)
    };
    let cases: Vec<Case> = cases::all().into_iter().filter(chosen).collect();
    if args.list {
        for case in &cases {
            let needs: Vec<String> = case.needs.iter().map(|s| s.to_string()).collect();
            println!("{:<4} {} {}", case.id, case.what, brackets(&needs.join(", ")));
        }
        return ExitCode::SUCCESS;
    }
    if args.command.is_empty() {
        eprintln!("give the worker's command after --");
        return ExitCode::from(2);
    }
    let command = Arc::new(subject::absolute(&args.command));
    let run = |case: Case| one(case, &args, command.clone());
    let rows: Vec<Row> = futures::stream::iter(cases)
        .map(run)
        .buffered(args.parallel.max(1))
        .collect()
        .await;
    report(&rows, &args.known.iter().cloned().collect())
}

async fn one(case: Case, args: &Args, command: Arc<Vec<String>>) -> Row {
    if case.needs.iter().any(|skill| args.without.contains(skill)) {
        return Row {
            case,
            end: End::LeftOut,
            took: Duration::ZERO,
        };
    }
    let begun = Instant::now();
    let rig = Rig::new(command, args.concurrency_variable.clone()).await;
    let end = match tokio::time::timeout(args.timeout, (case.run)(rig)).await {
        Ok(Ok(())) => End::Passed,
        Ok(Err(why)) => End::Failed(why),
        Err(_) => End::Failed(format!("not over after {:?}", args.timeout)),
    };
    eprintln!(
        "{} {}",
        case.id,
        if matches!(end, End::Passed) { "ok" } else { "FAIL" }
    );
    Row {
        case,
        end,
        took: begun.elapsed(),
    }
}

/// The table. A row is right if it passed, or failed and was known to.
fn report(rows: &[Row], known: &BTreeSet<String>) -> ExitCode {
    println!("| case | what | result | s | |\n|---|---|---|---|---|");
    let (mut passed, mut failed, mut left_out, mut wrong) = (0, 0, 0, Vec::new());
    for Row { case, end, took } in rows {
        let is_known = known.contains(case.id);
        let (result, note) = match end {
            End::Passed => {
                passed += 1;
                if is_known {
                    wrong.push(case.id);
                }
                (
                    "pass",
                    if is_known {
                        "passes now: take it off the list of known failures"
                    } else {
                        ""
                    },
                )
            }
            End::Failed(why) => {
                failed += 1;
                if !is_known {
                    wrong.push(case.id);
                }
                (if is_known { "known" } else { "FAIL" }, why.as_str())
            }
            End::LeftOut => {
                left_out += 1;
                ("-", "left out")
            }
        };
        let note = note.replace(['|', '\n'], " ");
        let seconds = took.as_secs_f64();
        println!(
            "| {} | {} | {result} | {seconds:.1} | {note} |",
            case.id, case.what
        );
    }
    println!("\n{passed} passed, {failed} failed, {left_out} left out");
    if wrong.is_empty() && passed + failed > 0 {
        return ExitCode::SUCCESS;
    }
    println!("not as expected: {}", wrong.join(", "));
    ExitCode::FAILURE
}

fn brackets(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("[{text}]")
    }
}
