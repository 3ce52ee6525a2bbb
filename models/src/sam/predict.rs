//! From an embedding and prompts to masks.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};
use dragunov_kernels::{MaskAt, draw_masks, mask_facts, works_in_pieces};
use rayon::prelude::*;

use super::amg::{self, AmgConfig, AutoMask, Logits, PointMask, PointPrompted, Sieve, SievedMask};
use super::composite::{Composite, MASK_ALONE};
use super::decoder::Decoded;
use super::preprocess::Fit;
use super::prompt::{MaskLogits, Prompt};
use super::replay::{Image, Inputs};
use super::{Embedding, Sam};
use crate::observer::{Observer, Stage};
use crate::{ImagePx, Mask, Point, Result, RgbImage};

/// Cells times width of the image side that one decoder call may hold for all its prompts: 64 prompts at the
/// published sizes.
pub(super) const CELLS_PER_CALL: usize = 64 * 64 * 64 * 256;
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
        self.candidates.get(best(self.candidates.iter().map(|c| c.iou))?)
    }
}

/// Which of several predicted IoUs is the highest; the last of equals.
fn best(iou: impl Iterator<Item = f32>) -> Option<usize> {
    iou.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(i, _)| i)
}

/// A mask without its logits.
#[derive(Debug, Clone)]
pub struct DrawnMask {
    /// Predicted by the model; not bounded to 0..1.
    pub iou: f32,
    /// At the photo's size.
    pub mask: Mask,
}

/// Which masks of an ambiguous prompt are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draw {
    All,
    /// The one of highest predicted IoU.
    Best,
}

