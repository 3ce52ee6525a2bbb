//! The program as a Lambda function. `BFF_LAMBDA` says which part of it one function is; settings are the environment's, and
//! those of the secrets that it names.

mod events;
mod nudge;
mod settings;

use std::sync::Arc;

use anyhow::Context;
use lambda_http::lambda_runtime::{self, LambdaEvent, service_fn};
use serde_json::{Value, json};

use super::{serve, worker};
use crate::clock::Clock;
use crate::config::{CacheArgs, ConfigError, DatabaseArgs, GatewayArgs, LogArgs, QueueArgs, ScanArgs};
use crate::domain::upload::uploads_seen;
use crate::events::menu::Fetching;
use crate::notify::gateway::Gateway;
use crate::routes::{App, on_message};
use crate::scans::{Scans, Stuck};
use crate::store::Db;
use crate::{store, telemetry};
use settings::Settings;

/// Whether Lambda has started this process, and it is told which part to be. Without that it is what its command line says.
pub(super) fn is_here() -> bool {
    std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_some() && std::env::var_os("BFF_LAMBDA").is_some()
}

pub(super) async fn run() -> anyhow::Result<()> {
    let part = std::env::var("BFF_LAMBDA").unwrap_or_default();
    let settings = Settings::load().await?;
    match part.as_str() {
        "api" => api(&settings).await,
        "sockets" => sockets(&settings).await,
        "uploads" => uploads(&settings).await,
        "worker" => events(&settings).await,
        "migrate" => migrate(settings).await,
        _ => Err(ConfigError {
            what: "BFF_LAMBDA names no part of this program".into(),
            next_step: "set it to api, sockets, worker, uploads or migrate",
        }
        .into()),
    }
}

fn ended(error: lambda_runtime::Error) -> anyhow::Error {
    anyhow::anyhow!("the Lambda runtime: {error}")
}

async fn api(settings: &Settings) -> anyhow::Result<()> {
    let app = serve::open(&settings.parse::<serve::Args>()?).await?;
    let queue = settings.parse::<QueueArgs>()?.open(&app.db).await;
    // Also opens the first TLS connection, which costs more than all the rest.
    app.auth.warm_up().await;
    let router = nudge::after_writes(crate::routes::router(app), queue);
    lambda_http::run(router).await.map_err(ended)
}

/// Messages of API Gateway's WebSocket API.
async fn sockets(settings: &Settings) -> anyhow::Result<()> {
    let app = serve::open(&settings.parse::<serve::Args>()?).await?;
    let gateway = settings.parse::<GatewayArgs>()?.open().await.ok_or(ConfigError {
        what: "BFF_WEBSOCKET_ENDPOINT is not set".into(),
        next_step: "give the address of the WebSocket API's stage",
    })?;
    app.auth.warm_up().await;
    let (app, gateway) = (&*app, &*gateway);
    let handler = service_fn(move |event: LambdaEvent<Value>| socket_event(app, gateway, event.payload));
    lambda_runtime::run(handler).await.map_err(ended)
}

async fn socket_event(
    app: &App,
    gateway: &dyn Gateway,
    event: Value,
) -> Result<Value, std::convert::Infallible> {
    let context = &event["requestContext"];
    if let (Some("MESSAGE"), Some(connection)) =
        (context["eventType"].as_str(), context["connectionId"].as_str())
    {
        on_message(
            app,
            gateway,
            connection,
            event["body"].as_str().unwrap_or_default(),
        )
        .await;
    }
    Ok(json!({ "statusCode": 200 }))
}

/// The queue of events, and the schedule.
async fn events(settings: &Settings) -> anyhow::Result<()> {
    let (hands, queue) = worker::open(&settings.parse()?, Fetching::Within).await?;
    let (hands, queue) = (&hands, &*queue);
    let handler = service_fn(move |event: LambdaEvent<Value>| async move {
        Ok::<_, std::convert::Infallible>(events::answer(hands, queue, &event.payload).await)
    });
    lambda_runtime::run(handler).await.map_err(ended)
}

/// The bucket's events, through a queue.
async fn uploads(settings: &Settings) -> anyhow::Result<()> {
    let log: LogArgs = settings.parse()?;
    telemetry::logs(&log.log, log.log_json)?;
    let database: DatabaseArgs = settings.parse()?;
    let db = Db::lazy(
        database.options()?,
        database.database_connections,
        database.database_wait,
    );
    let cache = settings.parse::<CacheArgs>()?.open()?;
    let scans = settings
        .parse::<ScanArgs>()?
        .open(&db, &cache, &Clock::default())
        .await?;
    let scans = scans.context("no vision service is configured")?;
    let queue = settings.parse::<QueueArgs>()?.open(&db).await;
    let (scans, queue) = (&*scans, &*queue);
    let handler = service_fn(move |event: LambdaEvent<Value>| async move {
        let answer = upload_events(scans, &event.payload).await;
        nudge::nudge(queue).await;
        Ok::<_, std::convert::Infallible>(answer)
    });
    lambda_runtime::run(handler).await.map_err(ended)
}

/// Which messages come again.
async fn upload_events(scans: &Scans, event: &Value) -> Value {
    let mut again = Vec::new();
    for record in event["Records"].as_array().into_iter().flatten() {
        let body = record["body"].as_str().unwrap_or_default();
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        for seen in uploads_seen(&body) {
            match scans.upload_seen(&seen).await {
                // The photo is noted; the job is submitted later.
                Ok(()) | Err(Stuck::Vision(_)) => {}
                Err(why) => {
                    tracing::warn!("an upload waits: {why}");
                    again.push(json!({ "itemIdentifier": record["messageId"] }));
                    break;
                }
            }
        }
    }
    json!({ "batchItemFailures": again })
}

/// Brings the schema up to date at each invocation, and sets the passwords of the logins from their secrets.
async fn migrate(settings: Settings) -> anyhow::Result<()> {
    let settings = Arc::new(settings);
    let handler = service_fn(move |_: LambdaEvent<Value>| {
        let settings = settings.clone();
        async move {
            migrate_once(&settings)
                .await
                .map_err(|e| lambda_runtime::Error::from(e.to_string()))
        }
    });
    lambda_runtime::run(handler).await.map_err(ended)
}

async fn migrate_once(settings: &Settings) -> anyhow::Result<Value> {
    let owner = settings.parse::<DatabaseArgs>()?.options()?;
    let tier = store::migrate::migrate(&owner).await?;
    for (variable, role) in [("BFF_API_LOGIN", "bio_api"), ("BFF_WORKER_LOGIN", "bio_worker")] {
        let login = settings::login(variable).await?;
        store::migrate::set_login(&owner, &login.username, &login.password, role)
            .await
            .context("a login could not be set")?;
    }
    Ok(json!({ "schema": "up to date", "tier": format!("{tier:?}") }))
}
