//! How long each stage of a scan took.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use crate::contract::{Control, ScanError, Stage, Timings};

/// Hands every stage on, and takes its time: a stage lasts until the next one begins.
pub(super) struct Clock<'a> {
    control: &'a dyn Control,
    begun: Instant,
    running: RefCell<Option<(Stage, Instant)>>,
    times: RefCell<Timings>,
}

impl<'a> Clock<'a> {
    pub(super) fn start(control: &'a dyn Control) -> Self {
        Self {
            control,
            begun: Instant::now(),
            running: RefCell::new(None),
            times: RefCell::default(),
        }
    }

    /// Time of a stage that ran beside the others.
    pub(super) fn beside(&self, stage: Stage, took: Duration) {
        self.times.borrow_mut().add(stage, took);
    }

    /// Time of a stage that was over before this clock started.
    pub(super) fn before(&mut self, stage: Stage, took: Duration) {
        self.beside(stage, took);
        self.begun = self.begun.checked_sub(took).unwrap_or(self.begun);
    }

    pub(super) fn finish(self) -> Timings {
        self.lap(None);
        let mut times = self.times.into_inner();
        times.total = self.begun.elapsed().as_secs_f64() * 1e3;
        times
    }

    fn lap(&self, next: Option<Stage>) {
        let now = Instant::now();
        if let Some((stage, since)) = self.running.replace(next.map(|stage| (stage, now))) {
            self.beside(stage, now - since);
        }
    }
}

impl Control for Clock<'_> {
    fn check(&self) -> Result<(), ScanError> {
        self.control.check()
    }

    fn stage(&self, stage: Stage) -> Result<(), ScanError> {
        self.lap(Some(stage));
        self.control.stage(stage)
    }
}
