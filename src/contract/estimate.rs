//! A number with its interval.

use serde::{Deserialize, Serialize};

/// Quantiles of an estimate; `p10 <= p50 <= p90`. The unit is in the field's name.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Estimated {
    pub p10: f64,
    pub p50: f64,
    pub p90: f64,
}

impl Estimated {
    /// Standard normal quantile of 0.9.
    pub const Z90: f64 = 1.281_551_565_544_6;

    /// An exactly known number.
    pub fn exact(value: f64) -> Self {
        Self {
            p10: value,
            p50: value,
            p90: value,
        }
    }

    /// Log-normal with median `p50` and standard deviation `sigma_ln` of the logarithm.
    pub fn log_normal(p50: f64, sigma_ln: f64) -> Self {
        let k = (Self::Z90 * sigma_ln).exp();
        Self {
            p10: p50 / k,
            p50,
            p90: p50 * k,
        }
    }

    /// Standard deviation of the logarithm that p10 and p90 imply; 0 for an exact number.
    pub fn sigma_ln(&self) -> f64 {
        if self.p10 > 0.0 {
            (self.p90 / self.p10).ln() / (2.0 * Self::Z90)
        } else {
            0.0
        }
    }

    /// The same estimate in another unit, or per another amount.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        Self {
            p10: self.p10 * factor,
            p50: self.p50 * factor,
            p90: self.p90 * factor,
        }
    }
}
