//! `bio-bff dev`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::auth::{Auth, JwksOptions, Provider};
use crate::cache::MemoryCache;
use crate::clock::Clock;
use crate::config::{ConfigError, LogArgs, MenuArgs};
use crate::dev::guide::{self, Places};
use crate::dev::idp::{CLIENT_ID, DevIdp};
use crate::dev::page::Page;
use crate::dev::sample::{SUBJECT, Sample};
use crate::dev::scans::DevScans;
use crate::dev::servers::{After, Postgres, PostgresOptions};
use crate::dev::vision::{VisionService, WEBHOOK_SECRET};
use crate::domain::energy::THRESHOLD;
use crate::events::handle::Hands;
use crate::events::menu::Fetching;
use crate::events::worker;
use crate::notify::push::Senders;
use crate::queue::PostgresQueue;
use crate::routes::{App, Limits};
use crate::serve::{Drain, serve, stop_signal};
use crate::store::{self, Db};
use crate::telemetry;

/// Run everything on this machine: PostgreSQL, identity provider, cache, worker, a sample user with forty days of data,
/// and the vision service if its program is at hand.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A PostgreSQL to use instead of a private one: URL of a role that may create roles and owns the database.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<SecretString>,
    /// Folder of the private PostgreSQL; kept between runs.
    #[arg(long, env = "BFF_DEV_DIR")]
    dir: Option<PathBuf>,
    /// Address to listen on.
    #[arg(long, env = "BFF_LISTEN", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Program of the vision service; found beside this one or on the path unless told.
    #[arg(long, env = "DRAGUNOV_BIN")]
    vision: Option<PathBuf>,
    #[command(flatten)]
    menus: MenuArgs,
    #[command(flatten)]
    log: LogArgs,
}

const DATABASE: &str = "bio_bff_dev";

/// What is kept between runs.
fn folder(args: &Args) -> PathBuf {
    let usual = || std::env::temp_dir().join("bio-bff-dev");
    args.dir.clone().unwrap_or_else(usual)
}

/// Logins of the two roles, and what must stay alive for them.
struct Databases {
    api: Db,
    worker: Db,
    _server: Option<Postgres>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let quiet = if args.log.log == "info" {
        "warn"
    } else {
        args.log.log.as_str()
    };
    telemetry::logs(quiet, args.log.log_json)?;
    let metrics = telemetry::metrics()?;
    let databases = databases(&args).await?;
    let idp = DevIdp::start().await?;
    let provider = Provider::cognito(&idp.base, vec![CLIENT_ID.into()], Some(&idp.jwks_url))?;
    let secret = "only for this machine, only for looking at".to_owned();
    let auth = Auth::new(vec![provider], secret.into(), &JwksOptions::default())?;
    let cache = Arc::new(MemoryCache::new(10_000));
    // The sample's forty days are older than its account.
    let limits = Limits {
        sync_grace: Duration::from_secs(60 * 86_400),
        ..Limits::default()
    };
    let mut app = App::new(
        databases.api.clone(),
        auth,
        cache.clone(),
        Clock::default(),
        limits,
    );
    app.metrics = Some(metrics);
    let listener = TcpListener::bind(args.listen).await.map_err(|e| ConfigError {
        what: format!("cannot listen on {}: {e}", args.listen),
        next_step: "choose another --listen, or port 0 for a free one",
    })?;
    let base = format!("http://{}", listener.local_addr()?);
    let told = args.vision.clone();
    let vision = tokio::task::spawn_blocking(move || VisionService::start(told, &[])).await??;
    let scans = match &vision {
        None => None,
        Some(vision) => {
            let dbs = (&databases.api, &databases.worker);
            let (public, secret) = (format!("{base}/").parse()?, WEBHOOK_SECRET.to_owned().into());
            let folder = folder(&args).join("s3");
            Some(DevScans::start(&folder, dbs, cache.clone(), public, &vision.url, secret).await?)
        }
    };
    app.scans = scans.as_ref().map(|s| s.api.clone());
    let page = Page {
        idp: idp.base.clone(),
        subject: SUBJECT,
        storage: scans.as_ref().map(|s| s.storage.clone()),
    };
    app.beside = Some(page.router()?);
    let menus = match args.menus.open()? {
        Some(menus) => menus,
        None => crate::dev::menus::sample().await?,
    };
    let menus = Fetching::Beside(menus);
    let hands = Hands {
        db: databases.worker.clone(),
        cache,
        clock: Clock::default(),
        threshold: THRESHOLD,
        objects: (scans.iter())
            .flat_map(|s| [s.worker.buckets.uploads.clone(), s.worker.buckets.media.clone()])
            .collect(),
        scans: scans.as_ref().map(|s| s.worker.clone()),
        menus,
        gateway: None,
        push: Senders::default(),
    };
    let queue = Arc::new(PostgresQueue::new(databases.worker.clone(), "events", 5));
    let stop = CancellationToken::new();
    let working = tokio::spawn(worker::run(hands, queue, worker::VISIBILITY, stop.clone()));
    let drain = Drain {
        delay: Duration::ZERO,
        timeout: Duration::from_secs(10),
    };
    let serving = tokio::spawn(serve(
        listener,
        Arc::new(app),
        drain,
        stop.clone().cancelled_owned(),
    ));
    let http = reqwest::Client::builder().no_proxy().build()?;
    let token = http
        .post(format!("{}/token", idp.base))
        .json(&serde_json::json!({"sub": SUBJECT}))
        .send()
        .await?;
    let sample = Sample {
        base: base.clone(),
        token: token.text().await?,
        http,
    };
    sample
        .fill(Timestamp::now())
        .await
        .context("the sample user could not be filled")?;
    super::out(&guide::text(&Places {
        base: &base,
        idp: &idp.base,
        vision: vision.as_ref().map(|v| v.url.as_str()),
        subject: SUBJECT,
    }))?;
    stop_signal().await;
    stop.cancel();
    let _ = tokio::join!(serving, working);
    Ok(())
}

/// The given one; Debian's in a private cluster; else the words what there could be.
async fn databases(args: &Args) -> anyhow::Result<Databases> {
    let wait = Duration::from_secs(5);
    if let Some(url) = &args.database_url {
        let options = store::options(url.expose_secret())?;
        store::migrate::migrate(&options).await?;
        // One login for all here; row security binds it as a member of each role.
        let as_role = |role: &str| options.clone().options([("role", role)]);
        return Ok(Databases {
            api: Db::lazy(as_role("bio_api"), 8, wait),
            worker: Db::lazy(as_role("bio_worker"), 4, wait),
            _server: None,
        });
    }
    let dir = folder(args);
    let server = tokio::task::spawn_blocking(move || -> std::io::Result<Option<Postgres>> {
        let options = PostgresOptions {
            port: None,
            after: After::Keep,
            synchronous_commit: true,
        };
        let Some(server) = Postgres::start(&dir, &options)? else { return Ok(None) };
        server.prepare(DATABASE)?;
        Ok(Some(server))
    })
    .await?
    .context("the private PostgreSQL")?
    .ok_or(ConfigError {
        what: "there is no PostgreSQL".into(),
        next_step: "set DATABASE_URL, or install Debian's package postgresql, whose programs are then run privately",
    })?;
    store::migrate::migrate(&store::options(&server.url("bio_owner", DATABASE))?).await?;
    Ok(Databases {
        api: Db::lazy(store::options(&server.url("api_login", DATABASE))?, 8, wait),
        worker: Db::lazy(store::options(&server.url("worker_login", DATABASE))?, 4, wait),
        _server: Some(server),
    })
}
