//! Label images, depth images: from files to masks and rasters.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use dragunov_models::{Mask, MetricDepth};

use super::manifest::{DataError, DepthTruth, MaskRef};

/// Label images of one sample, each decoded once.
#[derive(Debug, Default)]
pub struct Labels {
    images: HashMap<PathBuf, image::GrayImage>,
}

fn open(path: &Path) -> Result<image::DynamicImage, DataError> {
    let reader = image::ImageReader::open(path).map_err(|source| DataError::Io {
        path: path.to_owned(),
        source,
    })?;
    reader.decode().map_err(|source| DataError::Image {
        path: path.to_owned(),
        source,
    })
}

impl Labels {
    /// The mask that a reference names.
    ///
    /// # Errors
    /// If the file cannot be read or is not of the photo's size.
    pub fn mask(&mut self, root: &Path, at: &MaskRef, size: [usize; 2]) -> Result<Mask, DataError> {
        let (file, value, above) = match at {
            MaskRef::Pixels { file, value, above } => (file, value, above.unwrap_or(0)),
            MaskRef::Ellipse { ellipse } => {
                return Ok(Mask::from_fn(size[0], size[1], |x, y| {
                    ellipse.holds(x as f64 + 0.5, y as f64 + 0.5)
                }));
            }
        };
        let path = root.join(file);
        if !self.images.contains_key(&path) {
            let image = open(&path)?.to_luma8();
            self.images.insert(path.clone(), image);
        }
        let image = &self.images[&path];
        let found = [image.width() as usize, image.height() as usize];
        if found != size {
            return Err(DataError::content(
                &path,
                format!("it is {found:?} pixels, the photo {size:?}"),
            ));
        }
        let raw = image.as_raw();
        Ok(Mask::from_fn(size[0], size[1], |x, y| {
            let v = raw[y * size[0] + x];
            value.map_or(v > above, |want| v == want)
        }))
    }
}

/// The depth raster in metres.
///
/// # Errors
/// If the file cannot be read.
pub fn depth(root: &Path, at: &DepthTruth) -> Result<MetricDepth, DataError> {
    let path = root.join(&at.file);
    let image = open(&path)?.to_luma16();
    let values = image
        .as_raw()
        .iter()
        .map(|&v| (f64::from(v) * at.unit_m) as f32)
        .collect();
    MetricDepth::new(image.width() as usize, image.height() as usize, values)
        .map_err(|e| DataError::content(&path, e.to_string()))
}
