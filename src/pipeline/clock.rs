//! How long each stage of a scan took.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Milliseconds by stage.
pub(super) struct Clock {
    begun: Instant,
    last: Instant,
    laps: BTreeMap<String, f64>,
}

impl Clock {
    pub(super) fn start() -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            last: now,
            laps: BTreeMap::new(),
        }
    }

    pub(super) fn lap(&mut self, name: &str) {
        let now = Instant::now();
        self.laps
            .insert(name.into(), (now - self.last).as_secs_f64() * 1e3);
        self.last = now;
    }

    /// A stage that measured itself; the next begins now.
    pub(super) fn put(&mut self, name: &str, took: Duration) {
        self.laps.insert(name.into(), took.as_secs_f64() * 1e3);
        self.last = Instant::now();
    }

    /// A stage that was over before this clock started.
    pub(super) fn before(&mut self, name: &str, took: Duration) {
        self.put(name, took);
        self.begun = self.begun.checked_sub(took).unwrap_or(self.begun);
    }

    pub(super) fn finish(mut self) -> BTreeMap<String, f64> {
        self.laps
            .insert("total".into(), self.begun.elapsed().as_secs_f64() * 1e3);
        self.laps
    }
}
