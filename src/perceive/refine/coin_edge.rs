//! Coins drawn along their edge on the photo: a segmenter's mask of something so small is some pixels off, and the
//! whole meal is measured by it.
//!
//! The mask gives the ellipse to start from. Around it the ellipse is sought whose inside differs most, all the way
//! round, from its outside: Daugman's integro-differential operator (PAMI 1993) with five parameters in place of three,
//! climbed from a coarse to a fine ring.

use dragunov_models::{Mask, RgbImage};

use crate::perceive::colour::{colour, from_ground};
use crate::perceive::ellipse::{Moments, roundness};

/// Angles at which the edge is looked at.
const RAYS: usize = 72;
/// Where colours are read, as shares of the radius inside and outside the edge; the coarse pass reads at twice these.
const SAMPLE_OFFSETS: [f64; 4] = [0.015, 0.04, 0.07, 0.10];
/// Difference of colours, in levels of 255, at which half of an edge is credited: a clear edge all round is worth more than
/// a glaring one on one side.
const HALF_CREDIT_LEVELS: f64 = 10.0;
/// Share of the plain difference of colours beside the one in which a shadow is no edge. Of 58 coins of ECUSTFD photos never
/// trained on, 17 come out more than 4 % too large with the plain one (their shadows with them), 3 with this.
const PLAIN_DIFFERENCE_SHARE: f64 = 0.3;
/// What a departure from roundness costs, in credit for each unit of the logarithm of the axes' ratio.
const ELONGATION_COST: f64 = 0.05;
/// Bounds of the search: change of ln radius, and shift of the centre in radii.
const MAX_LN_RADIUS_CHANGE: f64 = 0.25;
const MAX_SHIFT_RADII: f64 = 0.4;
/// IoU of a mask with its own ellipse, below which it is a coin that something covers.
const MIN_ROUNDNESS: f64 = 0.85;
/// Credit of an edge, 0 to 1, that is believed. Set, as all bounds of the search, on the top views of ECUSTFD.
const MIN_EDGE_CREDIT: f64 = 0.45;
/// The two passes of the search: reach of the colours read, first step, and step at which it ends, in ln radius.
const COARSE_PASS: Pass = Pass {
    reach: 2.0,
    first_step: 0.08,
    last_step: 0.01,
};
const FINE_PASS: Pass = Pass {
    reach: 1.0,
    first_step: 0.03,
    last_step: 0.003,
};
/// Steps of the axes' ratio are this much longer than those of centre and radius.
const STRETCH_STEP_RATIO: f64 = 1.5;
/// Less gain than this is rounding.
const MIN_GAIN: f64 = 1e-6;

struct Pass {
    /// On [`SAMPLE_OFFSETS`].
    reach: f64,
    first_step: f64,
    last_step: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Ellipse {
    centre: [f64; 2],
    ln_radius: f64,
    /// Logarithm of the ratio of the axes, as a vector at twice the angle of the longer one.
    stretch: [f64; 2],
}

impl Ellipse {
    /// Of the same first and second moments as the mask.
    fn of(mask: &Mask) -> Option<Self> {
        let m = Moments::of(mask)?;
        let [xx, xy, yy] = m.variance;
        let (mean, half) = (0.5 * (xx + yy), (0.25 * (xx - yy).powi(2) + xy * xy).sqrt());
        let (long, short) = (mean + half, mean - half);
        if short.is_nan() || short <= 0.0 {
            return None;
        }
        let ln_ratio = 0.5 * (long / short).ln();
        let twice = (2.0 * xy).atan2(xx - yy);
        Some(Self {
            centre: m.mean.map(|v| v + 0.5),
            ln_radius: 0.25 * (16.0 * long * short).ln(),
            stretch: [ln_ratio * twice.cos(), ln_ratio * twice.sin()],
        })
    }

    /// Half axes, long first, and the long one's direction.
    fn axes(&self) -> (f64, f64, [f64; 2]) {
        let ln_ratio = self.stretch[0].hypot(self.stretch[1]);
        let angle = 0.5 * self.stretch[1].atan2(self.stretch[0]);
        let radius = self.ln_radius.exp();
        (
            radius * (0.5 * ln_ratio).exp(),
            radius * (-0.5 * ln_ratio).exp(),
            [angle.cos(), angle.sin()],
        )
    }

    fn mask(&self, width: usize, height: usize) -> Mask {
        let (a, b, [c, s]) = self.axes();
        Mask::from_fn(width, height, |x, y| {
            let (x, y) = (x as f64 + 0.5 - self.centre[0], y as f64 + 0.5 - self.centre[1]);
            ((x * c + y * s) / a).powi(2) + ((y * c - x * s) / b).powi(2) <= 1.0
        })
    }

    fn moved(mut self, parameter: usize, by: f64) -> Self {
        match parameter {
            0 | 1 => self.centre[parameter] += by * self.ln_radius.exp(),
            2 => self.ln_radius += by,
            _ => self.stretch[parameter - 3] += by,
        }
        self
    }

