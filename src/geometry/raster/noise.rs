//! How much of what is left over on the table averages out over a food (geometry.md 3.7).

use std::collections::BTreeMap;

use super::table::TableSamples;

/// Side of a block of residuals, samples; it counts with so many of its samples seen, and says something with so many blocks.
const BLOCK_SAMPLES: usize = 4;
const LEAST_BLOCK: f64 = 8.0;
const LEAST_BLOCKS: usize = 6;

/// What the residual is made of, relative as it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Noise {
    /// Of a sample, independent of its neighbours: a mean over many has little of it.
    independent: f64,
    /// Common to a patch as large as food.
    smooth: f64,
    /// Pixels that a sample stands for.
    sample_px: f64,
}

impl Noise {
    /// Splits the residuals by analysis of variance over square blocks: what their means vary by more than the noise within explains is
    /// smooth. All of it is taken for smooth where few blocks are seen. `unit`: the
    /// disparity that is 1.
    pub(super) fn of(samples: &TableSamples, keep: &[bool], residuals: &[f64], sd: f64, unit: f64) -> Self {
        let sample_px = (samples.step * samples.step) as f64;
        let side = (BLOCK_SAMPLES * samples.step.max(1)) as f64;
        let mut blocks: BTreeMap<[u32; 2], [f64; 3]> = BTreeMap::new();
        let kept = samples.points.iter().zip(keep).filter(|(_, k)| **k);
        for ((at, _), residual) in kept.zip(residuals) {
            let block = blocks
                .entry([(at[0] / side) as u32, (at[1] / side) as u32])
                .or_default();
            block[0] += 1.0;
            block[1] += residual;
            block[2] += residual * residual;
        }
        blocks.retain(|_, [n, ..]| *n >= LEAST_BLOCK);
        if blocks.len() < LEAST_BLOCKS {
            return Self {
                independent: 0.0,
                smooth: sd / unit,
                sample_px,
            };
        }
        let (mut within, mut freedom, mut between, mut shares) = (0.0, 0.0, 0.0, 0.0);
        for [n, sum, square] in blocks.values() {
            within += square - sum * sum / n;
            freedom += n - 1.0;
            between += (sum / n).powi(2);
            shares += n.recip();
        }
        let count = blocks.len() as f64;
        let independent = within / freedom;
        let smooth = (between / count - independent * shares / count).max(0.0);
        Self {
            independent: independent.sqrt() / unit,
            smooth: smooth.sqrt() / unit,
            sample_px,
        }
    }

    /// Sd of the mean over so many pixels.
    pub(crate) fn of_mean(&self, pixels: f64) -> f64 {
        let samples = (pixels / self.sample_px).max(1.0);
        self.smooth.hypot(self.independent / samples.sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::math::random::Random;

    /// Residuals on a lattice of 60 x 60: independent ones, and a wave as long as a third of it.
    fn split(independent: f64, wave: f64) -> Noise {
        let mut random = Random::new(3);
        let points: Vec<[f64; 3]> = (0..3600)
            .map(|i| {
                [
                    f64::from(i % 60) * 12.0 + 6.5,
                    f64::from(i / 60) * 12.0 + 6.5,
                    1.0,
                ]
            })
            .collect();
        let residuals: Vec<f64> = points
            .iter()
            .map(|[u, v, _]| independent * random.normal() + wave * (u / 38.0).sin() * (v / 38.0).cos())
            .collect();
        let keep = vec![true; points.len()];
        let samples = TableSamples { points, step: 12 };
        Noise::of(&samples, &keep, &residuals, 0.1, 2.0)
    }

    #[test]
    fn independent_and_smooth_residuals_are_told_apart() {
        let noise = split(0.02, 0.0);
        assert!((noise.independent / 0.01 - 1.0).abs() < 0.05, "{noise:?}");
        assert!(noise.smooth < 0.001, "{noise:?}");
        // A hundred samples of 12 x 12 pixels.
        assert!(noise.of_mean(14_400.0) < 0.0015, "{noise:?}");
        // The wave's own spread is half of its height; blocks of 48 pixels flatten it by a tenth.
        let noise = split(0.02, 0.02);
        assert!((noise.smooth / 0.005 - 1.0).abs() < 0.15, "{noise:?}");
        assert!(noise.of_mean(1e9) > 0.004, "{noise:?}");
    }

    #[test]
    fn where_little_is_seen_all_of_it_is_smooth() {
        let samples = TableSamples {
            points: vec![[1.0, 1.0, 1.0]; 20],
            step: 12,
        };
        let noise = Noise::of(&samples, &[true; 20], &[0.01; 20], 0.1, 2.0);
        assert_eq!((noise.independent, noise.smooth), (0.0, 0.05));
    }
}
