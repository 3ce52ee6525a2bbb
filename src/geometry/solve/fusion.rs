//! Two estimates of one volume, by relief and by outline, as one: the best linear unbiased mean of their logarithms
//! (geometry.md 8.3).

/// Unknowns that all items of a photo share, besides the scale: focal length, tilt, sideways lean, depth shift.
pub(crate) const SHARED: usize = 4;

/// A log-normal volume and what its error is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct VolumeEstimate {
    pub(crate) ln: f64,
    /// Change of ln(volume) by one sd of each shared unknown, and the curvature of it.
    pub(crate) slopes: [f64; SHARED],
    pub(crate) curvatures: [f64; SHARED],
    /// Power of the camera's height that the volume grows with.
    pub(crate) power: f64,
    /// Sd of what is its own.
    pub(crate) own: f64,
}

/// More combined sigmas than this between the two are a contradiction.
const CONTRADICTION_SIGMAS: f64 = 2.0;

impl VolumeEstimate {
    /// Variance without the scale's part, which the two have in common. What the other shared unknowns do to both is
    /// taken as independent: a covariance estimated from a poor raster could weigh it above one or below zero.
    fn variance(&self) -> f64 {
        self.slopes.iter().map(|s| s * s).sum::<f64>() + self.own * self.own
    }

    fn mixed(&self, other: &Self, share: f64) -> Self {
        let mix = |a: f64, b: f64| share * a + (1.0 - share) * b;
        Self {
            ln: mix(self.ln, other.ln),
            slopes: std::array::from_fn(|k| mix(self.slopes[k], other.slopes[k])),
            curvatures: std::array::from_fn(|k| mix(self.curvatures[k], other.curvatures[k])),
            power: mix(self.power, other.power),
            own: (share * self.own).hypot((1.0 - share) * other.own),
        }
    }
}

/// Two estimates as one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fused {
    pub(crate) estimate: VolumeEstimate,
    /// Weight of the relief.
    pub(crate) relief_share: f64,
    /// How far the two were apart, in combined sigmas.
    pub(crate) disagreement_sigmas: f64,
}

/// Where they contradict each other the less certain one gives way, and what is left of the gap widens the interval.
pub(crate) fn fuse(relief: &VolumeEstimate, outline: &VolumeEstimate) -> Fused {
    let gap = relief.ln - outline.ln;
    let (mut a, mut b) = (*relief, *outline);
    let spread = (a.variance() + b.variance()).max(1e-9);
    let sigmas = gap.abs() / spread.sqrt();
    if sigmas > CONTRADICTION_SIGMAS {
        let weak = if a.variance() > b.variance() {
            &mut a
        } else {
            &mut b
        };
        weak.own = weak.own.max(0.02) * sigmas / CONTRADICTION_SIGMAS;
    }
    let share = b.variance() / (a.variance() + b.variance()).max(1e-9);
    let mut fused = a.mixed(&b, share);
    let unexplained = (gap * gap - CONTRADICTION_SIGMAS.powi(2) * spread).max(0.0);
    fused.own = fused.own.hypot((share * (1.0 - share) * unexplained).sqrt());
    Fused {
        estimate: fused,
        relief_share: share,
        disagreement_sigmas: sigmas,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(ln: f64, shift: f64, own: f64) -> VolumeEstimate {
        VolumeEstimate {
            ln,
            slopes: [0.0, 0.0, 0.0, shift],
            curvatures: [0.0; SHARED],
            power: 3.0,
            own,
        }
    }

    #[test]
    fn the_surer_one_decides() {
        let f = fuse(&estimate(0.0, 0.0, 0.05), &estimate(0.2, 0.0, 0.2));
        assert!(
            (f.relief_share - 0.04 / 0.0425).abs() < 1e-9 && f.estimate.ln < 0.02,
            "{f:?}"
        );
        // Near nadir the shift is unknown, so the relief gives way.
        let f = fuse(&estimate(0.0, 0.6, 0.05), &estimate(0.2, 0.0, 0.2));
        assert!(f.relief_share < 0.15, "{f:?}");
    }

    #[test]
    fn the_scale_is_shared_and_does_not_shrink() {
        let f = fuse(&estimate(0.0, 0.0, 0.1), &estimate(0.0, 0.0, 0.1)).estimate;
        assert!((f.own - 0.1 / 2.0_f64.sqrt()).abs() < 1e-9 && f.power == 3.0);
    }

    #[test]
    fn a_contradiction_is_decided_by_the_surer_and_widens() {
        let agree = fuse(&estimate(0.0, 0.0, 0.05), &estimate(0.05, 0.0, 0.15)).estimate;
        let f = fuse(&estimate(0.0, 0.0, 0.05), &estimate(1.2, 0.0, 0.15));
        assert!(
            f.disagreement_sigmas > 6.0 && f.relief_share > 0.97 && f.estimate.ln < 0.05,
            "{f:?}"
        );
        assert!(f.estimate.own > agree.own);
    }
}
