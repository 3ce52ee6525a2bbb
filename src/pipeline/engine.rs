//! The scanner behind the fronts' engine seam.

use base64::Engine as _;
use dragunov_models::RgbImage;
use serde_json::Value;

use super::Scanner;
use crate::contract::{ScanError, ScanRequest, ScanResult};
use crate::intake::Photo;
use crate::overlay;
use crate::runtime::{Engine, EngineInfo, JobContext, MemoryInfo, ModelRequest};

fn base64_png(picture: &RgbImage) -> Result<String, ScanError> {
    Ok(base64::engine::general_purpose::STANDARD.encode(overlay::png(picture)?))
}

impl Engine for Scanner {
    fn info(&self) -> EngineInfo {
        EngineInfo {
            set: self.names.set.clone(),
            models: [
                ("sam", &self.names.sam),
                ("depth", &self.names.depth),
                ("identify", &self.names.identify),
            ]
            .map(|(role, name)| (role.to_owned(), name.clone()))
            .into(),
            device: self.device.to_string(),
            dtype: format!("{:?}", self.dtype).to_lowercase(),
            memory: Some(MemoryInfo {
                weights_bytes: self.weights_bytes,
                peak_bytes: None,
                total_bytes: None,
            }),
        }
    }

    fn warm_up(&mut self, ctx: &JobContext) -> Result<(), ScanError> {
        self.touch(ctx)
    }

    fn scan(
        &mut self,
        photo: &Photo,
        request: &ScanRequest,
        ctx: &JobContext,
    ) -> Result<ScanResult, ScanError> {
        let (mut result, pictures) = Self::scan(self, photo, request, ctx)?;
        result.overlay = pictures.overlay.as_ref().map(base64_png).transpose()?;
        result.depth = pictures.depth.as_ref().map(base64_png).transpose()?;
        Ok(result)
    }

    fn run_model(
        &mut self,
        photo: &Photo,
        request: &ModelRequest,
        ctx: &JobContext,
    ) -> Result<Value, ScanError> {
        self.one_model(request.task, &photo.image, &request.params, ctx)
    }
}
