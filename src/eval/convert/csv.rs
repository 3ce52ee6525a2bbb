//! A plain list of photos and what they show, as anyone keeps it who weighs a meal.
//!
//! One line a photo and food: `photo` (a path from the list's folder) and any of `label`, `grams`, `kcal`, `protein_g`, `carbs_g`,
//! `fat_g`; and of the photo `pitch_deg`, `plate_cm`, `coin_cm`. Several lines of one photo are several foods on it.

use std::path::Path;

use super::super::amounts::TrueAmounts;
use super::super::manifest::{DataError, DishTruth, ReferenceTruth, Sample, Support};
use super::photo;
use super::table::{Row, Table};
use crate::contract::{DishKind, ReferenceKind};

const COLUMNS: [&str; 10] = [
    "photo",
    "label",
    "grams",
    "kcal",
    "protein_g",
    "carbs_g",
    "fat_g",
    "pitch_deg",
    "plate_cm",
    "coin_cm",
];

/// The photos of a list, in its order.
///
/// # Errors
/// [`DataError`] naming the file and line.
pub(super) fn csv(path: &Path) -> Result<Vec<Sample>, DataError> {
    let table = Table::read(path, &["photo"])?;
    if let Some(strange) = table.columns().iter().find(|c| !COLUMNS.contains(&c.as_str())) {
        let known = COLUMNS.join(", ");
        return Err(DataError::line(
            path,
            1,
            format!("column {strange:?} is none of {known}"),
        ));
    }
    let root = path.parent().unwrap_or(Path::new(""));
    let mut found: Vec<(Sample, Vec<TrueAmounts>)> = Vec::new();
    for row in table.rows() {
        let name = row.text("photo")?;
        if name.is_empty() {
            return Err(row.error("photo is empty"));
        }
        let at = match found.iter().position(|(s, _)| s.id == name) {
            Some(at) => at,
            None => {
                found.push((sample(root, name, &row)?, Vec::new()));
                found.len() - 1
            }
        };
        let (sample, foods) = &mut found[at];
        if about_photo(&row)? != About::of(sample) {
            return Err(row.error(format!(
                "it says another pitch, plate or coin of {name} than before"
            )));
        }
        let label = row.text("label")?;
        if !label.is_empty() {
            sample.contents.push(label.to_lowercase().replace('_', " "));
        }
        foods.push(amounts(&row)?);
    }
    Ok(found
        .into_iter()
        .map(|(sample, foods)| {
            let totals = TrueAmounts::sums(&foods);
            Sample {
                totals: (totals != TrueAmounts::default()).then_some(totals),
                ..sample
            }
        })
        .collect())
}

fn amounts(row: &Row<'_>) -> Result<TrueAmounts, DataError> {
    Ok(TrueAmounts {
        volume_cm3: None,
        mass_g: row.amount("grams")?,
        kcal: row.amount("kcal")?,
        protein_g: row.amount("protein_g")?,
        carbs_g: row.amount("carbs_g")?,
        fat_g: row.amount("fat_g")?,
    })
}

/// What a line says of its whole photo: pitch, plate, coin.
#[derive(Debug, Clone, Copy, PartialEq)]
struct About([Option<f64>; 3]);

impl About {
    fn of(sample: &Sample) -> Self {
        Self([
            sample.pitch_deg,
            sample.dishes.first().and_then(|d| d.diameter_cm),
            sample.references.first().and_then(|r| r.diameter_cm),
        ])
    }
}

fn about_photo(row: &Row<'_>) -> Result<About, DataError> {
    Ok(About([
        row.number("pitch_deg")?,
        row.amount("plate_cm")?,
        row.amount("coin_cm")?,
    ]))
}

fn sample(root: &Path, name: &str, row: &Row<'_>) -> Result<Sample, DataError> {
    let size = photo::size(&root.join(name)).map_err(|e| row.error(e.to_string()))?;
    let About([pitch_deg, plate_cm, coin_cm]) = about_photo(row)?;
    Ok(Sample {
        pitch_deg,
        dishes: plate_cm
            .map(|diameter_cm| DishTruth {
                kind: Support::Dish(DishKind::Plate),
                diameter_cm: Some(diameter_cm),
                mask: None,
            })
            .into_iter()
            .collect(),
        references: coin_cm
            .map(|diameter_cm| ReferenceTruth {
                kind: ReferenceKind::Coin,
                diameter_cm: Some(diameter_cm),
                mask: None,
            })
            .into_iter()
            .collect(),
        ..Sample::of_photo(name, name, size)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::photo::tests::picture;
    use super::*;

    fn list(text: &str) -> (tempfile::TempDir, Result<Vec<Sample>, DataError>) {
        let dir = tempfile::tempdir().unwrap();
        picture(&dir.path().join("lunch/a.png"), 40, 30);
        picture(&dir.path().join("b.png"), 30, 40);
        let path = dir.path().join("meals.csv");
        std::fs::write(&path, text).unwrap();
        let found = csv(&path);
        (dir, found)
    }

    #[test]
    fn lines_of_one_photo_are_foods_of_one_meal() {
        let (_dir, found) = list(
            "photo,label,grams,kcal,pitch_deg,plate_cm\n\
             lunch/a.png,Rice,150,195,30,26\n\
             lunch/a.png,salmon,120,,30,26\n\
             b.png,,,400,,\n",
        );
        let found = found.unwrap();
        assert_eq!(found.len(), 2);
        let (a, b) = (&found[0], &found[1]);
        assert_eq!(
            (a.id.as_str(), a.width, a.height, a.pitch_deg),
            ("lunch/a.png", 40, 30, Some(30.0))
        );
        assert_eq!(a.contents, ["rice", "salmon"]);
        let totals = a.totals.unwrap();
        assert_eq!(
            (totals.mass_g, totals.kcal),
            (Some(270.0), None),
            "the energy of one alone is known"
        );
        assert_eq!(a.dishes[0].diameter_cm, Some(26.0));
        assert_eq!((b.totals.unwrap().kcal, b.pitch_deg), (Some(400.0), None));
    }

    #[test]
    fn a_list_without_amounts_still_names_what_is_there() {
        let (_dir, found) = list("photo,label\nb.png,Apple_pie\n");
        let found = found.unwrap();
        assert_eq!(found[0].totals, None);
        assert_eq!(found[0].contents, ["apple pie"]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, what) in [
            (
                "photo,weight\nb.png,3\n",
                "line 1: column \"weight\" is none of photo, label, grams",
            ),
            ("photo,grams\nb.png,3\nno.png,4\n", "line 3: cannot read"),
            ("photo,grams\nb.png,many\n", "line 2: grams is no number"),
            (
                "photo,grams,pitch_deg\nb.png,3,20\nb.png,4,30\n",
                "line 3: it says another pitch",
            ),
            ("photo,grams\n,3\n", "line 2: photo is empty"),
        ] {
            let error = list(text).1.unwrap_err().to_string();
            assert!(
                error.contains("meals.csv, line ") && error.contains(what),
                "{error}"
            );
        }
    }
}
