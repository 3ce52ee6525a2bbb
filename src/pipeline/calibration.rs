//! How a checkpoint set is to be used and how far its networks are off: `calibration.toml` beside the checkpoints.
//!
//! Nothing of this hangs on what a set is called. A set without the file gets [`Calibration::default`], and every answer
//! says so.

use std::path::Path;

use dragunov_models::sam::AmgConfig;
use serde::{Deserialize, Serialize};

use crate::contract::{ErrorCode, ScanError};
use crate::geometry::priors::DISPARITY_SHIFT;
use crate::identify::NameBelief;
use crate::perceive::Search;

/// Name of the file in a set's folder.
pub const CALIBRATION_FILE: &str = "calibration.toml";
/// Version of the file's layout.
pub const CALIBRATION_FORMAT: u32 = 1;
/// A file beyond this is no calibration.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// All that a scan has to know about a checkpoint set beside its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// [`CALIBRATION_FORMAT`].
    pub format: u32,
    /// The set is for trying the service out; every answer says so.
    #[serde(default)]
    pub demonstration: bool,
    pub search: Search,
    pub mask_grid: MaskGrid,
    pub errors: NetworkErrors,
    #[serde(default)]
    pub names: NameBelief,
}

/// The grid of points that automatic masks start from, and what they must pass; the rest is as in the original generator.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskGrid {
    /// 1 to 128.
    pub points_per_side: usize,
    /// Least IoU that the model predicts of its own mask, 0 to 1.
    pub min_predicted_iou: f32,
    /// Least IoU between the mask at a higher and at a lower threshold, 0 to 1.
    pub min_stability: f32,
    /// Holes and islands of fewer pixels are removed.
    pub min_region_px: usize,
    /// Thin the masks out at the decoder's resolution before they are drawn at the photo's.
    pub screen: bool,
}

/// Errors of the networks, one standard deviation each.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkErrors {
    /// Mean height of a food in the network's depth, in camera heights, seen from 20 degrees or more. 0 to 1.
    pub relief_sigma: f64,
    /// Shift of the network's disparity, as a share of the table's. 0 to 1, without 0.
    #[serde(default = "usual_shift")]
    pub shift_sigma: f64,
    /// Widths of the network's masks, relative. 0 to 1.
    pub outline_sigma: f64,
    /// Tilt of the table in the network's depth where nothing else tells it, in degrees. 0 to 90, without 0.
    pub table_tilt_sigma_deg: f64,
}

fn usual_shift() -> f64 {
    DISPARITY_SHIFT.sigma
}

/// Of published checkpoints, which were not at hand to be measured.
impl Default for NetworkErrors {
    fn default() -> Self {
        Self {
            // 8 mm from 40 cm.
            relief_sigma: 0.02,
            shift_sigma: usual_shift(),
            // A pixel of the 256 x 256 that masks are decoded at, on something a fifth of the photo wide.
            outline_sigma: 0.01,
            // The shift of relative disparity is free, and the tilt hides in it.
            table_tilt_sigma_deg: 12.0,
        }
    }
}

/// The original generator's settings and what costs no further pass of the image encoder. Neither a second pass over the meal
/// nor one a food was measured with published checkpoints, whose edges are sharper to begin with.
impl Default for Calibration {
    fn default() -> Self {
        let original = AmgConfig::default();
        Self {
            format: CALIBRATION_FORMAT,
            demonstration: false,
            search: Search {
                redraw_from_boxes: false,
                zoom: false,
                search_bowls: true,
                redraw_close_up: false,
                label_consensus: true,
            },
            mask_grid: MaskGrid {
                points_per_side: original.points_per_side,
                min_predicted_iou: original.pred_iou_thresh,
                min_stability: original.stability_score_thresh,
                min_region_px: 100,
                screen: original.screen,
            },
            errors: NetworkErrors::default(),
            names: NameBelief::default(),
        }
    }
}

impl MaskGrid {
    pub fn amg(&self) -> AmgConfig {
        AmgConfig {
            points_per_side: self.points_per_side,
            pred_iou_thresh: self.min_predicted_iou,
            stability_score_thresh: self.min_stability,
            min_mask_region_area: self.min_region_px,
            screen: self.screen,
            ..AmgConfig::default()
        }
    }
}

