//! Volumes of several photos to one a thing, by generalised least squares on their logarithms.
//!
//! Photo k sees item i as y = ln V_i + a z_k + b e_ki: z_k is the error that all items of a photo share (scale, tilt, depth), e_ki the
//! item's own. Errors of different photos are correlated: a plate taken for larger than it is, is so on every photo, and a shape that is
//! not what the name implies is so from every side. An item that only one photo shows moves with that photo's shared error, which
//! the others reveal.

use crate::contract::ItemFlag;
use crate::contract::ScaleSource;
use crate::contract::result::VolumeSigma;
use crate::geometry::Portion;
use crate::pipeline::measure::MeasuredScene;

/// Correlation of the shared errors of two photos whose scale rests on the same thing: a plate that is smaller than usual is so on
/// both. On thirty meals from two sides (docs/evaluation.md) the means of a meal's errors are correlated by 0.77 with nothing told and by
/// 0.62 with the plate told, in which the items' own errors still count.
pub(in crate::pipeline) const SAME_SCALE: f64 = 0.9;
/// The same where it rests on different things: a judgement.
const OTHER_SCALE: f64 = 0.2;
/// Correlation of an item's own errors on two photos: usual size and shape come from its name. On those meals 0.38 and 0.39.
pub(in crate::pipeline) const OWN: f64 = 0.4;
/// Added to the own error of an item that the photo's edge cuts off, where another photo shows it whole, sd of ln(volume).
const CUT_OFF_SIGMA_LN: f64 = 0.5;
/// Added to it where depth and outline contradict each other.
const UNUSUAL_SIGMA_LN: f64 = 0.2;

/// One item as one photo measured it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Observation {
    pub(super) item: usize,
    photo: usize,
    ln_cm3: f64,
    shared: f64,
    /// Of the photo: the mean of its items' shared errors.
    photo_shared: f64,
    own: f64,
    /// Own error that no other photo has: a mask that went wrong here.
    alone: f64,
    /// What the photo's scale rests on.
    scale: ScaleSources,
}

/// A set of sources, but for the height from which people photograph: that is another one on every photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ScaleSources(u32);

impl ScaleSources {
    fn of(sources: impl IntoIterator<Item = ScaleSource>) -> Self {
        let own = sources.into_iter().filter(|s| *s != ScaleSource::HeightPrior);
        Self(own.fold(0, |all, source| all | 1 << source as u32))
    }

    fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl Observation {
    pub(super) fn new(item: usize, photo: usize, index: usize, scene: &MeasuredScene, cut_off: bool) -> Self {
        let measured = &scene.geometry.items[index];
        let sigma = measured.volume_sigma_ln;
        let unusual = measured.flags.contains(&ItemFlag::UnusualSize);
        let cut = if cut_off { CUT_OFF_SIGMA_LN } else { 0.0 };
        let items = &scene.geometry.items;
        let photo_shared = items.iter().map(|i| i.volume_sigma_ln.shared).sum::<f64>() / items.len() as f64;
        let odd = if unusual { UNUSUAL_SIGMA_LN } else { 0.0 };
        Self {
            item,
            photo,
            ln_cm3: measured.volume_cm3.p50.ln(),
            shared: sigma.shared.max(1e-4),
            photo_shared: photo_shared.max(1e-4),
            own: sigma.own.max(1e-3),
            alone: cut.hypot(odd),
            scale: ScaleSources::of(
                (scene.geometry.scale.candidates.iter())
                    .filter(|c| c.used)
                    .map(|c| c.source),
            ),
        }
    }

    /// Less sure by as much as it is farther from the usual size than that spreads.
    pub(super) fn doubt(&mut self, usual: &Portion) {
        let ln_usual = (usual.area_cm2 * usual.height_cm).ln();
        let spread = usual.area_sigma_ln.hypot(usual.height_sigma_ln);
        let excess = ((self.ln_cm3 - ln_usual).abs() - spread).max(0.0);
        self.alone = self.alone.hypot(excess);
    }

    /// Shared and own covariance with another one. Two photos have no more in common than the surer one can be off by: weights below
    /// 0 would follow.
    fn covariance(&self, other: &Self) -> (f64, f64) {
        let same_photo = self.photo == other.photo;
        let shared = match () {
            () if same_photo => 1.0,
            () if self.scale.meets(other.scale) => SAME_SCALE,
            () => OTHER_SCALE,
        };
        let own = match () {
            () if self.item != other.item => 0.0,
            () if same_photo => self.own.powi(2) + self.alone.powi(2),
            () => OWN * self.own.min(other.own).powi(2),
        };
        let (a, b) = (self.photo_shared, other.photo_shared);
        let common = shared * a.min(b) / a.max(b);
        (common * self.shared * other.shared, own)
    }
}

/// An item's volume by all photos together.
#[derive(Debug, Clone)]
pub(super) struct FusedVolume {
    pub(super) ln_cm3: f64,
    pub(super) sigma: VolumeSigma,
    /// Of the item's observations in their order; 1 in sum.
    pub(super) weights: Vec<f64>,
    /// The largest distance between two of its observations, in standard deviations of that distance.
    pub(super) apart: f64,
}

/// One volume for each of `items` items; every item has at least one observation.
pub(super) fn fuse(observations: &[Observation], items: usize) -> Vec<FusedVolume> {
    let n = observations.len();
    let covariance = |i: usize, j: usize| observations[i].covariance(&observations[j]);
    let whole = Square::of(n, |i, j| {
        let (shared, own) = covariance(i, j);
        shared + own
    });
    // Weights: (A' C^-1 A)^-1 A' C^-1, with A telling which observation is of which item.
    let inverse = whole
        .inverse()
        .unwrap_or_else(|| Square::of(n, |i, j| f64::from(u8::from(i == j))));
    let information = Square::of(items, |p, q| {
        let mut sum = 0.0;
        for (i, _) in observations.iter().enumerate().filter(|(_, a)| a.item == p) {
            for (j, _) in observations.iter().enumerate().filter(|(_, b)| b.item == q) {
                sum += inverse.at(i, j);
            }
        }
        sum
    });
    let spread = information.inverse();
    (0..items)
        .map(|p| {
            let weights: Vec<f64> = (0..n)
                .map(|j| match &spread {
                    Some(spread) => (0..n)
                        .map(|i| spread.at(p, observations[i].item) * inverse.at(i, j))
                        .sum(),
                    None => 0.0,
                })
                .collect();
            volume(observations, p, &weights)
        })
        .collect()
}

fn volume(observations: &[Observation], item: usize, weights: &[f64]) -> FusedVolume {
    let of_item: Vec<usize> = (0..observations.len())
        .filter(|&i| observations[i].item == item)
        .collect();
    let ln_cm3 = observations.iter().zip(weights).map(|(o, w)| w * o.ln_cm3).sum();
    let (mut shared, mut own) = (0.0, 0.0);
    for (a, wa) in observations.iter().zip(weights) {
        for (b, wb) in observations.iter().zip(weights) {
            let (s, o) = a.covariance(b);
            shared += wa * wb * s;
            own += wa * wb * o;
        }
    }
    let mut apart: f64 = 0.0;
    for (k, &i) in of_item.iter().enumerate() {
        for &j in &of_item[k + 1..] {
            let (a, b) = (&observations[i], &observations[j]);
            let (s, o) = a.covariance(b);
            let of = |o: &Observation| o.shared.powi(2) + o.own.powi(2) + o.alone.powi(2);
            let variance = of(a) + of(b) - 2.0 * (s + o);
            apart = apart.max((a.ln_cm3 - b.ln_cm3).abs() / variance.max(1e-6).sqrt());
        }
    }
    // Photos that disagree were less sure than they said.
    let own = own.max(0.0).sqrt() * apart.max(1.0);
    FusedVolume {
        ln_cm3,
        sigma: VolumeSigma {
            shared: shared.max(0.0).sqrt(),
            own,
        },
        weights: of_item.iter().map(|&i| weights[i]).collect(),
        apart,
    }
}

/// Dense square matrix.
#[derive(Debug, Clone)]
struct Square {
    n: usize,
    values: Vec<f64>,
}

impl Square {
    fn of(n: usize, f: impl Fn(usize, usize) -> f64) -> Self {
        let values = (0..n * n).map(|k| f(k / n, k % n)).collect();
        Self { n, values }
    }

    fn at(&self, i: usize, j: usize) -> f64 {
        self.values[i * self.n + j]
    }

