//! What the vision tower makes of each picture of a batch, caught on its way to the decoder.

use candle_core::Tensor;
use dragunov_models::ModelError;
use dragunov_models::observer::{Observer, Stage};
use dragunov_models::qwen_vl::EncodedPrompt;

/// The stage whose mean over a picture is its features: tokens of one picture lie together, whatever their order.
const STAGE: &str = "vision.merger";

/// Hands everything on and keeps the features' stage.
pub(super) struct Seen<O> {
    inner: O,
    features: Option<Tensor>,
}

impl<O: Observer> Seen<O> {
    pub(super) fn by(inner: O) -> Self {
        Self {
            inner,
            features: None,
        }
    }

    /// The mean of each prompt's pictures, in the order of the batch; `None` where the stage was not reached.
    pub(super) fn means(self, batch: &[EncodedPrompt]) -> Option<Vec<Vec<f32>>> {
        let features = self.features?;
        let patches = |prompt: &EncodedPrompt| prompt.images.iter().map(|i| i.grid.patches()).sum::<usize>();
        let rows = features.dim(0).ok()?;
        let all: usize = batch.iter().map(patches).sum();
        let mut from = 0;
        let mut mean = |prompt: &EncodedPrompt| -> candle_core::Result<Vec<f32>> {
            let n = patches(prompt) * rows / all.max(1);
            let own = features.narrow(0, from, n)?;
            from += n;
            own.to_dtype(candle_core::DType::F32)?.mean(0)?.to_vec1()
        };
        batch.iter().map(|prompt| mean(prompt).ok()).collect()
    }
}

impl<O: Observer> Observer for Seen<O> {
    fn stage(&mut self, stage: Stage, value: Tensor) -> Result<Tensor, ModelError> {
        if stage.name == STAGE && stage.index.is_none() && stage.part.is_none() {
            self.features = Some(value.clone());
        }
        self.inner.stage(stage, value)
    }

    fn looks_inside(&self) -> bool {
        self.inner.looks_inside()
    }
}
