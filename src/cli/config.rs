//! `dragunov config`

use serde_json::Value;

use super::engine::EngineArgs;
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
    #[command(flatten)]
    engine: EngineArgs,
}

impl Args {
    pub(super) fn run(self) -> Result<(), ScanError> {
        let (mut shown, engine) = (self.serve.check()?.shown(), self.engine.check()?);
        if let (Some(all), Value::Object(more)) = (shown.as_object_mut(), engine) {
            all.extend(more);
        }
        if !self.check {
            println!("{shown:#}");
        }
        Ok(())
    }
}
