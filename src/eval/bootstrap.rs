//! How far figures would move with other photos: percentile bootstrap (Efron and Tibshirani 1993, chapter 13) over photos, because
//! the foods of one photo share its scale and err together.

use serde::Serialize;

use super::oracle::Uniform;

/// Bounds of the interval that 95 % of the draws lie in.
const LOW: f64 = 0.025;
const HIGH: f64 = 0.975;

/// How often photos are drawn, and from which random numbers: the same seed gives the same interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bootstrap {
    pub draws: usize,
    pub seed: u64,
}

impl Bootstrap {
    /// `figures` of as many groups as there are, drawn with replacement, for every draw. Draws whose figures cannot be computed are left
    /// out.
    pub fn draws<G, const N: usize>(
        &self,
        groups: &[G],
        mut figures: impl FnMut(&[&G]) -> Option<[f64; N]>,
    ) -> Vec<[f64; N]> {
        let mut random = Uniform::new(self.seed.wrapping_add(1));
        let mut out = Vec::with_capacity(self.draws);
        let mut drawn: Vec<&G> = Vec::with_capacity(groups.len());
        for _ in 0..self.draws {
            drawn.clear();
            drawn.extend((0..groups.len()).filter_map(|_| {
                let at = (random.unit() * groups.len() as f64) as usize;
                groups.get(at.min(groups.len().saturating_sub(1)))
            }));
            out.extend(figures(&drawn).filter(|f| f.iter().all(|v| v.is_finite())));
        }
        out
    }
}

/// The 95 % interval of the draws of one figure, between which ranks interpolate; `None` of no draws.
pub fn interval(draws: &[f64]) -> Option<[f64; 2]> {
    let mut sorted = draws.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| {
        let place = share * sorted.len().checked_sub(1)? as f64;
        let (low, high) = (
            sorted.get(place.floor() as usize)?,
            sorted.get(place.ceil() as usize)?,
        );
        Some(low + place.fract() * (high - low))
    };
    Some([at(LOW)?, at(HIGH)?])
}

/// One column of the draws.
pub fn column<const N: usize>(draws: &[[f64; N]], i: usize) -> Vec<f64> {
    draws.iter().map(|d| d[i]).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn mean(drawn: &[&f64]) -> Option<[f64; 1]> {
        Some([drawn.iter().copied().sum::<f64>() / drawn.len() as f64])
    }

    #[test]
    fn the_interval_of_a_mean_is_two_standard_errors_either_way() {
        let mut random = Uniform::new(5);
        let values: Vec<f64> = (0..400).map(|_| 10.0 + 2.0 * random.normal()).collect();
        let bootstrap = Bootstrap { draws: 2000, seed: 1 };
        let [low, high] = interval(&column(&bootstrap.draws(&values, mean), 0)).unwrap();
        let width = 2.0 * 1.96 * 2.0 / 400.0_f64.sqrt();
        assert!(((high - low) / width - 1.0).abs() < 0.15, "{low} {high}");
        let centre = values.iter().sum::<f64>() / 400.0;
        assert!(low < centre && centre < high);
    }

    #[test]
    fn a_seed_repeats_itself_and_another_one_does_not() {
        let values: Vec<f64> = (0..30).map(f64::from).collect();
        let of = |seed| Bootstrap { draws: 50, seed }.draws(&values, mean);
        assert_eq!(of(3), of(3));
        assert_ne!(of(3), of(4));
        assert_eq!(interval(&[]), None);
        assert_eq!(interval(&[2.0]), Some([2.0, 2.0]));
    }
}
