//! The mask decoder by graphs: of each shape of call one is kept and launched again for other prompts and photos, one call of the
//! driver where the decoder makes some hundreds. `DRAGUNOV_CUDA_GRAPHS=1` asks for it; what does not go well is told once in the log, and
//! calls go on as without it.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Result as Candle, Tensor, TensorId};
use dragunov_kernels::graph::{self, Graph};

use super::Sam;
use super::decoder::Decoded;
use super::predict::CELLS_PER_CALL;
use super::two_way::ImageSide;
use crate::observer::Unobserved;
use crate::{Result, graphs};

/// Calls that are kept, the last ones used.
const MOST_KEPT: usize = 8;
/// Cells times width that all of them may hold for their prompts: a graph has memory of its own.
const MOST_CELLS: usize = 2 * CELLS_PER_CALL;
/// Up to so many prompts are rounded up to a power of two: there the decoder waits for launches, beyond it computes.
const ROUNDED: usize = 8;

/// What one call of the decoder computes from.
#[derive(Debug, Clone)]
pub(super) struct Inputs {
    /// (P, T, C)
    pub(super) sparse: Tensor,
    pub(super) image: Image,
}

#[derive(Debug, Clone)]
pub(super) enum Image {
    Unmasked(ImageSide),
    /// The photo's cells (1, N, C), and a mask of each prompt, (P, 16 N, 1).
    Masked {
        cells: Tensor,
        masks: Tensor,
    },
}

impl Image {
    /// What is the photo's alone.
    fn of_photo(&self) -> Vec<&Tensor> {
        match self {
            Self::Unmasked(side) => side.tensors().into(),
            Self::Masked { cells, .. } => vec![cells],
        }
    }

    fn masks(&self) -> Option<&Tensor> {
        match self {
            Self::Unmasked(_) => None,
            Self::Masked { masks, .. } => Some(masks),
        }
    }
}

impl Inputs {
    /// Memory of its own for as much as these are, and for `prompts` of them.
    fn blank(&self, prompts: usize) -> Candle<Self> {
        let for_prompts = |t: &Tensor| {
            let (_, rows, width) = t.dims3()?;
            Tensor::zeros((prompts, rows, width), t.dtype(), t.device())
        };
        Ok(Self {
            sparse: for_prompts(&self.sparse)?,
            image: match &self.image {
                Image::Unmasked(side) => Image::Unmasked(side.blank()?),
                Image::Masked { cells, masks } => Image::Masked {
                    cells: cells.zeros_like()?,
                    masks: for_prompts(masks)?,
                },
            },
        })
    }
}

/// What makes two calls the same work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    /// Rounded up: a prompt's answer depends on no other one.
    prompts: usize,
    tokens: usize,
    masked: bool,
    multimask: bool,
}

/// A call that is kept.
#[derive(Debug)]
struct Call {
    kind: Kind,
    cells: usize,
    inputs: Inputs,
    /// The photo that is in `inputs`.
    photo: Option<TensorId>,
    outputs: Decoded,
    graph: Option<Graph>,
    /// Whether it was made as it is captured.
    rehearsed: bool,
}

#[derive(Debug, Default)]
struct Kept {
    calls: Vec<Call>,
    /// No second try.
    given_up: bool,
}

/// The calls of a model that are kept. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Replays(Arc<Mutex<Kept>>);

