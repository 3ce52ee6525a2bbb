//! A benchmark that can be run by criterion, and once at a time beside another program's.

use std::cell::RefCell;
use std::sync::OnceLock;

use candle_core::{Device, Tensor};
use criterion::Criterion;

/// Where whole networks are timed: `$DRAGUNOV_BENCH_DEVICE` (`cuda:0` in a build with feature `cuda`), the CPU without it.
pub(crate) fn device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| {
        let choice = std::env::var("DRAGUNOV_BENCH_DEVICE").unwrap_or_else(|_| "cpu".into());
        dragunov_models::device::parse(&choice)
            .and_then(|choice| choice.open())
            .unwrap_or_else(|error| panic!("{error}"))
    })
}

type Work = Box<dyn FnMut() -> Tensor>;

/// Something to time, with its inputs: made when it is first run, so that what is filtered out costs nothing.
pub(crate) struct Case {
    pub(crate) name: String,
    build: Box<dyn Fn() -> Work>,
}

impl Case {
    /// `build` makes the inputs and gives the work; the work's result is dropped outside the timing.
    pub(crate) fn new<F>(name: impl Into<String>, build: impl Fn() -> F + 'static) -> Self
    where
        F: FnMut() -> Tensor + 'static,
    {
        Self {
            name: name.into(),
            build: Box::new(move || Box::new(build())),
        }
    }

    pub(crate) fn work(&self) -> Work {
        (self.build)()
    }

    pub(crate) fn register(&self, c: &mut Criterion) {
        let work: RefCell<Option<Work>> = RefCell::default();
        c.bench_function(&self.name, |b| {
            let mut work = work.borrow_mut();
            let work = work.get_or_insert_with(|| self.work());
            b.iter_with_large_drop(work);
        });
    }
}
