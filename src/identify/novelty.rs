//! How unlike the foods that an identifier knows a crop is.
//!
//! A classifier is sure of things that it has never seen: its probabilities only compare the names it knows. What its vision tower
//! made of the crop tells more. The features of known foods, a mean over the crop each, lie about one centre a name with one
//! covariance; the Mahalanobis distance from the nearest centre is small for what is known and large for what is not (Lee et al. 2018,
//! arXiv 1807.03888).

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use sha2::{Digest, Sha256};

use crate::contract::{ErrorCode, ScanError};

/// Beside a set's `calibration.toml`: the tensors `mean` (C), `whitening` (K, C) and `centres` (names, K), f32 or f16.
pub const NOVELTY_FILE: &str = "novelty.safetensors";
/// A larger file holds something else: 2,048 channels and a thousand names take 13 MB.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Share of the covariance that is replaced by its mean variance: few crops say little of many channels.
const SHRINKAGE: f64 = 0.1;

/// Where known foods lie among the features of a stage of the vision tower.
#[derive(Clone, PartialEq)]
pub struct Novelty {
    mean: Vec<f32>,
    /// K rows of as many columns as `mean`.
    whitening: Vec<f32>,
    /// Rows of K, whitened.
    centres: Vec<f32>,
}

impl std::fmt::Debug for Novelty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Novelty")
            .field("channels", &self.mean.len())
            .finish_non_exhaustive()
    }
}

impl Novelty {
    /// The one in a folder; none where it has none.
    ///
    /// # Errors
    /// `checkpoint_invalid` naming the file that cannot be read and what is wrong with it.
    pub fn beside(dir: &Path) -> Result<Option<Self>, ScanError> {
        let path = dir.join(NOVELTY_FILE);
        if !path.exists() {
            return Ok(None);
        }
        let failed = |e: std::io::Error| {
            ScanError::new(
                ErrorCode::CheckpointInvalid,
                format!("cannot read {}", path.display()),
            )
            .source(e)
        };
        let size = std::fs::metadata(&path).map_err(failed)?.len();
        if size > MAX_FILE_BYTES {
            return Err(ScanError::new(
                ErrorCode::CheckpointInvalid,
                format!("{}: {size} bytes are more than {MAX_FILE_BYTES}", path.display()),
            ));
        }
        Self::parse(&std::fs::read(&path).map_err(failed)?, &path).map(Some)
    }

