//! ECUSTFD photos as `photos.csv` lists them: one row a photo and food, no pitch, no EXIF.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::super::manifest::{
    Camera, DataError, DishTruth, EllipseTruth, ItemTruth, MaskRef, ReferenceTruth, Sample, Support,
};
use crate::contract::{DishKind, ReferenceKind};

/// One-Yuan coin.
const YUAN_DIAMETER_CM: f64 = 2.5;

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
/// [`DataError`] if the list is missing or a column is.
pub fn ecustfd(root: &Path) -> Result<Vec<Sample>, DataError> {
    let path = root.join("photos.csv");
    let text = std::fs::read_to_string(&path).map_err(|source| DataError::Io {
        path: path.clone(),
        source,
    })?;
    let mut lines = text.lines();
    let columns: HashMap<&str, usize> = lines
        .next()
        .unwrap_or_default()
        .split(',')
        .enumerate()
        .map(|(i, name)| (name, i))
        .collect();
    let mut samples: Vec<Sample> = Vec::new();
    for line in lines.filter(|l| !l.trim().is_empty()) {
        let row = Row::new(&path, &columns, line)?;
        if row.cell("boxes_ok")? != "1" {
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

/// One row of the list: one food on one photo.
struct Row<'a> {
    path: &'a Path,
    columns: &'a HashMap<&'a str, usize>,
    line: &'a str,
    cells: Vec<&'a str>,
    /// The photo's file name without its extension.
    photo: &'a str,
    /// Pixel columns are in published pixels, some photos are stored smaller.
    scale: f64,
}

impl<'a> Row<'a> {
    fn new(path: &'a Path, columns: &'a HashMap<&'a str, usize>, line: &'a str) -> Result<Self, DataError> {
        let mut row = Self {
            path,
            columns,
            line,
            cells: line.split(',').collect(),
            photo: "",
            scale: 1.0,
        };
        let image = row.cell("image")?;
        row.photo = image.rsplit_once('.').map_or(image, |(stem, _)| stem);
        row.scale = row.number("stored_scale")?.unwrap_or(1.0);
        Ok(row)
    }

    fn cell(&self, name: &str) -> Result<&'a str, DataError> {
        self.columns
            .get(name)
            .and_then(|&i| self.cells.get(i).copied())
            .ok_or_else(|| DataError::content(self.path, format!("no column {name} in: {}", self.line)))
    }

    fn number(&self, name: &str) -> Result<Option<f64>, DataError> {
        Ok(self.cell(name)?.parse().ok())
    }

    /// In pixels of the stored photo.
    fn pixels(&self, name: &str) -> Result<Option<f64>, DataError> {
        Ok(self.number(name)?.map(|v| v * self.scale))
    }

    fn side(&self, name: &str) -> Result<usize, DataError> {
        let value = self
            .pixels(name)?
            .ok_or_else(|| DataError::content(self.path, format!("{name} in: {}", self.line)))?;
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
                    angle_deg: self.number(&format!("{thing}_ang"))?.unwrap_or(0.0),
                },
            }),
            _ => None,
        })
    }

    fn item(&self, root: &Path) -> Result<ItemTruth, DataError> {
        let food = self.cell("food")?;
        let name = if self.cell("n_foods")? == "2" {
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
                .number("volume_cm3")?
                .filter(|_| self.cell("volume_suspect").is_ok_and(|v| v == "0")),
            mass_g: self.number("mass_g")?,
            mask: (self.scale == 1.0 && root.join(&mask).is_file()).then_some(MaskRef::Pixels {
                file: mask,
                value: None,
            }),
            bbox,
            dish: Some(Support::Dish(DishKind::Plate)),
            object: Some(self.cell("object")?.to_owned()),
        })
    }

    /// The photo with its first food.
    fn sample(&self, item: ItemTruth) -> Result<Sample, DataError> {
        let coin = match self.number("coin_cx")? {
            Some(_) => Some(ReferenceTruth {
                kind: ReferenceKind::Coin,
                diameter_cm: Some(YUAN_DIAMETER_CM),
                mask: self.ellipse("coin")?,
            }),
            None => None,
        };
        let plate = match plate_cm(self.cell("support")?) {
            Some(diameter_cm) => Some(DishTruth {
                kind: Support::Dish(DishKind::Plate),
                diameter_cm: Some(diameter_cm),
                mask: self.ellipse("plate")?,
            }),
            None => None,
        };
        Ok(Sample {
            id: self.photo.to_owned(),
            image: PathBuf::from("photos").join(self.cell("image")?),
            width: self.side("width")?,
            height: self.side("height")?,
            pitch_deg: None,
            roll_deg: None,
            camera: Camera::default(),
            references: coin.into_iter().collect(),
            dishes: plate.into_iter().collect(),
            others: Vec::new(),
            items: vec![item],
            depth: None,
            meal: None,
            expect_error: (self.cell("view")? == "S").then(|| "tilt_too_large".to_owned()),
        })
    }
}
