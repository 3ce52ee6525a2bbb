//! A decoded photo and what is said of how it was taken.

use dragunov_models::RgbImage;
use dragunov_models::resample::{self, Filter};
use tokio::sync::OwnedSemaphorePermit;

use super::{CameraGuess, DepthInput, Gravity, PhoneDepth};
use crate::contract::photos::MealPhoto;
use crate::contract::request::CameraHint;
use crate::contract::{ScanError, ScanRequest, Warning};

/// A decoded photo, ready for the models and the geometry.
#[derive(Debug, Clone)]
pub struct Photo {
    /// Upright, sRGB, 8 bits a channel.
    pub image: RgbImage,
    /// EXIF orientation tag that was applied, 1 to 8.
    pub orientation: u8,
    pub camera: CameraGuess,
    /// Down in the upright camera frame; none when neither the request nor the file says.
    pub gravity: Option<Gravity>,
    /// Every fallback that was taken.
    pub warnings: Vec<Warning>,
    /// What the phone measured.
    pub depth: Option<PhoneDepth>,
    /// Width and height before [`Self::reduced`]; none where the picture is as it was sent.
    pub full_size: Option<(usize, usize)>,
}

impl Photo {
    /// With at most `max_side_px` pixels on the long side, as the pipeline would make it.
    ///
    /// # Errors
    /// If the picture cannot be resampled.
    pub fn reduced(mut self, max_side_px: usize) -> Result<Self, ScanError> {
        let (width, height) = (self.image.width(), self.image.height());
        let long = width.max(height);
        if long > max_side_px {
            let k = max_side_px as f64 / long as f64;
            let size = |v: usize| ((v as f64 * k).round() as usize).max(1);
            self.image = resample::pil(&self.image, size(width), size(height), Filter::Bilinear)?;
            self.camera.focal_px *= k;
            self.full_size = self.full_size.or(Some((width, height)));
        }
        Ok(self)
    }
}

/// What the sender says of how the photo was taken.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shot {
    pub pitch_deg: Option<f64>,
    pub roll_deg: Option<f64>,
    /// Down, in device axes.
    pub gravity: Option<[f64; 3]>,
    pub camera: CameraHint,
    /// What the phone measured.
    pub depth: Option<DepthInput>,
}

impl Shot {
    /// Of one of a meal's photos; its depth map is to be fetched.
    pub fn from_photo(photo: &MealPhoto) -> Self {
        Self {
            pitch_deg: photo.pitch_deg,
            roll_deg: photo.roll_deg,
            gravity: photo.gravity,
            camera: photo.camera.clone(),
            depth: None,
        }
    }

    /// Of the photo, or the first of several; its depth map is to be fetched.
    pub fn from_request(request: &ScanRequest) -> Self {
        Self {
            pitch_deg: request.pitch_deg,
            roll_deg: request.roll_deg,
            gravity: request.gravity,
            camera: request.camera.clone(),
            depth: None,
        }
    }
}

/// A photo and the memory set aside for it, free for others when it is dropped.
#[derive(Debug)]
pub struct Loaded {
    pub photo: Photo,
    pub(super) memory: Option<OwnedSemaphorePermit>,
}

impl Loaded {
    /// The photo, and what holds its memory while it is in use.
    pub fn into_parts(self) -> (Photo, Option<OwnedSemaphorePermit>) {
        (self.photo, self.memory)
    }
}

impl From<Photo> for Loaded {
    /// A photo that no memory is set aside for.
    fn from(photo: Photo) -> Self {
        Self { photo, memory: None }
    }
}
