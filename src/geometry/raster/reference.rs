//! Coins and cards: things of known size that lie on the table (geometry.md 6.3).

use std::f64::consts::PI;

use super::outline::{border_share, outline};
use crate::contract::ReferenceKind;
use crate::geometry::math::circle::fit_circle;
use crate::geometry::priors::{CARD_CORNERS, CARD_SIDES_CM};
use crate::geometry::types::RefObject;
use crate::geometry::view::camera::View;
use crate::geometry::view::tilt::Ring;

/// Smaller masks have no measurable size, px.
const MIN_AREA_PX: usize = 60;
/// Pixels that are kept of one, about.
const LATTICE_SAMPLES: f64 = 2500.0;
/// Fewest edge points of a circle that shows the tilt.
const MIN_EDGE_POINTS: usize = 24;
/// Height of a coin's upper edge, in camera heights: some 2 mm at half a metre.
const COIN_EDGE: f64 = 0.004;
/// Error of a mask's edge, px, and relative error of what is measured by it on top.
const EDGE_PX: f64 = 0.3;
const SIZE_SIGMA: f64 = 0.006;
/// A whole disc: least coverage, largest residual, and largest difference between the radii by edge and by area.
const DISC_COVERAGE: f64 = 0.9;
const DISC_RESIDUAL: f64 = 0.08;
const DISC_DIFFERENCE: f64 = 0.06;
/// A whole card: largest relative error of its aspect and of its filling.
const CARD_DIFFERENCE: f64 = 0.05;

/// A reference object's outline and a lattice of its pixels.
pub(crate) struct RefSamples {
    pub(crate) kind: ReferenceKind,
    pub(crate) diameter_cm: Option<f64>,
    edge: Vec<[f64; 2]>,
    area_px: f64,
    lattice: Vec<[f64; 2]>,
}

/// A length in camera heights or cm, and its relative sd.
type Measure = (f64, f64);

impl RefSamples {
    /// `None` where it is too small, or cut by the photo's border: then it has no size.
    pub(crate) fn collect(object: &RefObject<'_>) -> Option<Self> {
        let mask = object.mask;
        let area = mask.area();
        if area < MIN_AREA_PX || border_share(mask) > 0.0 {
            return None;
        }
        let stride = ((area as f64 / LATTICE_SAMPLES).sqrt().round() as usize).max(1);
        let mut lattice = Vec::with_capacity(area / (stride * stride) + 64);
        mask.for_each_run(|x, a, b| {
            if x % stride == 0 {
                for y in (a.next_multiple_of(stride)..b).step_by(stride) {
                    lattice.push([x as f64 + 0.5, y as f64 + 0.5]);
                }
            }
        });
        Some(Self {
            kind: object.kind,
            diameter_cm: object.diameter_cm,
            edge: outline(mask),
            area_px: area as f64,
            lattice,
        })
    }

    /// Radius of a disc of this area, px.
    fn radius_px(&self) -> f64 {
        (self.area_px / PI).sqrt()
    }

    /// A coin's edge as a circle that shows the tilt.
    pub(crate) fn ring(&self) -> Option<Ring> {
        (self.kind == ReferenceKind::Coin && self.edge.len() >= MIN_EDGE_POINTS).then(|| Ring {
            pixels: self.edge.clone(),
            height: COIN_EDGE,
            // Half a pixel of edge against the radius.
            sigma: 0.25 / self.radius_px() + 0.004,
        })
    }

    /// Every lattice pixel's ground position and the area on the table that it stands for.
    fn patches(&self, view: &View) -> impl Iterator<Item = ([f64; 2], f64)> {
        let n = self.area_px / self.lattice.len() as f64;
        self.lattice.iter().map(move |p| {
            let area = n * view.level_area(p[0], p[1], 1.0 / view.q(p[0], p[1]));
            (view.on_level(p[0], p[1], 0.0), area)
        })
    }

    /// Radius on the table in camera heights; `None` where it is not a whole disc.
    pub(crate) fn coin_radius(&self, view: &View) -> Option<Measure> {
        let points: Vec<[f64; 2]> = self.edge.iter().map(|p| view.on_level(p[0], p[1], 0.0)).collect();
        let circle = fit_circle(&points)?;
        let area: f64 = self.patches(view).map(|(_, area)| area).sum();
        let by_area = (area / PI).sqrt();
        let whole = circle.coverage > DISC_COVERAGE
            && circle.residual_rel < DISC_RESIDUAL
            && (by_area / circle.radius - 1.0).abs() < DISC_DIFFERENCE;
        whole.then(|| {
            let radius = (by_area * circle.radius).sqrt();
            (radius, (EDGE_PX / self.radius_px()).hypot(SIZE_SIGMA))
        })
    }

    /// Camera height in cm by a card lying flat, from area and second moments; `None` where it is no whole card.
    pub(crate) fn camera_height_by_card(&self, view: &View) -> Option<Measure> {
        let (mut area, mut mx, mut my) = (0.0, 0.0, 0.0);
        let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
        for (g, w) in self.patches(view) {
            area += w;
            mx += w * g[0];
            my += w * g[1];
            xx += w * g[0] * g[0];
            yy += w * g[1] * g[1];
            xy += w * g[0] * g[1];
        }
        let (mx, my) = (mx / area, my / area);
        let (xx, yy, xy) = (xx / area - mx * mx, yy / area - my * my, xy / area - mx * my);
        let (mean, half) = (0.5 * (xx + yy), (0.25 * (xx - yy).powi(2) + xy * xy).sqrt());
        let (long, short) = (
            (12.0 * (mean + half)).sqrt(),
            (12.0 * (mean - half).max(0.0)).sqrt(),
        );
        let [card_long, card_short] = CARD_SIDES_CM;
        let aspect = long / short / (card_long / card_short);
        let filled = area / (long * short);
        let whole = (aspect - 1.0).abs() < CARD_DIFFERENCE && (filled - 1.0).abs() < CARD_DIFFERENCE;
        whole.then(|| {
            let sigma = (EDGE_PX / self.area_px.sqrt()).hypot(SIZE_SIGMA);
            (
                (card_long * card_short * CARD_CORNERS / area).sqrt(),
                sigma.hypot(0.3 * (aspect - 1.0)),
            )
        })
    }
}
