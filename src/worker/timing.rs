//! Every wait of the protocol, in one place; tests shorten them.

use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timings {
    /// Longer than the platform holds a poll, so that the platform ends it.
    pub poll: Duration,
    pub connect: Duration,
    /// A 204 that came sooner than this was not held: wait [`Self::empty_pause`].
    pub held: Duration,
    pub empty_pause: Duration,
    /// After 400, which the platform answers around a revival.
    pub odd_pause: Duration,
    /// After 429 without `Retry-After`.
    pub busy_pause: Duration,
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    /// How long a result is tried.
    pub result_for: Duration,
    pub result_min: Duration,
    pub result_max: Duration,
    pub post: Duration,
    /// Least time between two progress posts of a job.
    pub progress_gap: Duration,
    /// How long a progress post in flight may hold up the result.
    pub progress_wait: Duration,
    pub stop_pause: Duration,
    /// After 404 on the stop channel: the platform has none.
    pub stop_absent: Duration,
    /// For the one job that is taken only to be told why nothing works.
    pub last_take: Duration,
    pub unhealthy_ping: Duration,
    /// How long one stream chunk is tried.
    pub chunk_for: Duration,
    /// From SIGTERM to the end, for everything: an answer that arrives, running jobs, posts.
    pub drain: Duration,
    /// How much longer an open poll is heard after SIGTERM: an answer may be on its way.
    pub take_grace: Duration,
    /// One try of a post while draining.
    pub drain_post: Duration,
}

impl Timings {
    /// Under the 30 s that container platforms usually give between SIGTERM and SIGKILL.
    pub const DRAIN: Duration = Duration::from_secs(25);
}

impl Default for Timings {
    fn default() -> Self {
        let s = Duration::from_secs;
        Self {
            poll: s(97),
            connect: s(10),
            held: Duration::from_millis(250),
            empty_pause: s(1),
            odd_pause: s(1),
            busy_pause: s(5),
            backoff_min: Duration::from_millis(500),
            backoff_max: s(30),
            result_for: s(300),
            result_min: s(1),
            result_max: s(30),
            post: s(180),
            progress_gap: Duration::from_millis(500),
            progress_wait: s(2),
            stop_pause: s(1),
            stop_absent: s(60),
            last_take: s(10),
            unhealthy_ping: s(2),
            chunk_for: s(60),
            drain: Self::DRAIN,
            take_grace: Duration::from_millis(700),
            drain_post: s(8),
        }
    }
}

/// Doubling waits with jitter.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    min: Duration,
    max: Duration,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        Self { next: min, min, max }
    }

    /// Between three quarters and all of the next step.
    pub(super) fn wait(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(self.max);
        now.mul_f64(0.75 + 0.25 * rand::random::<f64>())
    }

    pub(super) fn reset(&mut self) {
        self.next = self.min;
    }
}
