//! Timings on the CPU: `cargo bench -p dragunov-models -- <filter>`; `benches/compare.sh` puts PyTorch beside them.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod case;
mod paired;
mod suites {
    pub(crate) mod blocks;
    pub(crate) mod kernels;
    pub(crate) mod models;
    pub(crate) mod published;
}

use std::time::Duration;

use criterion::Criterion;

fn main() {
    let cases: Vec<case::Case> = suites::kernels::cases()
        .chain(suites::blocks::cases())
        .chain(suites::models::cases())
        .collect();
    if std::env::args().any(|a| a == "--paired") {
        // Those of a GPU's size only where they are asked for by name.
        let cases: Vec<case::Case> = cases.into_iter().chain(suites::published::cases()).collect();
        paired::serve(&cases).unwrap();
        return;
    }
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    for case in &cases {
        case.register(&mut criterion);
    }
    criterion.final_summary();
}
