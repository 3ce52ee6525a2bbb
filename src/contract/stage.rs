//! The stages of a scan and how long each took.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::vocabulary::vocabulary;

vocabulary! {
    /// One stage of a scan, in the order in which they begin: of progress updates and of `timings_ms`.
    Stage {
        Intake = "intake":
            "The photo's bytes are fetched or read.",
            "Show that the photo is being sent.";
        Decode = "decode":
            "The photo is opened and turned upright.",
            "Show it as a step.";
        Depth = "depth":
            "The depth network runs.",
            "Show it as a step.";
        Segment = "segment":
            "Segment Anything draws masks.",
            "Show it as a step.";
        Identify = "identify":
            "The vision-language model names what the masks show.",
            "Show it as a step.";
        Measure = "measure":
            "Masks and depth become volumes.",
            "Show it as a step.";
        Nourish = "nourish":
            "Volumes become grams, energy and macros.",
            "Show it as a step.";
    }
}

/// What is told when a stage begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StageUpdate {
    pub stage: Stage,
    /// Place of the stage in their order, from 1.
    pub step: usize,
    /// How many stages there are.
    pub of: usize,
    /// Milliseconds since the job was taken up, the wait for the device included.
    pub elapsed_ms: f64,
}

/// Milliseconds by stage, and of all together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Timings {
    #[serde(flatten)]
    pub stages: BTreeMap<Stage, f64>,
    pub total: f64,
}

impl Timings {
    /// Adds to a stage's time.
    pub fn add(&mut self, stage: Stage, took: Duration) {
        *self.stages.entry(stage).or_default() += took.as_secs_f64() * 1e3;
    }
}

impl utoipa::PartialSchema for Timings {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Type};
        let number = |text: &str| {
            ObjectBuilder::new()
                .schema_type(Type::Number)
                .minimum(Some(0.0))
                .description(Some(text))
        };
        let stages = Stage::ALL.iter().fold(ObjectBuilder::new(), |object, stage| {
            object.property(stage.as_str(), number(stage.meaning()))
        });
        stages
            .property("total", number("From the start of the intake to the answer, without the wait for the device."))
            .required("total")
            .additional_properties(Some(AdditionalProperties::FreeForm(false)))
            .description(Some(
                "Milliseconds by stage. A stage that did not run is left out. Depth and segmentation may run at the same time, \
                 and over several photos at once, so that the stages may add up to more than the total.",
            ))
            .into()
    }
}

impl utoipa::ToSchema for Timings {}
