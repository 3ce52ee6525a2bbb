//! The command line. Exit codes: 0 done, 1 the work failed, 2 wrong usage or set-up.

mod check;
#[cfg(feature = "dev")]
mod dev;
#[cfg(feature = "lambda")]
mod lambda;
mod migrate;
mod serve;
mod training;
mod worker;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::ConfigError;

/// Backend of a diet app, over PostgreSQL, Redis, S3 and queues.
#[derive(Debug, Parser)]
#[command(
    name = "bio-bff",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "dev")]
    Dev(Box<dev::Args>),
    /// Answer requests.
    Serve(Box<serve::Args>),
    /// Relay events and handle them.
    Worker(Box<worker::Args>),
    /// Look after the queue.
    #[command(subcommand)]
    Queue(worker::QueueCommand),
    /// Data for training.
    #[command(subcommand)]
    Training(training::TrainingCommand),
    /// Bring the database's schema up to date, as its owner.
    Migrate(migrate::Args),
    /// Print the description of the API.
    Openapi,
    /// Show what `serve` would run with; with --check say whether it can.
    Config(Box<check::Args>),
}

/// Parses the process's arguments and runs the command.
pub fn main() -> ExitCode {
    #[cfg(feature = "lambda")]
    if lambda::is_here() {
        return finish(run(lambda::run()));
    }
    let outcome = match Cli::parse().command {
        #[cfg(feature = "dev")]
        Command::Dev(args) => run(dev::run(*args)),
        Command::Worker(args) => run(worker::run(*args)),
        Command::Queue(command) => run(worker::queue(command)),
        Command::Training(command) => run(training::run(command)),
        Command::Serve(args) => run(serve::run(*args)),
        Command::Migrate(args) => run(migrate::run(args)),
        Command::Config(args) => run(check::run(*args)),
        Command::Openapi => openapi(),
    };
    finish(outcome)
}

fn openapi() -> anyhow::Result<()> {
    let (_, api) = crate::routes::api(&crate::routes::Limits::default());
    Ok(out(&api.to_pretty_json()?)?)
}

fn finish(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn run(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
    match error.downcast_ref::<ConfigError>() {
        Some(config) => {
            eprintln!("  next: {}", config.next_step);
            ExitCode::from(2)
        }
        None => ExitCode::FAILURE,
    }
}

/// The one door to standard output: a line or more, written at once. A reader that has closed it (`| head`) has what
/// it wanted, and what serves goes on; a full disk is an error.
fn out(text: &str) -> std::io::Result<()> {
    to(&mut std::io::stdout().lock(), text)
}

fn to(out: &mut impl Write, text: &str) -> std::io::Result<()> {
    let written = out.write_all(format!("{text}\n").as_bytes());
    match written.and_then(|()| out.flush()) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails as told.
    struct Fails(ErrorKind);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_left_is_no_error_and_a_full_disk_is() {
        assert!(to(&mut Fails(ErrorKind::BrokenPipe), "said").is_ok());
        assert!(to(&mut Fails(ErrorKind::StorageFull), "said").is_err());
        let mut said = Vec::new();
        to(&mut said, "said").unwrap();
        assert_eq!(said, b"said\n");
    }
}
