//! The accept loop: connections are bounded in number, idle ones in time, and all of them end when the service does.

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

use super::idle::{Usage, Watched};

/// What one client may hold.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Connections open at a time; others wait in the system's backlog.
    pub open: usize,
    /// From the connection or the end of the last request to the end of the next one's head, and for the reader of an
    /// answer to take some more of it.
    pub idle_time: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            open: 8192,
            // Longer than the idle time of the usual load balancers (60 s), so that they close first.
            idle_time: Duration::from_secs(75),
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
        .header_read_timeout(limits.idle_time);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.idle_time)
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
            let usage = Usage::new();
            let watched = Watched {
                stream,
                usage: usage.clone(),
            };
            let requests = usage.clone();
            let service = service_fn(move |request: hyper::Request<Incoming>| {
                let running = requests.request();
                let answer = router.clone().oneshot(request);
                async move {
                    let answer = answer.await;
                    drop(running);
                    answer
                }
            });
            let connection = server.serve_connection_with_upgrades(TokioIo::new(watched), service);
            let mut connection = pin!(connection);
            let whole = async {
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = close.cancelled() => {
                        connection.as_mut().graceful_shutdown();
                        connection.await
                    }
                }
            };
            tokio::select! {
                ended = whole => if let Err(error) = ended {
                    tracing::trace!("connection ended: {error}");
                },
                () = usage.idle(limits.idle_time) => tracing::trace!("idle connection cut"),
            }
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}
