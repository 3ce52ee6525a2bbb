//! The engine of an instance without models: corrections and food look-ups need none.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Engine, EngineFactory, EngineInfo, JobContext, ModelRequest};
use crate::contract::{ErrorCode, ModelAnswer, ScanError, ScanRequest, ScanResult};
use crate::food_store::FoodStore;
use crate::intake::Photo;

/// Refuses every photo.
#[derive(Debug, Clone, Copy)]
pub struct NoModels;

impl NoModels {
    /// Reads the food table while the service starts, so that the first caller does not wait for it.
    pub fn factory(foods: FoodStore) -> EngineFactory {
        Arc::new(move || {
            foods.current();
            Ok(Box::new(Self) as Box<dyn Engine>)
        })
    }

    pub fn refusal() -> ScanError {
        ScanError::new(
            ErrorCode::NoModels,
            "this instance was started without models and looks at no photo",
        )
        .next_step("send photos to an instance that has models; this one answers recompute and /v1/foods")
    }
}

impl Engine for NoModels {
    fn info(&self) -> EngineInfo {
        EngineInfo {
            set: "none".into(),
            models: BTreeMap::new(),
            device: "none".into(),
            dtype: "none".into(),
            arithmetic: "none".into(),
            memory: None,
        }
    }

    fn warm_up(&mut self, _ctx: &JobContext) -> Result<(), ScanError> {
        Ok(())
    }

    fn scan(&mut self, _: &Photo, _: &ScanRequest, _: &JobContext) -> Result<ScanResult, ScanError> {
        Err(Self::refusal())
    }

    fn run_model(&mut self, _: &Photo, _: &ModelRequest, _: &JobContext) -> Result<ModelAnswer, ScanError> {
        Err(Self::refusal())
    }
}
