//! A prompt as the network takes it: token ids with every image spread out, positions, patches.

use candle_core::Tensor;

use super::config::Config;
use super::grid::{Grid, Positions};
use super::preprocess::ImageInfo;
use super::tokenizer::Tokenizer;
use crate::{ModelError, Result};

/// One sequence without padding.
#[derive(Debug, Clone)]
pub struct EncodedPrompt {
    /// Token ids; an image is a run of the image token.
    pub ids: Vec<u32>,
    pub positions: Positions,
    /// Patches of each image, (h w, patch values), as the vision tower takes them and where it is.
    pub patches: Vec<Tensor>,
    pub images: Vec<ImageInfo>,
}

impl EncodedPrompt {
    /// Tokenises a rendered prompt and gives its k-th image token the width of the k-th image.
    pub(super) fn new(
        text: &str,
        images: Vec<(Tensor, ImageInfo)>,
        tokenizer: &Tokenizer,
        config: &Config,
    ) -> Result<Self> {
        let merge = config.vision.spatial_merge_size;
        let (patches, images): (Vec<_>, Vec<_>) = images.into_iter().unzip();
        let short = tokenizer.encode(text)?;
        let slots = short.iter().filter(|&&id| id == config.image_token_id).count();
        if slots != images.len() {
            let reason = format!(
                "the chat template has room for {slots} images, {} are given",
                images.len()
            );
            return Err(ModelError::Prompt(reason));
        }
        if let Some(id) = short.iter().find(|&&id| id as usize >= config.text.vocab_size) {
            let vocab = config.text.vocab_size;
            return Err(ModelError::Prompt(format!(
                "token {id} lies outside the model's vocabulary of {vocab}"
            )));
        }
        if short.is_empty() {
            return Err(ModelError::Prompt("the prompt has no tokens".into()));
        }
        let grids: Vec<Grid> = images.iter().map(|i: &ImageInfo| i.grid).collect();
        let mut widths = grids.iter().map(|g| g.tokens(merge));
        let mut ids = Vec::new();
        for id in short {
            let n = if id == config.image_token_id {
                widths.next().unwrap_or(1)
            } else {
                1
            };
            ids.extend(std::iter::repeat_n(id, n));
        }
        Ok(Self {
            positions: Positions::of(&ids, config.image_token_id, &grids, merge)?,
            ids,
            patches,
            images,
        })
    }

    /// Positions of `n` tokens generated after `step` others.
    pub(super) fn position_of(&self, step: usize, n: usize) -> Positions {
        Positions::text((self.ids.len() + step) as i64 + self.positions.delta, n)
    }
}
