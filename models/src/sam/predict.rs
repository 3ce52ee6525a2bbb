//! From an embedding and prompts to masks.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};
use dragunov_kernels::{mask_facts, works_in_pieces};
use rayon::prelude::*;

use super::amg::{self, AmgConfig, AutoMask, PointMask, PointPrompted, Sieve, SievedMask};
use super::composite::Composite;
use super::preprocess::Fit;
use super::prompt::{MaskLogits, Prompt};
use super::{Embedding, Sam};
use crate::observer::{Observer, Stage};
use crate::{ImagePx, Mask, Point, Result, RgbImage};

/// Cells times width of the image side that one decoder call may hold for all its prompts: 64 prompts at the
/// published sizes.
const CELLS_PER_CALL: usize = 64 * 64 * 64 * 256;
/// The same where a chain of layers is quicker while it stays in the last cache: 4 prompts, 16 MiB a tensor.
const CELLS_IN_CACHE: usize = 4 * 64 * 64 * 256;

/// One mask for a prompt.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Predicted by the model; not bounded to 0..1.
    pub iou: f32,
    /// Usable as [`Prompt::mask`].
    pub logits: MaskLogits,
    /// At the photo's size.
    pub mask: Mask,
}

/// The masks of one prompt.
#[derive(Debug, Clone)]
pub struct Prediction {
    pub candidates: Vec<Candidate>,
}

impl Prediction {
    /// The one of highest predicted IoU.
    pub fn best(&self) -> Option<&Candidate> {
        self.candidates.iter().max_by(|a, b| a.iou.total_cmp(&b.iou))
    }
}

/// Logits of one decoder call, not yet at the photo's size.
struct LowRes {
    iou: f32,
    logits: MaskLogits,
}

