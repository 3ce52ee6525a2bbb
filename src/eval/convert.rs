//! From published layouts to the manifest.

mod ecustfd;
mod plates;

use std::path::{Path, PathBuf};

pub use ecustfd::ecustfd;
pub use plates::plates;

use super::manifest::{DataError, MaskRef, Sample};

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
