//! How good is it: a data set with truth, the pipeline with chosen oracles, and honest figures.
//!
//! [`run`] walks a [`manifest::Dataset`], asks a [`Perceiver`] for every photo and scores what it answers. With masks
//! and depth given by oracles [`Oracular`] answers from geometry alone, without any model.

pub mod convert;
pub mod load;
pub mod manifest;
pub mod memory;
mod name;
pub mod oracle;
pub mod perceiver;
pub mod report;
pub mod score;
pub mod steady;
pub mod truth;
pub mod whole;

pub use manifest::{Dataset, Sample};
pub use memory::Memory;
pub use perceiver::{Oracular, Perceiver, Predicted, PredictedItem};
pub use score::{Outcome, Summary};
pub use whole::{Told, Whole};

/// Every sample through the perceiver, in order; `tick` is called after each.
pub fn run(dataset: &Dataset, perceiver: &dyn Perceiver, mut tick: impl FnMut(&Sample)) -> Vec<Outcome> {
    let mut out = Vec::new();
    for sample in &dataset.samples {
        let start = std::time::Instant::now();
        let answer = perceiver.predict(&dataset.root, sample);
        let took = start.elapsed();
        score::sample(&dataset.root, sample, answer, took, &mut out);
        tick(sample);
    }
    out
}
