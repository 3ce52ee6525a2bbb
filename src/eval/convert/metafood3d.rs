//! MetaFood3D (Chen et al. 2024, arXiv 2409.01966), as it is published at lorenz.ecn.purdue.edu/~food3d: a workbook
//! `_MetaFood3D_new_complete_dataset_nutrition_v2.xlsx` with the columns `Object_name` (the category's folder), `Food_Type` (the
//! object's folder), `FNDDS Food Code`, `Weight (g)`, `Energy (Kcal)`, `Protein (g)`, `Fat (g)`, `Carbs (g)` and `Volume` (cm3), and
//! `RGBD_videos/<category>/<object>/original/<frame>.jpg` with `masks/<frame>.jpg` or `.png`. The set is given out on request: its
//! layout was read off public code that loads it, not off the files.

use std::path::{Path, PathBuf};

use super::super::manifest::{DataError, ItemTruth, MaskRef, Sample, Support};
use super::{Converted, photo, table, workbook};
use crate::contract::DishKind;

const VIDEOS: &str = "RGBD_videos";
const COLUMNS: [&str; 9] = [
    "Object_name",
    "Food_Type",
    "FNDDS Food Code",
    "Weight (g)",
    "Energy (Kcal)",
    "Protein (g)",
    "Fat (g)",
    "Carbs (g)",
    "Volume",
];
/// Masks are published as JPEG, whose black is not quite black.
const MASK_LEVEL: u8 = 127;

/// One frame of each object, the one in the middle of its video.
///
/// # Errors
/// [`DataError`] naming the file and the workbook's line, or what is missing.
pub(super) fn metafood3d(root: &Path) -> Result<Converted, DataError> {
    let book = book(root)?;
    let videos = videos(root)?;
    let mut rows = workbook::rows(&book)?.into_iter();
    let (line, head) = rows
        .next()
        .ok_or_else(|| DataError::line(&book, 1, "the sheet is empty"))?;
    if head != COLUMNS {
        let message = format!("the columns are {head:?}, not {COLUMNS:?}");
        return Err(DataError::line(&book, line, message));
    }
    let mut out = Converted::default();
    let mut without = 0;
    for (line, cells) in rows {
        let wrong = |reason: String| DataError::line(&book, line, reason);
        let cell = |i: usize| cells.get(i).map_or("", String::as_str);
        let (category, object) = (cell(0), cell(1));
        if [category, object]
            .iter()
            .any(|n| n.is_empty() || n.contains(['/', '\\']) || *n == "..")
        {
            return Err(wrong(format!("{category:?} / {object:?} names no object")));
        }
        let amount = |i: usize| match cell(i) {
            "" => Ok(None),
            text => table::number(text)
                .filter(|v| *v >= 0.0)
                .map(Some)
                .ok_or_else(|| wrong(format!("{} is no amount: {text:?}", COLUMNS[i]))),
        };
        let item = ItemTruth {
            label: label(category),
            mass_g: amount(3)?,
            kcal: amount(4)?,
            protein_g: amount(5)?,
            fat_g: amount(6)?,
            carbs_g: amount(7)?,
            volume_cm3: amount(8)?,
            dish: category
                .to_lowercase()
                .contains("(bowl)")
                .then_some(Support::Dish(DishKind::Bowl)),
            object: Some(format!("{category}/{object}")),
            ..ItemTruth::default()
        };
        let folder = videos.join(category).join(object);
        let Some(frame) = middle_frame(&root.join(&folder).join("original")) else {
            without += 1;
            continue;
        };
        out.samples.push(sample(root, &folder, &frame, item)?);
    }
    if out.samples.is_empty() {
        return Err(DataError::content(
            &root.join(videos),
            "no <category>/<object>/original of an object that the workbook lists",
        ));
    }
    if without > 0 {
        out.left_out
            .push(("objects of the workbook without frames".into(), without));
    }
    Ok(out)
}

fn sample(root: &Path, folder: &Path, frame: &str, item: ItemTruth) -> Result<Sample, DataError> {
    let image = folder.join("original").join(frame);
    let size = photo::size(&root.join(&image))?;
    let masks = root.join(folder).join("masks");
    let stem = Path::new(frame).file_stem().unwrap_or_default().to_string_lossy();
    let mask = ["jpg", "png"]
        .map(|extension| format!("{stem}.{extension}"))
        .into_iter()
        .find(|name| masks.join(name).is_file());
    let id = item.object.clone().unwrap_or_default();
    // Without its mask an object has no place: then it is what the whole photo shows.
    let sample = Sample::of_photo(id, image, size);
    Ok(match mask {
        Some(name) => Sample {
            items: vec![ItemTruth {
                mask: Some(MaskRef::Pixels {
                    file: folder.join("masks").join(name),
                    value: None,
                    above: Some(MASK_LEVEL),
                }),
                ..item
            }],
            ..sample
        },
        None => Sample {
            totals: Some(item.amounts()),
            contents: vec![item.label],
            ..sample
        },
    })
}

/// The workbook of nutrition, whatever its version is called.
fn book(root: &Path) -> Result<PathBuf, DataError> {
    let entries = std::fs::read_dir(root).map_err(|source| DataError::Io {
        path: root.to_owned(),
        source,
    })?;
    let mut books: Vec<PathBuf> = entries
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| {
            let name = p.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
            name.contains("nutrition") && name.ends_with(".xlsx") && !name.starts_with('~')
        })
        .collect();
    books.sort();
    books
        .pop()
        .ok_or_else(|| DataError::content(root, "no *nutrition*.xlsx; put the workbook beside RGBD_videos"))
}

