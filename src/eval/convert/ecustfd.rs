//! ECUSTFD photos as `photos.csv` lists them: one row a photo and food, no pitch, no EXIF.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::super::manifest::{
    Camera, DataError, DishTruth, EllipseTruth, ItemTruth, MaskRef, ReferenceTruth, Sample, Support,
};
use crate::contract::{DishKind, ReferenceKind};

/// One-Yuan coin.
const COIN_CM: f64 = 2.5;

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
        let cells: Vec<&str> = line.split(',').collect();
        let cell = |name: &str| -> Result<&str, DataError> {
            columns
                .get(name)
                .and_then(|&i| cells.get(i).copied())
                .ok_or_else(|| DataError::content(&path, format!("no column {name} in: {line}")))
        };
        let number = |name: &str| -> Result<Option<f64>, DataError> { Ok(cell(name)?.parse().ok()) };
        if cell("boxes_ok")? != "1" {
            continue;
        }
        let image = cell("image")?;
        let stem = image.rsplit_once('.').map_or(image, |(stem, _)| stem);
        // Pixel columns are in published pixels, some photos are stored smaller.
        let scale = number("stored_scale")?.unwrap_or(1.0);
        let food = cell("food")?;
        let two = cell("n_foods")? == "2";
        let name = if two {
            format!("{stem}_{food}")
        } else {
            stem.to_owned()
        };
        let mask = PathBuf::from("masks").join(format!("{name}.png"));
        let corner = |a: &str| -> Result<Option<f64>, DataError> { Ok(number(a)?.map(|v| v * scale)) };
        let bbox = match (
            corner("food_x0")?,
            corner("food_y0")?,
            corner("food_x1")?,
            corner("food_y1")?,
        ) {
            (Some(a), Some(b), Some(c), Some(d)) => Some([a, b, c, d]),
            _ => None,
        };
        let item = ItemTruth {
            label: label(food).to_owned(),
            // Volumes that no density explains are left out; mass is the label to trust.
            volume_cm3: number("volume_cm3")?.filter(|_| cell("volume_suspect").is_ok_and(|v| v == "0")),
            mass_g: number("mass_g")?,
            mask: (scale == 1.0 && root.join(&mask).is_file()).then_some(MaskRef::Pixels {
                file: mask,
                value: None,
            }),
            bbox,
            dish: Some(Support::Dish(DishKind::Plate)),
            object: Some(cell("object")?.to_owned()),
        };
        if let Some(last) = samples.last_mut()
            && last.id == stem
        {
            last.items.push(item);
            continue;
        }
        let size = |name: &str| -> Result<usize, DataError> {
            let value =
                number(name)?.ok_or_else(|| DataError::content(&path, format!("{name} in: {line}")))?;
            Ok((value * scale).round() as usize)
        };
        let plate = plate_cm(cell("support")?);
        // Fitted ellipses, full axes in published pixels.
        let ellipse = |thing: &str| -> Result<Option<MaskRef>, DataError> {
            let of = |part: &str| corner(&format!("{thing}_{part}"));
            Ok(match (of("cx")?, of("cy")?, of("major")?, of("minor")?) {
                (Some(cx), Some(cy), Some(major), Some(minor)) => Some(MaskRef::Ellipse {
                    ellipse: EllipseTruth {
                        cx,
                        cy,
                        major,
                        minor,
                        angle_deg: number(&format!("{thing}_ang"))?.unwrap_or(0.0),
                    },
                }),
                _ => None,
            })
        };
        samples.push(Sample {
            id: stem.to_owned(),
            image: PathBuf::from("photos").join(image),
            width: size("width")?,
            height: size("height")?,
            pitch_deg: None,
            roll_deg: None,
            camera: Camera::default(),
            references: match number("coin_cx")? {
                Some(_) => vec![ReferenceTruth {
                    kind: ReferenceKind::Coin,
                    diameter_cm: Some(COIN_CM),
                    mask: ellipse("coin")?,
                }],
                None => Vec::new(),
            },
            dishes: plate
                .map(|d| -> Result<DishTruth, DataError> {
                    Ok(DishTruth {
                        kind: Support::Dish(DishKind::Plate),
                        diameter_cm: Some(d),
                        mask: ellipse("plate")?,
                    })
                })
                .transpose()?
                .into_iter()
                .collect(),
            others: Vec::new(),
            items: vec![item],
            depth: None,
            expect_error: (cell("view")? == "S").then(|| "tilt_too_large".to_owned()),
        });
    }
    Ok(samples)
}
