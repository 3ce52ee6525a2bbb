//! Gravity by what is seen, where none was stated (geometry.md 4.3, 4.4).

use super::readings::Readings;
use super::warnings::warn;
use crate::contract::{DishKind, TiltSource, Warning, WarningCode};
use crate::geometry::error::GeometryError;
use crate::geometry::raster::free_plane::free_plane;
use crate::geometry::view::camera::View;
use crate::geometry::view::gravity::Gravity;
use crate::geometry::view::level::consensus;
use crate::geometry::view::tilt::Ring;

/// Less than this and the table looks level in the raster: an unknown shift can hide some tilt.
const STEEP_DEG: f64 = 5.7;
/// Sd of a tilt that is only assumed, and least sd of one by circles, degrees.
const ASSUMED_SIGMA_DEG: f64 = 15.0;
const CIRCLE_SIGMA_DEG: f64 = 2.0;
/// A plate's rim before any fit: its height in camera heights, and the sd of its ellipticity.
const PLATE_RIM_HEIGHT: f64 = 0.05;
const PLATE_RIM_SIGMA: f64 = 0.015;
/// A table that looks this much steeper than the coin on it has a coin that stands. Set with the bound below on ECUSTFD
/// photos from above and from the side.
const COIN_OFF_DEG: f64 = 10.0;
/// And whose ellipse is rounder than the table's would be by more than a mask is wrong.
const COIN_OFF_ASPECT: f64 = 0.045;
/// A plate confirms the coin unless the table, too, is this many sigmas from both.
const PLATE_TABLE_SIGMAS: f64 = 3.0;

/// Gravity by sight, and by what: circles and the table together, else the table alone, else straight down.
pub(super) fn gravity_by_sight(
    readings: &Readings<'_, '_>,
    coins: &[Ring],
    warnings: &mut Vec<Warning>,
) -> Result<(Gravity, TiltSource), GeometryError> {
    let rings: Vec<Ring> = coins.iter().cloned().chain(rings_by_plates(readings)).collect();
    let table = gravity_by_table(readings);
    if let Some(mut found) = consensus(readings.scene.camera, &rings, table.as_ref()) {
        let by_plate = found.round[coins.len()..].contains(&true);
        let far_off =
            |table: &Gravity| found.gravity.angle_deg(table) > PLATE_TABLE_SIGMAS * table.tilt_sigma_deg;
        if let Some(table) = table.filter(|t| !by_plate || far_off(t)) {
            check_coins(readings, coins, &table)?;
        }
        found.gravity.tilt_sigma_deg = found.gravity.tilt_sigma_deg.max(CIRCLE_SIGMA_DEG);
        return Ok((found.gravity, TiltSource::Circle));
    }
    if let Some(table) = table.filter(|t| t.tilt_deg() > STEEP_DEG) {
        warn(
            warnings,
            WarningCode::TiltByDepth,
            "no pitch was sent and no round plate or coin was seen: the tilt is read off the depth",
        );
        return Ok((table, TiltSource::Depth));
    }
    warn(
        warnings,
        WarningCode::TiltUnknown,
        "no pitch was sent and nothing shows the tilt: taken as straight down",
    );
    Ok((
        Gravity::from_pitch(0.0, 0.0, ASSUMED_SIGMA_DEG),
        TiltSource::NadirAssumed,
    ))
}

/// The edges of plates, before any fit.
pub(super) fn rings_by_plates<'r>(readings: &'r Readings<'_, '_>) -> impl Iterator<Item = Ring> + 'r {
    let plates = readings.dishes.iter().filter(|d| d.kind == DishKind::Plate);
    plates.map(|d| Ring {
        pixels: d.edge.iter().map(|p| [p[0], p[1]]).collect(),
        height: PLATE_RIM_HEIGHT,
        sigma: PLATE_RIM_SIGMA,
    })
}

/// A coin lies flat only if the table is seen from about where the coin by itself is. Of several things taken for
/// coins the roundest is compared: nothing that lies flat is rounder than the table's tilt allows.
fn check_coins(readings: &Readings<'_, '_>, coins: &[Ring], table: &Gravity) -> Result<(), GeometryError> {
    let alone = |coin: &Ring| consensus(readings.scene.camera, std::slice::from_ref(coin), None);
    let Some(coin_deg) = coins
        .iter()
        .filter_map(|c| alone(c).map(|l| l.gravity.tilt_deg()))
        .min_by(f64::total_cmp)
    else {
        return Ok(());
    };
    let table_deg = table.tilt_deg();
    // From nearly above, tilts that differ much make ellipses that hardly do.
    let rounder = coin_deg.to_radians().cos() - table_deg.to_radians().cos();
    if table_deg - coin_deg > COIN_OFF_DEG && rounder > COIN_OFF_ASPECT {
        return Err(GeometryError::CoinOnEdge { coin_deg, table_deg });
    }
    Ok(())
}

/// Gravity by the direction and steepness in which the table's disparity grows, its shift taken for 0. `None`
/// where the table is no plane in the raster.
pub(super) fn gravity_by_table(readings: &Readings<'_, '_>) -> Option<Gravity> {
    let view = View::new(
        readings.scene.camera,
        &Gravity::from_pitch(0.0, 0.0, ASSUMED_SIGMA_DEG),
    );
    let (n, cov) = free_plane(&readings.table, &readings.on_table, &view)?;
    let (grow, spread) = (n[0].hypot(n[1]), (cov[0][0] + cov[1][1]).sqrt());
    let clear = 3.0 * spread < grow.max(0.1 * n[2].abs());
    clear
        .then(|| {
            let down = [n[0], n[1], n[2].max(0.02 * grow)];
            Gravity::from_camera(down, readings.scene.table_tilt_sigma_deg)
        })
        .flatten()
}