    /// Reads the bytes of a [`NOVELTY_FILE`]; `path` is for messages.
    ///
    /// # Errors
    /// `checkpoint_invalid` naming the file and what is wrong with it.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, ScanError> {
        let invalid = |why: String| {
            ScanError::new(ErrorCode::CheckpointInvalid, format!("{}: {why}", path.display())).next_step(
                "write it anew with `dragunov eval DATASET --calibrate FILE`, or take it away: names are then not doubted",
            )
        };
        let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu)
            .map_err(|e| invalid("it is no safetensors file".into()).source(e))?;
        let read = |name: &str, rank: usize| -> Result<(Vec<usize>, Vec<f32>), ScanError> {
            let tensor = tensors
                .get(name)
                .ok_or_else(|| invalid(format!("it lacks {name}")))?;
            let dims = tensor.dims().to_vec();
            let values = tensor
                .flatten_all()
                .and_then(|t| t.to_dtype(DType::F32)?.to_vec1::<f32>())
                .map_err(|e| invalid(format!("{name} cannot be read")).source(e))?;
            if dims.len() != rank || values.is_empty() || values.iter().any(|v| !v.is_finite()) {
                return Err(invalid(format!("{name} has the shape {dims:?} or is not finite")));
            }
            Ok((dims, values))
        };
        let ((c, mean), (k, whitening), (n, centres)) =
            (read("mean", 1)?, read("whitening", 2)?, read("centres", 2)?);
        if k[1] != c[0] || n[1] != k[0] {
            return Err(invalid(format!(
                "mean {c:?}, whitening {k:?} and centres {n:?} do not fit"
            )));
        }
        Ok(Self {
            mean,
            whitening,
            centres,
        })
    }

    /// Fits it to the features of crops of known foods, each with the number of its name. `None` for features of several lengths or
    /// fewer crops than two a name.
    pub fn fit(known: &[(usize, Vec<f32>)]) -> Option<Self> {
        let channels = known.first()?.1.len();
        let mut by_name: HashMap<usize, (f64, Vec<f64>)> = HashMap::new();
        let mut mean = vec![0.0; channels];
        for (name, features) in known {
            if features.len() != channels {
                return None;
            }
            let (count, sum) = by_name.entry(*name).or_insert_with(|| (0.0, vec![0.0; channels]));
            *count += 1.0;
            for ((all, own), value) in mean.iter_mut().zip(sum).zip(features) {
                *all += f64::from(*value) / known.len() as f64;
                *own += f64::from(*value);
            }
        }
        if known.len() < 2 * by_name.len() {
            return None;
        }
        let middle = |name: usize| -> Vec<f64> {
            let (count, sum) = &by_name[&name];
            sum.iter().map(|s| s / count).collect()
        };
        // One crop of a name says nothing of the spread; n say it less by one.
        let weight = |name: usize| match by_name[&name].0 {
            n if n > 1.0 => n / (n - 1.0),
            _ => 0.0,
        };
        let counted = known.iter().filter(|(name, _)| weight(*name) > 0.0).count();
        let mut covariance = vec![0.0; channels * channels];
        for (name, features) in known {
            let weight = weight(*name) / counted.max(1) as f64;
            let off: Vec<f64> = features
                .iter()
                .zip(middle(*name))
                .map(|(f, m)| f64::from(*f) - m)
                .collect();
            for (i, a) in off.iter().enumerate() {
                for (j, b) in off[..=i].iter().enumerate() {
                    covariance[i * channels + j] += weight * a * b;
                }
            }
        }
        let whitening = inverse_root(covariance, channels)?;
        let mut names: Vec<usize> = by_name.keys().copied().collect();
        names.sort_unstable();
        let mut out = Self {
            mean: mean.iter().map(|v| *v as f32).collect(),
            whitening: whitening.iter().map(|v| *v as f32).collect(),
            centres: Vec::new(),
        };
        for name in names {
            let centre: Vec<f32> = middle(name).iter().map(|v| *v as f32).collect();
            let whitened = out.whitened(&centre);
            out.centres.extend(whitened);
        }
        Some(out)
    }

    /// Writes a [`NOVELTY_FILE`].
    ///
    /// # Errors
    /// `config_invalid` if the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), ScanError> {
        let (c, k) = (self.mean.len(), self.whitening.len() / self.mean.len());
        let tensor = |values: &[f32], shape: &[usize]| {
            Tensor::from_slice(values, shape, &Device::Cpu)?.to_dtype(DType::F16)
        };
        let all = || -> candle_core::Result<HashMap<&str, Tensor>> {
            Ok(HashMap::from([
                ("mean", tensor(&self.mean, &[c])?),
                ("whitening", tensor(&self.whitening, &[k, c])?),
                ("centres", tensor(&self.centres, &[self.centres.len() / k, k])?),
            ]))
        };
        all()
            .and_then(|all| candle_core::safetensors::save(&all, path))
            .map_err(|e| {
                ScanError::new(
                    ErrorCode::ConfigInvalid,
                    format!("cannot write {}", path.display()),
                )
                .source(e)
            })
    }

    /// Root of the mean square distance from the nearest known food, over the whitened features: about 1 for a food of a training
    /// photo. Infinite for features of another length.
    pub fn of(&self, features: &[f32]) -> f64 {
        if features.len() != self.mean.len() {
            return f64::INFINITY;
        }
        let seen = self.whitened(features);
        let squares = |centre: &[f32]| -> f64 {
            let off = seen.iter().zip(centre);
            off.map(|(a, b)| f64::from(a - b).powi(2)).sum()
        };
        let nearest = self.centres.chunks_exact(seen.len()).map(squares);
        (nearest.fold(f64::INFINITY, f64::min) / seen.len() as f64).sqrt()
    }

    /// SHA-256 over all values.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for values in [&self.mean, &self.whitening, &self.centres] {
            hash.update((values.len() as u64).to_le_bytes());
            values.iter().for_each(|v| hash.update(v.to_le_bytes()));
        }
        hash.finalize().into()
    }

    fn whitened(&self, features: &[f32]) -> Vec<f32> {
        let off: Vec<f32> = features.iter().zip(&self.mean).map(|(f, m)| f - m).collect();
        let rows = self.whitening.chunks_exact(self.mean.len());
        rows.map(|row| row.iter().zip(&off).map(|(w, v)| w * v).sum())
            .collect()
    }
}

