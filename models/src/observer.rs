//! A look between the stages of a forward pass: to compare with a reference, or to stop.

use std::fmt;

use candle_core::{Module, Tensor};

use crate::{ModelError, Result};

/// Where in a forward pass a tensor was taken, written `depth`, `vision.block.3` or `block.3.attention`. Each model
/// lists its stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stage {
    pub name: &'static str,
    /// Number of the block or layer, where a stage repeats.
    pub index: Option<usize>,
    /// What inside the block or layer; `None`: its result.
    pub part: Option<&'static str>,
}

impl Stage {
    pub(crate) const fn of(name: &'static str) -> Self {
        Self {
            name,
            index: None,
            part: None,
        }
    }

    pub(crate) const fn nth(name: &'static str, index: usize) -> Self {
        Self {
            name,
            index: Some(index),
            part: None,
        }
    }

    pub(crate) const fn inside(name: &'static str, index: usize, part: &'static str) -> Self {
        Self {
            name,
            index: Some(index),
            part: Some(part),
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if let Some(index) = self.index {
            write!(f, ".{index}")?;
        }
        match self.part {
            Some(part) => write!(f, ".{part}"),
            None => Ok(()),
        }
    }
}

/// Sees the tensor of every stage of a pass. Closures `FnMut(Stage, Tensor) -> Result<Tensor>` are observers.
pub trait Observer {
    /// Takes a stage's tensor and hands on what the next stage gets: that one. Another of the same shape is a planted
    /// fault, by which tests show that they would see one.
    ///
    /// # Errors
    /// Any error ends the pass; [`ModelError::Cancelled`] if nobody waits for it any more.
    fn stage(&mut self, stage: Stage, value: Tensor) -> Result<Tensor>;

    /// Whether it must see every stage. Without that, work which a GPU does as one graph shows it none of those inside.
    fn looks_inside(&self) -> bool {
        true
    }
}

impl<F: FnMut(Stage, Tensor) -> Result<Tensor>> Observer for F {
    fn stage(&mut self, stage: Stage, value: Tensor) -> Result<Tensor> {
        self(stage, value)
    }
}

/// Looks at nothing and never stops.
#[derive(Debug, Clone, Copy)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn stage(&mut self, _: Stage, value: Tensor) -> Result<Tensor> {
        Ok(value)
    }

    fn looks_inside(&self) -> bool {
        false
    }
}

/// The stage of a sum whose norm is known already. Of another tensor, a planted fault, the norm is taken again.
pub(crate) fn stage_normed(
    observer: &mut dyn Observer,
    stage: Stage,
    (x, normed): (Tensor, Tensor),
    norm: &impl Module,
) -> Result<(Tensor, Tensor)> {
    let mine = x.id();
    let x = observer.stage(stage, x)?;
    let normed = match x.id() == mine {
        true => normed,
        false => norm.forward(&x)?,
    };
    Ok((x, normed))
}

/// Ends the pass with [`ModelError::Cancelled`] between two stages once `cancelled` says so.
pub fn until(cancelled: impl Fn() -> bool) -> impl Observer {
    Until(cancelled)
}

struct Until<F>(F);

impl<F: Fn() -> bool> Observer for Until<F> {
    fn stage(&mut self, _: Stage, value: Tensor) -> Result<Tensor> {
        match (self.0)() {
            true => Err(ModelError::Cancelled),
            false => Ok(value),
        }
    }

    fn looks_inside(&self) -> bool {
        false
    }
}
