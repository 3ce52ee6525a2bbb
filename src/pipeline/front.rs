//! The real intake behind the runtime's seam: bytes and object metadata into the request, off the device's thread.

use futures::future::BoxFuture;

use crate::contract::request::ImageSource;
use crate::contract::{ScanError, ScanRequest};
use crate::{intake, runtime};

impl runtime::Intake for intake::Intake {
    fn fetch<'a>(&'a self, mut request: ScanRequest) -> BoxFuture<'a, Result<ScanRequest, ScanError>> {
        Box::pin(async move {
            let (bytes, meta) = self.fetch_bytes(&request).await?;
            request.image = ImageSource::Bytes(bytes);
            // What the request itself says wins over what is stored beside the photo.
            if request.pitch_deg.is_none() && request.gravity.is_none() {
                request.pitch_deg = meta.pitch_deg;
                request.gravity = meta.gravity;
                request.roll_deg = request.roll_deg.or(meta.roll_deg);
            }
            Ok(request)
        })
    }
}