/// The inverse of the Cholesky factor of a covariance of `n` channels, of which the lower triangle is given, shrunk towards a
/// multiple of the unit. Row by row. `None` where nothing varies.
fn inverse_root(mut covariance: Vec<f64>, n: usize) -> Option<Vec<f64>> {
    let mean_variance = (0..n).map(|i| covariance[i * n + i]).sum::<f64>() / n as f64;
    if mean_variance.is_nan() || mean_variance <= 0.0 {
        return None;
    }
    covariance.iter_mut().for_each(|v| *v *= 1.0 - SHRINKAGE);
    (0..n).for_each(|i| covariance[i * n + i] += SHRINKAGE * mean_variance);
    let mut root = covariance;
    for i in 0..n {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| root[i * n + k] * root[j * n + k]).sum();
            let rest = root[i * n + j] - dot;
            root[i * n + j] = if i == j {
                rest.sqrt()
            } else {
                rest / root[j * n + j]
            };
        }
    }
    let mut inverse = vec![0.0; n * n];
    for column in 0..n {
        for i in column..n {
            let unit = f64::from(u8::from(i == column));
            let dot: f64 = (column..i)
                .map(|k| root[i * n + k] * inverse[k * n + column])
                .sum();
            inverse[i * n + column] = (unit - dot) / root[i * n + i];
        }
    }
    Some(inverse)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Two foods of three channels, of which the first tells them apart and the last two vary together.
    fn known() -> Vec<(usize, Vec<f32>)> {
        (0..400)
            .map(|i| {
                let wave = |k: f32| (i as f32 * k).sin();
                let food = i % 2;
                (
                    food,
                    vec![
                        10.0 * food as f32 + 0.1 * wave(1.7),
                        5.0 * wave(0.9),
                        5.0 * wave(0.9) + 0.5 * wave(2.3),
                    ],
                )
            })
            .collect()
    }

    #[test]
    fn known_foods_are_near_and_others_far() {
        let novelty = Novelty::fit(&known()).unwrap();
        let mean = known().iter().map(|(_, f)| novelty.of(f)).sum::<f64>() / 400.0;
        assert!((0.5..1.2).contains(&mean), "{mean}");
        // Between the two foods, and against the way in which the last channels go together: each within the range of its channel.
        for strange in [[5.0, 0.0, 0.0], [0.0, 4.0, -4.0]] {
            assert!(novelty.of(&strange) > 3.0, "{strange:?} {}", novelty.of(&strange));
        }
        assert!(novelty.of(&[0.0; 4]).is_infinite());
        assert_eq!(Novelty::fit(&[(0, vec![1.0]), (1, vec![2.0])]), None);
        assert_eq!(Novelty::fit(&[(0, vec![1.0]), (0, vec![1.0])]), None);
    }

    #[test]
    fn a_file_is_read_back_and_a_broken_one_is_named() {
        let novelty = Novelty::fit(&known()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NOVELTY_FILE);
        novelty.write(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let read = Novelty::parse(&bytes, &path).unwrap();
        let seen = [3.0, 1.0, 2.0];
        assert!((read.of(&seen) / novelty.of(&seen) - 1.0).abs() < 0.01);
        for broken in [&bytes[..bytes.len() - 9], b"nothing", b""] {
            let e = Novelty::parse(broken, &path).unwrap_err();
            assert_eq!(e.code, ErrorCode::CheckpointInvalid);
            assert!(e.message.contains(NOVELTY_FILE), "{e}");
        }
    }
}
