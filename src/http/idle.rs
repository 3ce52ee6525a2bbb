//! Whether a connection is used: one on which no request runs and to which nothing more can be written is cut after a
//! while, whatever it sends. That ends silent clients, heads that come byte by byte, and answers that nobody reads, in
//! HTTP/1 and HTTP/2 alike.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// The connections that are open.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<Vec<Weak<Shared>>>);

impl Connections {
    /// One more, which leaves when its last handle is dropped.
    pub(super) fn add(&self) -> Usage {
        let usage = Usage::new();
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|other| other.strong_count() > 0);
        open.push(Arc::downgrade(&usage.0));
        usage
    }

    /// Ends the one that was idle longest, if one is.
    pub(super) fn cut_idlest(&self) {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let open = open.iter().filter_map(Weak::upgrade).map(Usage);
        let idle = open.filter_map(|usage| Some((usage.idle_since()?, usage)));
        if let Some((_, idlest)) = idle.min_by_key(|(since, _)| *since) {
            idlest.0.cut.notify_one();
        }
    }
}

/// What one connection is doing; cheap to clone, the same connection.
#[derive(Debug, Clone)]
pub(super) struct Usage(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Its place is needed.
    cut: Notify,
}

#[derive(Debug)]
struct State {
    requests: usize,
    /// When a request last ended or bytes last went out; at first, when the connection came.
    last: Instant,
}

impl Usage {
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                requests: 0,
                last: Instant::now(),
            }),
            cut: Notify::new(),
        }))
    }

    fn change(&self, f: impl FnOnce(&mut State)) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        f(&mut state);
        state.last = Instant::now();
    }

    /// Since when nothing runs on it; none if a request does.
    fn idle_since(&self) -> Option<Instant> {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.requests == 0).then_some(state.last)
    }

    /// A request runs until the guard is dropped. Its own limits of time hold meanwhile.
    pub(super) fn request(&self) -> RequestGuard {
        self.change(|state| state.requests += 1);
        RequestGuard(self.clone())
    }

    /// Resolves once the connection was idle for this long, or is idle and its place is needed.
    pub(super) async fn idle(&self, limit: Duration) {
        loop {
            let unused = self.idle_since().map_or(Duration::ZERO, |since| since.elapsed());
            if unused >= limit {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(limit - unused) => {}
                () = self.0.cut.notified() => if self.idle_since().is_some() {
                    return;
                },
            }
        }
    }
}

/// See [`Usage::request`].
#[derive(Debug)]
pub(super) struct RequestGuard(Usage);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.change(|state| state.requests -= 1);
    }
}

/// A stream whose writes count as use.
#[derive(Debug)]
pub(super) struct Watched<S> {
    pub(super) stream: S,
    pub(super) usage: Usage,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        self.usage.change(|_| ());
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bytes));
        self.usage.change(|_| ());
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn running_requests_and_writes_are_use() {
        use tokio::io::AsyncWriteExt;
        let usage = Usage::new();
        let limit = Duration::from_millis(100);
        let request = usage.request();
        let idle = |wait: u64| {
            let usage = usage.clone();
            async move {
                tokio::time::timeout(Duration::from_millis(wait), usage.idle(limit))
                    .await
                    .is_ok()
            }
        };
        assert!(!idle(400).await, "a request runs");
        drop(request);
        assert!(idle(10_000).await);
        let mut stream = Watched {
            stream: tokio::io::sink(),
            usage: usage.clone(),
        };
        assert!(stream.write_all(b"x").await.is_ok());
        let begun = Instant::now();
        assert!(idle(10_000).await);
        assert!(
            begun.elapsed() >= Duration::from_millis(90),
            "counted from the write"
        );
    }
}
