//! The scanner behind the fronts' engine seam.

use base64::Engine as _;
use dragunov_models::RgbImage;

use super::{PhotoEncoding, Pictures, ScanInputs, Scanner};
use crate::contract::{ModelAnswer, ScanError, ScanRequest, ScanResult};
use crate::intake::Photo;
use crate::overlay;
use crate::runtime::engine::{self as runtime, ScanJob};
use crate::runtime::{Engine, EngineInfo, JobContext, MemoryInfo, ModelRequest};

fn with_pictures((mut result, pictures): (ScanResult, Pictures)) -> Result<ScanResult, ScanError> {
    result.overlay = pictures.overlay.as_ref().map(base64_png).transpose()?;
    result.depth = pictures.depth.as_ref().map(base64_png).transpose()?;
    Ok(result)
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
        with_pictures(Self::scan(self, photo, request, ctx)?)
    }

    fn scan_meal(
        &mut self,
        photos: Vec<Result<Photo, ScanError>>,
        request: &ScanRequest,
        ctx: &JobContext,
    ) -> Result<ScanResult, ScanError> {
        with_pictures(Self::scan_meal(self, photos, request, ctx)?)
    }

    fn encode(&mut self, jobs: &[ScanJob<'_>]) -> Result<Vec<runtime::Encoded>, ScanError> {
        let all = self.encode_jobs(jobs)?;
        Ok(all.into_iter().map(|e| Box::new(e) as runtime::Encoded).collect())
    }

    fn scan_encoded(&mut self, job: ScanJob<'_>, encoded: runtime::Encoded) -> Result<ScanResult, ScanError> {
        let inputs = ScanInputs {
            encoding: encoded.downcast::<PhotoEncoding>().ok().map(|e| *e),
            ..ScanInputs::default()
        };
        with_pictures(self.scan_with(job.photo, job.request, job.ctx, inputs)?)
    }

    fn run_model(
        &mut self,
        photo: &Photo,
        request: &ModelRequest,
        ctx: &JobContext,
    ) -> Result<ModelAnswer, ScanError> {
        self.one_model(request.task, &photo.image, &request.call, ctx)
    }
}