impl Calibration {
    /// Reads the text of a `calibration.toml`; `path` is for messages.
    ///
    /// # Errors
    /// `config_invalid` naming the file and what is wrong with it.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ScanError> {
        let this: Self = toml::from_str(text).map_err(|e| invalid(path, e.message()).source(e))?;
        this.check().map_err(|reason| invalid(path, &reason))?;
        Ok(this)
    }

    /// # Errors
    /// `config_invalid` naming the file that cannot be read, or what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, ScanError> {
        let failed = |e: std::io::Error| invalid(path, "it cannot be read").source(e);
        let size = std::fs::metadata(path).map_err(failed)?.len();
        if size > MAX_FILE_BYTES {
            return Err(invalid(
                path,
                &format!("{size} bytes are more than {MAX_FILE_BYTES}"),
            ));
        }
        Self::parse(&std::fs::read_to_string(path).map_err(failed)?, path)
    }

    /// The calibration in a set's folder; none where it has none.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn beside(set_dir: &Path) -> Result<Option<Self>, ScanError> {
        let path = set_dir.join(CALIBRATION_FILE);
        path.exists().then(|| Self::read(&path)).transpose()
    }

    fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: f64, low: f64, high: f64| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(format!("{name} is {value}, which is not from {low} to {high}"))
            }
        };
        if self.format != CALIBRATION_FORMAT {
            return Err(format!(
                "its format is {}; this version reads {CALIBRATION_FORMAT}",
                self.format
            ));
        }
        let (grid, errors) = (&self.mask_grid, &self.errors);
        within("points_per_side", grid.points_per_side as f64, 1.0, 128.0)?;
        within("min_predicted_iou", f64::from(grid.min_predicted_iou), 0.0, 1.0)?;
        within("min_stability", f64::from(grid.min_stability), 0.0, 1.0)?;
        within("min_region_px", grid.min_region_px as f64, 0.0, 1e6)?;
        within("relief_sigma", errors.relief_sigma, 0.0, 1.0)?;
        within("shift_sigma", errors.shift_sigma, 0.01, 1.0)?;
        within("outline_sigma", errors.outline_sigma, 0.0, 1.0)?;
        within("table_tilt_sigma_deg", errors.table_tilt_sigma_deg, 0.1, 90.0)?;
        let names = &self.names;
        within("temperature", names.temperature, 0.1, 10.0)?;
        within("novelty_limit", names.novelty_limit.unwrap_or(0.0), 0.0, 1e6)?;
        within("novelty_width", names.novelty_width, 1e-6, 1e6)
    }
}

fn invalid(path: &Path, reason: &str) -> ScanError {
    ScanError::new(ErrorCode::ConfigInvalid, format!("{}: {reason}", path.display())).next_step(
        "write one with `dragunov eval DATASET --calibrate FILE`, or take the file away for defaults",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(text: &str) -> Result<Calibration, ScanError> {
        Calibration::parse(text, Path::new("set/calibration.toml"))
    }

    #[test]
    fn the_bundled_file_is_read_and_defaults_survive_a_round_trip() {
        let bundled = parse(dragunov_models::bundled::calibration()).unwrap();
        assert!(bundled.demonstration && bundled.search.zoom);
        assert_eq!(
            (bundled.errors.relief_sigma, bundled.errors.shift_sigma),
            (0.02, 0.2)
        );
        assert_eq!(bundled.mask_grid.amg().points_per_side, 20);
        let default = Calibration::default();
        assert_eq!(parse(&toml::to_string(&default).unwrap()).unwrap(), default);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let good = dragunov_models::bundled::calibration();
        for (from, to, named) in [
            ("relief_sigma = 0.02", "relief_sigma = -1", "relief_sigma is -1"),
            ("relief_sigma = 0.02", "relief_sigma = nan", "relief_sigma"),
            ("outline_sigma = 0.02", "outline_sigma = \"wide\"", "invalid type"),
            (
                "points_per_side = 20",
                "points_per_side = 9999",
                "points_per_side is 9999",
            ),
            ("zoom = true", "zoooom = true", "zoooom"),
            ("format = 1", "format = 7", "format is 7"),
            ("[errors]", "[errors", ""),
        ] {
            let text = good.replace(from, to);
            assert_ne!(text, good);
            let e = parse(&text).unwrap_err();
            assert_eq!(e.code, ErrorCode::ConfigInvalid);
            assert!(
                e.message.contains("calibration.toml") && e.message.contains(named),
                "{e}"
            );
        }
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Calibration::beside(dir.path()).unwrap(), None);
        std::fs::write(dir.path().join(CALIBRATION_FILE), vec![b'#'; 70_000]).unwrap();
        assert_eq!(
            Calibration::beside(dir.path()).unwrap_err().code,
            ErrorCode::ConfigInvalid
        );
    }
}
