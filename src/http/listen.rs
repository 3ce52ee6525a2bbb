//! The accept loop: connections are bounded in number, their heads in time, and all of them end when the service does.
//!
//! The head's time begins with the first line that is HTTP/1. A connection that says nothing is not cut; it only takes
//! one of the places.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What one client may hold.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Connections open at a time; others wait in the system's backlog.
    pub open: usize,
    /// For the head of a request once it has begun; a connection idle between requests ends after it as well.
    pub head_time: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            open: 8192,
            // Longer than the idle time of the usual load balancers (60 s), so that they close first.
            head_time: Duration::from_secs(75),
        }
    }
}

/// Serves until `close`, then lets every connection finish the request it is in.
pub(super) async fn listen(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    close: CancellationToken,
) {
    let mut server = Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.head_time)
        .max_concurrent_streams(256);
    let server = Arc::new(server);
    let places = Arc::new(Semaphore::new(limits.open));
    let connections = TaskTracker::new();
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await.ok();
            (listener.accept().await, place)
        };
        let (stream, place) = tokio::select! {
            (Ok((stream, _)), place) = accepted => (stream, place),
            () = close.cancelled() => break,
            else => {
                // No more file handles, most often: some will be free again.
                tracing::warn!("a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let (server, router, close) = (server.clone(), router.clone(), close.clone());
        connections.spawn(async move {
            let connection =
                server.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(router));
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
