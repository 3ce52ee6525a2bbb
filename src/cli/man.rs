//! `dragunov man DIR`

use std::path::PathBuf;

use clap::CommandFactory;

use crate::contract::{ErrorCode, ScanError};

/// Write the manual pages, one a command, into a folder.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[arg(value_hint = clap::ValueHint::DirPath)]
    dir: PathBuf,
}

impl Args {
    pub(super) fn run(self) -> Result<(), ScanError> {
        let written = std::fs::create_dir_all(&self.dir)
            .and_then(|()| clap_mangen::generate_to(super::Cli::command(), &self.dir));
        written.map_err(|e| {
            ScanError::new(
                ErrorCode::ConfigInvalid,
                format!("cannot write into {}", self.dir.display()),
            )
            .source(e)
        })
    }
}
