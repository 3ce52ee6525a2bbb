//! Start, serve, drain, end.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::routes::App;

/// How the process ends.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    /// From "not ready" to "no new connections": what a load balancer needs to notice.
    pub delay: Duration,
    /// For requests under way when the listener closes.
    pub timeout: Duration,
}

/// Connections open at a time; others wait in the system's backlog.
const CONNECTIONS: usize = 4096;
/// For the head of a request, and between two of a connection. Longer than the idle time of usual load balancers.
const IDLE: Duration = Duration::from_secs(75);

/// Serves until `stop`, then drains: not ready first, then no new connections, then the requests under way.
pub async fn serve(listener: TcpListener, app: Arc<App>, drain: Drain, stop: impl Future<Output = ()>) {
    let close = CancellationToken::new();
    let router = crate::routes::router(app.clone());
    let upkeep = tokio::spawn(upkeep(app.clone()));
    let hearing = {
        let (app, stop) = (app.clone(), app.hub.closing.clone());
        tokio::spawn(async move { app.hub.listen(&app.db, stop).await })
    };
    let server = tokio::spawn(listen(listener, router, close.clone()));
    stop.await;
    tracing::info!("draining");
    app.begin_drain();
    tokio::time::sleep(drain.delay).await;
    close.cancel();
    app.hub.closing.cancel();
    if tokio::time::timeout(drain.timeout, server).await.is_err() {
        tracing::warn!("drain time is over; connections cut");
    }
    upkeep.abort();
    hearing.abort();
    tracing::info!("stopped");
}

async fn upkeep(app: Arc<App>) {
    let mut tick = tokio::time::interval(Duration::from_secs(30));
    loop {
        tick.tick().await;
        app.tidy();
    }
}

async fn listen(listener: TcpListener, router: Router, close: CancellationToken) {
    let mut server = Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(IDLE);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(IDLE)
        .max_concurrent_streams(256);
    let server = Arc::new(server);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await.ok();
            (listener.accept().await, place)
        };
        let (stream, place) = tokio::select! {
            (outcome, place) = accepted => match outcome {
                Ok((stream, _)) => (stream, place),
                Err(_) => {
                    // No more file handles, most often: some will be free again.
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            },
            () = close.cancelled() => break,
        };
        let _ = stream.set_nodelay(true);
        let (server, router, close) = (server.clone(), router.clone(), close.clone());
        connections.spawn(async move {
            let service =
                service_fn(move |request: hyper::Request<Incoming>| router.clone().oneshot(request));
            let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service);
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = close.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::trace!("connection ended: {error}");
            }
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// SIGTERM or Ctrl-C.
pub async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut term) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
