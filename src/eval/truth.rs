//! A sample with true masks and depth as a scene, so that geometry is measured alone.

use std::path::Path;

use dragunov_models::{Mask, MetricDepth, RelativeDisparity};

use super::load::{self, Labels};
use super::manifest::{DataError, Sample};
use super::oracle::{Damage, Oracle, disparity};
use crate::contract::{DishKind, Estimated, ReferenceKind};
use crate::geometry::priors::DISPARITY_SHIFT;
use crate::geometry::{
    CameraModel, Depth, Dish, Gravity, RefObject, Region, Scene, ShapeClass, focal_from_fov,
};
use crate::nutrition::FoodTable;
use crate::pipeline::CLIENT_HEIGHT_SIGMA_LN;

/// Masks and rasters of one sample, which a [`Scene`] borrows.
#[derive(Debug)]
pub struct Truth {
    pub items: Vec<Mask>,
    pub dishes: Vec<(Mask, DishKind, Option<f64>)>,
    pub references: Vec<(Mask, ReferenceKind, Option<f64>)>,
    pub others: Vec<Mask>,
    pub depth: MetricDepth,
    pub disparity: Option<RelativeDisparity>,
}

/// How far the stated camera is moved from the truth, to see what that costs.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct Perturb {
    /// Factor on the focal length, minus one.
    pub focal: f64,
    pub pitch_deg: f64,
}

/// The masks of one sample.
#[derive(Debug)]
pub struct TrueMasks {
    pub items: Vec<Mask>,
    pub dishes: Vec<(Mask, DishKind, Option<f64>)>,
    pub references: Vec<(Mask, ReferenceKind, Option<f64>)>,
    pub others: Vec<Mask>,
}

impl TrueMasks {
    /// # Errors
    /// [`DataError`] if a file is missing or wrong, or an item has no mask.
    pub fn load(root: &Path, sample: &Sample) -> Result<Self, DataError> {
        let size = [sample.width, sample.height];
        let mut labels = Labels::default();
        let missing =
            |what: &str| DataError::content(&root.join(&sample.image), format!("the manifest has no {what}"));
        let mut items = Vec::new();
        for item in &sample.items {
            let at = item.mask.as_ref().ok_or_else(|| missing("mask of an item"))?;
            items.push(labels.mask(root, at, size)?);
        }
        let mut dishes = Vec::new();
        for dish in &sample.dishes {
            if let (Some(kind), Some(at)) = (dish.kind.dish(), &dish.mask) {
                dishes.push((labels.mask(root, at, size)?, kind, dish.diameter_cm));
            }
        }
        let mut references = Vec::new();
        for reference in &sample.references {
            if let (ReferenceKind::Coin | ReferenceKind::Card, Some(at)) = (reference.kind, &reference.mask) {
                let mask = labels.mask(root, at, size)?;
                if !mask.is_empty() {
                    references.push((mask, reference.kind, reference.diameter_cm));
                }
            }
        }
        let mut others = Vec::new();
        for at in &sample.others {
            others.push(labels.mask(root, at, size)?);
        }
        Ok(Self {
            items,
            dishes,
            references,
            others,
        })
    }
}

impl Truth {
    /// # Errors
    /// [`DataError`] if a file is missing or wrong, or the sample has no masks or depth.
    pub fn load(root: &Path, sample: &Sample, damage: Option<Damage>) -> Result<Self, DataError> {
        let TrueMasks {
            items,
            dishes,
            references,
            others,
        } = TrueMasks::load(root, sample)?;
        let missing =
            |what: &str| DataError::content(&root.join(&sample.image), format!("the manifest has no {what}"));
        let at = sample.depth.as_ref().ok_or_else(|| missing("depth"))?;
        let depth = load::depth(root, at)?;
        let seed = sample
            .id
            .bytes()
            .fold(7u64, |h, b| h.wrapping_mul(131).wrapping_add(u64::from(b)));
        let disparity = damage.and_then(|d| disparity(&depth, seed, d));
        Ok(Self {
            items,
            dishes,
            references,
            others,
            depth,
            disparity,
        })
    }

    /// The scene that geometry is given.
    pub fn scene<'a>(
        &'a self,
        sample: &Sample,
        oracles: &[Oracle],
        perturb: Perturb,
        portions: bool,
        foods: &FoodTable,
    ) -> Scene<'a> {
        let exact = oracles.contains(&Oracle::Camera);
        let diagonal = (sample.width as f64).hypot(sample.height as f64);
        let exif = sample.camera.f35_mm.map(|f| f * diagonal / 43.266_615_305_567_87);
        let long = sample.width.max(sample.height) as f64;
        let (focal, sigma) = match (exact.then_some(sample.camera.focal_px).flatten(), exif) {
            (Some(f), _) => (f, 0.002),
            (None, Some(f)) => (f, 0.02),
            (None, None) => (focal_from_fov(long, 67.0), 0.06),
        };
        let gravity = sample.pitch_deg.map(|pitch| {
            let roll = sample.roll_deg.filter(|_| exact).unwrap_or(0.0);
            let pitch = pitch + perturb.pitch_deg;
            Gravity::from_pitch(pitch, roll, if exact { 0.1 } else { 1.0 })
        });
        let scale = oracles.contains(&Oracle::Scale);
        Scene {
            camera: CameraModel::centred(sample.width, sample.height, focal * (1.0 + perturb.focal), sigma),
            gravity,
            depth: match &self.disparity {
                Some(d) => Depth::Disparity(d),
                None => Depth::Metric {
                    depth: &self.depth,
                    scale_sigma_ln: 0.0,
                },
            },
            items: self
                .items
                .iter()
                .zip(&sample.items)
                .map(|(mask, item)| Region {
                    mask,
                    shape: if oracles.contains(&Oracle::Labels) {
                        foods.lookup(&item.label).food.shape_class()
                    } else {
                        ShapeClass::Unknown
                    },
                    portion: (portions && oracles.contains(&Oracle::Labels))
                        .then(|| foods.lookup(&item.label).food.usual_portion.portion),
                })
                .collect(),
            dishes: self
                .dishes
                .iter()
                .map(|(mask, kind, diameter)| Dish {
                    mask,
                    kind: *kind,
                    diameter_cm: diameter.filter(|_| scale && *kind == DishKind::Plate),
                })
                .collect(),
            references: self
                .references
                .iter()
                .filter(|_| scale)
                .map(|(mask, kind, diameter)| RefObject {
                    mask,
                    kind: *kind,
                    diameter_cm: *diameter,
                })
                .collect(),
            others: self
                .others
                .iter()
                .chain(self.references.iter().filter(|_| !scale).map(|r| &r.0))
                .collect(),
            camera_height_cm: sample
                .camera
                .height_cm
                .filter(|_| oracles.contains(&Oracle::Height))
                .map(|h| Estimated::log_normal(h, CLIENT_HEIGHT_SIGMA_LN)),
            relief_sigma: 0.0,
            shift_sigma: DISPARITY_SHIFT.sigma,
            outline_sigma: 0.0,
            table_tilt_sigma_deg: 12.0,
            seed: 1,
        }
    }
}