impl Replays {
    /// What `sam` makes of `inputs`, in f32 and in memory that no later call writes to. None where that is to be computed as without
    /// graphs.
    pub(super) fn decode(&self, sam: &Sam, inputs: &Inputs, multimask: bool) -> Option<Decoded> {
        // A GPU has no allocation of 0 bytes.
        if !graph::asked_for(&sam.device) || inputs.sparse.elem_count() == 0 {
            return None;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.given_up {
            return None;
        }
        match kept.decode(sam, inputs, multimask) {
            Ok(decoded) => Some(decoded),
            Err(error) => {
                graphs::not_launched("calls of SAM's mask decoder", &error);
                *kept = Kept {
                    calls: Vec::new(),
                    given_up: true,
                };
                None
            }
        }
    }
}

impl Kept {
    fn decode(&mut self, sam: &Sam, inputs: &Inputs, multimask: bool) -> Result<Decoded> {
        let (prompts, tokens, _) = inputs.sparse.dims3()?;
        let kind = Kind {
            prompts: match prompts {
                0..=ROUNDED => prompts.next_power_of_two(),
                _ => prompts,
            },
            tokens,
            masked: inputs.image.masks().is_some(),
            multimask,
        };
        let known = self.calls.iter().position(|call| call.kind == kind);
        let call = match known {
            Some(at) => self.calls.remove(at),
            None => {
                let cells = kind.prompts * inputs.image.of_photo()[0].elem_count();
                self.make_room(cells);
                Call {
                    kind,
                    cells,
                    inputs: inputs.blank(kind.prompts)?,
                    photo: None,
                    outputs: sam.decoder.blank(kind.prompts, multimask)?,
                    graph: None,
                    rehearsed: false,
                }
            }
        };
        self.calls.insert(0, call);
        self.calls[0].run(sam, inputs)?;
        Ok(self.calls[0].answers(prompts)?)
    }

    /// Lets go of what was used longest ago, for a call over so many cells.
    fn make_room(&mut self, cells: usize) {
        let held = |calls: &[Call]| calls.iter().map(|call| call.cells).sum::<usize>();
        while self.calls.len() >= MOST_KEPT || held(&self.calls) + cells > MOST_CELLS {
            if self.calls.pop().is_none() {
                return;
            }
        }
    }
}

impl Call {
    fn run(&mut self, sam: &Sam, inputs: &Inputs) -> Result<()> {
        self.fill(inputs)?;
        if !self.rehearsed {
            graph::rehearse(&sam.device, || self.work(sam))?;
            self.rehearsed = true;
            return Ok(());
        }
        let graph = match self.graph.take() {
            Some(graph) => graph,
            None => graph::capture(&sam.device, || self.work(sam).map_err(candle_core::Error::wrap))?,
        };
        Ok(self.graph.insert(graph).launch()?)
    }

    /// What is captured.
    fn work(&self, sam: &Sam) -> Result<()> {
        let decoded = sam.decode(&self.inputs, self.kind.multimask, &mut Unobserved)?;
        write(&self.outputs.logits, &decoded.logits)?;
        Ok(write(&self.outputs.iou, &decoded.iou)?)
    }

    /// Puts `inputs` where the call reads them; rows beyond their prompts keep what was there.
    fn fill(&mut self, inputs: &Inputs) -> Candle<()> {
        write(&self.inputs.sparse, &inputs.sparse)?;
        if let (Some(own), Some(masks)) = (self.inputs.image.masks(), inputs.image.masks()) {
            write(own, masks)?;
        }
        let photo = inputs.image.of_photo();
        let id = photo[0].id();
        if self.photo != Some(id) {
            for (own, given) in self.inputs.image.of_photo().into_iter().zip(photo) {
                write(own, given)?;
            }
            self.photo = Some(id);
        }
        Ok(())
    }

    /// The first `prompts` rows of what was computed, copied.
    fn answers(&self, prompts: usize) -> Candle<Decoded> {
        let own = |t: &Tensor| {
            let part = t.narrow(0, 0, prompts)?;
            match t.dtype() {
                DType::F32 => part.force_contiguous(),
                _ => part.to_dtype(DType::F32),
            }
        };
        Ok(Decoded {
            logits: own(&self.outputs.logits)?,
            iou: own(&self.outputs.iou)?,
        })
    }
}

/// Over the first rows of `to`.
fn write(to: &Tensor, from: &Tensor) -> Candle<()> {
    to.slice_set(&from.contiguous()?, 0, 0)
}
