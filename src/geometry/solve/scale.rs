//! Candidates for the camera's height over the table, fused in log space (geometry.md 6.2).

use crate::contract::result::{ScaleCandidate as Reported, ScaleInfo};
use crate::contract::{Estimated, ScaleSource};
use crate::geometry::math::stats::HUBER;
use crate::geometry::priors::CAMERA_HEIGHT_RANGE_CM;

/// The camera's height by one source.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ScaleCandidate {
    pub(crate) source: ScaleSource,
    pub(crate) height_cm: f64,
    pub(crate) sigma_ln: f64,
}

/// What the candidates agree on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ScaleFusion {
    pub(crate) height_cm: f64,
    pub(crate) sigma_ln: f64,
    /// The one source with over 90 % of the weight, or `None` where several share.
    pub(crate) source: Option<ScaleSource>,
    pub(crate) candidates: Vec<(ScaleCandidate, bool)>,
}

/// A candidate, and whether it is used.
type Judged = (ScaleCandidate, bool);

/// Least sigma of ln(height): no ruler in a photo is better than this.
const SIGMA_FLOOR: f64 = 0.002;
/// A candidate farther than this many combined sigmas from the rest is left out.
const CONTRADICTION_SIGMAS: f64 = 2.5;
/// A prior with more than this many times the sigma of the best measurement is left out.
const PRIOR_SIGMA_RATIO: f64 = 5.0;
/// Several times the sigma of all priors together, and a ratio of heights: where a card or coin, alone, is off by both, it is none or a
/// part of one. A dessert plate stays within.
const IMPOSTOR_SIGMAS: f64 = 4.0;
const IMPOSTOR_RATIO: f64 = 1.8;
/// Share of the weight from which one source names the answer.
const DECISIVE_WEIGHT: f64 = 0.9;

/// Inverse-variance mean of ln(height), without outclassed priors, contradictions and what only looks like a card or coin. Priors alone are all used, by Huber's
/// estimate. Beyond [`CAMERA_HEIGHT_RANGE_CM`] the result keeps its value and loses its certainty. `None` without candidates.
pub(crate) fn fuse(candidates: &[ScaleCandidate]) -> Option<ScaleFusion> {
    let mut all: Vec<Judged> = candidates
        .iter()
        .filter(|c| c.height_cm.is_finite() && c.height_cm > 0.0 && c.sigma_ln.is_finite())
        .map(|c| (*c, true))
        .collect();
    reject_impostor(&mut all);
    let best = all
        .iter()
        .filter(|(c, used)| *used && !c.source.is_prior())
        .map(|(c, _)| c.sigma())
        .fold(f64::INFINITY, f64::min);
    for (c, used) in &mut all {
        *used &= !(c.source.is_prior() && c.sigma_ln > PRIOR_SIGMA_RATIO * best);
    }
    let (ln, sigma) = if best.is_finite() {
        reject_contradictions(&mut all);
        mean_but(&all, usize::MAX)?
    } else {
        huber_mean(&all)?
    };
    let source = all
        .iter()
        .find(|(c, used)| *used && (sigma / c.sigma()).powi(2) > DECISIVE_WEIGHT)
        .map(|(c, _)| c.source);
    let beyond = (CAMERA_HEIGHT_RANGE_CM.start().ln() - ln)
        .max(ln - CAMERA_HEIGHT_RANGE_CM.end().ln())
        .max(0.0);
    Some(ScaleFusion {
        height_cm: ln.exp(),
        sigma_ln: sigma.hypot(beyond),
        source,
        candidates: all,
    })
}

/// Leaves out a card or coin that nothing of stated size vouches for and that usual plates, heights and portions together speak against.
fn reject_impostor(all: &mut [Judged]) {
    let measured: Vec<usize> = (0..all.len()).filter(|&i| !all[i].0.source.is_prior()).collect();
    let [only] = measured[..] else {
        return;
    };
    let seen = all[only].0;
    let priors: Vec<Judged> = all.iter().filter(|(c, _)| c.source.is_prior()).copied().collect();
    if let (ScaleSource::Card | ScaleSource::Coin, Some((ln, sigma))) = (seen.source, huber_mean(&priors)) {
        let off = (seen.height_cm.ln() - ln).abs();
        all[only].1 = off < IMPOSTOR_RATIO.ln() || off < IMPOSTOR_SIGMAS * sigma.hypot(seen.sigma());
    }
}

