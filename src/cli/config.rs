//! `dragunov config`

use crate::config::ServeArgs;
use crate::contract::ScanError;

/// Show what `serve` would run with, from the same flags and environment; secrets are not shown.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Say nothing if all is well; what is wrong, and exit code 2, if not.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    serve: ServeArgs,
}

impl Args {
    pub(super) fn run(self) -> Result<(), ScanError> {
        let config = self.serve.check()?;
        if !self.check {
            println!("{:#}", config.shown());
        }
        Ok(())
    }
}
