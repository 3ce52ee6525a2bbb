//! What a program needs that only wants to scan: two calls.

use dragunov_models::device::DeviceChoice;

use super::{ModelSet, Scanner, ScannerConfig};
use crate::contract::request::ImageSource;
use crate::contract::{ErrorCode, ScanError, ScanRequest, ScanResult};
use crate::intake::{DecodeLimits, Shot, SourceMeta, read_photo};
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

    /// Measures the photo whose bytes `request.image` holds. Blocks; use a thread of its own in async code.
    ///
    /// # Errors
    /// `bad_request` unless the image is [`ImageSource::Bytes`]: the library fetches nothing. Otherwise the codes of an
    /// unreadable photo, of values out of their bounds, or of a scene that allows no honest answer.
    pub fn scan_request(&mut self, request: &ScanRequest) -> Result<ScanResult, ScanError> {
        let ImageSource::Bytes(bytes) = &request.image else {
            return Err(
                ScanError::new(ErrorCode::BadRequest, "the library fetches no photos")
                    .next_step("read the photo and give its bytes as ImageSource::Bytes"),
            );
        };
        let shot = Shot::from_request(request);
        let photo = read_photo(bytes, &shot, &SourceMeta::default(), &DecodeLimits::default())?;
        let (result, _) = self.scan(&photo, request, &JobContext::detached())?;
        Ok(result)
    }
}
