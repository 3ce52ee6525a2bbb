//! How good is it: a data set with truth, the pipeline with chosen oracles, and honest figures.
//!
//! [`run`] walks a [`manifest::Dataset`], asks a [`Predictor`] for every photo and scores what it answers. With masks
//! and depth given by oracles [`GeometryOnly`] answers from geometry alone, without any model.

pub mod amounts;
pub mod bootstrap;
pub mod cache;
pub mod calibrate;
pub mod compare;
pub mod convert;
pub mod figures;
pub mod full_pipeline;
mod groups;
mod label_oracle;
pub mod load;
pub mod manifest;
pub mod meals;
pub mod oracle;
pub mod predictor;
pub mod reliability;
pub mod report;
pub mod scale_group;
pub mod score;
pub mod sensitivity;
pub mod truth;

pub use amounts::Quantity;
pub use bootstrap::Bootstrap;
pub use cache::PredictionCache;
pub use figures::Summary;
pub use full_pipeline::{FullPipeline, KnownSize};
pub use manifest::{Dataset, Sample};
pub use predictor::{GeometryOnly, Predicted, PredictedItem, Predictor};
pub use score::{Outcome, Outcomes, PhotoOutcome};

use crate::nutrition::FoodTable;

/// Every sample through the predictor, in order; `tick` is called after each. Names are compared by the table that the predictor
/// uses.
pub fn run(
    dataset: &Dataset,
    predictor: &dyn Predictor,
    foods: &FoodTable,
    mut tick: impl FnMut(&Sample),
) -> Outcomes {
    let mut out = Outcomes::default();
    for sample in &dataset.samples {
        let start = std::time::Instant::now();
        let answer = predictor.predict(&dataset.root, sample);
        let took = start.elapsed();
        score::sample(&dataset.root, sample, answer, took, foods, &mut out);
        tick(sample);
    }
    out
}
