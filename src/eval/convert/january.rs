//! January AI's food-scan benchmark (arXiv 2508.09966), as its own loader reads it
//! (github.com/January-ai/food-scan-benchmarks, `food_scan_bench/dataset/foodscan_dataset.py`): `food_scan_bench_v1.csv` with
//! `image_id`, `image_filename`, `meal_name`, `ingredients_list` (a list that Python printed), `total_calories`, `total_carbs`,
//! `total_protein` and `total_fat`, and the photos in `fsb_images/`. Amounts are estimates of experts; nothing was weighed.

use std::path::{Path, PathBuf};

use super::super::amounts::TrueAmounts;
use super::super::manifest::{DataError, Sample};
use super::table::Table;
use super::{Converted, photo, python_literal};

/// What the archive unpacks to.
const FOLDER: &str = "food-scan-benchmark-dataset";
const LIST: &str = "food_scan_bench_v1.csv";
const IMAGES: &str = "fsb_images";
const COLUMNS: [&str; 8] = [
    "image_id",
    "image_filename",
    "meal_name",
    "ingredients_list",
    "total_calories",
    "total_carbs",
    "total_protein",
    "total_fat",
];

/// One sample a line of the list, which lies in `root` or in the archive's folder below it.
///
/// # Errors
/// [`DataError`] naming file and line.
pub(super) fn january(root: &Path) -> Result<Converted, DataError> {
    let below = if root.join(LIST).is_file() || !root.join(FOLDER).is_dir() {
        PathBuf::new()
    } else {
        PathBuf::from(FOLDER)
    };
    let table = Table::read(&root.join(&below).join(LIST), &COLUMNS)?;
    let mut out = Converted::default();
    let mut unread = 0;
    for row in table.rows() {
        let (id, name) = (row.text("image_id")?, row.text("image_filename")?);
        if id.is_empty() || name.is_empty() || name.contains(['/', '\\']) {
            return Err(row.error(format!("image_id {id:?} or image_filename {name:?} is none")));
        }
        let image = below.join(IMAGES).join(name);
        let size = photo::size(&root.join(&image)).map_err(|e| row.error(e.to_string()))?;
        let ingredients = python_literal::names(row.text("ingredients_list")?);
        // The benchmark's own loader goes on without ingredients that it cannot read.
        unread += usize::from(ingredients.is_none());
        let meal = row.text("meal_name")?.to_lowercase();
        let contents =
            std::iter::once(meal).chain(ingredients.into_iter().flatten().map(|i| i.to_lowercase()));
        out.samples.push(Sample {
            contents: contents.filter(|c| !c.is_empty()).collect(),
            totals: Some(TrueAmounts {
                volume_cm3: None,
                mass_g: None,
                kcal: row.amount("total_calories")?,
                protein_g: row.amount("total_protein")?,
                carbs_g: row.amount("total_carbs")?,
                fat_g: row.amount("total_fat")?,
            }),
            ..Sample::of_photo(id, image, size)
        });
    }
    if unread > 0 {
        out.left_out
            .push(("lists of ingredients that cannot be read".into(), unread));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::photo::tests::picture;
    use super::*;

    const HEAD: &str = "image_id,image_filename,meal_name,ingredients_list,ingredient_names,num_ingredients,total_calories,total_carbs,total_protein,total_fat\n";

    fn set(folder: &str, rows: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join(folder);
        picture(&root.join(IMAGES).join("fsb_00000.jpg"), 48, 64);
        std::fs::write(root.join(LIST), format!("{HEAD}{rows}")).unwrap();
        dir
    }

    #[test]
    fn a_meal_is_its_photo_its_names_and_its_macros() {
        let row = "0,fsb_00000.jpg,Chicken Bowl,\"[{'name': 'Rice', 'calories': 200}, {'name': 'Chicken', 'calories': 180}]\",,2,380,45,30.5,8\n";
        for folder in ["", FOLDER] {
            let dir = set(folder, row);
            let found = january(dir.path()).unwrap();
            let [sample] = &found.samples[..] else { panic!() };
            assert_eq!((sample.width, sample.height), (48, 64));
            assert_eq!(sample.contents, ["chicken bowl", "rice", "chicken"]);
            let totals = sample.totals.unwrap();
            assert_eq!(
                (totals.kcal, totals.carbs_g, totals.mass_g),
                (Some(380.0), Some(45.0), None)
            );
            assert_eq!((totals.protein_g, totals.fat_g), (Some(30.5), Some(8.0)));
            assert!(found.left_out.is_empty() && dir.path().join(&sample.image).is_file());
        }
        let found = january(set("", "0,fsb_00000.jpg,Soup,nan,,0,80,9,2,4\n").path()).unwrap();
        assert_eq!(found.samples[0].contents, ["soup"]);
        assert_eq!(found.left_out[0].1, 1);
    }

    #[test]
    fn what_is_wrong_is_told_with_file_and_line() {
        for (rows, what) in [
            (
                "0,fsb_00000.jpg,Soup,[],,0,much,9,2,4\n",
                "line 2: total_calories is no number",
            ),
            (
                "0,fsb_00000.jpg,Soup,[],,0,80,9,2,4\n1,no.jpg,Soup,[],,0,80,9,2,4\n",
                "line 3: cannot read",
            ),
            ("0,../fsb_00000.jpg,Soup,[],,0,80,9,2,4\n", "line 2: image_id"),
            ("0,fsb_00000.jpg,Soup\n", "line 2: it has no cell for"),
        ] {
            let error = january(set("", rows).path()).unwrap_err().to_string();
            assert!(
                error.contains("food_scan_bench_v1.csv, line ") && error.contains(what),
                "{error}"
            );
        }
        let empty = tempfile::tempdir().unwrap();
        assert!(january(empty.path()).unwrap_err().to_string().contains(LIST));
    }
}
