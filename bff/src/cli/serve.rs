//! `bio-bff serve`

use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;

use crate::auth::{Auth, JwksOptions};
use crate::clock::Clock;
use crate::config::{AuthArgs, CacheArgs, ConfigError, DatabaseArgs, HttpArgs, LogArgs, ScanArgs};
use crate::routes::App;
use crate::serve::{Drain, serve, stop_signal};
use crate::store::Db;
use crate::telemetry;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    auth: AuthArgs,
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    scans: ScanArgs,
    #[command(flatten)]
    log: LogArgs,
}

/// The service as configured, with logs and metrics.
pub(super) async fn open(args: &Args) -> anyhow::Result<Arc<App>> {
    telemetry::logs(&args.log.log, args.log.log_json)?;
    let metrics = telemetry::metrics()?;
    let db = Db::lazy(
        args.database.options()?,
        args.database.database_connections,
        args.database.database_wait,
    );
    let auth = Auth::new(
        args.auth.providers()?,
        args.auth.secret()?,
        &JwksOptions::default(),
    )
    .context("the client for the provider's keys cannot be made")?;
    let mut app = App::new(db, auth, args.cache.open()?, Clock::default(), args.http.limits());
    app.cors_origins = args.http.origins()?;
    app.metrics = Some(metrics);
    app.scans = args.scans.open(&app.db, &app.cache, &app.clock).await?;
    app.hooks = args.scans.hooks()?;
    let app = Arc::new(app);
    check_roles(&app.db).await?;
    Ok(app)
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let app = open(&args).await?;
    let listener = TcpListener::bind(args.http.listen)
        .await
        .map_err(|e| ConfigError {
            what: format!("cannot listen on {}: {e}", args.http.listen),
            next_step: "choose another --listen, or port 0 for a free one",
        })?;
    // The one line that scripts read: with port 0 it is the only way to learn the port.
    super::out(&format!("listening on http://{}", listener.local_addr()?))?;
    let warm = app.clone();
    tokio::spawn(async move { warm.auth.warm_up().await });
    let drain = Drain {
        delay: args.http.drain_delay,
        timeout: args.http.drain_timeout,
    };
    serve(listener, app, drain, stop_signal()).await;
    Ok(())
}

/// A login that row security does not bind must not serve anybody. A database that is away is no reason not to start.
pub(super) async fn check_roles(db: &Db) -> anyhow::Result<()> {
    let bound: Result<(bool, bool), _> = sqlx::query_as(
        "SELECT NOT (rolsuper OR rolbypassrls), pg_has_role(current_user, 'bio_api', 'usage') \
         OR pg_has_role(current_user, 'bio_worker', 'usage') FROM pg_roles WHERE rolname = current_user",
    )
    .fetch_one(db.pool())
    .await;
    let next_step = "run `bio-bff migrate` as the owner, then log in as a member of bio_api";
    match bound {
        Ok((true, true)) => Ok(()),
        Ok((false, _)) => Err(ConfigError {
            what: "the database login bypasses row security".into(),
            next_step,
        }
        .into()),
        Ok((_, false)) => Err(ConfigError {
            what: "the database login is no member of bio_api".into(),
            next_step,
        }
        .into()),
        Err(sqlx::Error::Database(db)) if db.code().as_deref() == Some("42704") => Err(ConfigError {
            what: "the database has no schema yet".into(),
            next_step,
        }
        .into()),
        Err(error) => {
            tracing::warn!(
                "the database cannot be reached yet: {}",
                crate::problem::Problem::from(error).detail
            );
            Ok(())
        }
    }
}
