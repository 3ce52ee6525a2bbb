//! What a program needs that only wants to scan: two calls.

use dragunov_models::device::DeviceChoice;

use super::{ModelSet, Scanner, ScannerConfig};
use crate::contract::depth_map::DepthMap;
use crate::contract::request::ImageSource;
use crate::contract::{ErrorCode, ScanError, ScanRequest, ScanResult};
use crate::intake::{DecodeLimits, DepthInput, Photo, RequestLimits, Shot, SourceMeta, read_photo, validate};
use crate::runtime::JobContext;

impl Scanner {
    /// The bundled checkpoints on the CPU, with the settings that suit them. Takes about a second; keep the scanner.
    ///
    /// # Errors
    /// `checkpoint_invalid` in a build without the bundled checkpoints.
    pub fn bundled() -> Result<Self, ScanError> {
        let set = ModelSet::bundled()?;
        let config = ScannerConfig::for_set(&set);
        Self::load(&set, DeviceChoice::Cpu, config, None)
    }

    /// Measures the photo whose bytes `request.image` holds, or the meal on it and on `request.more`. Blocks; use a thread of its
    /// own in async code.
    ///
    /// # Errors
    /// `bad_request` unless every image is [`ImageSource::Bytes`]: the library fetches nothing. Otherwise the codes of an
    /// unreadable photo, of values out of their bounds, or of a scene that allows no honest answer.
    pub fn scan_request(&mut self, request: &ScanRequest) -> Result<ScanResult, ScanError> {
        validate::request(request, &RequestLimits::default())?;
        let ctx = JobContext::detached();
        let first = read(
            &request.image,
            Shot::from_request(request),
            request.depth.as_ref(),
        );
        if request.more.is_empty() {
            return Ok(self.scan(&first?, request, &ctx)?.0);
        }
        let more = request
            .more
            .iter()
            .map(|photo| read(&photo.image, Shot::from_photo(photo), photo.depth.as_ref()));
        let photos = std::iter::once(first).chain(more).collect();
        Ok(self.scan_meal(photos, request, &ctx)?.0)
    }
}

fn read(image: &ImageSource, mut shot: Shot, depth: Option<&DepthMap>) -> Result<Photo, ScanError> {
    shot.depth = match depth {
        Some(map) => Some(DepthInput {
            data: bytes(&map.data)?.to_vec(),
            confidence: map
                .confidence
                .as_ref()
                .map(|c| bytes(&c.data).map(<[u8]>::to_vec))
                .transpose()?,
            map: map.clone(),
        }),
        None => None,
    };
    read_photo(
        bytes(image)?,
        &shot,
        &SourceMeta::default(),
        &DecodeLimits::default(),
    )
}

fn bytes(source: &ImageSource) -> Result<&[u8], ScanError> {
    match source {
        ImageSource::Bytes(bytes) => Ok(bytes),
        _ => Err(
            ScanError::new(ErrorCode::BadRequest, "the library fetches no photos")
                .next_step("read the photo and give its bytes as ImageSource::Bytes"),
        ),
    }
}
