//! What the networks said of each photo, kept in files: tuning what comes after them takes moments instead of minutes.

use std::io;
use std::path::{Path, PathBuf};

use dragunov_models::depth_anything::Depth;
use dragunov_models::{Mask, MetricDepth, RelativeDisparity};
use serde::{Deserialize, Serialize};

use super::manifest::DataError;
use crate::contract::ScanError;
use crate::contract::Warning;
use crate::identify::Identified;
use crate::perceive::{Candidate, Seen};
use crate::pipeline::Looked;

/// A folder with two files a photo: the candidates as JSON and the depth raster as little-endian f32.
#[derive(Debug, Clone)]
pub struct Memory {
    dir: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    /// Width and height of the depth raster.
    depth: [usize; 2],
    metric: bool,
    warnings: Vec<Warning>,
    candidates: Vec<KeptCandidate>,
}

#[derive(Serialize, Deserialize)]
struct KeptCandidate {
    /// Height and width, and COCO's run lengths.
    size: [usize; 2],
    counts: String,
    quality: f64,
    identity: Identified,
}

impl Memory {
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// What is kept under this name, or what `look` says, kept from now on.
    ///
    /// # Errors
    /// Of `look`, and of files that cannot be read or written.
    pub fn recall(
        &self,
        id: &str,
        look: impl FnOnce() -> Result<Looked, ScanError>,
    ) -> Result<Looked, ScanError> {
        let (json, raster) = (self.file(id, "json"), self.file(id, "f32"));
        if json.is_file() {
            return Ok(read(&json, &raster)?);
        }
        let looked = look()?;
        write(&looked, &self.dir, &json, &raster)?;
        Ok(looked)
    }

    fn file(&self, id: &str, extension: &str) -> PathBuf {
        let safe: String = id
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect();
        self.dir.join(format!("{safe}.{extension}"))
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> DataError + use<> {
    let path = path.to_owned();
    move |source| DataError::Io { path, source }
}

fn read(json: &Path, raster: &Path) -> Result<Looked, DataError> {
    let text = std::fs::read(json).map_err(failed(json))?;
    let kept: Kept = serde_json::from_slice(&text).map_err(|source| DataError::Json {
        path: json.to_owned(),
        line: source.line(),
        source,
    })?;
    let bytes = std::fs::read(raster).map_err(failed(raster))?;
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
    Ok(Looked {
        depth,
        seen: Seen {
            candidates,
            warnings: kept.warnings,
        },
    })
}

fn write(looked: &Looked, dir: &Path, json: &Path, raster: &Path) -> Result<(), DataError> {
    std::fs::create_dir_all(dir).map_err(failed(dir))?;
    let (w, h) = looked.depth.size();
    let (values, metric) = match &looked.depth {
        Depth::Relative(d) => (d.values(), false),
        Depth::Metric(d) => (d.values(), true),
    };
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(raster, bytes).map_err(failed(raster))?;
    let kept = Kept {
        depth: [w, h],
        metric,
        warnings: looked.seen.warnings.clone(),
        candidates: looked
            .seen
            .candidates
            .iter()
            .map(|c| KeptCandidate {
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
    std::fs::write(json, text).map_err(failed(json))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_said_comes_back_without_asking_again() {
        let dir = tempfile::tempdir().unwrap();
        let memory = Memory::new(dir.path().join("kept"));
        let said = Looked {
            depth: Depth::Relative(RelativeDisparity::new(3, 2, vec![0.5, 1.0, 1.5, 2.0, 2.5, 3.0]).unwrap()),
            seen: Seen {
                candidates: vec![Candidate {
                    mask: Mask::from_fn(7, 5, |x, y| x > 2 && y < 4),
                    quality: 0.75,
                    identity: Identified::unknown_food(),
                }],
                warnings: Vec::new(),
            },
        };
        let first = memory.recall("a/b (1)", || Ok(said.clone())).unwrap();
        let again = memory.recall("a/b (1)", || panic!("asked again")).unwrap();
        for looked in [first, again] {
            assert_eq!(looked.seen.candidates[0].mask, said.seen.candidates[0].mask);
            assert_eq!(looked.seen.candidates[0].quality, 0.75);
            let (Depth::Relative(a), Depth::Relative(b)) = (&looked.depth, &said.depth) else {
                panic!("another kind of depth")
            };
            assert_eq!(a.values(), b.values());
        }
        assert!(
            memory
                .recall("other", || Err(ScanError::new(
                    crate::contract::ErrorCode::NoFood,
                    "x"
                )))
                .is_err()
        );
    }
}
