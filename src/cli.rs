//! The command line: one file a command, each turning flags into a call of the library.
//!
//! Exit codes: 0 done, 1 the work failed (a broken photo, a model that cannot run), 2 wrong usage or set-up.
#[macro_use]
mod out;

mod ask;
mod choose;
mod completions;
mod config;
mod depth;
mod doctor;
mod engine;
mod eval;
mod food_args;
mod foods;
mod man;
mod models;
mod photo;
mod recompute;
mod scan;
mod segment;
mod serve;
mod timing;
mod worker;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::contract::{ErrorCode, ScanError};

/// Meal photo in; per item mask, volume, grams, kcal and macros out, each with an interval.
#[derive(Debug, Parser)]
#[command(
    name = "dragunov",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Scan(Box<scan::Args>),
    Recompute(Box<recompute::Args>),
    Eval(Box<eval::Args>),
    Segment(segment::Args),
    Depth(depth::Args),
    Ask(ask::Args),
    /// Serve the job API, direct calls and the web page over HTTP.
    Serve(Box<serve::Args>),
    /// Work for a RunPod serverless endpoint.
    Worker(Box<worker::Args>),
    Models(models::Args),
    /// Look into the food table.
    Foods(foods::Args),
    /// Check this machine: memory, disk, device, checkpoints.
    Doctor(Box<doctor::Args>),
    /// Show what `serve` would run with, or only check it.
    Config(Box<config::Args>),
    /// Write the manual pages into a folder.
    Man(man::Args),
    /// Print a completion script for a shell.
    Completions(completions::Args),
}

impl Command {
    fn run(self) -> Result<(), ScanError> {
        match self {
            Self::Scan(args) => args.run(),
            Self::Recompute(args) => args.run(),
            Self::Eval(args) => args.run(),
            Self::Segment(args) => args.run(),
            Self::Depth(args) => args.run(),
            Self::Ask(args) => args.run(),
            Self::Serve(args) => args.run(),
            Self::Worker(args) => args.run(),
            Self::Models(args) => args.run(),
            Self::Foods(args) => args.run(),
            Self::Doctor(args) => args.run(),
            Self::Config(args) => args.run(),
            Self::Man(args) => args.run(),
            Self::Completions(args) => args.run(),
        }
    }
}

/// Parses the process's arguments and runs the command.
pub fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        worker::unreadable(&error);
        error.exit()
    });
    match cli.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::from(exit_code(error.code))
        }
    }
}

fn exit_code(code: ErrorCode) -> u8 {
    match code {
        ErrorCode::BadRequest
        | ErrorCode::InvalidField
        | ErrorCode::ConfigInvalid
        | ErrorCode::CheckpointInvalid
        | ErrorCode::DeviceUnavailable => 2,
        _ => 1,
    }
}

/// `error[code]: what`, then each cause that adds something, then what to do next.
fn report(error: &ScanError) {
    eprintln!("error[{}]: {error}", error.code.as_str());
    let mut shown = error.to_string();
    let mut cause = Error::source(error);
    while let Some(next) = cause {
        let text = next.to_string();
        if !shown.contains(&text) {
            eprintln!("  because: {text}");
        }
        shown = text;
        cause = next.source();
    }
    if let Some(step) = &error.next_step {
        eprintln!("  next: {step}");
    }
}