impl ScaleCandidate {
    fn sigma(&self) -> f64 {
        self.sigma_ln.max(SIGMA_FLOOR)
    }
}

/// ln(height) and its sd by all that are used, without the one at `skip`.
fn mean_but(all: &[Judged], skip: usize) -> Option<(f64, f64)> {
    let (mut sum, mut weight) = (0.0, 0.0);
    for (i, (c, used)) in all.iter().enumerate() {
        if *used && i != skip {
            let w = c.sigma().powi(-2);
            sum += w * c.height_cm.ln();
            weight += w;
        }
    }
    (weight > 0.0).then(|| (sum / weight, weight.powf(-0.5)))
}

/// While any candidate contradicts the mean of the others, the least certain of the contradicting ones is left out; a prior goes
/// before a measurement, and what only looks like a card before a stated size.
fn reject_contradictions(all: &mut [Judged]) {
    let contradicts = |all: &[Judged], i: usize| {
        let c = &all[i].0;
        mean_but(all, i).is_some_and(|(ln, sigma)| {
            (c.height_cm.ln() - ln).abs() > CONTRADICTION_SIGMAS * sigma.hypot(c.sigma())
        })
    };
    loop {
        let worst = (0..all.len())
            .filter(|&i| all[i].1 && contradicts(all, i))
            .max_by(|&i, &j| {
                let (a, b) = (&all[i].0, &all[j].0);
                let doubt = |c: &ScaleCandidate| (c.source.is_prior(), c.source == ScaleSource::Card);
                doubt(a).cmp(&doubt(b)).then(a.sigma_ln.total_cmp(&b.sigma_ln))
            });
        match worst {
            Some(i) => all[i].1 = false,
            None => return,
        }
    }
}

/// What priors alone agree on, by Huber's estimate of ln(height), and its sd. It is convex: a photo that is a little
/// different has an answer that is a little different, where leaving one prior out would throw the scale about.
fn huber_mean(all: &[Judged]) -> Option<(f64, f64)> {
    let used: Vec<&ScaleCandidate> = all.iter().filter(|(_, used)| *used).map(|(c, _)| c).collect();
    let mean = |weight: &dyn Fn(&ScaleCandidate) -> f64| {
        let sum: f64 = used.iter().map(|c| weight(c)).sum();
        let ln: f64 = used.iter().map(|c| weight(c) * c.height_cm.ln()).sum();
        (sum > 0.0).then(|| (ln / sum, sum.powf(-0.5)))
    };
    let precision = |c: &ScaleCandidate| c.sigma().powi(-2);
    let mut found = mean(&precision)?;
    for _ in 0..100 {
        let before = found.0;
        let off = |c: &ScaleCandidate| (c.height_cm.ln() - before).abs() / c.sigma();
        found = mean(&|c| precision(c) * (HUBER / off(c)).min(1.0))?;
        if (found.0 - before).abs() < 1e-9 {
            break;
        }
    }
    Some(found)
}

