//! Food in a bowl: its surface is seen, its bottom and often its near side are not. The bowl is a surface of
//! revolution, so what is seen of the food at some distance from the axis stands for the whole ring.

use super::camera::View;
use super::dish::{DishModel, RINGS};
use super::random::{median, quantile};
use super::surface::{Alignment, Samples};

/// Volume between the rings of the food's surface and the bowl's inner profile, in camera heights cubed.
///
/// `None` where the bowl's rim was not found or too little of the food shows.
pub(crate) fn volume(samples: &Samples, view: &View, alignment: Alignment, dish: &DishModel) -> Option<f64> {
    let circle = dish.circle.as_ref()?;
    let mut rings: [Vec<f64>; RINGS] = std::array::from_fn(|_| Vec::new());
    let mut radii = Vec::with_capacity(samples.points.len());
    for s in &samples.points {
        let zeta = alignment.zeta(s.d);
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
    if radii.len() < 20 {
        return None;
    }
    // A few pixels climb the wall; the level ends where most of it does.
    let edge = quantile(&mut radii, 0.99)?;
    let mut level: [Option<f64>; RINGS] = [None; RINGS];
    for (slot, ring) in level.iter_mut().zip(rings.iter_mut()) {
        if ring.len() >= 3 {
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
        sum += area * (surface - dish.ring(i)).max(0.0);
    }
    Some(sum)
}

/// Equation (17): volume of a liquid of depth `y` in a spherical bowl of rim radius `rim` and depth `depth`.
pub fn cap_volume(rim: f64, depth: f64, y: f64) -> f64 {
    let rho = (depth * depth + rim * rim) / (2.0 * depth);
    std::f64::consts::PI * y * y * (3.0 * rho - y) / 3.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_hemisphere() {
        let v = cap_volume(7.0, 7.0, 7.0);
        assert!((v - 2.0 / 3.0 * std::f64::consts::PI * 343.0).abs() < 1e-9);
    }
}
