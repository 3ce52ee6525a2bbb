//! What the networks said of each photo, kept in files: tuning what comes after them takes moments instead of minutes.

use std::io;
use std::path::{Path, PathBuf};

use dragunov_models::depth_anything::Depth;
use dragunov_models::{Mask, MetricDepth, RelativeDisparity};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::manifest::DataError;
use crate::contract::request::Hints;
use crate::contract::{ScanError, Warning};
use crate::identify::Identified;
use crate::perceive::{Candidate, Detections};
use crate::pipeline::NetworkOutputs;

/// How much of a photo's id and of the key's hash is in a file's name.
const MAX_ID_CHARS: usize = 80;
const KEY_BYTES: usize = 12;

/// A folder with two files a photo: the candidates as JSON and the depth raster as little-endian f32.
///
/// An entry is found again by its photo's bytes, the request's hints and what made it: other weights, other settings of the
/// search or another photo under the same name have entries of their own.
#[derive(Debug, Clone)]
pub struct PredictionCache {
    dir: PathBuf,
    /// Of the models and their settings.
    fingerprint: String,
}

#[derive(Serialize, Deserialize)]
struct CachedPhoto {
    /// Width and height of the depth raster.
    depth: [usize; 2],
    metric: bool,
    warnings: Vec<Warning>,
    candidates: Vec<CachedCandidate>,
}

#[derive(Serialize, Deserialize)]
struct CachedCandidate {
    /// Height and width, and COCO's run lengths.
    size: [usize; 2],
    counts: String,
    quality: f64,
    identity: Identified,
}

impl PredictionCache {
    /// `fingerprint`: [`crate::pipeline::Scanner::outputs_fingerprint`] of the scanner that is asked.
    pub fn new(dir: PathBuf, fingerprint: String) -> Self {
        Self { dir, fingerprint }
    }

    /// What is kept of this photo, or what `compute` gives, kept from now on. An entry that cannot be read is made anew.
    ///
    /// # Errors
    /// Of `compute`, and of files that cannot be written.
    pub fn get_or_insert(
        &self,
        id: &str,
        photo: &[u8],
        hints: &Hints,
        compute: impl FnOnce() -> Result<NetworkOutputs, ScanError>,
    ) -> Result<NetworkOutputs, ScanError> {
        let name = self.entry_name(id, photo, hints)?;
        let (json, raster) = (
            self.dir.join(format!("{name}.json")),
            self.dir.join(format!("{name}.f32")),
        );
        if json.is_file() {
            match read(&json, &raster) {
                Ok(outputs) => return Ok(outputs),
                Err(error) => tracing::warn!(%error, "a cached prediction cannot be read and is made anew"),
            }
        }
        let outputs = compute()?;
        write(&outputs, &self.dir, &json, &raster)?;
        Ok(outputs)
    }

