//! What is odd enough about an item to say so.

use super::item::ItemSolution;
use super::solution::Solution;
use crate::contract::ItemFlag;
use crate::geometry::food::integral::Integrals;
use crate::geometry::types::Scene;

/// Mean heights and volumes of food.
const MEAN_HEIGHT_CM: std::ops::RangeInclusive<f64> = 0.4..=7.0;
const VOLUME_CM3: std::ops::RangeInclusive<f64> = 3.0..=1500.0;
/// Over this height as a share of its width an item is tall, if most of its volume rests on the raster.
const TALL: f64 = 0.7;
/// Least height over the table that the raster must show of something that is not on a dish.
const FLAT_CM: f64 = 0.25;

/// Flags of one item from its own figures. `relief_share`: how much of the volume rests on the depth raster.
pub(super) fn of_figures(
    integrals: &Integrals,
    volume_cm3: f64,
    mean_height_cm: f64,
    relief_share: f64,
    flags: &mut Vec<ItemFlag>,
) {
    if mean_height_cm < *MEAN_HEIGHT_CM.start() {
        flags.push(ItemFlag::Thin);
    }
    if mean_height_cm > *MEAN_HEIGHT_CM.end() {
        flags.push(ItemFlag::MeanHeightOutOfRange);
    }
    if !VOLUME_CM3.contains(&volume_cm3) {
        flags.push(ItemFlag::VolumeOutOfRange);
    }
    let width = 4.0 * integrals.spread[1];
    if relief_share > 0.5 && integrals.max_height > TALL * width {
        flags.push(ItemFlag::Tall);
    }
}

/// Whether it surely lies flat on the table: print, a napkin, a shadow.
pub(super) fn is_flat(item: &ItemSolution, solution: &Solution, scene: &Scene<'_>) -> bool {
    let h = solution.scale.height_cm;
    let certain = solution.fit.residual_rel.hypot(scene.relief_sigma) * h < FLAT_CM;
    item.dish.is_none() && certain && item.integrals.mean_height() * h < FLAT_CM
}
