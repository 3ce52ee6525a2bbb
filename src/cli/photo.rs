//! Photos for the one-model commands (`depth`, `segment`, `ask`).

use std::path::Path;

use dragunov_models::RgbImage;

use crate::contract::{ErrorCode, ScanError};
use crate::intake::decode::{DecodeLimits, decode};

/// Reads a photo as the reference implementations do: upright, RGB, any size, colour profile ignored (Pillow's
/// `exif_transpose` and `convert("RGB")`), so that a model alone can be compared with them.
///
/// # Errors
/// `image_unreadable` for a file that cannot be read, and those of [`decode`].
pub(super) fn read(path: &Path) -> Result<RgbImage, ScanError> {
    let bytes = std::fs::read(path).map_err(|e| {
        let message = format!("cannot read {}", path.display());
        ScanError::new(ErrorCode::ImageUnreadable, message).source(e)
    })?;
    let limits = DecodeLimits {
        max_alloc_bytes: 2 << 30,
        min_side: 1,
        refuse_blank: false,
        apply_profile: false,
        clip_deep_grey: true,
        ..DecodeLimits::default()
    };
    Ok(decode(&bytes, &limits)?.image)
}
