//! What time it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// The time, or in tests one that is set. Microseconds, as the database keeps them.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// A clock that stands still.
    pub fn fixed(at: Timestamp) -> Self {
        Self(Some(Arc::new(AtomicI64::new(at.as_microsecond()))))
    }

    pub fn set(&self, at: Timestamp) {
        if let Some(us) = &self.0 {
            us.store(at.as_microsecond(), Ordering::SeqCst);
        }
    }

    pub fn now(&self) -> Timestamp {
        let us = match &self.0 {
            Some(us) => us.load(Ordering::SeqCst),
            None => Timestamp::now().as_microsecond(),
        };
        Timestamp::from_microsecond(us).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}