impl Sam {
    /// Masks for each prompt, in order. With `multimask` each prompt gets the alternatives of an ambiguous prompt
    /// (three in published models), without it one mask.
    ///
    /// Prompts may differ in kind and length: those that become equally many tokens run together, so that each gets
    /// the answer that it would get alone.
    ///
    /// # Errors
    /// [`crate::ModelError::Prompt`] for a prompt outside the photo, and what `observer` answers.
    pub fn predict(
        &self,
        embedding: &Embedding,
        prompts: &[Prompt],
        multimask: bool,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Prediction>> {
        let composite = self.composite_of(embedding.fit);
        let low = self.low_res(embedding, prompts, multimask, observer)?;
        Ok(low
            .into_par_iter()
            .map(|outputs| {
                let finish = |low: LowRes| Candidate {
                    iou: low.iou,
                    mask: composite.mask(&low.logits),
                    logits: low.logits,
                };
                Prediction {
                    candidates: outputs.into_iter().map(finish).collect(),
                }
            })
            .collect())
    }

    /// Finds masks without prompts; see [`AmgConfig`].
    ///
    /// # Errors
    /// As [`Sam::embed`], and [`crate::ModelError::Prompt`] for settings without a meaning.
    pub fn generate(
        &self,
        image: &RgbImage,
        config: &AmgConfig,
        observer: &mut dyn Observer,
    ) -> Result<Vec<AutoMask>> {
        let mut prompter = Prompter {
            sam: self,
            observer,
            whole: None,
        };
        amg::generate(&mut prompter, image, config)
    }

    /// [`Sam::generate`] with the whole image embedded already.
    ///
    /// # Errors
    /// As [`Sam::generate`].
    pub fn generate_from(
        &self,
        image: &RgbImage,
        embedding: &Embedding,
        config: &AmgConfig,
        observer: &mut dyn Observer,
    ) -> Result<Vec<AutoMask>> {
        let mut prompter = Prompter {
            sam: self,
            observer,
            whole: Some(embedding.clone()),
        };
        amg::generate(&mut prompter, image, config)
    }

    /// How this model's logits lie over the photo of `embedding`.
    pub fn composite(&self, embedding: &Embedding) -> Composite {
        self.composite_of(embedding.fit)
    }

    fn composite_of(&self, fit: Fit) -> Composite {
        Composite::new(self.config.mask_side(), self.preprocess.side(), fit)
    }

    fn low_res(
        &self,
        embedding: &Embedding,
        prompts: &[Prompt],
        multimask: bool,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Vec<LowRes>>> {
        for prompt in prompts {
            self.prompts.check(prompt, embedding.fit)?;
        }
        let mut by_kind: BTreeMap<(usize, bool), Vec<usize>> = BTreeMap::new();
        for (i, prompt) in prompts.iter().enumerate() {
            let kind = (prompt.tokens(), prompt.mask.is_some());
            by_kind.entry(kind).or_default().push(i);
        }
        let per_call = per_call(embedding);
        let mut out: Vec<Vec<LowRes>> = prompts.iter().map(|_| Vec::new()).collect();
        for ((tokens, masked), members) in by_kind {
            for part in members.chunks(per_call) {
                let group: Vec<&Prompt> = part.iter().map(|&i| &prompts[i]).collect();
                let answers = self.decode(embedding, &group, tokens, masked, multimask, observer)?;
                for (&i, answer) in part.iter().zip(answers) {
                    out[i] = answer;
                }
            }
        }
        Ok(out)
    }

    /// Prompts of equally many tokens, all with a mask or all without.
    fn decode(
        &self,
        embedding: &Embedding,
        prompts: &[&Prompt],
        tokens: usize,
        masked: bool,
        multimask: bool,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Vec<LowRes>>> {
        let (iou, logits) = self.decode_in_place(embedding, prompts, tokens, masked, multimask, observer)?;
        let side = self.config.mask_side();
        let logits = logits.flatten_all()?.to_vec1::<f32>()?;
        let mut logits = logits.chunks_exact(side * side);
        iou.into_iter()
            .map(|row| {
                row.into_iter()
                    .zip(&mut logits)
                    .map(|(iou, values)| {
                        let logits = MaskLogits::new(side, values.to_vec())?;
                        Ok(LowRes { iou, logits })
                    })
                    .collect()
            })
            .collect()
    }

    /// Predicted IoU of each prompt's masks, and their logits (masks of all prompts, side, side) in f32 where they were made.
    fn decode_in_place(
        &self,
        embedding: &Embedding,
        prompts: &[&Prompt],
        tokens: usize,
        masked: bool,
        multimask: bool,
        observer: &mut dyn Observer,
    ) -> Result<(Vec<Vec<f32>>, Tensor)> {
        let sparse = self.prompts.sparse(prompts, tokens, embedding.fit)?;
        let sparse = observer.stage(Stage::of("prompt.sparse"), sparse)?;
        let with_masks;
        let image = if masked {
            let masks: Vec<&MaskLogits> = prompts.iter().filter_map(|p| p.mask.as_ref()).collect();
            let dense = self.prompts.dense(&masks)?;
            let dense = observer.stage(Stage::of("prompt.dense"), dense)?;
            with_masks = self.decoder.image_side(&dense.broadcast_add(&embedding.cells)?)?;
            &with_masks
        } else {
            &embedding.unmasked
        };
        let decoded = self.decoder.forward(image, &sparse, multimask, observer)?;
        let iou = decoded.iou.to_dtype(DType::F32)?.to_vec2::<f32>()?;
        let side = self.config.mask_side();
        let logits = decoded.logits.to_dtype(DType::F32)?.reshape(((), side, side))?;
        Ok((iou, logits))
    }
}

/// Prompts that one call of the decoder has room for.
fn per_call(embedding: &Embedding) -> usize {
    let cells = match works_in_pieces(embedding.cells.device()) {
        true => CELLS_IN_CACHE,
        false => CELLS_PER_CALL,
    };
    (cells / embedding.cells.elem_count()).clamp(1, 256)
}

/// The masks that pass, of all that a call of the decoder made: facts first, then the logits of those alone are moved.
fn fetch(iou: &[Vec<f32>], logits: &Tensor, sieve: &Sieve<'_>) -> Result<Vec<Vec<SievedMask>>> {
    let (_, side, _) = logits.dims3()?;
    let of_prompt = iou.first().map_or(1, Vec::len).max(1);
    let mut which = Vec::new();
    for (i, iou) in iou.iter().flatten().enumerate() {
        if sieve.lets_pass(*iou) {
            which.push(i as u32);
        }
    }
    let chosen: Vec<_> = match sieve.rules() {
        None => which.into_iter().map(|i| (i, None)).collect(),
        Some(rules) => {
            let facts = mask_facts(logits, &which, rules)?;
            let with_facts = which.into_iter().zip(facts);
            let kept = with_facts.filter(|(_, facts)| sieve.keeps(facts));
            kept.map(|(i, facts)| (i, Some(facts))).collect()
        }
    };
    let mut out: Vec<Vec<SievedMask>> = iou.iter().map(|_| Vec::new()).collect();
    if chosen.is_empty() {
        return Ok(out);
    }
    let index: Vec<u32> = chosen.iter().map(|(i, _)| *i).collect();
    let index = Tensor::new(index, logits.device())?;
    let values = logits.index_select(&index, 0)?.flatten_all()?.to_vec1::<f32>()?;
    for ((i, facts), values) in chosen.into_iter().zip(values.chunks_exact(side * side)) {
        let (prompt, mask) = (i as usize / of_prompt, i as usize % of_prompt);
        let logits = MaskLogits::new(side, values.to_vec())?;
        let iou = iou[prompt][mask];
        out[prompt].push((PointMask { logits, iou }, facts));
    }
    Ok(out)
}

/// The model as the automatic generator drives it.
struct Prompter<'a> {
    sam: &'a Sam,
    observer: &'a mut dyn Observer,
    /// Of the whole image, which the generator asks for first.
    whole: Option<Embedding>,
}

impl PointPrompted for Prompter<'_> {
    type Embedding = Embedding;

    fn embed(&mut self, image: &RgbImage) -> Result<Embedding> {
        match self.whole.take() {
            Some(whole) => Ok(whole),
            None => self.sam.embed(image, self.observer),
        }
    }

    fn composite(&self, embedding: &Embedding) -> Composite {
        self.sam.composite_of(embedding.fit)
    }

    fn masks(&mut self, embedding: &Embedding, points: &[Point<ImagePx>]) -> Result<Vec<Vec<PointMask>>> {
        let prompts: Vec<Prompt> = points.iter().map(|p| Prompt::point(p.x, p.y)).collect();
        let low = self.sam.low_res(embedding, &prompts, true, self.observer)?;
        let finish = |low: LowRes| PointMask {
            logits: low.logits,
            iou: low.iou,
        };
        Ok(low
            .into_iter()
            .map(|outputs| outputs.into_iter().map(finish).collect())
            .collect())
    }

    fn sieved(
        &mut self,
        embedding: &Embedding,
        points: &[Point<ImagePx>],
        sieve: &Sieve<'_>,
    ) -> Result<Vec<Vec<SievedMask>>> {
        if works_in_pieces(&self.sam.device) {
            return Ok(amg::sift(self.masks(embedding, points)?, sieve));
        }
        let prompts: Vec<Prompt> = points.iter().map(|p| Prompt::point(p.x, p.y)).collect();
        for prompt in &prompts {
            self.sam.prompts.check(prompt, embedding.fit)?;
        }
        let mut out = Vec::with_capacity(prompts.len());
        for part in prompts.chunks(per_call(embedding)) {
            let group: Vec<&Prompt> = part.iter().collect();
            let tokens = group[0].tokens();
            let sam = self.sam;
            let (iou, logits) = sam.decode_in_place(embedding, &group, tokens, false, true, self.observer)?;
            out.extend(fetch(&iou, &logits, sieve)?);
        }
        Ok(out)
    }
}
