//! From published layouts to the manifest.

mod csv;
mod ecustfd;
mod january;
mod metafood3d;
mod nutrition5k;
mod photo;
mod plates;
mod python_literal;
mod table;
mod workbook;

use std::path::{Path, PathBuf};

pub use ecustfd::ecustfd;
pub use plates::plates;

use super::manifest::{DataError, Dataset, MaskRef, Sample};

/// Layouts that are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Layout {
    /// Folders `scene_*` with `scene.json`, masks and depth.
    Plates,
    /// ECUSTFD: `photos.csv` with `photos/` and masks.
    Ecustfd,
    /// Nutrition5k: `metadata/dish_metadata_cafe*.csv` and `imagery/realsense_overhead/`.
    #[value(name = "nutrition5k")]
    Nutrition5k,
    /// Nutrition5k: the same metadata and frames of `imagery/side_angles/`, one of each camera.
    #[value(name = "nutrition5k-side")]
    Nutrition5kSide,
    /// January AI's food-scan benchmark: `food_scan_bench_v1.csv` and `fsb_images/`.
    January,
    /// MetaFood3D: the nutrition workbook and `RGBD_videos/`.
    #[value(name = "metafood3d")]
    MetaFood3d,
    /// A CSV file with the columns photo, grams, kcal and others (docs/evaluation.md).
    Csv,
}

/// What a data set holds, with paths from its own folder.
#[derive(Debug, Clone, Default)]
pub struct Converted {
    pub samples: Vec<Sample>,
    /// What the set lists but does not hold, by the reason.
    pub left_out: Vec<(String, usize)>,
}

impl Converted {
    fn all(samples: Vec<Sample>) -> Self {
        Self {
            samples,
            left_out: Vec::new(),
        }
    }
}

/// Reads the data set at `dataset`, a folder or, for a CSV file, that file, and writes its manifest into `out`, by default the
/// set's own folder. Returns what it holds and where the manifest's folder is.
///
/// # Errors
/// [`DataError`] naming the file and, in a list, the line.
pub fn convert(
    layout: Layout,
    dataset: &Path,
    out: Option<&Path>,
) -> Result<(Converted, PathBuf), DataError> {
    let mut converted = match layout {
        Layout::Plates => Converted::all(plates(dataset)?),
        Layout::Ecustfd => Converted::all(ecustfd(dataset)?),
        Layout::Nutrition5k => nutrition5k::overhead(dataset)?,
        Layout::Nutrition5kSide => nutrition5k::side_angles(dataset)?,
        Layout::January => january::january(dataset)?,
        Layout::MetaFood3d => metafood3d::metafood3d(dataset)?,
        Layout::Csv => Converted::all(csv::csv(dataset)?),
    };
    let folder = if layout == Layout::Csv && !dataset.is_dir() {
        match dataset.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        }
    } else {
        dataset
    };
    let out = out.unwrap_or(folder);
    converted.samples = relocate(converted.samples, folder, out)?;
    Dataset::write(&converted.samples, out)?;
    Ok((converted, out.to_owned()))
}

/// Paths that start from `dataset` made to start from `out`.
///
/// # Errors
/// If the data set's folder has no absolute path.
pub fn relocate(mut samples: Vec<Sample>, dataset: &Path, out: &Path) -> Result<Vec<Sample>, DataError> {
    if dataset == out {
        return Ok(samples);
    }
    let base = std::path::absolute(dataset).map_err(|source| DataError::Io {
        path: dataset.to_owned(),
        source,
    })?;
    let fix = |path: &mut PathBuf| *path = base.join(&*path);
    for sample in &mut samples {
        fix(&mut sample.image);
        for item in &mut sample.items {
            item.mask.iter_mut().filter_map(MaskRef::file_mut).for_each(&fix);
        }
        for dish in &mut sample.dishes {
            dish.mask.iter_mut().filter_map(MaskRef::file_mut).for_each(&fix);
        }
        for reference in &mut sample.references {
            reference
                .mask
                .iter_mut()
                .filter_map(MaskRef::file_mut)
                .for_each(&fix);
        }
        sample
            .others
            .iter_mut()
            .filter_map(MaskRef::file_mut)
            .for_each(&fix);
        sample.depth.iter_mut().for_each(|d| fix(&mut d.file));
    }
    Ok(samples)
}