    /// How much of an edge there is along this ellipse, 0 to 1.
    fn edge_credit(&self, image: &RgbImage, reach: f64) -> f64 {
        let (a, b, [c, s]) = self.axes();
        let ring = |sign: f64, ray: usize| {
            let (sin, cos) = (std::f64::consts::TAU * ray as f64 / RAYS as f64).sin_cos();
            let mut sum = [0.0; 3];
            for share in SAMPLE_OFFSETS {
                let r = 1.0 + sign * reach * share;
                let (u, v) = (r * a * cos, r * b * sin);
                let at = [self.centre[0] + u * c - v * s, self.centre[1] + u * s + v * c];
                for (total, value) in sum.iter_mut().zip(colour(image, at)) {
                    *total += value;
                }
            }
            sum.map(|v| v / SAMPLE_OFFSETS.len() as f64)
        };
        let edge: f64 = (0..RAYS)
            .map(|ray| {
                let (inside, outside) = (ring(-1.0, ray), ring(1.0, ray));
                let d = from_ground(inside, outside, PLAIN_DIFFERENCE_SHARE);
                d / (d + HALF_CREDIT_LEVELS)
            })
            .sum();
        edge / RAYS as f64 - ELONGATION_COST * self.stretch[0].hypot(self.stretch[1])
    }

    /// The best ellipse within the bounds around `from` and its credit, by steps that halve.
    fn climb(self, image: &RgbImage, from: &Self, pass: &Pass) -> (Self, f64) {
        let mut best = (self, self.edge_credit(image, pass.reach));
        let mut step = pass.first_step;
        while step > pass.last_step {
            let mut moved = false;
            for parameter in 0..5 {
                for sign in [1.0, -1.0] {
                    let by = sign * step * if parameter > 2 { STRETCH_STEP_RATIO } else { 1.0 };
                    let next = best.0.moved(parameter, by);
                    if !next.is_near(from) {
                        continue;
                    }
                    let credit = next.edge_credit(image, pass.reach);
                    if credit > best.1 + MIN_GAIN {
                        best = (next, credit);
                        moved = true;
                    }
                }
            }
            if !moved {
                step *= 0.5;
            }
        }
        best
    }

    fn is_near(&self, from: &Self) -> bool {
        let away = (self.centre[0] - from.centre[0]).hypot(self.centre[1] - from.centre[1]);
        (self.ln_radius - from.ln_radius).abs() <= MAX_LN_RADIUS_CHANGE
            && away <= MAX_SHIFT_RADII * from.ln_radius.exp()
    }
}

/// The coin that this mask shows, along its edge on the photo. `None` where no clear edge goes all round.
pub(in crate::perceive) fn fit_coin_edge(image: &RgbImage, mask: &Mask) -> Option<Mask> {
    if roundness(mask) < MIN_ROUNDNESS {
        return None;
    }
    let start = Ellipse::of(mask)?;
    let (width, height) = (mask.width(), mask.height());
    let (coarse, _) = start.climb(image, &start, &COARSE_PASS);
    let (fine, credit) = coarse.climb(image, &start, &FINE_PASS);
    (credit >= MIN_EDGE_CREDIT).then(|| fine.mask(width, height))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::perceive::ellipse::tests::ellipse;

    const WOOD: [u8; 3] = [170, 120, 70];
    const METAL: [u8; 3] = [150, 150, 155];

    /// A coin on wood, its shadow to the lower right.
    fn photo(coin: &Mask, shadow: &Mask) -> RgbImage {
        let (coin, shadow) = (coin.to_bits(), shadow.to_bits());
        let pixels = coin
            .iter()
            .zip(shadow)
            .flat_map(|(&coin, shadow)| match (coin, shadow) {
                (true, _) => METAL,
                (false, true) => WOOD.map(|v| v / 2),
                (false, false) => WOOD,
            });
        RgbImage::new(200, 160, pixels.collect()).unwrap()
    }

    fn size(mask: &Mask) -> f64 {
        (mask.area() as f64).sqrt()
    }

    #[test]
    fn a_loose_mask_snaps_to_the_coin_and_not_to_its_shadow() {
        let coin = ellipse(100.0, 80.0, 30.0, 24.0, 0.5);
        let image = photo(&coin, &ellipse(105.0, 84.0, 30.0, 24.0, 0.5));
        for loose in [
            ellipse(103.0, 82.0, 33.0, 28.0, 0.3),
            ellipse(98.0, 79.0, 27.0, 23.0, 0.9),
        ] {
            let sharp = fit_coin_edge(&image, &loose).unwrap();
            assert!(
                sharp.iou(&coin) > 0.95 && loose.iou(&coin) < 0.88,
                "{}",
                sharp.iou(&coin)
            );
            assert!((size(&sharp) / size(&coin) - 1.0).abs() < 0.015);
        }
    }

    #[test]
    fn without_a_clear_edge_or_with_something_on_it_a_coin_stays_as_it_is() {
        let coin = ellipse(100.0, 80.0, 30.0, 24.0, 0.0);
        let nothing = Mask::empty(200, 160);
        assert_eq!(fit_coin_edge(&photo(&nothing, &nothing), &coin), None);
        let half = Mask::from_fn(200, 160, |x, y| x < 100 && coin.to_bits()[y * 200 + x]);
        assert_eq!(fit_coin_edge(&photo(&coin, &nothing), &half), None);
        assert_eq!(fit_coin_edge(&photo(&coin, &nothing), &nothing), None);
    }
}
