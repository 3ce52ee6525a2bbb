//! Sizes of a model as its tensors tell them, for files that are published without a config.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Checkpoint;
use crate::{ModelError, Result};

/// Shapes under the names that the model asks for.
pub(crate) struct Shapes {
    path: PathBuf,
    shapes: BTreeMap<String, Vec<usize>>,
}

impl Shapes {
    pub(crate) fn new(checkpoint: &Checkpoint, shapes: BTreeMap<String, Vec<usize>>) -> Self {
        Self {
            path: checkpoint.weights_path(),
            shapes,
        }
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.shapes.contains_key(key)
    }

    /// The shape of a tensor that every such model has.
    ///
    /// # Errors
    /// It is missing, of another rank or empty.
    pub(crate) fn find(&self, key: &str, rank: usize) -> Result<&[usize]> {
        let path = || self.path.clone();
        match self.shapes.get(key) {
            Some(shape) if shape.len() == rank && !shape.contains(&0) => Ok(shape),
            Some(shape) => Err(ModelError::TensorShape {
                path: path(),
                key: key.to_owned(),
                expected: vec![1; rank],
                found: shape.clone(),
            }),
            None => Err(ModelError::MissingTensor {
                path: path(),
                key: key.to_owned(),
                expected: vec![1; rank],
            }),
        }
    }

    /// How many consecutive numbers from 0 stand in `{before}N{after}`.
    pub(crate) fn count(&self, before: &str, after: &str) -> usize {
        (0..)
            .take_while(|i| self.has(&format!("{before}{i}{after}")))
            .count()
    }
}