    /// Gauss-Jordan with pivots; none where it is singular.
    fn inverse(&self) -> Option<Self> {
        let n = self.n;
        let mut left = self.clone();
        let mut right = Self::of(n, |i, j| f64::from(u8::from(i == j)));
        for k in 0..n {
            let pivot = (k..n).max_by(|&a, &b| left.at(a, k).abs().total_cmp(&left.at(b, k).abs()))?;
            if left.at(pivot, k).abs() < 1e-12 || !left.at(pivot, k).is_finite() {
                return None;
            }
            for m in [&mut left, &mut right] {
                for j in 0..n {
                    m.values.swap(k * n + j, pivot * n + j);
                }
            }
            let head = left.at(k, k);
            for m in [&mut left, &mut right] {
                m.values[k * n..(k + 1) * n].iter_mut().for_each(|v| *v /= head);
            }
            for i in (0..n).filter(|&i| i != k) {
                let factor = left.at(i, k);
                for m in [&mut left, &mut right] {
                    for j in 0..n {
                        m.values[i * n + j] -= factor * m.values[k * n + j];
                    }
                }
            }
        }
        Some(right)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(item: usize, photo: usize, cm3: f64, shared: f64, own: f64) -> Observation {
        Observation {
            item,
            photo,
            ln_cm3: cm3.ln(),
            shared,
            photo_shared: shared,
            own,
            alone: 0.0,
            scale: ScaleSources::of([ScaleSource::PlatePrior]),
        }
    }

    #[test]
    fn two_photos_share_a_scale_that_rests_on_one_thing() {
        use ScaleSource::{Card, HeightPrior, PlatePrior};
        let both = ScaleSources::of([PlatePrior, HeightPrior]);
        assert!(both.meets(ScaleSources::of([PlatePrior, Card])));
        assert!(!both.meets(ScaleSources::of([Card, HeightPrior])));
    }

    #[test]
    fn one_photo_changes_nothing() {
        let all = [seen(0, 0, 120.0, 0.1, 0.2), seen(1, 0, 40.0, 0.1, 0.3)];
        let fused = fuse(&all, 2);
        for (f, o) in fused.iter().zip(&all) {
            assert!((f.ln_cm3 - o.ln_cm3).abs() < 1e-9);
            assert!((f.sigma.shared - 0.1).abs() < 1e-9 && (f.sigma.own - o.own).abs() < 1e-9);
            assert!((f.weights[0] - 1.0).abs() < 1e-9 && f.apart == 0.0);
        }
    }

    #[test]
    fn the_surer_photo_weighs_more_and_two_are_surer_than_one() {
        let fused = &fuse(&[seen(0, 0, 100.0, 0.1, 0.1), seen(0, 1, 150.0, 0.1, 0.3)], 1)[0];
        assert!(fused.weights[0] > 0.7 && (fused.weights.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(fused.ln_cm3 > 100.0f64.ln() && fused.ln_cm3 < 125.0f64.ln());
        let equal = &fuse(&[seen(0, 0, 100.0, 0.1, 0.2), seen(0, 1, 100.0, 0.1, 0.2)], 1)[0];
        assert!(equal.sigma.own < 0.2 && equal.sigma.own > 0.2 / 2f64.sqrt());
        assert!(equal.sigma.shared < 0.1 && equal.sigma.shared > 0.1 / 2f64.sqrt());
    }

    /// Two things seen twice say that the second photo's scale is off; a third that only it shows is corrected.
    #[test]
    fn what_one_photo_alone_shows_moves_with_its_scale() {
        let k = 1.3;
        let all = [
            seen(0, 0, 100.0, 0.05, 0.05),
            seen(0, 1, 100.0 * k, 0.3, 0.05),
            seen(1, 0, 80.0, 0.05, 0.05),
            seen(1, 1, 80.0 * k, 0.3, 0.05),
            seen(2, 1, 60.0 * k, 0.3, 0.05),
        ];
        let fused = fuse(&all, 3);
        let alone = fused[2].ln_cm3.exp();
        assert!((55.0..66.0).contains(&alone), "{alone}");
        assert!(fused[2].sigma.shared < 0.2, "{:?}", fused[2]);
    }

    #[test]
    fn of_two_that_contradict_each_other_the_usual_size_is_believed() {
        let usual = Portion {
            area_cm2: 30.0,
            area_sigma_ln: 0.4,
            height_cm: 2.0,
            height_sigma_ln: 0.2,
        };
        let mut both = [seen(0, 0, 450.0, 0.15, 0.25), seen(0, 1, 80.0, 0.15, 0.25)];
        both.iter_mut().for_each(|o| o.doubt(&usual));
        let fused = &fuse(&both, 1)[0];
        assert!((75.0..100.0).contains(&fused.ln_cm3.exp()), "{fused:?}");
        // Near the usual size nothing is doubted.
        let mut near = seen(0, 0, 70.0, 0.15, 0.25);
        near.doubt(&usual);
        assert_eq!(near.alone, 0.0);
    }

    #[test]
    fn no_photo_counts_against_itself() {
        for (first, second) in [(0.02, 0.4), (0.2, 0.25), (0.4, 0.05)] {
            let all = [seen(0, 0, 100.0, first, 0.1), seen(0, 1, 150.0, second, 0.3)];
            let fused = &fuse(&all, 1)[0];
            assert!(fused.weights.iter().all(|w| (0.0..=1.0).contains(w)), "{fused:?}");
        }
    }

    #[test]
    fn a_disagreement_is_seen_and_widens() {
        let fused = &fuse(&[seen(0, 0, 50.0, 0.05, 0.1), seen(0, 1, 150.0, 0.05, 0.1)], 1)[0];
        assert!(fused.apart > 5.0 && fused.sigma.own > 0.3, "{fused:?}");
    }
}
