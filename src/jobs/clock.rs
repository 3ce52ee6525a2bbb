//! The time that jobs age by: it never jumps and never goes back, whatever happens to the machine's clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds that begin as wall time and then run by the monotonic clock. Clones are the same clock.
///
/// A store that is opened again goes on from the time it was last written ([`Self::resume`]): jobs age while the service
/// runs, so that neither a clock that was set nor a long stop deletes what was accepted.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Time at `begun`; a test may move it.
    base_ms: AtomicU64,
    begun: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self(Arc::new(Inner {
            base_ms: AtomicU64::new(wall_ms()),
            begun: Instant::now(),
        }))
    }
}

impl Clock {
    pub fn now_ms(&self) -> u64 {
        self.0.base_ms.load(Ordering::Relaxed) + self.0.begun.elapsed().as_millis() as u64
    }

    /// Moves every clone forward.
    pub fn advance(&self, by: Duration) {
        self.0.base_ms.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
    }

    /// Goes on from `last_ms`.
    pub fn resume(&self, last_ms: u64) {
        let begun = last_ms.saturating_sub(self.0.begun.elapsed().as_millis() as u64);
        self.0.base_ms.store(begun, Ordering::Relaxed);
    }
}

/// What the machine's clock says, for others to read.
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}
