//! Qwen2.5-VL: answers questions about photos, in free text or in JSON of a given schema.
//!
//! Reference: transformers 5.23 `models/qwen2_5_vl` with its default (torchvision-backed) image processor.
//! Positions come from the token ids and image grids themselves; no token types are needed.
//!
//! Stages that an [`Observer`] sees:
//!
//! | stage | tensor |
//! |---|---|
//! | `vision.patch` | embedded patches in the order of the processor, (N, C) |
//! | `vision.cos`, `vision.sin` | rotations of the patches in that order, (N, d / 2) |
//! | `vision.windows` | the patches in the order of the attention windows, as all until the merger |
//! | `vision.block.i`, `vision.block.i.norm1` | a block's result and its normed input, (N, C) |
//! | `vision.merger.hidden`, `vision.merger.act` | before and after the merger's GELU, (N / merge^2, merge^2 C) |
//! | `vision.merger.windowed`, `vision.merger` | tokens in the order of the windows and of the image |
//! | `text.cos`, `text.sin` | rotations of the new tokens, (B, T, d / 2); these and the next for every step |
//! | `text.tokens`, `text.scores` | of a step that was launched as a graph, whose other stages cannot be seen: the next tokens, (B), or what they are drawn from, (B, V) |
//! | `text.layer.i`, `text.hidden` | a layer's result; after the final norm, (B, T, C) |
//!
//! Steps of answers in JSON that are launched as graphs show none, to observers that do not [look inside](Observer::looks_inside).

mod automaton;
mod cache;
pub mod chat;
pub mod config;
mod constrain;
pub mod decoder;
mod generate;
pub mod grid;
pub mod grounding;
mod input;
mod layout;
mod number;
pub mod preprocess;
mod replay;
pub mod rope;
pub mod sampling;
pub mod schema;
mod seats;
mod session;
pub mod tokenizer;
pub mod vision;
mod vocabulary;

use std::sync::OnceLock;

use candle_core::{DType, Device, Tensor};

pub use cache::KvCache;
pub use chat::{Content, Message, Prompt, Role};
pub use config::Config;
pub use constrain::{FieldScore, JsonAnswer, JsonOptions};
pub use generate::{Generation, Stop};
pub use grounding::{Grounded, Shape};
pub use input::EncodedPrompt;
pub use preprocess::{ImageInfo, ImageProcessor};
pub use sampling::{GenerateOptions, GenerationConfig, Sampling};
pub use schema::Schema;

use crate::checkpoint::Checkpoint;
use crate::observer::Observer;
use crate::{ModelError, Result};
use chat::ChatTemplate;
use decoder::Decoder;
use grid::{Grid, Positions};
use layout::Head;
use seats::SeatsKept;
use tokenizer::Tokenizer;
use vision::VisionTower;
use vocabulary::Vocabulary;

/// A loaded checkpoint with its tokenizer, chat template and processor settings.
#[derive(Debug)]
pub struct QwenVl {
    config: Config,
    generation: GenerationConfig,
    vision: VisionTower,
    decoder: Decoder,
    tokenizer: Tokenizer,
    template: ChatTemplate,
    processor: ImageProcessor,
    vocabulary: OnceLock<Vocabulary>,
    seats: SeatsKept,
}

impl QwenVl {
    /// Loads a checkpoint of any size in the layout of transformers 4.x or 5.x.
    ///
    /// # Errors
    /// [`ModelError::Precision`] for f16 (block 31 of the published towers overflows in it), and what the
    /// checkpoint's files give rise to: config, tokenizer, missing, unknown or mis-shaped tensors.
    pub fn load(checkpoint: &Checkpoint, dtype: DType, device: &Device) -> Result<Self> {
        if !matches!(dtype, DType::F32 | DType::BF16) {
            return Err(ModelError::Precision {
                model: "Qwen2.5-VL",
                dtype,
                reason: "activations of the vision tower overflow f16; use bf16 or f32",
            });
        }
        let config = Config::read(checkpoint)?;
        let tokenizer = Tokenizer::read(checkpoint, config.image_token_id)?;
        let template = ChatTemplate::read(checkpoint)?;
        if template.is_default() {
            tokenizer.require("<|im_start|>")?;
            tokenizer.require("<|im_end|>")?;
        }
        let processor = ImageProcessor::read(checkpoint)?;
        let vision = &config.vision;
        let sides = (
            processor.patch_size,
            processor.temporal_patch_size,
            processor.merge_size,
        );
        if sides
            != (
                vision.patch_size,
                vision.temporal_patch_size,
                vision.spatial_merge_size,
            )
        {
            return Err(ModelError::Config {
                path: checkpoint.path("config.json"),
                field: "vision_config.patch_size",
                value: format!(
                    "{:?}",
                    (
                        vision.patch_size,
                        vision.temporal_patch_size,
                        vision.spatial_merge_size
                    )
                ),
                reason: format!("the image processor cuts (patch, frames, merge) {sides:?}"),
            });
        }
        let generation = GenerationConfig::read(checkpoint, &config)?;
        let stored = checkpoint.stored_tensors()?;
        let head = Head::find(checkpoint, &stored, config.tie_word_embeddings)?;
        let (vision, decoder) =
            checkpoint.load(&move |key, _| layout::alias(key, head), dtype, device, |vb| {
                let vision = VisionTower::load(&config.vision, vb.pp(layout::VISION))?;
                Ok((vision, Decoder::load(&config.text, head == Head::Own, vb)?))
            })?;
        Ok(Self {
            config,
            generation,
            vision,
            decoder,
            tokenizer,
            template,
            processor,
            vocabulary: OnceLock::new(),
            seats: SeatsKept::default(),
        })
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn generation_config(&self) -> &GenerationConfig {
        &self.generation
    }

    pub fn processor(&self) -> &ImageProcessor {
        &self.processor
    }

    pub fn vision(&self) -> &VisionTower {
        &self.vision
    }

    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Bounds the area of resized images, and with it the tokens an image costs (one per 28 x 28 pixels).
    #[must_use]
    pub fn with_max_pixels(mut self, max_pixels: usize) -> Self {
        self.processor = self.processor.with_max_pixels(max_pixels);
        self
    }

    /// Renders, tokenises and patchifies a prompt.
    ///
    /// # Errors
    /// [`ModelError::Prompt`] for texts with control tokens, [`ModelError::Image`] for extreme photos.
    pub fn encode(&self, prompt: &Prompt) -> Result<EncodedPrompt> {
        self.encode_by(&self.processor, prompt)
    }

    /// The same with images of at most `max_pixels` each, where the processor allows more.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_within(&self, prompt: &Prompt, max_pixels: usize) -> Result<EncodedPrompt> {
        let most = max_pixels.min(self.processor.max_pixels);
        self.encode_by(&self.processor.with_max_pixels(most), prompt)
    }

