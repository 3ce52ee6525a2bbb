//! The scanner behind the fronts' engine seam.

use base64::Engine as _;
use dragunov_models::RgbImage;
use serde_json::Value;

use super::Scanner;
use crate::contract::request::ImageSource;
use crate::contract::{ErrorCode, ScanError, ScanRequest, ScanResult};
use crate::intake::{DecodeLimits, Photo, Shot, SourceMeta, read_photo};
use crate::overlay;
use crate::runtime::{Engine, EngineInfo, JobContext, ModelRequest, Stage};

fn decoded(request: &ScanRequest) -> Result<Photo, ScanError> {
    let ImageSource::Bytes(bytes) = &request.image else {
        return Err(ScanError::new(
            ErrorCode::Internal,
            "the photo reached the device without its bytes",
        ));
    };
    read_photo(
        bytes,
        &Shot::from_request(request),
        &SourceMeta::default(),
        &DecodeLimits::default(),
    )
}

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
            memory: None,
        }
    }

    fn warm_up(&mut self, ctx: &JobContext) -> Result<(), ScanError> {
        self.touch(ctx)
    }

    fn scan(&mut self, request: &ScanRequest, ctx: &JobContext) -> Result<ScanResult, ScanError> {
        ctx.stage(Stage::Decode)?;
        let begun = std::time::Instant::now();
        let photo = decoded(request)?;
        let decode_ms = begun.elapsed().as_secs_f64() * 1e3;
        let (mut result, pictures) = Self::scan(self, &photo, request, ctx)?;
        result.timings_ms.insert("decode".into(), decode_ms);
        *result.timings_ms.entry("total".into()).or_default() += decode_ms;
        result.overlay = pictures.overlay.as_ref().map(base64_png).transpose()?;
        result.depth = pictures.depth.as_ref().map(base64_png).transpose()?;
        Ok(result)
    }

    fn run_model(&mut self, request: &ModelRequest, ctx: &JobContext) -> Result<Value, ScanError> {
        let mut scan = ScanRequest::new(request.image.clone());
        scan.options.overlay = false;
        ctx.stage(Stage::Decode)?;
        let photo = decoded(&scan)?;
        self.one_model(request.task, &photo.image, &request.params, ctx)
    }
}