impl ScaleFusion {
    /// As reported to the client.
    pub(crate) fn info(&self) -> ScaleInfo {
        ScaleInfo {
            source: self.source.unwrap_or(ScaleSource::Fused),
            camera_height_cm: Estimated::log_normal(self.height_cm, self.sigma_ln),
            candidates: self
                .candidates
                .iter()
                .map(|(c, used)| Reported {
                    source: c.source,
                    camera_height_cm: c.height_cm,
                    sigma_ln: c.sigma_ln,
                    used: *used,
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn c(source: ScaleSource, height_cm: f64, sigma_ln: f64) -> ScaleCandidate {
        ScaleCandidate {
            source,
            height_cm,
            sigma_ln,
        }
    }

    #[test]
    fn inverse_variance_in_log_space() {
        let f = fuse(&[c(ScaleSource::Coin, 40.0, 0.1), c(ScaleSource::Card, 44.0, 0.1)]).unwrap();
        assert!((f.height_cm - (40.0_f64 * 44.0).sqrt()).abs() < 1e-9);
        assert!((f.sigma_ln - 0.1 / 2.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!(f.source, None);
        assert_eq!(fuse(&[]), None);
    }

    #[test]
    fn a_contradicting_prior_is_left_out_and_reported() {
        let f = fuse(&[
            c(ScaleSource::Coin, 30.0, 0.01),
            c(ScaleSource::PlateKnown, 30.3, 0.01),
            c(ScaleSource::PlatePrior, 45.0, 0.045),
        ])
        .unwrap();
        assert!((f.height_cm - 30.15).abs() < 0.01);
        assert_eq!(
            f.candidates.iter().map(|c| c.1).collect::<Vec<_>>(),
            [true, true, false]
        );
        assert!(!f.info().candidates[2].used);
    }

    #[test]
    fn a_stated_diameter_outweighs_what_looks_like_a_card() {
        let f = fuse(&[
            c(ScaleSource::PlateKnown, 25.5, 0.04),
            c(ScaleSource::Card, 34.0, 0.036),
        ])
        .unwrap();
        assert_eq!(f.source, Some(ScaleSource::PlateKnown));
        assert!((f.height_cm - 25.5).abs() < 1e-9);
    }

    #[test]
    fn a_part_of_a_card_does_not_make_a_plate_of_65_cm() {
        let priors = [
            c(ScaleSource::PlatePrior, 36.0, 0.1),
            c(ScaleSource::FoodPrior, 33.0, 0.2),
            c(ScaleSource::HeightPrior, 38.0, 0.3),
        ];
        let with = |others: &[ScaleCandidate]| fuse(&[&priors[..], others].concat()).unwrap();
        let card = |height| c(ScaleSource::Card, height, 0.02);
        let sound = with(&[]);
        let fused = with(&[card(88.0)]);
        assert_eq!(
            (fused.height_cm, fused.sigma_ln),
            (sound.height_cm, sound.sigma_ln)
        );
        assert!(!fused.candidates[3].1 && fused.candidates[..3].iter().all(|(_, used)| *used));
        // A small plate is no contradiction, nor is what a stated size agrees with.
        assert_eq!(with(&[card(24.0)]).source, Some(ScaleSource::Card));
        let both = with(&[card(88.0), c(ScaleSource::PlateKnown, 87.0, 0.02)]);
        assert!(both.candidates[3].1 && (87.0..88.0).contains(&both.height_cm));
    }

    #[test]
    fn a_height_that_no_meal_is_seen_from_is_uncertain() {
        let sigma = |height| {
            fuse(&[c(ScaleSource::PlateKnown, height, 0.02)])
                .unwrap()
                .sigma_ln
        };
        assert_eq!([sigma(16.0), sigma(88.0)], [0.02; 2]);
        assert!((sigma(240.0) - (240.0_f64 / 90.0).ln().hypot(0.02)).abs() < 1e-12);
        assert!((sigma(5.0) - 3.0_f64.ln().hypot(0.02)).abs() < 1e-12);
    }

    #[test]
    fn priors_alone_move_smoothly() {
        let height = |plate: f64| {
            fuse(&[
                c(ScaleSource::BowlPrior, 33.9, 0.18),
                c(ScaleSource::PlatePrior, plate, 0.1),
                c(ScaleSource::FoodPrior, 39.3, 0.17),
                c(ScaleSource::HeightPrior, 38.0, 0.3),
            ])
            .unwrap()
            .height_cm
        };
        for cm in 40..90 {
            let step = height(f64::from(cm) + 1.0) / height(f64::from(cm));
            assert!((1.0 - 1e-6..1.025).contains(&step), "{cm} {step}");
        }
        // What lies far off pulls, but not without limit.
        assert!(height(1e4) / height(60.0) < 1.02);
    }

    #[test]
    fn one_strong_source_names_the_answer() {
        let f = fuse(&[
            c(ScaleSource::Coin, 30.0, 0.01),
            c(ScaleSource::HeightPrior, 38.0, 0.25),
        ])
        .unwrap();
        assert_eq!(f.info().source, ScaleSource::Coin);
    }
}
