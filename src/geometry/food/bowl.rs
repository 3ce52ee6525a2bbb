//! Food alone in a bowl: its surface is seen, its bottom and often its near side are not (geometry.md 7.5).

use super::volume::CubicHeights;
use crate::geometry::dish::model::DishModel;
use crate::geometry::dish::profile::RINGS;
use crate::geometry::math::stats::{median, quantile};
use crate::geometry::raster::samples::Samples;
use crate::geometry::raster::surface::Alignment;
use crate::geometry::view::camera::View;

/// Sd of ln(volume) of this way to measure.
pub(crate) const SIGMA_LN: f64 = 0.1;
/// Fewest samples of the food, and of one ring's height.
const MIN_SAMPLES: usize = 20;
const MIN_RING_SAMPLES: usize = 3;

/// Volume between the rings of the food's surface and the bowl's inner profile, in camera heights cubed.
///
/// `None` where the bowl's rim was not found or too little of the food shows.
pub(crate) fn volume(
    samples: &Samples,
    view: &View,
    alignment: Alignment,
    dish: &DishModel,
) -> Option<CubicHeights> {
    let (circle, profile) = dish.section()?;
    let mut rings: [Vec<f64>; RINGS] = std::array::from_fn(|_| Vec::new());
    let mut radii = Vec::with_capacity(samples.points.len());
    for s in &samples.points {
        let zeta = alignment.zeta(s.d, view.camera.ray(s.u, s.v));
        let height = view.height(s.u, s.v, zeta);
        if !(zeta > 0.0 && height < 0.8) {
            continue;
        }
        let ground = view.on_level(s.u, s.v, height);
        let r = (circle.offset(&ground) / circle.radius + 1.0) * RINGS as f64;
        if let Some(ring) = rings.get_mut(r as usize) {
            ring.push(height);
            radii.push(r);
        }
    }
    if radii.len() < MIN_SAMPLES {
        return None;
    }
    // A few pixels climb the wall; the level ends where most of it does.
    let edge = quantile(&mut radii, 0.99)?;
    let mut level: [Option<f64>; RINGS] = [None; RINGS];
    for (slot, ring) in level.iter_mut().zip(rings.iter_mut()) {
        if ring.len() >= MIN_RING_SAMPLES {
            *slot = median(ring);
        }
    }
    let step = circle.radius / RINGS as f64;
    let mut sum = 0.0;
    for i in 0..RINGS {
        if i as f64 > edge {
            break;
        }
        let inner = i as f64 * step;
        let outer = ((i + 1) as f64).min(edge) * step;
        let surface = level[i].or_else(|| {
            let below = (0..i).rev().find_map(|k| level[k]);
            let above = (i..RINGS).find_map(|k| level[k]);
            match (below, above) {
                (Some(a), Some(b)) => Some(0.5 * (a + b)),
                (a, b) => a.or(b),
            }
        })?;
        let area = std::f64::consts::PI * (outer * outer - inner * inner);
        sum += area * (surface - profile.ring(i)).max(0.0);
    }
    Some(CubicHeights(sum))
}
