//! From named regions and a depth raster to the scene that geometry measures.

use dragunov_models::{Mask, depth_anything};

use super::calibration::NetworkErrors;
use super::working::Working;
use crate::contract::{
    DepthSource, DishKind, ErrorCode, Estimated, ItemFlag, ReferenceKind, ScaleSource, ScanError,
    ScanRequest, Warning, WarningCode,
};
use crate::geometry::{
    self, CameraModel, Depth, Dish, Gravity, Measured, Portion, RefObject, Region, Scene, ShapeClass,
};
use crate::identify::Identified;
use crate::nutrition::{FoodTable, portions};
use crate::perceive::{Regions, lies_on};

/// How far a metric network's distances are off on tabletops it was not trained for, sd of the logarithm.
const METRIC_NETWORK_SIGMA_LN: f64 = 0.12;
/// How far a phone's distances are off as a whole, sd of the logarithm.
const PHONE_DEPTH_SIGMA_LN: f64 = 0.015;
/// How well an app knows the lens's height that it sends (AR plane), sd of the logarithm.
pub(crate) const CLIENT_HEIGHT_SIGMA_LN: f64 = 0.03;
/// Least chance that a region is another food than all that the identifier named.
const MIN_OTHER_FOOD_CHANCE: f64 = 0.05;

/// All food of one photo, cm3: more does not stand on a table for one photo.
const MEAL_CM3: f64 = 8000.0;

/// Regions with their measures; `geometry.items[i]` belongs to `regions.foods[i]`.
#[derive(Debug)]
pub(super) struct MeasuredScene {
    pub(super) regions: Regions,
    pub(super) geometry: Measured,
}

/// Measures every food of `regions`.
///
/// # Errors
/// Geometry's refusals: tilt over 75 degrees, no table, contradictory pitch, broken depth; `no_food` if nothing
/// rises over the table.
pub(super) fn measure(
    work: &Working,
    request: &ScanRequest,
    depth: &depth_anything::Depth,
    regions: Regions,
    foods: &FoodTable,
    weights: Weights,
) -> Result<MeasuredScene, ScanError> {
    let mut dishes = with_known_plate(
        regions
            .dishes
            .iter()
            .map(|(kind, mask)| dish(mask, *kind))
            .collect(),
        stated_diameter(request, ReferenceKind::Plate),
    );
    dishes.extend(unseen_bowls(&regions, foods));
    let photo = &work.photo;
    let (width, height) = (photo.image.width(), photo.image.height());
    let scene = Scene {
        camera: CameraModel::centred(width, height, photo.camera.focal_px, photo.camera.sigma_ln),
        gravity: photo.gravity.map(|g| Gravity {
            down: g.down,
            tilt_sigma_deg: g.sigma_deg,
            roll_sigma_deg: g.sigma_roll_deg,
        }),
        depth: match depth {
            depth_anything::Depth::Relative(d) => Depth::Disparity(d),
            depth_anything::Depth::Metric(d) => Depth::Metric {
                depth: d,
                scale_sigma_ln: match weights.depth_source {
                    DepthSource::Client => PHONE_DEPTH_SIGMA_LN,
                    DepthSource::Network => METRIC_NETWORK_SIGMA_LN,
                },
            },
        },
        items: items(&regions, foods, weights.portions),
        dishes,
        references: references(&regions, stated_diameter(request, ReferenceKind::Coin)),
        others: regions.others.iter().collect(),
        camera_height_cm: request
            .camera
            .height()
            .map(|h| Estimated::log_normal(h, CLIENT_HEIGHT_SIGMA_LN)),
        relief_sigma: weights.errors.relief_sigma,
        shift_sigma: weights.errors.shift_sigma,
        outline_sigma: weights.errors.outline_sigma,
        table_tilt_sigma_deg: weights.errors.table_tilt_sigma_deg,
        seed: 0,
    };
    let mut geometry = geometry::measure(&scene)?;
    if weights.depth_source == DepthSource::Client {
        let by_phone = |source: &mut ScaleSource| {
            if *source == ScaleSource::MetricDepth {
                *source = ScaleSource::ClientDepth;
            }
        };
        by_phone(&mut geometry.scale.source);
        geometry
            .scale
            .candidates
            .iter_mut()
            .for_each(|c| by_phone(&mut c.source));
    }
    without_implausible(without_flat(regions, geometry)?)
}

