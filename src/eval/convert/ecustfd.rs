//! ECUSTFD photos as `photos.csv` lists them: one row a photo and food, no pitch, no EXIF.

use std::path::{Path, PathBuf};

use super::super::manifest::{
    DataError, DishTruth, EllipseTruth, ItemTruth, MaskRef, ReferenceTruth, Sample, Support,
};
use super::table::{Row, Table};
use crate::contract::{DishKind, ReferenceKind};

/// One-Yuan coin.
const YUAN_DIAMETER_CM: f64 = 2.5;

/// Columns of the list that are read.
const COLUMNS: [&str; 27] = [
    "image",
    "object",
    "food",
    "view",
    "width",
    "height",
    "n_foods",
    "food_x0",
    "food_y0",
    "food_x1",
    "food_y1",
    "volume_cm3",
    "mass_g",
    "volume_suspect",
    "support",
    "boxes_ok",
    "coin_cx",
    "coin_cy",
    "coin_major",
    "coin_minor",
    "coin_ang",
    "plate_cx",
    "plate_cy",
    "plate_major",
    "plate_minor",
    "plate_ang",
    "stored_scale",
];

/// Names as the food table knows them.
fn label(food: &str) -> &str {
    match food {
        "qiwi" => "kiwi",
        "fired_dough_twist" => "fried dough twist",
        "grape" => "grapes",
        "bread" => "bread slice",
        other => other,
    }
}

/// Outer diameters of the two plates used.
fn plate_cm(support: &str) -> Option<f64> {
    match support {
        "white" => Some(20.7),
        "red" => Some(18.7),
        _ => None,
    }
}

/// Photos with usable annotations, in the order of the list. Side views look along the table and must be refused.
///
/// # Errors
/// [`DataError`] naming file and line: the list or a column is missing, or a cell cannot be read.
pub fn ecustfd(root: &Path) -> Result<Vec<Sample>, DataError> {
    let path = root.join("photos.csv");
    let table = Table::read(&path, &COLUMNS)?;
    let mut samples: Vec<Sample> = Vec::new();
    for cells in table.rows() {
        let row = Line::new(cells)?;
        if row.cells.text("boxes_ok")? != "1" {
            continue;
        }
        let item = row.item(root)?;
        // A photo of two foods has two rows, one after the other.
        match samples.last_mut().filter(|last| last.id == row.photo) {
            Some(last) => last.items.push(item),
            None => samples.push(row.sample(item)?),
        }
    }
    Ok(samples)
}

/// One line of the list: one food on one photo.
struct Line<'a> {
    cells: Row<'a>,
    /// The photo's file name without its extension.
    photo: &'a str,
    /// Pixel columns are in published pixels, some photos are stored smaller.
    scale: f64,
}

impl<'a> Line<'a> {
    fn new(cells: Row<'a>) -> Result<Self, DataError> {
        let image = cells.text("image")?;
        Ok(Self {
            cells,
            photo: image.rsplit_once('.').map_or(image, |(stem, _)| stem),
            scale: cells.number("stored_scale")?.unwrap_or(1.0),
        })
    }

    /// In pixels of the stored photo.
    fn pixels(&self, name: &str) -> Result<Option<f64>, DataError> {
        Ok(self.cells.number(name)?.map(|v| v * self.scale))
    }

    fn side(&self, name: &str) -> Result<usize, DataError> {
        let value = self
            .pixels(name)?
            .ok_or_else(|| self.cells.error(format!("{name} is empty")))?;
        Ok(value.round() as usize)
    }

    /// The ellipse that was fitted to the coin or the plate, full axes.
    fn ellipse(&self, thing: &str) -> Result<Option<MaskRef>, DataError> {
        let of = |part: &str| self.pixels(&format!("{thing}_{part}"));
        Ok(match (of("cx")?, of("cy")?, of("major")?, of("minor")?) {
            (Some(cx), Some(cy), Some(major), Some(minor)) => Some(MaskRef::Ellipse {
                ellipse: EllipseTruth {
                    cx,
                    cy,
                    major,
                    minor,
                    angle_deg: self.cells.number(&format!("{thing}_ang"))?.unwrap_or(0.0),
                },
            }),
            _ => None,
        })
    }