    /// The photo's id, as far as it may stand in a file's name, and the hash that counts.
    fn entry_name(&self, id: &str, photo: &[u8], hints: &Hints) -> Result<String, DataError> {
        let safe: String = id
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .take(MAX_ID_CHARS)
            .collect();
        let hints = serde_json::to_vec(hints).map_err(|source| DataError::Json {
            path: self.dir.clone(),
            line: 0,
            source,
        })?;
        let mut hash = Sha256::new();
        for part in [id.as_bytes(), photo, &hints, self.fingerprint.as_bytes()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let digest: String = hash
            .finalize()
            .iter()
            .take(KEY_BYTES)
            .map(|b| format!("{b:02x}"))
            .collect();
        Ok(format!("{safe}-{digest}"))
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> DataError + use<> {
    let path = path.to_owned();
    move |source| DataError::Io { path, source }
}

fn read(json: &Path, raster: &Path) -> Result<NetworkOutputs, DataError> {
    let text = std::fs::read(json).map_err(failed(json))?;
    let kept: CachedPhoto = serde_json::from_slice(&text).map_err(|source| DataError::Json {
        path: json.to_owned(),
        line: source.line(),
        source,
    })?;
    let bytes = std::fs::read(raster).map_err(failed(raster))?;
    if !bytes.len().is_multiple_of(4) {
        return Err(DataError::content(raster, "it is cut off"));
    }
    let values: Vec<f32> = bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    let [w, h] = kept.depth;
    let broken = |e: dragunov_models::ModelError| DataError::content(raster, e.to_string());
    let depth = if kept.metric {
        Depth::Metric(MetricDepth::new(w, h, values).map_err(broken)?)
    } else {
        Depth::Relative(RelativeDisparity::new(w, h, values).map_err(broken)?)
    };
    let candidates = kept
        .candidates
        .into_iter()
        .map(|c| {
            let [h, w] = c.size;
            let mask = Mask::from_coco_string(w, h, &c.counts)
                .ok_or_else(|| DataError::content(json, "a mask is broken"))?;
            Ok(Candidate {
                mask,
                quality: c.quality,
                identity: c.identity,
            })
        })
        .collect::<Result<_, DataError>>()?;
    Ok(NetworkOutputs {
        depth,
        detections: Detections {
            candidates,
            warnings: kept.warnings,
        },
    })
}

fn write(outputs: &NetworkOutputs, dir: &Path, json: &Path, raster: &Path) -> Result<(), DataError> {
    std::fs::create_dir_all(dir).map_err(failed(dir))?;
    let (w, h) = outputs.depth.size();
    let (values, metric) = match &outputs.depth {
        Depth::Relative(d) => (d.values(), false),
        Depth::Metric(d) => (d.values(), true),
    };
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    write_whole(raster, &bytes)?;
    let kept = CachedPhoto {
        depth: [w, h],
        metric,
        warnings: outputs.detections.warnings.clone(),
        candidates: outputs
            .detections
            .candidates
            .iter()
            .map(|c| CachedCandidate {
                size: [c.mask.height(), c.mask.width()],
                counts: c.mask.to_coco_string(),
                quality: c.quality,
                identity: c.identity.clone(),
            })
            .collect(),
    };
    let text = serde_json::to_vec(&kept).map_err(|source| DataError::Json {
        path: json.to_owned(),
        line: 0,
        source,
    })?;
    write_whole(json, &text)
}

/// Under another name first: a run that is killed leaves no half of a file.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    let part = path.with_extension(format!("part{}", std::process::id()));
    std::fs::write(&part, bytes).map_err(failed(&part))?;
    std::fs::rename(&part, path).map_err(failed(path))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::contract::ErrorCode;

    const PHOTO: &[u8] = b"the photo's bytes";

    fn outputs() -> NetworkOutputs {
        NetworkOutputs {
            depth: Depth::Relative(RelativeDisparity::new(3, 2, vec![0.5, 1.0, 1.5, 2.0, 2.5, 3.0]).unwrap()),
            detections: Detections {
                candidates: vec![Candidate {
                    mask: Mask::from_fn(7, 5, |x, y| x > 2 && y < 4),
                    quality: 0.75,
                    identity: Identified::unknown_food(),
                }],
                warnings: Vec::new(),
            },
        }
    }

    /// Whether the networks are run for this.
    fn runs(cache: &PredictionCache, id: &str, photo: &[u8], hints: &Hints) -> bool {
        let mut ran = false;
        cache
            .get_or_insert(id, photo, hints, || {
                ran = true;
                Ok(outputs())
            })
            .unwrap();
        ran
    }

    #[test]
    fn what_was_said_comes_back_without_asking_again() {
        let dir = tempfile::tempdir().unwrap();
        let cache = PredictionCache::new(dir.path().join("kept"), "weights".into());
        let none = Hints::default();
        let first = cache
            .get_or_insert("a/b (1)", PHOTO, &none, || Ok(outputs()))
            .unwrap();
        let again = cache
            .get_or_insert("a/b (1)", PHOTO, &none, || panic!("asked again"))
            .unwrap();
        let said = outputs();
        for found in [first, again] {
            assert_eq!(
                found.detections.candidates[0].mask,
                said.detections.candidates[0].mask
            );
            assert_eq!(found.detections.candidates[0].quality, 0.75);
            let (Depth::Relative(a), Depth::Relative(b)) = (&found.depth, &said.depth) else {
                panic!("another kind of depth")
            };
            assert_eq!(a.values(), b.values());
        }
        let refused = cache.get_or_insert("c", PHOTO, &none, || Err(ScanError::new(ErrorCode::NoFood, "x")));
        assert!(refused.is_err());
        assert!(runs(&cache, "c", PHOTO, &none), "a refusal is not kept");
    }

    #[test]
    fn other_weights_photos_hints_and_names_are_asked_again() {
        let dir = tempfile::tempdir().unwrap();
        let with = |fingerprint: &str| PredictionCache::new(dir.path().to_owned(), fingerprint.into());
        let (cache, none) = (with("weights"), Hints::default());
        let hints: Hints =
            serde_json::from_value(serde_json::json!({"items": [{"point": [3.0, 4.0]}]})).unwrap();
        assert!(runs(&cache, "a/b", PHOTO, &none) && !runs(&cache, "a/b", PHOTO, &none));
        assert!(runs(&with("other weights"), "a/b", PHOTO, &none));
        assert!(runs(&cache, "a/b", b"another photo", &none));
        assert!(runs(&cache, "a/b", PHOTO, &hints));
        assert!(runs(&cache, "a_b", PHOTO, &none), "the same as a file's name");
        assert!(
            !runs(&cache, "a/b", PHOTO, &none),
            "all of them are kept side by side"
        );
    }

    #[test]
    fn a_broken_entry_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, none) = (
            PredictionCache::new(dir.path().to_owned(), "w".into()),
            Hints::default(),
        );
        for extension in ["json", "f32"] {
            runs(&cache, "a", PHOTO, &none);
            for file in std::fs::read_dir(dir.path()).unwrap() {
                let path = file.unwrap().path();
                if path.extension().is_some_and(|e| e == extension) {
                    let bytes = std::fs::read(&path).unwrap();
                    std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
                }
            }
            assert!(runs(&cache, "a", PHOTO, &none), "{extension}");
            assert!(!runs(&cache, "a", PHOTO, &none));
        }
    }
}
