//! Wall time in milliseconds, which a test may move.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Wall time; clones share the shift.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    shift_ms: Arc<AtomicU64>,
}

impl Clock {
    pub fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        since.as_millis() as u64 + self.shift_ms.load(Ordering::Relaxed)
    }

    /// Moves every clone forward.
    pub fn advance(&self, by: Duration) {
        self.shift_ms.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
    }
}
