//! The camera's height over the table by every source there is (geometry.md 6.1).

use super::item::ItemSolution;
use super::readings::Readings;
use super::scale::ScaleCandidate;
use crate::contract::{DishKind, ReferenceKind, ScaleSource};
use crate::geometry::dish::model::DishModel;
use crate::geometry::math::circle::Circle;
use crate::geometry::priors::{
    BOARD_LENGTH_CM, BOWL_DIAMETER_CM, BOWL_VOLUME_CM3, CAMERA_HEIGHT_CM, CARD_EDGE_CM, COIN_EDGE_CM,
    ITEM_VOLUME_CM3, PLATE_DIAMETER_CM, PORTIONS_SIGMA_LN, STATED_DIAMETER_SIGMA_LN,
};
use crate::geometry::raster::reference::RefSamples;
use crate::geometry::raster::table_fit::TableFit;
use crate::geometry::types::{Depth, Dish, Scene};
use crate::geometry::view::camera::View;

/// No client knows the height of its lens better than this, sd of the logarithm.
const CLIENT_SIGMA_LN_MIN: f64 = 0.005;
/// Part of a rim's residual that its radius shares, for three quarters of a circle or more.
const RESIDUAL_SHARE: f64 = 0.3;
const FULL_COVERAGE: f64 = 0.75;
/// Smaller volumes say nothing of the scale, camera heights cubed.
const MIN_VOLUME: f64 = 1e-7;

pub(crate) fn candidates(
    readings: &Readings<'_, '_>,
    view: &View,
    fit: &TableFit,
    dishes: &[DishModel],
    items: &[ItemSolution],
) -> Vec<ScaleCandidate> {
    let scene = readings.scene;
    let mut out = Vec::new();
    if let Some(h) = scene.camera_height_cm {
        let sigma = h.sigma_ln().max(CLIENT_SIGMA_LN_MIN);
        out.push(candidate(ScaleSource::ClientHeight, h.p50, sigma));
    }
    if let Depth::Metric { scale_sigma_ln, .. } = scene.depth {
        let height_cm = 100.0 / fit.alignment.a;
        out.push(candidate(ScaleSource::MetricDepth, height_cm, scale_sigma_ln));
    }
    let rims = dishes.iter().zip(&scene.dishes);
    out.extend(rims.filter_map(|(model, dish)| by_rim(model, dish, scene.outline_sigma)));
    out.extend(dishes.iter().filter_map(by_board));
    out.extend(by_portions(items));
    out.extend(
        readings
            .references
            .iter()
            .flatten()
            .filter_map(|reference| by_reference(reference, view, scene)),
    );
    out.push(candidate(
        ScaleSource::HeightPrior,
        CAMERA_HEIGHT_CM.value,
        CAMERA_HEIGHT_CM.sigma,
    ));
    out
}

fn candidate(source: ScaleSource, height_cm: f64, sigma_ln: f64) -> ScaleCandidate {
    ScaleCandidate {
        source,
        height_cm,
        sigma_ln,
    }
}

/// A plate or bowl of stated or usual diameter.
fn by_rim(model: &DishModel, dish: &Dish<'_>, outline_sigma: f64) -> Option<ScaleCandidate> {
    let circle = model.circle()?;
    let (source, diameter_cm, sigma) = match (dish.diameter_cm, model.kind) {
        (Some(stated), _) => (ScaleSource::PlateKnown, stated, STATED_DIAMETER_SIGMA_LN),
        (None, DishKind::Plate) => (
            ScaleSource::PlatePrior,
            PLATE_DIAMETER_CM.value,
            PLATE_DIAMETER_CM.sigma,
        ),
        (None, DishKind::Bowl) => (
            ScaleSource::BowlPrior,
            BOWL_DIAMETER_CM.value,
            BOWL_DIAMETER_CM.sigma,
        ),
        (None, DishKind::Board) => return None,
    };
    let fit_sigma = circle_sigma(circle).hypot(outline_sigma);
    Some(candidate(
        source,
        0.5 * diameter_cm / circle.radius,
        sigma.hypot(fit_sigma),
    ))
}

fn by_board(model: &DishModel) -> Option<ScaleCandidate> {
    let half = model.half_length().filter(|_| model.kind == DishKind::Board)?;
    let height_cm = 0.5 * BOARD_LENGTH_CM.value / half;
    Some(candidate(
        ScaleSource::BoardPrior,
        height_cm,
        BOARD_LENGTH_CM.sigma,
    ))
}

/// A coin of stated diameter, or a card.
fn by_reference(reference: &RefSamples, view: &View, scene: &Scene<'_>) -> Option<ScaleCandidate> {
    let (source, height_cm, sigma) = match reference.kind {
        ReferenceKind::Coin => {
            let diameter_cm = reference.diameter_cm?;
            let (radius, sigma) = reference.coin_radius(view)?;
            (
                ScaleSource::Coin,
                0.5 * diameter_cm / radius + COIN_EDGE_CM,
                sigma,
            )
        }
        ReferenceKind::Card => {
            let (height, sigma) = reference.camera_height_by_card(view)?;
            (ScaleSource::Card, height + CARD_EDGE_CM, sigma)
        }
        // Measured as a dish.
        ReferenceKind::Plate => return None,
    };
    Some(candidate(source, height_cm, sigma.hypot(scene.outline_sigma)))
}

/// Camera height at which the items would be usual portions: off bowls by their area, else by their volume (geometry.md 7.7).
fn by_portions(items: &[ItemSolution]) -> Option<ScaleCandidate> {
    let (mut sum, mut weight) = (0.0, 0.0);
    for item in items {
        let by_area = item
            .portion
            .filter(|_| !item.in_bowl)
            .and_then(|p| p.camera_height(&item.outline, item.base, CAMERA_HEIGHT_CM.value));
        let (height, sigma) = match by_area {
            Some(found) => found,
            None if item.volume.0 > MIN_VOLUME => {
                let usual = if item.in_bowl {
                    BOWL_VOLUME_CM3
                } else {
                    ITEM_VOLUME_CM3
                };
                (item.volume.camera_height_cm(usual.value), usual.sigma / 3.0)
            }
            None => continue,
        };
        let w = sigma.powi(-2);
        sum += w * height.ln();
        weight += w;
    }
    (weight > 0.0).then(|| {
        candidate(
            ScaleSource::FoodPrior,
            (sum / weight).exp(),
            weight.powf(-0.5).hypot(PORTIONS_SIGMA_LN),
        )
    })
}

/// Relative sd of a rim's radius by its fit: partial arcs and wavy edges are worse.
fn circle_sigma(circle: &Circle) -> f64 {
    let arc = (FULL_COVERAGE / circle.coverage).max(1.0).powi(2);
    circle.residual_rel * RESIDUAL_SHARE * arc
}
