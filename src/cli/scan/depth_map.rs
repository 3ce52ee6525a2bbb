//! Flags of a depth map that came with a photo.

use std::path::{Path, PathBuf};

use clap::ValueHint;

use crate::contract::depth_map::{DepthConfidence, DepthMap, Intrinsics};
use crate::contract::request::ImageSource;
use crate::contract::{DepthFormat, DepthMapUnit, ErrorCode, ScanError};
use crate::intake::DepthInput;

#[derive(Debug, Clone, clap::Args)]
pub(super) struct DepthMapArgs {
    /// Distances that the phone measured: a PNG of 16 bits, or bare values in a file that ends with .f32, .f16 or .u16. With several
    /// photos one a photo, with commas between them.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, value_delimiter = ',')]
    depth_map: Vec<PathBuf>,
    /// What its numbers are; metres for .f32 and .f16, millimetres for the others if not said.
    #[arg(long, value_name = "UNIT", requires = "depth_map", value_parser = unit)]
    depth_unit: Option<DepthMapUnit>,
    /// Columns and rows of bare values.
    #[arg(long, value_name = "WxH", requires = "depth_map", value_parser = size)]
    depth_size: Option<(usize, usize)>,
    /// EXIF orientation that turns it upright; the photo's if not said.
    #[arg(long, value_name = "1-8", requires = "depth_map", value_parser = clap::value_parser!(u8).range(1..=8))]
    depth_orientation: Option<u8>,
    /// Its camera in pixels of the map as stored.
    #[arg(long, value_name = "FX,FY,CX,CY", requires = "depth_map", value_parser = intrinsics)]
    depth_intrinsics: Option<Intrinsics>,
    /// How sure the phone is of each value: bare bytes, or a PNG of 8 bits. One a map.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, value_delimiter = ',', requires = "depth_map")]
    depth_confidence: Vec<PathBuf>,
    /// Values with less confidence are left out.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "depth_confidence")]
    depth_least: u8,
}

impl DepthMapArgs {
    /// # Errors
    /// `bad_request` unless there is none, or one a photo.
    pub(super) fn check(&self, photos: usize) -> Result<(), ScanError> {
        for (flag, files) in [
            ("--depth-map", &self.depth_map),
            ("--depth-confidence", &self.depth_confidence),
        ] {
            if !files.is_empty() && files.len() != photos {
                let message = format!("{flag} names {} files for {photos} photos", files.len());
                return Err(ScanError::new(ErrorCode::BadRequest, message).next_step("name one a photo"));
            }
        }
        Ok(())
    }

    /// The map of the photo at this place.
    ///
    /// # Errors
    /// `not_found` for a file that cannot be read.
    pub(super) fn read(&self, photo: usize) -> Result<Option<DepthInput>, ScanError> {
        let Some(path) = self.depth_map.get(photo) else {
            return Ok(None);
        };
        let format = format_of(path);
        let floating = matches!(format, DepthFormat::F32 | DepthFormat::F16);
        let usual = if floating {
            DepthMapUnit::Metres
        } else {
            DepthMapUnit::Millimetres
        };
        let confidence = self
            .depth_confidence
            .get(photo)
            .map(|path| bytes(path))
            .transpose()?;
        let nothing = || ImageSource::Bytes(Vec::new());
        Ok(Some(DepthInput {
            data: bytes(path)?,
            map: DepthMap {
                data: nothing(),
                format,
                width: self.depth_size.map(|size| size.0),
                height: self.depth_size.map(|size| size.1),
                unit: self.depth_unit.unwrap_or(usual),
                orientation: self.depth_orientation,
                intrinsics: self.depth_intrinsics,
                confidence: confidence.is_some().then(|| DepthConfidence {
                    data: nothing(),
                    least: self.depth_least,
                }),
                sigma_rel: None,
            },
            confidence,
        }))
    }
}

fn format_of(path: &Path) -> DepthFormat {
    match path.extension().and_then(|e| e.to_str()) {
        Some("f32") => DepthFormat::F32,
        Some("f16") => DepthFormat::F16,
        Some("u16") => DepthFormat::U16,
        _ => DepthFormat::Png16,
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>, ScanError> {
    std::fs::read(path).map_err(|e| {
        ScanError::new(ErrorCode::NotFound, format!("cannot read {}", path.display()))
            .source(e)
            .next_step("check the path and its permissions")
    })
}

fn unit(text: &str) -> Result<DepthMapUnit, String> {
    let found = DepthMapUnit::ALL
        .iter()
        .find(|unit| unit.as_str() == text)
        .copied();
    found.ok_or_else(|| format!("one of {}", DepthMapUnit::texts().join(", ")))
}

fn size(text: &str) -> Result<(usize, usize), String> {
    let sides = text
        .split_once(['x', 'X'])
        .and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    sides.ok_or_else(|| "columns and rows, as 256x192".to_owned())
}

fn intrinsics(text: &str) -> Result<Intrinsics, String> {
    let numbers: Vec<f64> = text.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    match numbers[..] {
        [fx, fy, cx, cy] => Ok(Intrinsics {
            fx,
            fy,
            cx,
            cy,
            width: None,
            height: None,
        }),
        _ => Err("four numbers, as 212.5,212.5,127.6,95.9".to_owned()),
    }
}
