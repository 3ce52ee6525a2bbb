//! How to take a better photo: what each change would gain, the best first.
//!
//! The standard deviation of the meal's ln(mass) is put together from what the items share and what is each one's own. A change takes a
//! part of that away; its gain is the share by which the whole gets smaller.

use crate::contract::reshoot::{Reshoot, ReshootAction};
use crate::contract::result::Item;
use crate::contract::{ItemFlag, ScaleSource};
use crate::geometry::Measured;

use super::meal::{OWN, SAME_SCALE};

/// Gains under this are not worth a photo.
const LEAST_GAIN: f64 = 0.08;
/// How well a card or coin that lies beside the plate tells the scale, sd of ln(height).
const CARD_SIGMA_LN: f64 = 0.02;
/// Under the first tilt heights hardly show; over the second what is behind is hidden. Degrees.
const FLAT_VIEW_DEG: f64 = 15.0;
const STEEP_VIEW_DEG: f64 = 58.0;
/// What is left of an item's own error from 20 to 45 degrees where it was seen from above: on rendered scenes half of the whole error
/// (docs/evaluation.md, rows 9 and 10), of which less is claimed.
const TILTED_OWN: f64 = 0.75;
/// Error that foods share, sd of ln(volume), where their dish is whole and seen from 30 to 45 degrees and nothing else tells the scale:
/// on 23 rendered pairs, which were cut or seen from the side before (docs/evaluation.md).
const WHOLE_DISH_SHARED: f64 = 0.21;
/// Own error, sd of ln(volume), of a food that is whole in the photo, where the edge cut it off.
const WHOLE_OWN: f64 = 0.25;

/// Variances of ln(mass) of the meal.
#[derive(Debug, Clone, Copy)]
struct Part {
    share: f64,
    shared: f64,
    own: f64,
    /// Of density, which no photo shows better.
    food: f64,
    cut_off: bool,
}

/// Changes that are worth it, the one with the largest gain first. `photos`: how many there are already.
pub(super) fn rank(scene: &Measured, items: &[Item], photos: usize) -> Vec<Reshoot> {
    let parts = parts(items);
    let now = sigma(&parts, |p| (p.shared, p.own));
    if now <= 0.0 {
        return Vec::new();
    }
    let tilt = scene.camera.gravity.tilt_deg();
    let mut out = Vec::new();
    let mut offer = |action: ReshootAction, then: f64| {
        let gain = 1.0 - then / now;
        if gain >= LEAST_GAIN {
            out.push(Reshoot { action, gain });
        }
    };
    let photo = &scene.camera.camera;
    let dish_cut = (scene.rims.iter()).any(|rim| leaves(rim, (photo.width, photo.height)));
    if dish_cut || parts.iter().any(|p| p.cut_off) {
        let shared = if dish_cut {
            WHOLE_DISH_SHARED
        } else {
            f64::INFINITY
        };
        let own = |p: &Part| if p.cut_off { p.own.min(WHOLE_OWN) } else { p.own };
        offer(
            ReshootAction::StepBack,
            sigma(&parts, |p| (p.shared.min(shared), own(p))),
        );
    }
    if !scene
        .scale
        .candidates
        .iter()
        .any(|c| c.used && tells_size(c.source))
    {
        let kept = scale_kept(scene);
        offer(
            ReshootAction::LayCard,
            sigma(&parts, |p| (with_scale(p.shared, scene, kept), p.own)),
        );
    }
    if tilt < FLAT_VIEW_DEG {
        offer(
            ReshootAction::Tilt,
            sigma(&parts, |p| (p.shared, TILTED_OWN * p.own)),
        );
    } else if tilt > STEEP_VIEW_DEG && !scene.rims.is_empty() {
        offer(
            ReshootAction::HoldHigher,
            sigma(&parts, |p| (p.shared.min(WHOLE_DISH_SHARED), p.own)),
        );
    }
    if photos == 1 {
        let halved = |variance: f64, correlation: f64| variance * ((1.0 + correlation) / 2.0).sqrt();
        offer(
            ReshootAction::SecondPhoto,
            sigma(&parts, |p| (halved(p.shared, SAME_SCALE), halved(p.own, OWN))),
        );
    }
    out.sort_by(|a, b| b.gain.total_cmp(&a.gain));
    out
}

