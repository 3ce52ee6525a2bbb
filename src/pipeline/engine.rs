//! The scanner behind the fronts' engine seam.

use base64::Engine as _;
use dragunov_models::RgbImage;
use dragunov_models::device::memory;

use super::{PhotoEncoding, Pictures, ScanInputs, Scanner};
use crate::contract::{ErrorCode, ModelAnswer, ScanError, ScanRequest, ScanResult};
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

/// Of the points that the mask decoder is asked at a time, when memory was short.
const SPARING_POINTS: usize = 8;

impl Scanner {
    /// Does `work`; where the device had no room for it, once more with one network at a time and small batches.
    pub(super) fn sparing<T>(
        &mut self,
        mut work: impl FnMut(&mut Self) -> Result<T, ScanError>,
    ) -> Result<T, ScanError> {
        match work(self) {
            Err(error) if error.code == ErrorCode::OutOfMemory => {
                tracing::warn!("{error}; once more with smaller batches");
                let usual = (self.config.amg.points_per_batch, self.overlap);
                self.config.amg.points_per_batch = usual.0.min(SPARING_POINTS);
                self.overlap = false;
                let again = work(self);
                (self.config.amg.points_per_batch, self.overlap) = usual;
                again.map_err(|e| match e.code {
                    ErrorCode::OutOfMemory => {
                        e.next_step("send it again when less is running, or send a smaller photo")
                    }
                    _ => e,
                })
            }
            other => other,
        }
    }
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
            arithmetic: self.names.arithmetic.clone(),
            memory: Some(MemoryInfo {
                weights_bytes: self.weights_bytes,
                // The pool gives nothing back: what it holds after work is the most that was held.
                peak_bytes: memory::held(&self.on),
                total_bytes: memory::of(&self.on).map(|m| m.total_bytes),
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
        with_pictures(self.sparing(|scanner| Self::scan(scanner, photo, request, ctx))?)
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
        let mut encoding = encoded.downcast::<PhotoEncoding>().ok().map(|e| *e);
        let scanned = self.sparing(|scanner| {
            let inputs = ScanInputs {
                encoding: encoding.take(),
                ..ScanInputs::default()
            };
            scanner.scan_with(job.photo, job.request, job.ctx, inputs)
        });
        with_pictures(scanned?)
    }

    fn run_model(
        &mut self,
        photo: &Photo,
        request: &ModelRequest,
        ctx: &JobContext,
    ) -> Result<ModelAnswer, ScanError> {
        self.sparing(|scanner| scanner.one_model(request.task, &photo.image, &request.call, ctx))
    }
}
