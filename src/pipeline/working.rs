//! The photo at the size that is measured, and the way back to the photo's own pixels.

use dragunov_models::{Mask, RgbImage};

use crate::contract::request::{Hints, ScanRequest};
use crate::contract::{ErrorCode, ScanError};
use crate::intake::Photo;

/// A photo no larger than the models can use; everything measured is in its pixels.
#[derive(Debug)]
pub(super) struct Working {
    pub(super) photo: Photo,
    pub(super) hints: Hints,
    /// Size of the photo as sent, upright.
    pub(super) full: (usize, usize),
}

impl Working {
    pub(super) fn new(photo: &Photo, request: &ScanRequest, max_side_px: usize) -> Result<Self, ScanError> {
        let now = (photo.image.width(), photo.image.height());
        let full = photo.full_size.unwrap_or(now);
        let mut photo = photo.clone();
        let mut hints = request.hints.clone();
        for hint in &hints.items {
            let inside =
                |x: f64, y: f64| (0.0..=full.0 as f64).contains(&x) && (0.0..=full.1 as f64).contains(&y);
            let ok = hint.point.is_none_or(|[x, y]| inside(x, y))
                && hint
                    .bbox
                    .is_none_or(|[x0, y0, x1, y1]| inside(x0, y0) && inside(x1, y1) && x0 < x1 && y0 < y1);
            if !ok {
                let message = format!("a hint lies outside the photo of {} x {} pixels", full.0, full.1);
                return Err(ScanError::new(ErrorCode::InvalidField, message)
                    .next_step("give points and boxes in pixels of the upright photo"));
            }
        }
        photo = photo.reduced(max_side_px)?;
        if photo.image.width() != full.0 {
            let k = photo.image.width().max(photo.image.height()) as f64 / full.0.max(full.1) as f64;
            for hint in &mut hints.items {
                hint.point = hint.point.map(|p| p.map(|v| v * k));
                hint.bbox = hint.bbox.map(|b| b.map(|v| v * k));
            }
        }
        Ok(Self { photo, hints, full })
    }

    pub(super) fn image(&self) -> &RgbImage {
        &self.photo.image
    }

    /// Pixels of the full photo for one of the measured picture.
    pub(super) fn enlarge(&self) -> f64 {
        self.full.0 as f64 / self.image().width() as f64
    }

    /// The mask at the photo's own size.
    pub(super) fn full_mask(&self, mask: &Mask) -> Mask {
        let (w, h) = (mask.width(), mask.height());
        if (w, h) == self.full {
            return mask.clone();
        }
        let bits = mask.to_bits();
        let (fw, fh) = self.full;
        Mask::from_fn(fw, fh, |x, y| bits[(y * h / fh) * w + x * w / fw])
    }
}