/// What the measurement leans on, and how much.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weights {
    pub(super) errors: NetworkErrors,
    /// Whether usual portions have a say.
    pub(super) portions: bool,
    /// Whose distances metric depth has.
    pub(super) depth_source: DepthSource,
}

/// The diameter that the client states for a thing of this kind.
fn stated_diameter(request: &ScanRequest, kind: ReferenceKind) -> Option<f64> {
    let reference = request.reference.as_ref().filter(|r| r.kind == kind);
    reference.and_then(|r| r.diameter_cm)
}

fn dish(mask: &Mask, kind: DishKind) -> Dish<'_> {
    Dish {
        mask,
        kind,
        diameter_cm: None,
    }
}

fn references(regions: &Regions, coin_cm: Option<f64>) -> Vec<RefObject<'_>> {
    regions
        .references
        .iter()
        .map(|(kind, mask)| RefObject {
            mask,
            kind: *kind,
            diameter_cm: coin_cm.filter(|_| *kind == ReferenceKind::Coin),
        })
        .collect()
}

fn items<'a>(regions: &'a Regions, foods: &FoodTable, portions: bool) -> Vec<Region<'a>> {
    regions
        .foods
        .iter()
        .map(|food| Region {
            mask: &food.mask,
            shape: foods.lookup(&food.identity.label).food.shape_class(),
            portion: portions.then(|| usual_size(foods, &food.identity)).flatten(),
        })
        .collect()
}

/// Leaves out what lies flat on the table: it only looked like food.
///
/// # Errors
/// `no_food` if nothing is left.
fn without_flat(mut regions: Regions, mut geometry: Measured) -> Result<MeasuredScene, ScanError> {
    let real: Vec<bool> = geometry
        .items
        .iter()
        .map(|i| !i.flags.contains(&ItemFlag::Flat))
        .collect();
    let flat = real.iter().filter(|r| !**r).count();
    if flat == real.len() {
        return Err(ScanError::new(
            ErrorCode::NoFood,
            "what looks like food does not rise above the table",
        )
        .next_step("take the photo of the meal itself, from 20 to 45 degrees"));
    }
    if flat > 0 {
        let mut keep = real.iter().copied();
        regions.foods.retain(|_| keep.next().unwrap_or(false));
        let mut keep = real.iter().copied();
        geometry.items.retain(|_| keep.next().unwrap_or(false));
        geometry.warnings.push(Warning::new(
            WarningCode::FlatRegionIgnored,
            format!("{flat} regions that lie flat on the table were not counted as food"),
        ));
    }
    Ok(MeasuredScene { regions, geometry })
}

/// Leaves out what cannot be as large as it was measured, and says so of each: a number would be taken for one.
///
/// # Errors
/// `implausible` if nothing is left, or if the rest together is no meal.
fn without_implausible(scene: MeasuredScene) -> Result<MeasuredScene, ScanError> {
    let MeasuredScene {
        mut regions,
        mut geometry,
    } = scene;
    let reasons: Vec<Option<String>> = geometry.items.iter().map(|i| i.implausible.clone()).collect();
    for (food, reason) in regions.foods.iter().zip(&reasons) {
        if let Some(reason) = reason {
            let label = &food.identity.label;
            geometry.warnings.push(Warning::new(
                WarningCode::Implausible,
                format!("{label}: {reason}; it is left out and the totals lack it: tell its amount, or take the photo again"),
            ));
        }
    }
    let mut keep = reasons.iter().map(Option::is_none);
    regions.foods.retain(|_| keep.next().unwrap_or(false));
    let mut keep = reasons.iter().map(Option::is_none);
    geometry.items.retain(|_| keep.next().unwrap_or(false));
    let meal_cm3: f64 = geometry.items.iter().map(|i| i.volume_cm3.p50).sum();
    let refusal = match (reasons.into_iter().flatten().next(), geometry.items.is_empty()) {
        (Some(reason), true) => reason,
        _ if meal_cm3 > MEAL_CM3 => format!("{meal_cm3:.0} cm3 together are more than a meal"),
        _ => return Ok(MeasuredScene { regions, geometry }),
    };
    Err(ScanError::new(
        ErrorCode::Implausible,
        format!("what was measured cannot be: {refusal}"),
    )
    .next_step(
        "take the photo again, 20 to 45 degrees from above with the whole plate in view; check the pitch, and the diameter or height \
         that was sent",
    ))
}

