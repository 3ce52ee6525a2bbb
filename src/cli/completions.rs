//! `dragunov completions SHELL`

use clap::CommandFactory;

use crate::contract::ScanError;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    shell: clap_complete::Shell,
}

impl Args {
    pub(super) fn run(self) -> Result<(), ScanError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Cli::command(), "dragunov", &mut script);
        print!("{}", String::from_utf8_lossy(&script));
        Ok(())
    }
}
