//! Start, serve, drain, end.

use std::future::Future;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::SharedApp;
use super::listen::{ConnectionLimits, listen};
use crate::contract::{ErrorCode, ScanError};
use crate::jobs::Dispatcher;
use crate::jobs::webhook::{WebhookOptions, deliver_all};

/// How the process runs.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// From "not ready" to "no new connections": what a load balancer needs to notice.
    pub drain_delay: Duration,
    /// For what is under way when the listener closes.
    pub drain_timeout: Duration,
    /// Jobs in hand at a time.
    pub in_hand: usize,
    pub webhooks: WebhookOptions,
    pub connections: ConnectionLimits,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(60),
            in_hand: 2,
            webhooks: WebhookOptions::default(),
            connections: ConnectionLimits::default(),
        }
    }
}

/// Serves until `stop` resolves, then drains: not ready first, then no new connections, then the work under way.
///
/// # Errors
/// `device_unavailable` if the engine does not start; `internal` if the listener breaks.
pub async fn serve(
    listener: TcpListener,
    app: SharedApp,
    due_webhooks: tokio::sync::mpsc::UnboundedReceiver<String>,
    options: ServeOptions,
    stop: impl Future<Output = ()>,
) -> Result<(), ScanError> {
    let client = webhook_client(app.options.private_webhooks)?;
    let webhooks = tokio::spawn(deliver_all(
        app.store.clone(),
        due_webhooks,
        client,
        options.webhooks,
    ));
    let dispatch_stop = CancellationToken::new();
    let dispatcher = Dispatcher {
        store: app.store.clone(),
        executor: app.executor.clone(),
        identity: app.identity.clone(),
        in_hand: options.in_hand,
    };
    let dispatcher = tokio::spawn(dispatcher.run(dispatch_stop.clone(), options.drain_timeout));

    let close = CancellationToken::new();
    let router = super::router(app.clone());
    let mut server = tokio::spawn(listen(listener, router, options.connections, close.clone()));

    let outcome = tokio::select! {
        () = stop => Ok(()),
        error = engine_failure(&app) => Err(error),
        ended = &mut server => Err(listener_broke(ended)),
    };
    tracing::info!("draining");
    app.begin_drain();
    // The job that a device broke under has been told so; those left behind are not to blame.
    if (outcome.as_ref()).map_or_else(|e| e.code == ErrorCode::DeviceUnavailable, |()| true) {
        app.store.note_stop().await;
    }
    if outcome.is_ok() {
        tokio::time::sleep(options.drain_delay).await;
    }
    close.cancel();
    if outcome.is_ok() && !app.store.is_durable() {
        // What is accepted would be lost: finish it first.
        let idle = async {
            while app.store.unfinished() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(options.drain_timeout, idle).await.is_err() {
            tracing::error!(
                lost = app.store.unfinished(),
                "drain time is over; accepted jobs are lost"
            );
        }
    }
    app.closing.cancel();
    dispatch_stop.cancel();
    let rest = async {
        let _ = dispatcher.await;
        if !server.is_finished() {
            let _ = server.await;
        }
    };
    if tokio::time::timeout(options.drain_timeout, rest).await.is_err() {
        tracing::warn!("drain time is over; connections cut");
    }
    webhooks.abort();
    tracing::info!("stopped");
    outcome
}

async fn engine_failure(app: &SharedApp) -> ScanError {
    match app.executor.device().ready().await {
        // A job's panic is mended by a new engine; a lost device is not, and ends the process, so that whatever started
        // it starts another.
        Ok(_) => {
            let error = app.executor.device().lost().await;
            let next_step = error.next_step.clone().unwrap_or_default();
            ScanError::new(ErrorCode::DeviceUnavailable, error.message.clone()).next_step(next_step)
        }
        Err(error) => ScanError::new(
            ErrorCode::DeviceUnavailable,
            format!("the engine did not start: {error}"),
        )
        .next_step("run `dragunov doctor`"),
    }
}

fn listener_broke(ended: Result<(), tokio::task::JoinError>) -> ScanError {
    let error = ScanError::new(ErrorCode::Internal, "the listener ended");
    match ended {
        Ok(()) => error,
        Err(e) => error.source(e),
    }
}

fn webhook_client(private: bool) -> Result<reqwest::Client, ScanError> {
    reqwest::Client::builder()
        .https_only(!private)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        // A name may resolve to this network; literals are refused when the job is accepted.
        .dns_resolver(crate::egress::PublicOnly::system(private))
        .user_agent(crate::runpod::version())
        .build()
        .map_err(|e| ScanError::new(ErrorCode::Internal, "the webhook client could not be made").source(e))
}
