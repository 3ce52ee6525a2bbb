//! A look between the stages of a forward pass: to compare with a reference, or to stop.

use std::fmt;

use candle_core::Tensor;

use crate::Result;

/// Where in the model a tensor was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage {
    pub name: &'static str,
    /// Block or layer number, where a stage repeats.
    pub index: Option<usize>,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "{}.{index}", self.name),
            None => f.write_str(self.name),
        }
    }
}

/// Called after every stage with its result; an error (for instance [`crate::ModelError::Cancelled`]) ends the pass.
///
/// | stage | tensor |
/// |---|---|
/// | `vision.patch` | patches with positions, (B, N, C); ViT only |
/// | `vision.attention.i` | block 0 only: attention of the normed input, (B, N, C) |
/// | `vision.block.i`, `vision.stage.i` | (B, N, C) |
/// | `vision.embedding` | after the neck, (B, N, C) |
/// | `prompt.sparse`, `prompt.dense` | (P, T, C); (P, N, C) |
/// | `decoder.queries.i`, `decoder.keys.i` | (P, T, C); (P, N, C) |
/// | `decoder.queries.final` | (P, T, C) |
/// | `decoder.upscaled` | (P, N, 2, 2, 2, 2, C / 8): cell, then row and column inside it at 1/2, then at 1/4 |
pub type Watch<'a> = dyn FnMut(Stage, &Tensor) -> Result<()> + 'a;

pub(super) fn at(name: &'static str) -> Stage {
    Stage { name, index: None }
}

pub(super) fn nth(name: &'static str, index: usize) -> Stage {
    Stage {
        name,
        index: Some(index),
    }
}

/// Looks at nothing and never stops.
pub(super) fn unwatched() -> impl FnMut(Stage, &Tensor) -> Result<()> {
    |_, _| Ok(())
}