/// Whether a rim goes on beyond the photo.
fn leaves(rim: &[[f64; 2]], (width, height): (usize, usize)) -> bool {
    let inside = |p: &[f64; 2]| (0.0..=width as f64).contains(&p[0]) && (0.0..=height as f64).contains(&p[1]);
    !rim.iter().all(inside)
}

fn parts(items: &[Item]) -> Vec<Part> {
    let mass: f64 = items.iter().map(|i| i.mass_g.p50).sum();
    let part = |item: &Item| {
        let (shared, own) = (item.volume_sigma_ln.shared, item.volume_sigma_ln.own);
        let rest = item.mass_g.sigma_ln().powi(2) - shared.powi(2) - own.powi(2);
        Part {
            share: item.mass_g.p50 / mass,
            shared,
            own,
            food: rest.max(0.0).sqrt(),
            cut_off: item.flags.contains(&ItemFlag::TouchesEdge),
        }
    };
    if mass > 0.0 {
        items.iter().map(part).collect()
    } else {
        Vec::new()
    }
}

/// Of ln(mass) of the meal, with the shared and own errors that `change` gives.
fn sigma(parts: &[Part], change: impl Fn(&Part) -> (f64, f64)) -> f64 {
    let (mut shared, mut rest) = (0.0, 0.0);
    for part in parts {
        let (s, o) = change(part);
        shared += part.share * s;
        rest += part.share.powi(2) * (o.powi(2) + part.food.powi(2));
    }
    (shared.powi(2) + rest).sqrt()
}

fn tells_size(source: ScaleSource) -> bool {
    !source.is_prior() && source != ScaleSource::MetricDepth
}

/// The share of the scale's error that a card would leave.
fn scale_kept(scene: &Measured) -> f64 {
    let now = scene.scale.camera_height_cm.sigma_ln().max(1e-6);
    let then = (now.powi(-2) + CARD_SIGMA_LN.powi(-2)).powf(-0.5);
    then / now
}

/// A shared error with the scale's part of it made smaller: volumes go with its cube.
fn with_scale(shared: f64, scene: &Measured, kept: f64) -> f64 {
    let of_scale = (3.0 * scene.scale.camera_height_cm.sigma_ln()).min(shared);
    (shared.powi(2) - of_scale.powi(2) + (kept * of_scale).powi(2))
        .max(0.0)
        .sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rim_is_whole_or_goes_on_beyond_the_photo() {
        let whole = [[0.0, 20.0], [50.0, 0.0], [100.0, 20.0], [50.0, 80.0]];
        assert!(!leaves(&whole, (100, 80)));
        assert!(leaves(&whole, (99, 80)) && leaves(&whole, (100, 79)));
        assert!(leaves(&[[-0.5, 20.0], [50.0, 40.0]], (100, 80)));
    }

    #[test]
    fn what_items_share_does_not_average_out() {
        let half = |shared, own| Part {
            share: 0.5,
            shared,
            own,
            food: 0.0,
            cut_off: false,
        };
        let of = |shared, own| sigma(&[half(shared, own); 2], |p| (p.shared, p.own));
        assert!((of(0.3, 0.0) - 0.3).abs() < 1e-12);
        assert!((of(0.0, 0.3) - 0.3 / 2.0_f64.sqrt()).abs() < 1e-12);
        let narrowed = sigma(&[half(0.4, 0.2); 2], |p| (p.shared.min(WHOLE_DISH_SHARED), p.own));
        assert!((narrowed - WHOLE_DISH_SHARED.hypot(0.2 / 2.0_f64.sqrt())).abs() < 1e-12);
    }
}
