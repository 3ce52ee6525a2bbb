//! Rendered plates: `scene_*/scene.json` with masks, depth and exact truth.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::super::manifest::{
    Camera, DataError, DepthTruth, DishTruth, ItemTruth, MaskRef, ReferenceTruth, Sample, Support,
};
use crate::contract::{DishKind, ReferenceKind};

#[derive(Deserialize)]
struct SceneFile {
    width: usize,
    height: usize,
    fx: f64,
    f35_exif_mm: f64,
    camera_height_cm: f64,
    device_pitch_deg: f64,
    roll_deg: f64,
    plate: Vec<Plate>,
    references: Vec<Thing>,
    foods: Vec<Food>,
}

#[derive(Deserialize)]
struct Plate {
    kind: Support,
    diameter_cm: Option<f64>,
}

#[derive(Deserialize)]
struct Thing {
    kind: String,
    diameter_mm: Option<f64>,
}

#[derive(Deserialize)]
struct Food {
    id: u8,
    label: String,
    dish: usize,
    volume_cm3: f64,
}

/// Values of the label image.
const PLATE: u8 = 200;
const BOWL: u8 = 201;
const BOARD: u8 = 202;
const COIN: u8 = 207;
const CARD: u8 = 208;
/// Glass, cutlery, napkin, phone, placemat, the room beyond the table.
const OTHERS: [u8; 6] = [203, 204, 205, 206, 209, 250];

/// One sample a scene folder, with paths relative to `root`.
///
/// # Errors
/// [`DataError`] naming the file.
pub fn plates(root: &Path) -> Result<Vec<Sample>, DataError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| DataError::Io { path, source }
    };
    let mut names: Vec<String> = std::fs::read_dir(root)
        .map_err(io(root))?
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .filter(|n| n.starts_with("scene_"))
        .collect();
    names.sort();
    if names.is_empty() {
        return Err(DataError::content(root, "no folder scene_*"));
    }
    names.iter().map(|name| scene(root, name)).collect()
}

fn scene(root: &Path, name: &str) -> Result<Sample, DataError> {
    let path = root.join(name).join("scene.json");
    let text = std::fs::read_to_string(&path).map_err(|source| DataError::Io {
        path: path.clone(),
        source,
    })?;
    let scene: SceneFile = serde_json::from_str(&text).map_err(|source| DataError::Json {
        path: path.clone(),
        line: source.line(),
        source,
    })?;
    let file = |f: &str| PathBuf::from(name).join(f);
    let mask = |value: u8| MaskRef::Pixels {
        file: file("masks.png"),
        value: Some(value),
        above: None,
    };
    let kind_of = |dish: usize| scene.plate.get(dish).map(|p| p.kind);
    Ok(Sample {
        pitch_deg: Some(scene.device_pitch_deg),
        // There the scene's up leans right when positive, here the camera is turned clockwise.
        roll_deg: Some(-scene.roll_deg),
        camera: Camera {
            focal_px: Some(scene.fx),
            f35_mm: Some(scene.f35_exif_mm),
            height_cm: Some(scene.camera_height_cm),
        },
        references: scene
            .references
            .iter()
            .filter_map(|thing| match thing.kind.as_str() {
                "coin" => Some(ReferenceTruth {
                    kind: ReferenceKind::Coin,
                    diameter_cm: thing.diameter_mm.map(|d| d / 10.0),
                    mask: Some(mask(COIN)),
                }),
                "bank card" => Some(ReferenceTruth {
                    kind: ReferenceKind::Card,
                    diameter_cm: None,
                    mask: Some(mask(CARD)),
                }),
                _ => None,
            })
            .collect(),
        dishes: scene
            .plate
            .iter()
            .map(|p| DishTruth {
                kind: p.kind,
                diameter_cm: p.diameter_cm,
                mask: match p.kind {
                    Support::Dish(DishKind::Plate) => Some(mask(PLATE)),
                    Support::Dish(DishKind::Bowl) => Some(mask(BOWL)),
                    Support::Dish(DishKind::Board) => Some(mask(BOARD)),
                    Support::Table => None,
                },
            })
            .collect(),
        others: OTHERS.into_iter().map(mask).collect(),
        items: scene
            .foods
            .iter()
            .map(|food| ItemTruth {
                label: food.label.clone(),
                volume_cm3: Some(food.volume_cm3),
                mask: Some(mask(food.id)),
                dish: kind_of(food.dish),
                ..ItemTruth::default()
            })
            .collect(),
        depth: Some(DepthTruth {
            file: file("depth.png"),
            unit_m: 1e-4,
        }),
        ..Sample::of_photo(name, file("photo.jpg"), [scene.width, scene.height])
    })
}