impl Draw {
    /// Indices of one prompt's masks.
    fn of(self, iou: &[f32]) -> Vec<usize> {
        match self {
            Self::All => (0..iou.len()).collect(),
            Self::Best => best(iou.iter().copied()).into_iter().collect(),
        }
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

    /// The masks of [`Sam::predict`] with `multimask`, all of each prompt or the best, where their logits are not asked for: those
    /// then stay on the device that made them.
    ///
    /// # Errors
    /// As [`Sam::predict`].
    pub fn draw(
        &self,
        embedding: &Embedding,
        prompts: &[Prompt],
        which: Draw,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Vec<DrawnMask>>> {
        let composite = self.composite_of(embedding.fit);
        if works_in_pieces(&self.device) {
            let drawn = |low: Vec<LowRes>| {
                let iou: Vec<f32> = low.iter().map(|low| low.iou).collect();
                let one = |i: usize| DrawnMask {
                    iou: iou[i],
                    mask: composite.mask(&low[i].logits),
                };
                which.of(&iou).into_iter().map(one).collect()
            };
            let low = self.low_res(embedding, prompts, true, observer)?;
            return Ok(low.into_par_iter().map(drawn).collect());
        }
        let mut out: Vec<Vec<DrawnMask>> = prompts.iter().map(|_| Vec::new()).collect();
        self.each_call(embedding, prompts, true, observer, |of_prompts, iou, logits| {
            let (mut owners, mut masks) = (Vec::new(), Vec::new());
            let of_prompt = iou.first().map_or(0, Vec::len);
            for (i, (&prompt, iou)) in of_prompts.iter().zip(&iou).enumerate() {
                for mask in which.of(iou) {
                    owners.push((prompt, iou[mask]));
                    masks.push(MaskAt {
                        logits: logits.clone(),
                        index: i * of_prompt + mask,
                    });
                }
            }
            let drawn = draw_masks(&masks, composite.grid(), &MASK_ALONE, |_, _| true)?;
            let drawn: Vec<Mask> = drawn
                .into_par_iter()
                .map(|(_, bits)| composite.mask_of(&bits.unwrap_or_default()))
                .collect();
            for ((prompt, iou), mask) in owners.into_iter().zip(drawn) {
                out[prompt].push(DrawnMask { iou, mask });
            }
            Ok(())
        })?;
        Ok(out)
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
        let side = self.config.mask_side();
        let mut out: Vec<Vec<LowRes>> = prompts.iter().map(|_| Vec::new()).collect();
        self.each_call(
            embedding,
            prompts,
            multimask,
            observer,
            |of_prompts, iou, logits| {
                let logits = logits.flatten_all()?.to_vec1::<f32>()?;
                let mut logits = logits.chunks_exact(side * side);
                for (&prompt, iou) in of_prompts.iter().zip(iou) {
                    for (iou, values) in iou.into_iter().zip(&mut logits) {
                        let logits = MaskLogits::new(side, values.to_vec())?;
                        out[prompt].push(LowRes { iou, logits });
                    }
                }
                Ok(())
            },
        )?;
        Ok(out)
    }

    /// Decodes all prompts, those of equally many tokens together, all with a mask or all without. `take` gets the indices of each
    /// call's prompts, and what [`Self::decode_in_place`] answers.
    fn each_call(
        &self,
        embedding: &Embedding,
        prompts: &[Prompt],
        multimask: bool,
        observer: &mut dyn Observer,
        mut take: impl FnMut(&[usize], Vec<Vec<f32>>, Tensor) -> Result<()>,
    ) -> Result<()> {
        for prompt in prompts {
            self.prompts.check(prompt, embedding.fit)?;
        }
        let mut by_kind: BTreeMap<(usize, bool), Vec<usize>> = BTreeMap::new();
        for (i, prompt) in prompts.iter().enumerate() {
            let kind = (prompt.tokens(), prompt.mask.is_some());
            by_kind.entry(kind).or_default().push(i);
        }
        for ((tokens, masked), members) in by_kind {
            for part in members.chunks(per_call(embedding)) {
                let group: Vec<&Prompt> = part.iter().map(|&i| &prompts[i]).collect();
                let (iou, logits) =
                    self.decode_in_place(embedding, &group, tokens, masked, multimask, observer)?;
                take(part, iou, logits)?;
            }
        }
        Ok(())
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
        let image = if masked {
            let masks: Vec<&MaskLogits> = prompts.iter().filter_map(|p| p.mask.as_ref()).collect();
            Image::Masked {
                cells: embedding.cells.clone(),
                masks: self.prompts.masks(&masks)?,
            }
        } else {
            Image::Unmasked(embedding.unmasked.clone())
        };
        let inputs = Inputs { sparse, image };
        let replayed = match observer.looks_inside() {
            true => None,
            false => self.replays.decode(self, &inputs, multimask),
        };
        let decoded = match replayed {
            Some(decoded) => decoded,
            None => self.decode(&inputs, multimask, observer)?,
        };
        let iou = decoded.iou.to_dtype(DType::F32)?.to_vec2::<f32>()?;
        let side = self.config.mask_side();
        let logits = decoded.logits.to_dtype(DType::F32)?.reshape(((), side, side))?;
        Ok((iou, logits))
    }

    /// What the decoder makes of `inputs`.
    pub(super) fn decode(
        &self,
        inputs: &Inputs,
        multimask: bool,
        observer: &mut dyn Observer,
    ) -> Result<Decoded> {
        let with_masks;
        let image = match &inputs.image {
            Image::Unmasked(image) => image,
            Image::Masked { cells, masks } => {
                let dense = self.prompts.dense(masks)?;
                let dense = observer.stage(Stage::of("prompt.dense"), dense)?;
                with_masks = self.decoder.image_side(&dense.broadcast_add(cells)?)?;
                &with_masks
            }
        };
        self.decoder.forward(image, &inputs.sparse, multimask, observer)
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

/// The masks that pass, of all that a call of the decoder made; their logits alone are kept, where they are.
fn sifted(iou: &[Vec<f32>], logits: &Tensor, sieve: &Sieve<'_>) -> Result<Vec<Vec<SievedMask>>> {
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
    let logits = logits.index_select(&index, 0)?;
    for (index, (i, facts)) in chosen.into_iter().enumerate() {
        let (prompt, mask) = (i as usize / of_prompt, i as usize % of_prompt);
        let logits = Logits::There(MaskAt {
            logits: logits.clone(),
            index,
        });
        let iou = iou[prompt][mask];
        out[prompt].push(SievedMask { iou, logits, facts });
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
            out.extend(sifted(&iou, &logits, sieve)?);
        }
        Ok(out)
    }
}
