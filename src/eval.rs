//! How good is it: a data set with truth, the pipeline with chosen oracles, and honest figures.
//!
//! [`run`] walks a [`manifest::Dataset`], asks a [`Predictor`] for every photo and scores what it answers. With masks
//! and depth given by oracles [`GeometryOnly`] answers from geometry alone, without any model.

pub mod cache;
pub mod calibrate;
pub mod convert;
pub mod full_pipeline;
mod label_oracle;
pub mod load;
pub mod manifest;
pub mod meals;
pub mod oracle;
pub mod predictor;
pub mod report;
pub mod score;
pub mod sensitivity;
pub mod truth;

pub use cache::PredictionCache;
pub use full_pipeline::{FullPipeline, KnownSize};
pub use manifest::{Dataset, Sample};
pub use predictor::{GeometryOnly, Predicted, PredictedItem, Predictor};
pub use score::{Outcome, Summary};

/// Every sample through the predictor, in order; `tick` is called after each.
pub fn run(dataset: &Dataset, predictor: &dyn Predictor, mut tick: impl FnMut(&Sample)) -> Vec<Outcome> {
    let mut out = Vec::new();
    for sample in &dataset.samples {
        let start = std::time::Instant::now();
        let answer = predictor.predict(&dataset.root, sample);
        let took = start.elapsed();
        score::sample(&dataset.root, sample, answer, took, &mut out);
        tick(sample);
    }
    out
}