/// Usual size of what was named, over everything that it may be.
fn usual_size(foods: &FoodTable, identity: &Identified) -> Option<Portion> {
    let named = std::iter::once((identity.label.as_str(), identity.confidence))
        .chain(identity.alternatives.iter().map(|(l, p)| (l.as_str(), *p)));
    let mut parts: Vec<(Portion, f64)> = named
        .map(|(label, p)| (foods.lookup(label).food.usual_portion.portion, p.clamp(0.0, 1.0)))
        .collect();
    let told: f64 = parts.iter().map(|p| p.1).sum();
    if identity.confidence < 1.0 {
        parts.push((
            foods.unknown().usual_portion.portion,
            (1.0 - told).max(MIN_OTHER_FOOD_CHANCE),
        ));
    }
    portions::mixture(&parts)
}

/// Bowls that must be there: porridge beside every dish is in one that was not found, full to the brim.
fn unseen_bowls<'a>(regions: &'a Regions, foods: &'a FoodTable) -> impl Iterator<Item = Dish<'a>> {
    let carried = |thing: &Mask| regions.dishes.iter().any(|(_, dish)| lies_on(thing, dish));
    regions
        .foods
        .iter()
        .filter(|f| foods.lookup(&f.identity.label).food.shape_class() == ShapeClass::Liquid)
        .filter(move |f| !carried(&f.mask))
        .map(|f| dish(&f.mask, DishKind::Bowl))
}

/// The stated diameter belongs to the largest plate in view, or to the largest bowl if there is no plate.
fn with_known_plate<'a>(mut dishes: Vec<Dish<'a>>, diameter_cm: Option<f64>) -> Vec<Dish<'a>> {
    let size = |d: &Dish<'_>| d.mask.bbox().map_or(0.0, |b| b.area());
    let best = (0..dishes.len())
        .filter(|&i| dishes[i].kind != DishKind::Board)
        .max_by(|&a, &b| {
            let rank = |i: usize| (dishes[i].kind == DishKind::Plate, size(&dishes[i]));
            let ((plate_a, size_a), (plate_b, size_b)) = (rank(a), rank(b));
            plate_a.cmp(&plate_b).then(size_a.total_cmp(&size_b))
        });
    if let Some(i) = best {
        dishes[i].diameter_cm = diameter_cm;
    }
    dishes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perceive::FoodRegion;

    #[test]
    fn porridge_stands_in_a_bowl_and_sauce_on_its_plate() {
        let rect = |x0: usize, x1: usize| {
            Mask::from_fn(100, 100, |x, y| (x0..x1).contains(&x) && (30..70).contains(&y))
        };
        let food = |label: &str| FoodRegion {
            mask: rect(10, 50),
            identity: Identified {
                label: label.into(),
                ..Identified::unknown_food()
            },
            pieces: 1,
        };
        let bowls = |label: &str, dishes: Vec<(DishKind, Mask)>| {
            let regions = Regions {
                foods: vec![food(label)],
                dishes,
                ..Regions::default()
            };
            unseen_bowls(&regions, &FoodTable::builtin()).count()
        };
        assert_eq!(bowls("porridge", vec![]), 1);
        assert_eq!(bowls("porridge", vec![(DishKind::Plate, rect(60, 95))]), 1);
        assert_eq!(bowls("porridge", vec![(DishKind::Plate, rect(5, 60))]), 0);
        assert_eq!(bowls("apple", vec![]), 0);
    }
}
