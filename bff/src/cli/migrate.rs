//! `bio-bff migrate`

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};

use crate::config::ConfigError;
use crate::store;
use crate::store::migrate::Tier;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// postgres:// URL of the schema's owner, not of the processes.
    #[arg(long, env = "MIGRATE_DATABASE_URL", hide_env_values = true)]
    migrate_database_url: Option<SecretString>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let url = args.migrate_database_url.ok_or(ConfigError {
        what: "no database is given".into(),
        next_step: "set MIGRATE_DATABASE_URL to a login that owns the database",
    })?;
    let options = store::options(url.expose_secret()).map_err(|_| ConfigError {
        what: "MIGRATE_DATABASE_URL does not parse".into(),
        next_step: "write postgres://owner:password@host:port/database",
    })?;
    let tier = store::migrate::migrate(&options)
        .await
        .context("the schema was not brought up to date")?;
    super::out(match tier {
        Tier::Plain => "up to date: plain PostgreSQL",
        Tier::Hypertable => "up to date: TimescaleDB, hypertable",
        Tier::Compressed => "up to date: TimescaleDB, hypertable with compression and a continuous aggregate",
    })?;
    Ok(())
}
