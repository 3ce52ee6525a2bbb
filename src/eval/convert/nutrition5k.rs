//! Nutrition5k (Thames et al. 2021, arXiv 2103.03375), as its README describes the published folders
//! (github.com/google-research-datasets/Nutrition5k):
//!
//! * `metadata/dish_metadata_cafe1.csv` and `..._cafe2.csv`, without a head: dish id, kcal, grams, fat, carbs, protein, then for each
//!   ingredient its id (`ingr_...`), name, grams, kcal, fat, carbs, protein. The README also names a count of ingredients before
//!   the first of them, which the published files lack; both are read.
//! * `imagery/realsense_overhead/<dish>/rgb.png` with `depth_raw.png` in tenths of a millimetre, straight from above, where there is one.
//! * `imagery/side_angles/<dish>/frames*/camera_A_frame_001.jpeg` and so on, once `extract_frames_sampled.sh` has made them of the
//!   videos. The cameras stand at 30 and 60 degrees by turns; which of them does which is not published, so no pitch is told.
//!
//! Ingredients have no places: they are names that an answer may give, and their amounts count as sums.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::amounts::TrueAmounts;
use super::super::manifest::{Camera, DataError, DepthTruth, Sample};
use super::{Converted, photo, table};

const METADATA: [&str; 2] = [
    "metadata/dish_metadata_cafe1.csv",
    "metadata/dish_metadata_cafe2.csv",
];
const OVERHEAD: &str = "imagery/realsense_overhead";
const SIDE_ANGLES: &str = "imagery/side_angles";
/// "1 meter = 10,000 units".
const DEPTH_UNIT_M: f64 = 1e-4;
/// From the overhead camera to the table, by the paper (arXiv 2103.03375).
const OVERHEAD_HEIGHT_CM: f64 = 35.9;
const INGREDIENT: &str = "ingr_";

/// What is known of a dish.
struct Dish {
    amounts: TrueAmounts,
    ingredients: Vec<String>,
}

/// One sample for each dish that was photographed from above, by its id.
///
/// # Errors
/// [`DataError`] naming file and line, or what is missing.
pub(super) fn overhead(root: &Path) -> Result<Converted, DataError> {
    let mut out = Converted::default();
    let mut without = 0;
    for (id, dish) in dishes(root)? {
        let folder = PathBuf::from(OVERHEAD).join(&id);
        let (image, depth) = (folder.join("rgb.png"), folder.join("depth_raw.png"));
        if !root.join(&image).is_file() {
            without += 1;
            continue;
        }
        let size = photo::size(&root.join(&image))?;
        let sample = Sample {
            pitch_deg: Some(0.0),
            camera: Camera {
                height_cm: Some(OVERHEAD_HEIGHT_CM),
                ..Camera::default()
            },
            depth: root.join(&depth).is_file().then_some(DepthTruth {
                file: depth,
                unit_m: DEPTH_UNIT_M,
            }),
            ..Sample::of_photo(id, image, size)
        };
        out.samples.push(dish.on(sample));
    }
    finished(
        out,
        without,
        &root.join(OVERHEAD),
        "no <dish>/rgb.png of a listed dish",
    )
}

/// One frame of each camera of each dish, the one in the middle of its sweep; the dish's id is the meal.
///
/// # Errors
/// As [`overhead`].
pub(super) fn side_angles(root: &Path) -> Result<Converted, DataError> {
    let mut out = Converted::default();
    let mut without = 0;
    for (id, dish) in dishes(root)? {
        let frames = middle_frames(&root.join(SIDE_ANGLES).join(&id))?;
        without += usize::from(frames.is_empty());
        for path in frames {
            let size = photo::size(&path)?;
            let image = path.strip_prefix(root).unwrap_or(&path);
            let frame = path.file_stem().unwrap_or_default().to_string_lossy();
            let sample = Sample {
                meal: Some(id.clone()),
                ..Sample::of_photo(format!("{id}/{frame}"), image, size)
            };
            out.samples.push(dish.on(sample));
        }
    }
    finished(
        out,
        without,
        &root.join(SIDE_ANGLES),
        "no frames of a listed dish; make them of the videos with the set's own scripts/extract_frames_sampled.sh 5",
    )
}

