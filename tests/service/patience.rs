//! Waiting for what must happen: long enough for a machine that is busy with other things, no longer than it takes.

use std::time::{Duration, Instant};

pub const PATIENCE: Duration = Duration::from_secs(180);

/// Asks until it is so.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
