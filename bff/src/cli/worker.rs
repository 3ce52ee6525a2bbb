//! `bio-bff worker`

use std::sync::Arc;

use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::{CacheArgs, DatabaseArgs, GatewayArgs, LogArgs, MenuArgs, PushArgs, QueueArgs, ScanArgs};
use crate::events::handle::Hands;
use crate::events::menu::Fetching;
use crate::events::{uploads, worker};
use crate::menus::Menus;
use crate::queue::Queue;
use crate::serve::stop_signal;
use crate::store::Db;
use crate::telemetry;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    queue: QueueArgs,
    #[command(flatten)]
    scans: ScanArgs,
    #[command(flatten)]
    menus: MenuArgs,
    #[command(flatten)]
    push: PushArgs,
    #[command(flatten)]
    gateway: GatewayArgs,
    #[command(flatten)]
    log: LogArgs,
}

/// What the worker works with, as configured, with logs. `fetching`: how menus are fetched, if there is a source of them.
pub(super) async fn open(
    args: &Args,
    fetching: fn(Arc<Menus>) -> Fetching,
) -> anyhow::Result<(Hands, Arc<dyn Queue>)> {
    telemetry::logs(&args.log.log, args.log.log_json)?;
    let db = Db::lazy(
        args.database.options()?,
        args.database.database_connections,
        args.database.database_wait,
    );
    super::serve::check_roles(&db).await?;
    let queue = args.queue.open(&db).await;
    let (cache, clock) = (args.cache.open()?, Clock::default());
    let hands = Hands {
        scans: args.scans.open(&db, &cache, &clock).await?,
        push: args.push.open(&db)?,
        gateway: args.gateway.open().await,
        menus: args.menus.open()?.map_or(Fetching::Off, fetching),
        threshold: args.queue.energy_threshold,
        objects: args.scans.holding_users().await,
        db,
        cache,
        clock,
    };
    Ok((hands, queue))
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let (hands, queue) = open(&args, Fetching::Beside).await?;
    let (scans, uploads) = (hands.scans.clone(), args.scans.upload_queue().await);
    super::out("working")?;
    let stop = CancellationToken::new();
    let visibility = args.queue.queue_visibility;
    let work = tokio::spawn(worker::run(hands, queue, visibility, stop.clone()));
    let intake = stop.clone();
    let intake = tokio::spawn(async move {
        if let (Some(scans), Some(queue)) = (scans, uploads) {
            uploads::run(&scans, &queue, &intake).await;
        }
    });
    stop_signal().await;
    stop.cancel();
    work.await?;
    intake.await?;
    Ok(())
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum QueueCommand {
    /// Say how many messages wait, are in hand, and are dead.
    Depth(QueueOnly),
    /// Give dead letters another chance.
    Redrive(Redrive),
}

#[derive(Debug, clap::Args)]
pub(super) struct QueueOnly {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    queue: QueueArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct Redrive {
    #[command(flatten)]
    on: QueueOnly,
    /// At most so many; with SQS so many a second, until all are moved.
    #[arg(long, default_value_t = 100)]
    most: u32,
}

pub(super) async fn queue(command: QueueCommand) -> anyhow::Result<()> {
    let open = async |on: &QueueOnly| -> anyhow::Result<Arc<dyn Queue>> {
        // SQS needs no database, and is named by its URL.
        let options = match (&on.queue.queue_url, &on.database.database_url) {
            (Some(_), None) => sqlx::postgres::PgConnectOptions::new(),
            (_, Some(url)) => crate::store::options(url.expose_secret())?,
            (None, None) => on.database.options()?,
        };
        Ok(on
            .queue
            .open(&Db::lazy(options, 1, on.database.database_wait))
            .await)
    };
    match command {
        QueueCommand::Depth(on) => {
            let d = open(&on).await?.depth().await?;
            super::out(&format!(
                "waiting {}, in hand {}, dead {}",
                d.waiting, d.hidden, d.dead
            ))?;
        }
        QueueCommand::Redrive(r) => {
            let moved = open(&r.on).await?.redrive(r.most).await?;
            super::out(&format!("moved {moved}"))?;
        }
    }
    Ok(())
}
