//! Coins and cards: things of known size that lie on the table.

use super::camera::View;
use super::circle::fit_circle;
use super::outline::{border_share, outline};
use super::scene::RefObject;
use super::tilt::Ring;
use crate::contract::ReferenceKind;

/// A reference object's outline and a lattice of its pixels.
pub(crate) struct RefSamples {
    pub(crate) kind: ReferenceKind,
    pub(crate) diameter_cm: Option<f64>,
    edge: Vec<[f64; 2]>,
    area_px: f64,
    lattice: Vec<[f64; 2]>,
}

impl RefSamples {
    /// A coin's edge as a circle that tells the tilt.
    pub(crate) fn ring(&self) -> Option<Ring> {
        (self.kind == ReferenceKind::Coin && self.edge.len() >= 24).then(|| Ring {
            pixels: self.edge.clone(),
            // In camera heights: some 2 mm at half a metre.
            height: 0.004,
            // Half a pixel of edge against the radius.
            sigma: 0.25 / (self.area_px / std::f64::consts::PI).sqrt() + 0.004,
        })
    }

    pub(crate) fn collect(object: &RefObject<'_>) -> Option<Self> {
        let mask = object.mask;
        let area = mask.area();
        // Cut by the photo's border it has no size.
        if area < 60 || border_share(mask) > 0.0 {
            return None;
        }
        let stride = ((area as f64 / 2500.0).sqrt().round() as usize).max(1);
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

    /// Radius on the table in camera heights and its relative sd; `None` where it is not a whole disc.
    pub(crate) fn coin(&self, view: &View) -> Option<(f64, f64)> {
        let points: Vec<[f64; 2]> = self.edge.iter().map(|p| view.on_level(p[0], p[1], 0.0)).collect();
        let circle = fit_circle(&points)?;
        let n = self.area_px / self.lattice.len() as f64;
        let area: f64 = self
            .lattice
            .iter()
            .map(|p| n * view.level_area(p[0], p[1], 1.0 / view.q(p[0], p[1])))
            .sum();
        let by_area = (area / std::f64::consts::PI).sqrt();
        let whole = circle.coverage > 0.9
            && circle.residual_rel < 0.08
            && (by_area / circle.radius - 1.0).abs() < 0.06;
        let radius_px = (self.area_px / std::f64::consts::PI).sqrt();
        whole.then(|| {
            let radius = (by_area * circle.radius).sqrt();
            (radius, (0.3 / radius_px).hypot(0.006))
        })
    }

    /// Camera height by an ID-1 card lying flat, from area and second moments; `None` where it is no whole card.
    pub(crate) fn card(&self, view: &View) -> Option<(f64, f64)> {
        let n = self.area_px / self.lattice.len() as f64;
        let (mut area, mut mx, mut my) = (0.0, 0.0, 0.0);
        let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
        for p in &self.lattice {
            let w = n * view.level_area(p[0], p[1], 1.0 / view.q(p[0], p[1]));
            let g = view.on_level(p[0], p[1], 0.0);
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
        let (card_long, card_short) = (8.56, 5.398);
        let aspect = long / short / (card_long / card_short);
        let filled = area / (long * short);
        let whole = (aspect - 1.0).abs() < 0.05 && (filled - 1.0).abs() < 0.05;
        let corner_loss = 0.9945; // rounded corners of 3.18 mm
        whole.then(|| {
            let height = (card_long * card_short * corner_loss / area).sqrt();
            (
                height,
                (0.3 / self.area_px.sqrt())
                    .hypot(0.006)
                    .hypot(0.3 * (aspect - 1.0)),
            )
        })
    }
}
