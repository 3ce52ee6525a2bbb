//! Whether a connection is used: one on which no request runs and to which nothing more can be written is cut after a
//! while, whatever it sends. That ends silent clients, heads that come byte by byte, and answers that nobody reads, in
//! HTTP/1 and HTTP/2 alike.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What one connection is doing; cheap to clone, the same connection.
#[derive(Debug, Clone)]
pub(super) struct Usage(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    requests: usize,
    /// When a request last ended or bytes last went out; at first, when the connection came.
    last: Instant,
}

impl Usage {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            requests: 0,
            last: Instant::now(),
        })))
    }

    fn change(&self, f: impl FnOnce(&mut State)) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        f(&mut state);
        state.last = Instant::now();
    }

    /// A request runs until the guard is dropped. Its own limits of time hold meanwhile.
    pub(super) fn request(&self) -> RequestGuard {
        self.change(|state| state.requests += 1);
        RequestGuard(self.clone())
    }

    /// Resolves once the connection was idle for this long.
    pub(super) async fn idle(&self, limit: Duration) {
        loop {
            let unused = {
                let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                if state.requests > 0 {
                    Duration::ZERO
                } else {
                    state.last.elapsed()
                }
            };
            if unused >= limit {
                return;
            }
            tokio::time::sleep(limit - unused).await;
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
