//! How busy the device is, for `Retry-After`.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

#[derive(Default)]
pub(super) struct Load {
    /// The running job and those taken up with it.
    pub(super) running: AtomicUsize,
    /// Moving average of a job's time on the device, microseconds.
    pub(super) service_us: AtomicU64,
}

impl Load {
    pub(super) fn learn(&self, took: Duration) {
        let new = took.as_micros() as u64;
        let old = self.service_us.load(Ordering::Relaxed);
        let mean = if old == 0 { new } else { (old * 7 + new) / 8 };
        self.service_us.store(mean, Ordering::Relaxed);
    }
}
