//! The seam between the fronts and the models.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{JobContext, ModelRequest};
use crate::contract::{ErrorCode, ModelAnswer, ScanError, ScanRequest, ScanResult};
use crate::intake::Photo;

/// A scan that waits for the device.
#[derive(Debug, Clone, Copy)]
pub struct ScanJob<'a> {
    pub photo: &'a Photo,
    pub request: &'a ScanRequest,
    pub ctx: &'a JobContext,
}

/// What [`Engine::encode`] made of one photo; only the engine that made it can read it.
pub type Encoded = Box<dyn std::any::Any>;

/// Everything that needs the device. One value lives on one thread; nothing of it leaves that thread.
pub trait Engine {
    fn info(&self) -> EngineInfo;

    /// Runs every model once, so that the first user does not wait for it. A failure here is fatal.
    ///
    /// # Errors
    /// Whatever kept a model from running.
    fn warm_up(&mut self, ctx: &JobContext) -> Result<(), ScanError>;

    /// The whole pipeline on a decoded photo; `request.image` is empty by now.
    ///
    /// # Errors
    /// A coded error; `ctx.check()?` between stages and decoder steps.
    fn scan(
        &mut self,
        photo: &Photo,
        request: &ScanRequest,
        ctx: &JobContext,
    ) -> Result<ScanResult, ScanError>;

    /// A meal on several photos; those that cannot be read come with the reason.
    ///
    /// # Errors
    /// As [`Self::scan`]; `bad_request` from an engine that measures one photo only.
    fn scan_meal(
        &mut self,
        _photos: Vec<Result<Photo, ScanError>>,
        _request: &ScanRequest,
        _ctx: &JobContext,
    ) -> Result<ScanResult, ScanError> {
        Err(ScanError::new(
            ErrorCode::BadRequest,
            "this engine measures one photo at a time",
        ))
    }

    /// The first part of several scans as one batch; one value a job, in order. An engine that gains nothing by it gives
    /// none.
    ///
    /// # Errors
    /// If one of the jobs cannot be done; each is then run alone and told its own error.
    fn encode(&mut self, _jobs: &[ScanJob<'_>]) -> Result<Vec<Encoded>, ScanError> {
        Ok(Vec::new())
    }

    /// [`Self::scan`] of a job whose first part [`Self::encode`] did.
    ///
    /// # Errors
    /// As [`Self::scan`].
    fn scan_encoded(&mut self, job: ScanJob<'_>, _encoded: Encoded) -> Result<ScanResult, ScanError> {
        self.scan(job.photo, job.request, job.ctx)
    }

    /// One model alone on a decoded photo; `request.image` is empty by now.
    ///
    /// # Errors
    /// A coded error.
    fn run_model(
        &mut self,
        photo: &Photo,
        request: &ModelRequest,
        ctx: &JobContext,
    ) -> Result<ModelAnswer, ScanError>;

    /// A scripted job, of engines made for tests.
    ///
    /// # Errors
    /// `bad_request` unless the engine takes scripts.
    fn mock(&mut self, _script: &Value, _ctx: &JobContext) -> Result<Value, ScanError> {
        Err(ScanError::new(
            ErrorCode::BadRequest,
            "this engine runs no scripted jobs",
        ))
    }
}

/// Builds the engine on the device's own thread; called again if a panic took the engine down.
pub type EngineFactory = Arc<dyn Fn() -> Result<Box<dyn Engine>, ScanError> + Send + Sync>;

/// What is loaded and where; shown by `/info`, `doctor` and the log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EngineInfo {
    /// Name of the checkpoint set.
    pub set: String,
    /// Role to checkpoint: `sam`, `depth`, `identify`.
    pub models: BTreeMap<String, String>,
    /// `cpu`, or the name of the GPU.
    pub device: String,
    /// Numbers the weights are kept in: `f32`, `bf16`.
    pub dtype: String,
    /// What they are multiplied in: as `dtype`, or `bf16x3` or `bf16x6`, f32 as two or three numbers of bf16 each.
    #[serde(default)]
    pub arithmetic: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryInfo>,
}

/// Bytes on the device. An engine knows its weights; the rest is measured after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MemoryInfo {
    pub weights_bytes: u64,
    /// Highest seen by the end of the warm-up: weights, activations, and on the CPU the rest of the process; none
    /// where the device cannot tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
}