    fn item(&self, root: &Path) -> Result<ItemTruth, DataError> {
        let food = self.cells.text("food")?;
        let name = if self.cells.text("n_foods")? == "2" {
            format!("{}_{food}", self.photo)
        } else {
            self.photo.to_owned()
        };
        let mask = PathBuf::from("masks").join(format!("{name}.png"));
        let bbox = match (
            self.pixels("food_x0")?,
            self.pixels("food_y0")?,
            self.pixels("food_x1")?,
            self.pixels("food_y1")?,
        ) {
            (Some(a), Some(b), Some(c), Some(d)) => Some([a, b, c, d]),
            _ => None,
        };
        Ok(ItemTruth {
            label: label(food).to_owned(),
            // Volumes that no density explains are left out; mass is the label to trust.
            volume_cm3: self
                .cells
                .number("volume_cm3")?
                .filter(|_| self.cells.text("volume_suspect").is_ok_and(|v| v == "0")),
            mass_g: self.cells.number("mass_g")?,
            mask: (self.scale == 1.0 && root.join(&mask).is_file()).then_some(MaskRef::Pixels {
                file: mask,
                value: None,
                above: None,
            }),
            bbox,
            dish: Some(Support::Dish(DishKind::Plate)),
            object: Some(self.cells.text("object")?.to_owned()),
            ..ItemTruth::default()
        })
    }

    /// The photo with its first food.
    fn sample(&self, item: ItemTruth) -> Result<Sample, DataError> {
        let coin = match self.cells.number("coin_cx")? {
            Some(_) => Some(ReferenceTruth {
                kind: ReferenceKind::Coin,
                diameter_cm: Some(YUAN_DIAMETER_CM),
                mask: self.ellipse("coin")?,
            }),
            None => None,
        };
        let plate = match plate_cm(self.cells.text("support")?) {
            Some(diameter_cm) => Some(DishTruth {
                kind: Support::Dish(DishKind::Plate),
                diameter_cm: Some(diameter_cm),
                mask: self.ellipse("plate")?,
            }),
            None => None,
        };
        let image = PathBuf::from("photos").join(self.cells.text("image")?);
        let size = [self.side("width")?, self.side("height")?];
        Ok(Sample {
            references: coin.into_iter().collect(),
            dishes: plate.into_iter().collect(),
            items: vec![item],
            expect_error: (self.cells.text("view")? == "S").then(|| "tilt_too_large".to_owned()),
            ..Sample::of_photo(self.photo, image, size)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn list(rows: &str) -> Result<Vec<Sample>, DataError> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("photos.csv"),
            format!("{}\n{rows}", COLUMNS.join(",")),
        )
        .unwrap();
        ecustfd(dir.path())
    }

    /// A photo of an apple of 244.5 g with a coin, seen from above (T) or the side (S).
    fn row(image: &str, food: &str, view: &str, mass_g: &str) -> String {
        format!(
            "{image},apple001,{food},{view},816,551,1,326,229,540,401,310,{mass_g},0,white,1,227,368,53,50,165,,,,,,1.0\n"
        )
    }

    #[test]
    fn a_photo_of_two_foods_is_one_sample_and_side_views_must_be_refused() {
        let rows = row("a.JPG", "apple", "T", "244.5")
            + &row("a.JPG", "qiwi", "T", "90")
            + &row("b.JPG", "bread", "S", "40");
        let found = list(&rows).unwrap();
        assert_eq!(found.len(), 2);
        let names: Vec<&str> = found[0].items.iter().map(|i| i.label.as_str()).collect();
        assert_eq!(names, ["apple", "kiwi"]);
        assert_eq!(found[0].amounts().mass_g, Some(334.5));
        assert_eq!(found[0].references[0].diameter_cm, Some(2.5));
        assert_eq!(found[0].dishes[0].diameter_cm, Some(20.7));
        assert_eq!(found[1].expect_error.as_deref(), Some("tilt_too_large"));
    }

    #[test]
    fn what_is_wrong_is_told_with_file_and_line() {
        let good = row("a.JPG", "apple", "T", "1");
        for (rows, what) in [
            (
                good.clone() + &row("b.JPG", "apple", "T", "heavy"),
                "line 3: mass_g is no number",
            ),
            (
                good.clone() + "b.JPG,apple\n",
                "line 3: it has no cell for stored_scale",
            ),
            (good.replace(",816,", ",,"), "line 2: width is empty"),
        ] {
            let error = list(&rows).unwrap_err().to_string();
            assert!(error.contains("photos.csv, ") && error.contains(what), "{error}");
        }
    }
}
