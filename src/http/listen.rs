//! The accept loop: connections are bounded in number, idle ones in time, and all of them end when the service does.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::idle::{Connections, Usage, Watched};

/// File handles kept for everything that is no caller: the job store, photos fetched, webhooks, weights.
const OWN_FILES: usize = 128;
/// What a connection may hold unread: all of a head, or the beginning of a body.
const BUFFER: usize = 32 << 10;
/// After a failed accept: no more file handles, most often, and some will be free again.
const PAUSE: Duration = Duration::from_millis(100);

/// What one client may hold.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Connections open at a time, and no more than the process has file handles for. With all of them taken, the one
    /// that was idle longest makes room; if all are in use, others wait in the system's backlog.
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

impl ConnectionLimits {
    /// Raises the process's soft limit of file handles to its hard one, and holds `open` to what it gives.
    #[must_use]
    pub fn within_file_limit(mut self) -> Self {
        let files = rlimit::increase_nofile_limit(u64::MAX).ok();
        let files = files.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        self.open = self
            .open
            .min(files.saturating_sub(OWN_FILES).max(files / 2).max(1));
        self
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
        .max_buf_size(BUFFER)
        .header_read_timeout(limits.idle_time);
    server
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(4 * BUFFER as u32)
        .initial_connection_window_size(8 * BUFFER as u32)
        .max_header_list_size(BUFFER as u32)
        .keep_alive_interval(limits.idle_time)
        .max_concurrent_streams(256);
    let server = Arc::new(server);
    let places = Arc::new(Semaphore::new(limits.open));
    let open = Connections::default();
    let tasks = TaskTracker::new();
    loop {
        let accepted = async {
            let place = place(&places, &open).await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            both = accepted => both,
            () = close.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("a connection could not be accepted: {error}");
                open.cut_idlest();
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let usage = open.add();
        let (server, router, close) = (server.clone(), router.clone(), close.clone());
        tasks.spawn(async move {
            serve_one(&server, stream, router, &usage, limits.idle_time, &close).await;
            drop(place);
        });
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

/// A place for one more connection, made by cutting an idle one if need be.
async fn place(places: &Arc<Semaphore>, open: &Connections) -> Option<OwnedSemaphorePermit> {
    loop {
        if let Ok(place) = places.clone().try_acquire_owned() {
            return Some(place);
        }
        open.cut_idlest();
        let freed = places.clone().acquire_owned();
        if let Ok(place) = tokio::time::timeout(PAUSE, freed).await {
            return place.ok();
        }
    }
}

async fn serve_one(
    server: &Builder<TokioExecutor>,
    stream: TcpStream,
    router: Router,
    usage: &Usage,
    idle_time: Duration,
    close: &CancellationToken,
) {
    let _ = stream.set_nodelay(true);
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
        () = usage.idle(idle_time) => tracing::trace!("idle connection cut"),
    }
}