/// `RGBD_videos`, in `root` or in the folder that its archive unpacks to.
fn videos(root: &Path) -> Result<PathBuf, DataError> {
    [VIDEOS.to_owned(), format!("_MetaFood3D_new_{VIDEOS}/{VIDEOS}")]
        .into_iter()
        .map(PathBuf::from)
        .find(|p| root.join(p).is_dir())
        .ok_or_else(|| DataError::content(root, format!("no folder {VIDEOS}")))
}

/// By the frames' numbers.
fn middle_frame(folder: &Path) -> Option<String> {
    let entries = std::fs::read_dir(folder).ok()?;
    let mut names: Vec<(u64, String)> = entries
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .filter(|n| n.ends_with(".jpg") || n.ends_with(".png"))
        .map(|name| {
            let digits: String = name.chars().filter(char::is_ascii_digit).collect();
            (digits.parse().unwrap_or(0), name)
        })
        .collect();
    names.sort();
    let middle = names.len() / 2;
    (!names.is_empty()).then(|| names.swap_remove(middle).1)
}

/// "Yeast_bread" is yeast bread, "Almond(bowl)" almond.
fn label(category: &str) -> String {
    let bare = category.split('(').next().unwrap_or(category);
    bare.replace('_', " ").trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::photo::tests::picture;
    use super::super::workbook::tests::workbook;
    use super::*;

    fn set(folder: &str, rows: &[&[&str]]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        workbook(
            &dir.path()
                .join("_MetaFood3D_new_complete_dataset_nutrition_v2.xlsx"),
            rows,
        );
        let almonds = dir.path().join(folder).join("Almond(bowl)/almond_1");
        for frame in ["9", "10", "11"] {
            picture(&almonds.join("original").join(format!("{frame}.jpg")), 64, 48);
            picture(&almonds.join("masks").join(format!("{frame}.jpg")), 64, 48);
        }
        picture(
            &dir.path()
                .join(folder)
                .join("Yeast_bread/yeast_bread_2/original/3.png"),
            40,
            40,
        );
        dir
    }

    const ALMOND: [&str; 9] = [
        "Almond(bowl)",
        "almond_1",
        "42100100",
        "53.2",
        "308",
        "11.3",
        "26.5",
        "11.5",
        "96.4",
    ];
    const BREAD: [&str; 9] = [
        "Yeast_bread",
        "yeast_bread_2",
        "51101000",
        "42",
        "112",
        "",
        "1.5",
        "21",
        "130",
    ];
    const GONE: [&str; 9] = [
        "Apple", "apple_9", "63101000", "150", "78", "0.4", "0.3", "20", "180",
    ];

    #[test]
    fn an_object_is_its_middle_frame_its_mask_and_its_row() {
        for folder in [VIDEOS, "_MetaFood3D_new_RGBD_videos/RGBD_videos"] {
            let dir = set(folder, &[&COLUMNS, &ALMOND, &BREAD, &GONE]);
            let found = metafood3d(dir.path()).unwrap();
            assert_eq!(found.left_out[0].1, 1);
            let [almond, bread] = &found.samples[..] else {
                panic!()
            };
            assert!(
                almond.image.ends_with("original/10.jpg"),
                "by number, not by letter"
            );
            let item = &almond.items[0];
            assert_eq!(
                (item.label.as_str(), item.dish),
                ("almond", Some(Support::Dish(DishKind::Bowl)))
            );
            assert_eq!(
                (item.mass_g, item.kcal, item.volume_cm3),
                (Some(53.2), Some(308.0), Some(96.4))
            );
            let Some(MaskRef::Pixels { file, above, .. }) = &item.mask else {
                panic!()
            };
            assert!(dir.path().join(file).is_file() && *above == Some(127));
            // No mask was published with it.
            assert_eq!(
                (bread.contents.as_slice(), bread.items.len()),
                (&["yeast bread".to_owned()][..], 0)
            );
            let totals = bread.totals.unwrap();
            assert_eq!(
                (totals.mass_g, totals.protein_g, totals.fat_g),
                (Some(42.0), None, Some(1.5))
            );
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_file_and_line() {
        let spoilt = |i: usize, text: &'static str| {
            let mut row = ALMOND;
            row[i] = text;
            row
        };
        let error = |rows: &[&[&str]]| metafood3d(set(VIDEOS, rows).path()).unwrap_err().to_string();
        for (row, what) in [
            (spoilt(3, "heavy"), "line 2: Weight (g) is no amount"),
            (spoilt(8, "-4"), "line 2: Volume is no amount"),
            (spoilt(1, "../x"), "line 2: \"Almond(bowl)\""),
        ] {
            let text = error(&[&COLUMNS, &row]);
            assert!(
                text.contains("nutrition_v2.xlsx, ") && text.contains(what),
                "{text}"
            );
        }
        assert!(error(&[&["Name", "g"]]).contains("line 1: the columns are"));
        assert!(error(&[&COLUMNS, &GONE]).contains("RGBD_videos"));
        let empty = tempfile::tempdir().unwrap();
        assert!(
            metafood3d(empty.path())
                .unwrap_err()
                .to_string()
                .contains(".xlsx")
        );
    }
}
