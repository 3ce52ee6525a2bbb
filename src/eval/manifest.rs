//! The data set's manifest: JSON lines, one photo each, paths relative to the manifest's folder.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::amounts::TrueAmounts;
use crate::contract::{DishKind, ReferenceKind};

/// One photo and everything known to be true of it. All pixels are of the upright photo.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    pub id: String,
    pub image: PathBuf,
    pub width: usize,
    pub height: usize,
    /// 0 looks straight down. None where it is not known and must be estimated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pitch_deg: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roll_deg: Option<f64>,
    #[serde(default)]
    pub camera: Camera,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<ReferenceTruth>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dishes: Vec<DishTruth>,
    /// What is neither food nor dish nor table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<MaskRef>,
    pub items: Vec<ItemTruth>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<DepthTruth>,
    /// Amounts of all food on the photo, where they are known of the whole and not of each item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<TrueAmounts>,
    /// Names of what is on the photo, where their places are not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contents: Vec<String>,
    /// Photos with the same word here show one meal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meal: Option<String>,
    /// A code that the scan of this photo must be refused with (side views).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_error: Option<String>,
}

impl Sample {
    /// A photo of this size of which nothing else is known yet.
    pub fn of_photo(id: impl Into<String>, image: impl Into<PathBuf>, [width, height]: [usize; 2]) -> Self {
        Self {
            id: id.into(),
            image: image.into(),
            width,
            height,
            pitch_deg: None,
            roll_deg: None,
            camera: Camera::default(),
            references: Vec::new(),
            dishes: Vec::new(),
            others: Vec::new(),
            items: Vec::new(),
            depth: None,
            totals: None,
            contents: Vec::new(),
            meal: None,
            expect_error: None,
        }
    }

    /// True amounts of all food on the photo: as the set gives them, or the sums over the items.
    pub fn amounts(&self) -> TrueAmounts {
        let items: Vec<TrueAmounts> = self.items.iter().map(ItemTruth::amounts).collect();
        self.totals.unwrap_or_else(|| TrueAmounts::sums(&items))
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Camera {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub focal_px: Option<f64>,
    /// As EXIF gives it, by the diagonal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub f35_mm: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height_cm: Option<f64>,
}

/// Where a mask is: pixels of a label image that have one value, or that are brighter than one, or all that are not zero; or an
/// ellipse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, untagged)]
pub enum MaskRef {
    Pixels {
        file: PathBuf,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<u8>,
        /// For masks kept as JPEG, whose black is not quite black.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        above: Option<u8>,
    },
    Ellipse {
        ellipse: EllipseTruth,
    },
}

impl MaskRef {
    /// The label image, if it is one.
    pub fn file_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::Pixels { file, .. } => Some(file),
            Self::Ellipse { .. } => None,
        }
    }
}

/// Pixels of the photo; the major axis is turned from +x towards +y (down).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EllipseTruth {
    pub cx: f64,
    pub cy: f64,
    /// Full lengths of the axes.
    pub major: f64,
    pub minor: f64,
    pub angle_deg: f64,
}

impl EllipseTruth {
    pub fn holds(&self, x: f64, y: f64) -> bool {
        let (s, c) = self.angle_deg.to_radians().sin_cos();
        let (dx, dy) = (x - self.cx, y - self.cy);
        let (u, v) = (
            (dx * c + dy * s) / (0.5 * self.major),
            (dy * c - dx * s) / (0.5 * self.minor),
        );
        u * u + v * v <= 1.0
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemTruth {
    pub label: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_cm3: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mass_g: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kcal: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protein_g: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carbs_g: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fat_g: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<MaskRef>,
    /// Where there is no mask.
    #[serde(default, rename = "box", skip_serializing_if = "Option::is_none")]
    pub bbox: Option<[f64; 4]>,
    /// What it lies in; `bowl` items are reported apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dish: Option<Support>,
    /// Physical thing that several photos may show; figures can be averaged over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
}

impl ItemTruth {
    pub fn amounts(&self) -> TrueAmounts {
        TrueAmounts {
            volume_cm3: self.volume_cm3,
            mass_g: self.mass_g,
            kcal: self.kcal,
            protein_g: self.protein_g,
            carbs_g: self.carbs_g,
            fat_g: self.fat_g,
        }
    }
}

/// What an item stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Support {
    Table,
    #[serde(untagged)]
    Dish(DishKind),
}

impl Support {
    pub fn dish(self) -> Option<DishKind> {
        match self {
            Self::Dish(kind) => Some(kind),
            Self::Table => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DishTruth {
    pub kind: Support,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diameter_cm: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<MaskRef>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceTruth {
    pub kind: ReferenceKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diameter_cm: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<MaskRef>,
}

/// 16-bit PNG of distances along the optical axis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DepthTruth {
    pub file: PathBuf,
    /// Metres per count; count 0 is unknown.
    pub unit_m: f64,
}

/// Why a data set cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("cannot read {path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}, line {line}: {source}")]
    Json {
        path: PathBuf,
        line: usize,
        source: serde_json::Error,
    },
    #[error("{path}: {source}")]
    Image {
        path: PathBuf,
        source: image::ImageError,
    },
    #[error("{path}: {reason}")]
    Content { path: PathBuf, reason: String },
    #[error("{path}, line {line}: {reason}")]
    Line {
        path: PathBuf,
        line: usize,
        reason: String,
    },
}

impl DataError {
    pub(crate) fn content(path: &Path, reason: impl Into<String>) -> Self {
        Self::Content {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn line(path: &Path, line: usize, reason: impl Into<String>) -> Self {
        Self::Line {
            path: path.to_owned(),
            line,
            reason: reason.into(),
        }
    }
}

/// A manifest and the folder that its paths start from.
#[derive(Debug, Clone)]
pub struct Dataset {
    pub root: PathBuf,
    pub samples: Vec<Sample>,
}

pub const MANIFEST: &str = "manifest.jsonl";

impl Dataset {
    /// Reads `manifest.jsonl` of a folder, or the file itself.
    ///
    /// # Errors
    /// [`DataError`] naming file and line.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let file = if path.is_dir() {
            path.join(MANIFEST)
        } else {
            path.to_owned()
        };
        let text = std::fs::read_to_string(&file).map_err(|source| DataError::Io {
            path: file.clone(),
            source,
        })?;
        let samples = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(i, line)| {
                serde_json::from_str(line).map_err(|source| DataError::Json {
                    path: file.clone(),
                    line: i + 1,
                    source,
                })
            })
            .collect::<Result<_, _>>()?;
        let root = file.parent().unwrap_or(Path::new(".")).to_owned();
        Ok(Self { root, samples })
    }

    /// Writes `manifest.jsonl` into a folder.
    ///
    /// # Errors
    /// [`DataError::Io`].
    pub fn write(samples: &[Sample], folder: &Path) -> Result<(), DataError> {
        let file = folder.join(MANIFEST);
        let mut text = String::new();
        for (i, sample) in samples.iter().enumerate() {
            text += &serde_json::to_string(sample).map_err(|source| DataError::Json {
                path: file.clone(),
                line: i + 1,
                source,
            })?;
            text.push('\n');
        }
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&file, text))
            .map_err(|source| DataError::Io { path: file, source })
    }
}