    fn encode_by(&self, processor: &ImageProcessor, prompt: &Prompt) -> Result<EncodedPrompt> {
        for text in prompt.texts() {
            self.tokenizer.check_plain(text)?;
        }
        let text = self.template.render(prompt)?;
        let images = prompt
            .images()
            .map(|image| processor.patches(image, self.decoder.dtype(), self.decoder.device()))
            .collect::<Result<_>>()?;
        EncodedPrompt::new(&text, images, &self.tokenizer, &self.config)
    }

    /// Embeds a batch, shorter rows padded on the left: (B, N, C), positions and padding of each row.
    ///
    /// `observer` sees the stages of the vision tower, which runs once over all images.
    ///
    /// # Errors
    /// What `observer` answers.
    pub fn embed(
        &self,
        batch: &[EncodedPrompt],
        observer: &mut dyn Observer,
    ) -> Result<(Tensor, Vec<Positions>, Vec<usize>)> {
        let longest = batch.iter().map(|e| e.ids.len()).max().unwrap_or(0);
        let pads: Vec<usize> = batch.iter().map(|e| longest - e.ids.len()).collect();
        let x = self.embed_rows(batch, &pads, observer)?;
        let rows = batch.iter().zip(&pads);
        Ok((
            x.reshape((batch.len(), longest, self.config.text.hidden_size))?,
            rows.map(|(encoded, &pad)| encoded.positions.padded(pad))
                .collect(),
            pads,
        ))
    }

    /// Embeds a batch one row after the other, each behind as many rows of padding: (N, C).
    fn embed_rows(
        &self,
        batch: &[EncodedPrompt],
        pads: &[usize],
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        let device = self.decoder.device();
        let ids: Vec<u32> = batch.iter().flat_map(|e| e.ids.iter().copied()).collect();
        let mut rows = self.decoder.embed(&ids)?;
        let patches: Vec<Tensor> = batch.iter().flat_map(|e| e.patches.iter().cloned()).collect();
        if !patches.is_empty() {
            let grids: Vec<Grid> = batch
                .iter()
                .flat_map(|e| e.images.iter().map(|i| i.grid))
                .collect();
            let patches = Tensor::cat(&patches, 0)?;
            let seen = self.vision.forward(&patches, &grids, observer)?;
            rows = Tensor::cat(&[rows, seen], 0)?;
        }
        // One gather puts text, image tokens and padding (any row will do) in place.
        let mut order = Vec::with_capacity(ids.len() + pads.iter().sum::<usize>());
        let (mut text, mut image) = (0, ids.len() as u32);
        for (encoded, &pad) in batch.iter().zip(pads) {
            order.extend(std::iter::repeat_n(0, pad));
            for &id in &encoded.ids {
                if id == self.config.image_token_id {
                    order.push(image);
                    image += 1;
                } else {
                    order.push(text);
                }
                text += 1;
            }
        }
        let n = order.len();
        Ok(rows.index_select(&Tensor::from_vec(order, n, device)?, 0)?)
    }

    /// Reads the prompts: final hidden states (B, N, C) and a cache with room for `room` more tokens.
    ///
    /// # Errors
    /// What `observer` answers.
    pub fn prefill(
        &self,
        batch: &[EncodedPrompt],
        room: usize,
        observer: &mut dyn Observer,
    ) -> Result<(Tensor, KvCache)> {
        let (x, positions, pads) = self.embed(batch, observer)?;
        let capacity = x.dim(1)? + room;
        let (dtype, device) = (self.decoder.dtype(), self.decoder.device());
        let mut cache = KvCache::new(&self.config.text, pads, capacity, dtype, device)?;
        let hidden = self.decoder.forward(&x, &positions, &mut cache, observer)?;
        Ok((hidden, cache))
    }

    /// Tokens as byte strings, sorted on first use.
    fn vocabulary(&self) -> Result<&Vocabulary> {
        if let Some(vocabulary) = self.vocabulary.get() {
            return Ok(vocabulary);
        }
        let fresh = Vocabulary::new(self.tokenizer.token_bytes(self.config.text.vocab_size)?);
        Ok(self.vocabulary.get_or_init(|| fresh))
    }
}
