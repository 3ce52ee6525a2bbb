//! What is asked of a photo before it is evaluated.

use std::path::Path;

use image::metadata::Orientation;
use image::{ImageDecoder, ImageReader};

use super::super::manifest::DataError;
use crate::intake::{DecodeLimits, Shot, SourceMeta, read_photo};

/// Width and height of the upright photo; reads no more than its head, but of HEIC all of it.
///
/// # Errors
/// [`DataError`] naming the file.
pub(super) fn size(path: &Path) -> Result<[usize; 2], DataError> {
    let heif = path
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("heic") || e.eq_ignore_ascii_case("heif"));
    if heif {
        let bytes = std::fs::read(path).map_err(io(path))?;
        let photo = read_photo(
            &bytes,
            &Shot::default(),
            &SourceMeta::default(),
            &DecodeLimits::default(),
        )
        .map_err(|e| DataError::content(path, e.message))?;
        return Ok([photo.image.width(), photo.image.height()]);
    }
    let broken = |source| DataError::Image {
        path: path.to_owned(),
        source,
    };
    let reader = ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(io(path))?;
    let mut decoder = reader.into_decoder().map_err(broken)?;
    let (width, height) = decoder.dimensions();
    let turned = matches!(
        decoder.orientation().map_err(broken)?,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    );
    let [width, height] = if turned { [height, width] } else { [width, height] };
    Ok([width as usize, height as usize])
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> DataError + use<> {
    let path = path.to_owned();
    move |source| DataError::Io { path, source }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A picture of these sides where the layout wants one.
    pub(in super::super) fn picture(path: &Path, width: u32, height: u32) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        image::GrayImage::from_pixel(width, height, image::Luma([90]))
            .save(path)
            .unwrap();
    }

    #[test]
    fn sides_are_those_of_the_upright_photo() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        picture(&path, 8, 5);
        assert_eq!(size(&path).unwrap(), [8, 5]);
        let plates = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/plates");
        // Some portraits of the sample plates are stored turned.
        for sample in super::super::plates(&plates).unwrap() {
            let found = size(&plates.join(&sample.image)).unwrap();
            assert_eq!(found, [sample.width, sample.height], "{}", sample.id);
        }
        std::fs::write(&path, b"no picture").unwrap();
        assert!(size(&path).unwrap_err().to_string().contains("a.png"));
    }
}
