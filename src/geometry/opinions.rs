//! Every opinion of the camera's height over the table.

use super::camera::View;
use super::circle::Circle;
use super::dish::DishModel;
use super::prepared::Prepared;
use super::scale::ScaleCandidate;
use super::scene::Depth;
use super::solve::ItemSolution;
use super::table::TableFit;
use crate::contract::{DishKind, ReferenceKind, ScaleSource};

/// Lens over table in a usual photo of a meal.
const USUAL_HEIGHT_CM: f64 = 38.0;

impl Prepared<'_, '_> {
    /// Every opinion of the camera's height.
    pub(crate) fn candidates(
        &self,
        view: &View,
        fit: &TableFit,
        dishes: &[DishModel],
        helping: Option<(f64, f64)>,
    ) -> Vec<ScaleCandidate> {
        let mut out = Vec::new();
        let mut add = |source, height_cm: f64, sigma_ln| {
            out.push(ScaleCandidate {
                source,
                height_cm,
                sigma_ln,
            });
        };
        if let Some(h) = self.scene.camera_height_cm {
            add(ScaleSource::ClientHeight, h.p50, h.sigma_ln().max(0.005));
        }
        if let Depth::Metric { scale_sigma_ln, .. } = self.scene.depth {
            add(ScaleSource::MetricDepth, 100.0 / fit.alignment.a, scale_sigma_ln);
        }
        for (model, given) in dishes.iter().zip(&self.scene.dishes) {
            let Some(circle) = model.circle else { continue };
            let fit_sigma = circle_sigma(&circle).hypot(self.scene.outline_sigma);
            match (given.diameter_cm, model.kind) {
                (Some(d), _) => add(
                    ScaleSource::PlateKnown,
                    0.5 * d / circle.radius,
                    0.008_f64.hypot(fit_sigma),
                ),
                (None, DishKind::Plate) => add(
                    ScaleSource::PlatePrior,
                    0.5 * 26.5 / circle.radius,
                    0.10_f64.hypot(fit_sigma),
                ),
                (None, DishKind::Bowl) => add(
                    ScaleSource::BowlPrior,
                    0.5 * 15.0 / circle.radius,
                    0.18_f64.hypot(fit_sigma),
                ),
                (None, DishKind::Board) => {}
            }
        }
        for model in dishes.iter().filter(|d| d.kind == DishKind::Board) {
            if let Some(half) = model.half_length() {
                add(ScaleSource::BoardPrior, 0.5 * 34.0 / half, 0.2);
            }
        }
        if let Some((size, sigma)) = helping {
            add(ScaleSource::FoodPrior, size, sigma);
        }
        for reference in self.references.iter().flatten() {
            match reference.kind {
                ReferenceKind::Coin => {
                    if let (Some(d), Some((radius, sigma))) = (reference.diameter_cm, reference.coin(view)) {
                        // The edge seen is the coin's upper one, about 2 mm over the table.
                        add(
                            ScaleSource::Coin,
                            0.5 * d / radius + 0.18,
                            sigma.hypot(self.scene.outline_sigma),
                        );
                    }
                }
                ReferenceKind::Card => {
                    if let Some((height, sigma)) = reference.card(view) {
                        add(
                            ScaleSource::Card,
                            height + 0.08,
                            sigma.hypot(self.scene.outline_sigma),
                        );
                    }
                }
                ReferenceKind::Plate => {}
            }
        }
        add(ScaleSource::HeightPrior, USUAL_HEIGHT_CM, 0.3);
        out
    }
}

/// Camera height at which the items would be usual helpings, and its sd. Of food that has no usual area the volume
/// speaks (110 cm3, in bowls 250): single items scatter by a factor of 2.4. What is usual is itself uncertain.
pub(crate) fn helping(items: &[ItemSolution], dishes: &[DishModel]) -> Option<(f64, f64)> {
    let (mut sum, mut weight) = (0.0, 0.0);
    for item in items {
        let bowl = item.dish.is_some_and(|d| dishes[d].kind == DishKind::Bowl);
        let by_area = item
            .portion
            .filter(|_| !bowl)
            .and_then(|(p, shape)| p.camera_height(shape, &item.shadow, item.base, USUAL_HEIGHT_CM));
        let (height, sigma) = match by_area {
            Some(opinion) => opinion,
            None if item.volume_cm3 > 1e-7 => (
                (if bowl { 250.0_f64 } else { 110.0 } / item.volume_cm3).cbrt(),
                0.29,
            ),
            None => continue,
        };
        let w = sigma.powi(-2);
        sum += w * height.ln();
        weight += w;
    }
    (weight > 0.0).then(|| ((sum / weight).exp(), weight.powf(-0.5).hypot(0.12)))
}

/// Relative sd of a rim's radius by its fit: partial arcs and wavy edges are worse.
fn circle_sigma(circle: &Circle) -> f64 {
    let arc = (0.75 / circle.coverage).max(1.0).powi(2);
    circle.residual_rel * 0.3 * arc
}
