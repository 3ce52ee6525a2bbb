//! Quantiles and weighted means.

/// Standard deviation of a normal variable over its median absolute deviation.
pub(crate) const MAD_TO_SD: f64 = 1.4826;

/// Tukey's cut in standard deviations: beyond it a residual has no weight (95 % efficient for normal errors).
pub(crate) const TUKEY: f64 = 4.685;

/// Huber's bound in standard deviations: beyond it a residual pulls no harder (Huber 1964; 95 % efficient).
pub(crate) const HUBER: f64 = 1.345;

/// Median by selection; reorders `values`. `None` if empty.
pub(crate) fn median(values: &mut [f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// Quantile by selection (nearest rank); reorders `values`. `None` if empty.
pub(crate) fn quantile(values: &mut [f64], p: f64) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let k = ((values.len() - 1) as f64 * p).round() as usize;
    Some(*values.select_nth_unstable_by(k, f64::total_cmp).1)
}

/// Mean of two independent estimates, each with its sd, by the inverse of their variances.
pub(crate) fn inverse_variance_mean(a: (f64, f64), b: (f64, f64)) -> f64 {
    let (wa, wb) = (a.1.powi(-2), b.1.powi(-2));
    (a.0 * wa + b.0 * wb) / (wa + wb)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_by_selection() {
        let mut v = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(median(&mut v), Some(3.0));
        assert_eq!(quantile(&mut v, 1.0), Some(5.0));
        assert_eq!(median(&mut []), None);
    }
}