fn finished(
    mut out: Converted,
    without: usize,
    folder: &Path,
    missing: &str,
) -> Result<Converted, DataError> {
    if out.samples.is_empty() {
        return Err(DataError::content(folder, missing));
    }
    if without > 0 {
        out.left_out
            .push(("dishes without such pictures".into(), without));
    }
    Ok(out)
}

impl Dish {
    fn on(&self, sample: Sample) -> Sample {
        Sample {
            totals: Some(self.amounts),
            contents: self.ingredients.clone(),
            ..sample
        }
    }
}

/// The dishes of both cafeterias; one list may be missing, not both.
fn dishes(root: &Path) -> Result<BTreeMap<String, Dish>, DataError> {
    let lists: Vec<PathBuf> = METADATA
        .iter()
        .map(|m| root.join(m))
        .filter(|p| p.is_file())
        .collect();
    if lists.is_empty() {
        return Err(DataError::content(
            &root.join(METADATA[0]),
            "it is missing; name the folder that holds `metadata` and `imagery`",
        ));
    }
    let mut out = BTreeMap::new();
    for path in lists {
        for record in table::records(&path)? {
            let cells: Vec<&str> = record.fields.iter().map(|f| f.trim()).collect();
            let wrong = |reason: String| DataError::line(&path, record.line, reason);
            let [id, kcal, grams, fat, carbs, protein] = cells
                .first_chunk::<6>()
                .copied()
                .ok_or_else(|| wrong(format!("{} cells are too few for a dish", cells.len())))?;
            if !id.starts_with("dish_") || id.contains(['/', '\\']) {
                return Err(wrong(format!("{id:?} is no dish's id")));
            }
            let amount = |what: &str, text: &str| {
                table::number(text)
                    .filter(|v| *v >= 0.0)
                    .map(Some)
                    .ok_or_else(|| wrong(format!("{what} is no amount: {text:?}")))
            };
            let dish = Dish {
                amounts: TrueAmounts {
                    volume_cm3: None,
                    kcal: amount("kcal", kcal)?,
                    mass_g: amount("mass", grams)?,
                    fat_g: amount("fat", fat)?,
                    carbs_g: amount("carbs", carbs)?,
                    protein_g: amount("protein", protein)?,
                },
                ingredients: ingredients(&cells[6..]).map_err(wrong)?,
            };
            if out.insert(id.to_owned(), dish).is_some() {
                return Err(wrong(format!("{id} was listed before")));
            }
        }
    }
    Ok(out)
}

/// Names of ingredients, each behind its id and before five numbers.
fn ingredients(cells: &[&str]) -> Result<Vec<String>, String> {
    let start = cells
        .iter()
        .position(|c| c.starts_with(INGREDIENT))
        .unwrap_or(cells.len());
    if start > 1 {
        return Err(format!("{:?} is no ingredient's id", cells[1]));
    }
    let parts = cells[start..].chunks(7);
    parts
        .map(|part| match part {
            [id, name, numbers @ ..] if id.starts_with(INGREDIENT) && numbers.len() == 5 => {
                Ok((*name).to_lowercase())
            }
            [id, ..] if id.starts_with(INGREDIENT) => Err(format!("{id} lacks some of its seven cells")),
            _ => Err(format!("{:?} is no ingredient's id", part.first().unwrap_or(&""))),
        })
        .collect()
}

