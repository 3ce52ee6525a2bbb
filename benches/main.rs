//! Timings on the CPU: `cargo bench -p dragunov-models -- <filter>`; `benches/compare.sh` puts PyTorch beside them.
#![allow(clippy::unwrap_used)]

mod suites {
    pub(crate) mod kernels;
    pub(crate) mod models;
}

use std::time::Duration;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    suites::kernels::register(&mut criterion);
    suites::models::register(&mut criterion);
    criterion.final_summary();
}
