//! What no food on a dish can be (geometry.md 9): such a size is a failed measurement, not a number.

use std::f64::consts::PI;

use super::item::ItemSolution;
use super::solution::Solution;
use crate::contract::{DishKind, Estimated};
use crate::geometry::types::{Portion, ShapeClass};

/// Largest volume of one item, cm3: some 3 kg.
const MAX_VOLUME_CM3: f64 = 2500.0;
/// A volume is so many times the usual one at most.
const MAX_USUAL: f64 = 25.0;
/// Largest mean height in diameters of a disc as large as the footprint, and what is allowed on top, cm: of what lies or is heaped
/// up, and of what may stand.
const MAX_ASPECT_LYING: f64 = 0.9;
const MAX_ASPECT: f64 = 1.4;
const ASPECT_SPARE_CM: f64 = 2.0;
/// What a bowl holds at most, in cylinders as wide and as high as its rim; what a plate holds, in half balls over it.
const MAX_BOWL: f64 = 1.6;
const MAX_PLATE: f64 = 1.0;

/// An item's figures in centimetres.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figures {
    pub(super) volume_cm3: Estimated,
    pub(super) mean_height_cm: f64,
    pub(super) footprint_cm2: f64,
}

/// Why an item cannot be; `None` for what can.
pub(super) fn impossible(
    figures: &Figures,
    shape: ShapeClass,
    portion: Option<Portion>,
    item: &ItemSolution,
    solution: &Solution,
) -> Option<String> {
    let Figures {
        volume_cm3: Estimated { p10, p50, p90 },
        mean_height_cm,
        footprint_cm2,
    } = *figures;
    if ![p10, p50, p90, mean_height_cm, footprint_cm2]
        .iter()
        .all(|v| v.is_finite() && *v >= 0.0)
    {
        return Some("it has no size that could be measured".to_owned());
    }
    if p50 > MAX_VOLUME_CM3 {
        return Some(format!("{p50:.0} cm3 are more than one item can be"));
    }
    if let Some(usual) = portion
        .map(|p| p.area_cm2 * p.height_cm)
        .filter(|v| p50 > MAX_USUAL * v)
    {
        return Some(format!(
            "{p50:.0} cm3 are {:.0} times the usual amount",
            p50 / usual
        ));
    }
    let aspect = match shape {
        ShapeClass::Slab | ShapeClass::RoundedSlab | ShapeClass::Pile | ShapeClass::Liquid => {
            MAX_ASPECT_LYING
        }
        _ => MAX_ASPECT,
    };
    let width_cm = 2.0 * (footprint_cm2 / PI).sqrt();
    if mean_height_cm > aspect * width_cm + ASPECT_SPARE_CM {
        return Some(format!(
            "it would be {mean_height_cm:.0} cm high over a width of {width_cm:.0} cm"
        ));
    }
    let dish = &solution.dishes[item.dish?];
    let h = solution.scale.height_cm;
    let radius = dish.circle()?.radius * h;
    let (most, what) = match dish.kind {
        DishKind::Bowl => (MAX_BOWL * PI * radius * radius * dish.rim()? * h, "bowl"),
        DishKind::Plate => (MAX_PLATE * 2.0 / 3.0 * PI * radius.powi(3), "plate"),
        DishKind::Board => return None,
    };
    (p50 > most).then(|| {
        format!(
            "{p50:.0} cm3 are more than its {what} of {:.0} cm holds",
            2.0 * radius
        )
    })
}