/// The middle frame of each camera A to D, wherever below the dish's folder its frames are.
fn middle_frames(dish: &Path) -> Result<Vec<PathBuf>, DataError> {
    let Ok(entries) = std::fs::read_dir(dish) else {
        return Ok(Vec::new());
    };
    let mut folders: Vec<PathBuf> = entries
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| {
            p.file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with("frames"))
        })
        .collect();
    folders.sort();
    let Some(folder) = folders.first() else {
        return Ok(Vec::new());
    };
    let names = std::fs::read_dir(folder).map_err(|source| DataError::Io {
        path: folder.clone(),
        source,
    })?;
    let mut cameras: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in names.filter_map(|e| Some(e.ok()?.path())) {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if let Some((camera, _)) = name.strip_prefix("camera_").and_then(|n| n.split_once("_frame_")) {
            cameras.entry(camera.to_owned()).or_default().push(path);
        }
    }
    Ok(cameras
        .into_values()
        .map(|mut frames| {
            frames.sort();
            frames.swap_remove(frames.len() / 2)
        })
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::photo::tests::picture;
    use super::*;

    const RICE: &str = "ingr_0000000036,white rice,100.0,130.0,0.3,28.0,2.7";

    fn set(cafe1: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(METADATA[0]);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, cafe1).unwrap();
        picture(&dir.path().join(OVERHEAD).join("dish_1/rgb.png"), 64, 48);
        picture(&dir.path().join(OVERHEAD).join("dish_1/depth_raw.png"), 64, 48);
        for camera in ["A", "C"] {
            for frame in 1..=3 {
                let name = format!("dish_1/frames_sampled5/camera_{camera}_frame_00{frame}.jpeg");
                picture(&dir.path().join(SIDE_ANGLES).join(name), 32, 24);
            }
        }
        dir
    }

    #[test]
    fn a_dish_from_above_is_its_picture_its_depth_and_its_sums() {
        let dir = set(&format!(
            "dish_1,195.5,150.0,0.5,42.0,4.1,{RICE}\ndish_2,9,9,9,9,9\n"
        ));
        let found = overhead(dir.path()).unwrap();
        assert_eq!(found.left_out, [("dishes without such pictures".to_owned(), 1)]);
        let [sample] = &found.samples[..] else { panic!() };
        assert_eq!(
            (sample.id.as_str(), sample.width, sample.pitch_deg),
            ("dish_1", 64, Some(0.0))
        );
        assert_eq!(sample.contents, ["white rice"]);
        let totals = sample.totals.unwrap();
        assert_eq!(
            (totals.kcal, totals.mass_g, totals.fat_g),
            (Some(195.5), Some(150.0), Some(0.5))
        );
        assert_eq!((totals.carbs_g, totals.protein_g), (Some(42.0), Some(4.1)));
        assert_eq!(sample.depth.as_ref().unwrap().unit_m, 1e-4);
    }

    #[test]
    fn side_views_are_one_frame_a_camera_of_one_meal() {
        // With the count of ingredients that the README names.
        let dir = set(&format!("dish_1,195.5,150.0,0.5,42.0,4.1,1,{RICE}\n"));
        let found = side_angles(dir.path()).unwrap();
        let ids: Vec<&str> = found.samples.iter().map(|s| s.id.as_str()).collect();
        assert_eq!(ids, ["dish_1/camera_A_frame_002", "dish_1/camera_C_frame_002"]);
        assert!(
            found
                .samples
                .iter()
                .all(|s| s.meal.as_deref() == Some("dish_1") && s.pitch_deg.is_none())
        );
        assert!(dir.path().join(&found.samples[0].image).is_file());
        assert_eq!(found.samples[0].contents, ["white rice"]);
    }

    #[test]
    fn what_is_wrong_is_told_with_file_and_line() {
        for (text, what) in [
            ("dish_1,1,2,3,4,5\ndish_2,1,2\n", "line 2: 3 cells are too few"),
            ("dish_1,1,x,3,4,5\n", "line 1: mass is no amount: \"x\""),
            ("dish_1,1,2,3,4,-5\n", "line 1: protein is no amount"),
            ("1,1,2,3,4,5\n", "line 1: \"1\" is no dish's id"),
            ("dish_1,1,2,3,4,5,ingr_1,rice,1,1\n", "line 1: ingr_1 lacks some"),
            (
                "dish_1,1,2,3,4,5,1,2,ingr_1,rice,1,1,1,1,1\n",
                "line 1: \"2\" is no ingredient's id",
            ),
            (
                "dish_1,1,2,3,4,5\ndish_1,1,2,3,4,5\n",
                "line 2: dish_1 was listed before",
            ),
        ] {
            let error = overhead(set(text).path()).unwrap_err().to_string();
            assert!(
                error.contains("dish_metadata_cafe1.csv, line ") && error.contains(what),
                "{error}"
            );
        }
        let empty = tempfile::tempdir().unwrap();
        assert!(
            overhead(empty.path())
                .unwrap_err()
                .to_string()
                .contains("metadata")
        );
        let other = set("dish_7,1,2,3,4,5\n");
        let error = side_angles(other.path()).unwrap_err().to_string();
        assert!(error.contains("extract_frames_sampled.sh"), "{error}");
    }
}
