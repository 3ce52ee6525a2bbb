//! Log-normal quantities of one photo, and their sum.

use crate::contract::Estimated;

/// A log-normal quantity whose error is part shared by the photo, with an additive part no photo shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quantity {
    pub(super) p50: f64,
    /// Standard deviation of ln(quantity) that all items of the photo have together, and of this one alone.
    pub(super) shared: f64,
    pub(super) own: f64,
    /// Variance of what is hidden, squared units of the quantity.
    pub(super) hidden: f64,
}

impl Quantity {
    pub(super) fn estimate(&self) -> Estimated {
        let e = Estimated::log_normal(self.p50, self.shared.hypot(self.own));
        let extra = Estimated::Z90 * self.hidden.sqrt();
        Estimated {
            p10: (e.p50 - (e.p50 - e.p10).hypot(extra)).max(0.0),
            p50: e.p50,
            p90: e.p50 + (e.p90 - e.p50).hypot(extra),
        }
    }

    /// Exactly nothing where there is nothing: a logarithm of it would be none.
    pub(super) fn estimate_or_zero(&self) -> Estimated {
        if self.p50 > 0.0 || self.hidden > 0.0 {
            self.estimate()
        } else {
            Estimated::exact(0.0)
        }
    }

    pub(super) fn scaled(&self, factor: f64, extra_own: f64) -> Self {
        Self {
            p50: self.p50 * factor,
            shared: self.shared,
            own: self.own.hypot(extra_own),
            hidden: 0.0,
        }
    }
}

/// Sum of medians, with the interval of the sum of log-normals whose shared errors move together
/// (Fenton-Wilkinson: the log-normal of the same mean and variance).
pub(super) fn total(parts: &[Quantity]) -> Estimated {
    let p50: f64 = parts.iter().map(|q| q.p50).sum();
    let mean = |q: &Quantity| q.p50 * (0.5 * (q.shared * q.shared + q.own * q.own)).exp();
    let sum: f64 = parts.iter().map(mean).sum();
    if sum <= 0.0 {
        return Estimated::exact(p50);
    }
    let mut variance = 0.0;
    for (i, a) in parts.iter().enumerate() {
        for (j, b) in parts.iter().enumerate() {
            let own = if i == j { a.own * a.own } else { 0.0 };
            variance += mean(a) * mean(b) * (a.shared * b.shared + own).exp_m1();
        }
        variance += a.hidden;
    }
    Estimated::log_normal(p50, (variance / (sum * sum)).ln_1p().sqrt())
}
