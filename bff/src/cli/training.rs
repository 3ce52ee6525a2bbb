//! `bio-bff training`

use std::io::{BufWriter, Write};

use crate::config::DatabaseArgs;
use crate::store::Db;

#[derive(Debug, clap::Subcommand)]
pub(super) enum TrainingCommand {
    /// Write confirmed meals of users who allow it to standard output, a JSON object a line, without anything that leads
    /// back to anybody. Log in as a member of bio_worker.
    Export(ExportArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(super) async fn run(command: TrainingCommand) -> anyhow::Result<()> {
    let TrainingCommand::Export(args) = command;
    let db = Db::lazy(args.database.options()?, 1, args.database.database_wait);
    let mut out = BufWriter::new(std::io::stdout().lock());
    let n = db
        .training_export(|line| -> anyhow::Result<()> {
            out.write_all(line.as_bytes())?;
            out.write_all(b"\n")?;
            Ok(())
        })
        .await?;
    out.flush()?;
    eprintln!("{n} meals");
    Ok(())
}
