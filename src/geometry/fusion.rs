//! Two opinions of one volume, by relief and by outline, as one: the best linear unbiased mean of their logarithms.

/// Unknowns that all items of a photo share, besides the scale: focal length, tilt, sideways lean, depth shift.
pub(crate) const SHARED: usize = 4;

/// A log-normal volume and what its error is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Opinion {
    pub(crate) ln: f64,
    /// Change of ln(volume) by one sd of each shared unknown, and the curvature of it.
    pub(crate) slopes: [f64; SHARED],
    pub(crate) bends: [f64; SHARED],
    /// Power of the camera's height that the volume grows with.
    pub(crate) power: f64,
    /// Sd of what is its own.
    pub(crate) own: f64,
}

/// More combined sigmas than this between the two are a contradiction.
const CONTRADICTION: f64 = 2.0;

impl Opinion {
    /// Variance without the scale's part, which the two have in common. What the other shared unknowns do to both is
    /// taken as independent: a covariance estimated from a poor raster could weigh it above one or below nought.
    fn variance(&self) -> f64 {
        self.slopes.iter().map(|s| s * s).sum::<f64>() + self.own * self.own
    }

    fn mixed(&self, other: &Self, share: f64) -> Self {
        let mix = |a: f64, b: f64| share * a + (1.0 - share) * b;
        Self {
            ln: mix(self.ln, other.ln),
            slopes: std::array::from_fn(|k| mix(self.slopes[k], other.slopes[k])),
            bends: std::array::from_fn(|k| mix(self.bends[k], other.bends[k])),
            power: mix(self.power, other.power),
            own: (share * self.own).hypot((1.0 - share) * other.own),
        }
    }
}

/// The fused opinion, the share of `relief` in it, and how many combined sigmas the two were apart.
///
/// Where they contradict each other the less certain one gives way, and what is left of the gap widens the interval.
pub(crate) fn fuse(relief: &Opinion, outline: &Opinion) -> (Opinion, f64, f64) {
    let gap = relief.ln - outline.ln;
    let (mut a, mut b) = (*relief, *outline);
    let spread = (a.variance() + b.variance()).max(1e-9);
    let sigmas = gap.abs() / spread.sqrt();
    if sigmas > CONTRADICTION {
        let weak = if a.variance() > b.variance() {
            &mut a
        } else {
            &mut b
        };
        weak.own = weak.own.max(0.02) * sigmas / CONTRADICTION;
    }
    let share = b.variance() / (a.variance() + b.variance()).max(1e-9);
    let mut fused = a.mixed(&b, share);
    let unexplained = (gap * gap - CONTRADICTION.powi(2) * spread).max(0.0);
    fused.own = fused.own.hypot((share * (1.0 - share) * unexplained).sqrt());
    (fused, share, sigmas)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opinion(ln: f64, shift: f64, own: f64) -> Opinion {
        Opinion {
            ln,
            slopes: [0.0, 0.0, 0.0, shift],
            bends: [0.0; SHARED],
            power: 3.0,
            own,
        }
    }

    #[test]
    fn the_surer_one_decides() {
        let (f, share, _) = fuse(&opinion(0.0, 0.0, 0.05), &opinion(0.2, 0.0, 0.2));
        assert!((share - 0.04 / 0.0425).abs() < 1e-9 && f.ln < 0.02, "{f:?}");
        // Near nadir the shift is unknown, so the relief gives way.
        let (_, share, _) = fuse(&opinion(0.0, 0.6, 0.05), &opinion(0.2, 0.0, 0.2));
        assert!(share < 0.15, "{share}");
    }

    #[test]
    fn the_scale_is_shared_and_does_not_shrink() {
        let (f, _, _) = fuse(&opinion(0.0, 0.0, 0.1), &opinion(0.0, 0.0, 0.1));
        assert!((f.own - 0.1 / 2.0_f64.sqrt()).abs() < 1e-9 && f.power == 3.0);
    }

    #[test]
    fn a_contradiction_is_decided_by_the_surer_and_widens() {
        let agree = fuse(&opinion(0.0, 0.0, 0.05), &opinion(0.05, 0.0, 0.15)).0;
        let (f, share, sigmas) = fuse(&opinion(0.0, 0.0, 0.05), &opinion(1.2, 0.0, 0.15));
        assert!(sigmas > 6.0 && share > 0.97 && f.ln < 0.05, "{share} {f:?}");
        assert!(f.own > agree.own);
    }
}
