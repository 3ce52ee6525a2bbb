//! How regions are found: automatic masks named crop by crop, or names with boxes turned into masks.

use dragunov_models::observer::{self, Observer, Unobserved};
use dragunov_models::sam::{AmgConfig, Embedding, Prompt, Sam};
use dragunov_models::{Mask, ModelError, Rect, RgbImage};

use super::alike::name_together;
use super::crop;
use super::resolve::{Candidate, settle};
use crate::contract::request::{Hints, ItemHint};
use crate::contract::{Control, ErrorCode, ScanError, Stage, Warning, WarningCode};
use crate::identify::{Identified, Identifier, Kind};

/// How food is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Strategy {
    /// A grid of points gives masks; each mask is named by its crop.
    #[default]
    Automatic,
    /// The vision-language model names items with boxes; each box becomes a mask.
    Grounded,
}

/// Masks outside these shares of the photo are no item.
const SMALLEST: f64 = 0.0006;
const LARGEST: f64 = 0.85;
/// Masks that are named at most; the best by predicted quality are kept.
const MOST_NAMED: usize = 72;

/// Masks that agree more than this are one mask.
pub(super) const TWIN: f64 = 0.9;

/// The models that find and name regions.
pub struct Finder<'a> {
    pub sam: &'a Sam,
    pub identifier: Option<&'a mut dyn Identifier>,
    pub amg: &'a AmgConfig,
    /// Ask again with each automatic mask's box: pays where the model is surer of boxes than of points.
    pub refine: bool,
    /// Look again at the part of the photo where the meal is, enlarged: pays where the model sees little detail.
    pub look_closer: bool,
    pub strategy: Strategy,
    /// The photo as the image encoder sees it, where that is known already.
    pub embedding: Option<Embedding>,
}

impl std::fmt::Debug for Finder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Finder")
            .field("amg", self.amg)
            .field("strategy", &self.strategy)
            .finish_non_exhaustive()
    }
}

/// A mask and how good the model thinks it is, 0 to 1.
pub(super) type Scored = (Mask, f64);

/// Every mask with its name, before any is chosen, and what could not be done.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub candidates: Vec<Candidate>,
    pub warnings: Vec<Warning>,
}

impl Finder<'_> {
    /// # Errors
    /// Of the models, and `cancelled` or `deadline_exceeded` of the job.
    pub fn look(&mut self, image: &RgbImage, hints: &Hints, ctx: &dyn Control) -> Result<Seen, ScanError> {
        let mut warnings = Vec::new();
        ctx.stage(Stage::Segment)?;
        let embedding = match self.embedding.take() {
            Some(known) => known,
            None => self
                .sam
                .embed(image, &mut while_wanted(ctx))
                .map_err(|e| or_stopped(e, ctx))?,
        };
        let (hinted, open) = self.hinted(&embedding, hints, ctx)?;
        let mut masks = match self.strategy {
            Strategy::Automatic => self.automatic(image, &embedding, ctx)?,
            Strategy::Grounded => Vec::new(),
        };
        masks.extend(open);
        let mut candidates = self.named(image, masks, ctx, &mut warnings)?;
        // A backend that names nothing is not asked twice.
        if self.look_closer && self.strategy == Strategy::Automatic && warnings.is_empty() {
            candidates.extend(self.closer(image, &embedding, &candidates, ctx, &mut warnings)?);
        }
        if self.strategy == Strategy::Grounded {
            match self.grounded(image, &embedding, ctx, &mut warnings) {
                Ok(found) => candidates.extend(found),
                Err(why) => {
                    ctx.check()?;
                    warnings.push(Warning::new(
                        WarningCode::NotIdentified,
                        format!("nothing could be named: {why}; volumes are given, labels are unknown"),
                    ));
                    candidates.extend(by_shape(self.automatic(image, &embedding, ctx)?));
                }
            }
        }
        if self.look_closer {
            candidates = settle(candidates);
            self.redraw(image, &mut candidates, ctx)?;
            ctx.stage(Stage::Identify)?;
            // Boxes come with names of the whole picture; crops were named one by one.
            if self.strategy == Strategy::Automatic {
                name_together(image, &mut candidates);
            }
        }
        candidates.extend(hinted);
        Ok(Seen { candidates, warnings })
    }

    pub(super) fn automatic(
        &self,
        image: &RgbImage,
        embedding: &Embedding,
        ctx: &dyn Control,
    ) -> Result<Vec<Scored>, ScanError> {
        ctx.stage(Stage::Segment)?;
        let found = self
            .sam
            .generate_from(image, embedding, self.amg, &mut while_wanted(ctx))
            .map_err(|e| or_stopped(e, ctx))?;
        let pixels = (image.width() * image.height()) as f64;
        let mut masks: Vec<Scored> = found
            .into_iter()
            .map(|m| (m.mask, f64::from(m.iou.clamp(0.0, 1.0) * m.stability)))
            .filter(|(mask, _)| (SMALLEST..LARGEST).contains(&(mask.area() as f64 / pixels)))
            .collect();
        masks.sort_by(|a, b| b.1.total_cmp(&a.1));
        masks.truncate(MOST_NAMED);
        if self.refine {
            masks = self.refined(embedding, masks)?;
            ctx.check()?;
        }
        Ok(masks)
    }

    /// Each mask as the model draws it for that mask's box; twins that this makes are dropped.
    fn refined(&self, embedding: &Embedding, masks: Vec<Scored>) -> Result<Vec<Scored>, ScanError> {
        let prompts: Vec<Prompt> = masks
            .iter()
            .filter_map(|(m, _)| m.bbox())
            .map(Prompt::rect)
            .collect();
        if prompts.is_empty() {
            return Ok(masks);
        }
        let mut redrawn = best_masks(self.sam, embedding, &prompts)?;
        redrawn.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut kept: Vec<Scored> = Vec::new();
        for (mask, quality) in redrawn {
            if !mask.is_empty() && kept.iter().all(|(k, _)| k.iou(&mask) < TWIN) {
                kept.push((mask, quality));
            }
        }
        Ok(kept)
    }

    /// Hints with a place become masks; those with a label are named already, the others are returned to be named.
    fn hinted(
        &self,
        embedding: &Embedding,
        hints: &Hints,
        ctx: &dyn Control,
    ) -> Result<(Vec<Candidate>, Vec<Scored>), ScanError> {
        let placed: Vec<(&ItemHint, Prompt)> = hints
            .items
            .iter()
            .filter_map(|h| Some((h, prompt_of(h)?)))
            .collect();
        if placed.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let prompts: Vec<Prompt> = placed.iter().map(|(_, p)| p.clone()).collect();
        let masks = best_masks(self.sam, embedding, &prompts)?;
        ctx.check()?;
        let (mut named, mut open) = (Vec::new(), Vec::new());
        for ((hint, _), (mask, _)) in placed.into_iter().zip(masks) {
            match &hint.label {
                Some(label) => named.push(Candidate {
                    mask,
                    quality: 1.0,
                    identity: Identified {
                        kind: Kind::Food,
                        label: label.trim().to_lowercase(),
                        confidence: 1.0,
                        alternatives: Vec::new(),
                        grams: None,
                    },
                }),
                None => open.push((mask, 1.0)),
            }
        }
        Ok((named, open))
    }

    pub(super) fn named(
        &mut self,
        image: &RgbImage,
        masks: Vec<Scored>,
        ctx: &dyn Control,
        warnings: &mut Vec<Warning>,
    ) -> Result<Vec<Candidate>, ScanError> {
        ctx.stage(Stage::Identify)?;
        let masks: Vec<Scored> = masks.into_iter().filter(|(m, _)| !m.is_empty()).collect();
        let crops: Vec<RgbImage> = masks.iter().filter_map(|(mask, _)| crop(image, mask)).collect();
        let answers = match &mut self.identifier {
            Some(identifier) => identifier.identify(&crops, &|| ctx.check().is_err()),
            None => Vec::new(),
        };
        ctx.check()?;
        let failed = answers.iter().filter_map(|a| a.as_ref().err()).count();
        if answers.len() < masks.len() || (failed > 0 && failed == answers.len()) {
            let why = answers
                .into_iter()
                .find_map(Result::err)
                .map(|e| format!(": {e}"))
                .unwrap_or_default();
            warnings.push(Warning::new(
                WarningCode::NotIdentified,
                format!("nothing could be named{why}; volumes are given, labels are unknown"),
            ));
            return Ok(by_shape(masks));
        }
        if failed > 0 {
            warnings.push(Warning::new(
                WarningCode::PartlyIdentified,
                format!(
                    "{failed} of {} regions could not be named and were left out",
                    masks.len()
                ),
            ));
        }
        Ok(masks
            .into_iter()
            .zip(answers)
            .filter_map(|((mask, quality), answer)| {
                answer.ok().map(|identity| Candidate {
                    mask,
                    quality,
                    identity,
                })
            })
            .collect())
    }

    fn grounded(
        &mut self,
        image: &RgbImage,
        embedding: &Embedding,
        ctx: &dyn Control,
        warnings: &mut Vec<Warning>,
    ) -> Result<Vec<Candidate>, ScanError> {
        let Some(identifier) = &mut self.identifier else {
            return Err(ScanError::new(
                ErrorCode::ConfigInvalid,
                "the grounded strategy needs an identifier",
            )
            .next_step("configure one, or use the automatic strategy"));
        };
        ctx.stage(Stage::Identify)?;
        let items = identifier.ground(image, &|| ctx.check().is_err())?;
        ctx.stage(Stage::Segment)?;
        let (w, h) = (image.width() as f64, image.height() as f64);
        let boxed: Vec<_> = items
            .into_iter()
            .filter_map(|item| {
                let b = item.bbox;
                let rect = Rect::new(
                    b.x0.clamp(0.0, w),
                    b.y0.clamp(0.0, h),
                    b.x1.clamp(0.0, w),
                    b.y1.clamp(0.0, h),
                );
                (rect.width() >= 2.0 && rect.height() >= 2.0).then_some((item.identity, Prompt::rect(rect)))
            })
            .collect();
        if boxed.is_empty() {
            warnings.push(Warning::new(
                WarningCode::NothingGrounded,
                "the vision-language model named no item with a box",
            ));
            return Ok(Vec::new());
        }
        let prompts: Vec<Prompt> = boxed.iter().map(|(_, p)| p.clone()).collect();
        let masks = best_masks(self.sam, embedding, &prompts)?;
        Ok(boxed
            .into_iter()
            .zip(masks)
            .map(|((identity, _), (mask, quality))| Candidate {
                mask,
                quality,
                identity,
            })
            .collect())
    }
}

/// Stops a model between its stages once the job is cancelled or late.
pub(super) fn while_wanted(ctx: &dyn Control) -> impl Observer {
    observer::until(|| ctx.check().is_err())
}

/// The deadline's or the canceller's own error where one of them stopped the model.
pub(super) fn or_stopped(error: ModelError, ctx: &dyn Control) -> ScanError {
    match error {
        ModelError::Cancelled => ctx.check().err().unwrap_or_else(|| ModelError::Cancelled.into()),
        other => other.into(),
    }
}

fn prompt_of(hint: &ItemHint) -> Option<Prompt> {
    let mut prompt = match hint.bbox {
        Some([x0, y0, x1, y1]) => Prompt::rect(Rect::new(x0, y0, x1, y1)),
        None => Prompt::default(),
    };
    if let Some([x, y]) = hint.point {
        prompt.points = Prompt::point(x, y).points;
    }
    (hint.bbox.is_some() || hint.point.is_some()).then_some(prompt)
}

/// One mask a prompt with its predicted IoU.
pub(super) fn best_masks(
    sam: &Sam,
    embedding: &Embedding,
    prompts: &[Prompt],
) -> Result<Vec<Scored>, ScanError> {
    let predictions = sam.predict(embedding, prompts, true, &mut Unobserved)?;
    Ok(predictions
        .into_iter()
        .map(|p| match p.best() {
            Some(best) => (best.mask.clone(), f64::from(best.iou.clamp(0.0, 1.0))),
            None => (Mask::empty(0, 0), 0.0),
        })
        .collect())
}

/// Without names: what holds other masks is a dish, what spans the photo is table, the rest may be food.
fn by_shape(masks: Vec<Scored>) -> Vec<Candidate> {
    let kinds: Vec<Kind> = masks
        .iter()
        .map(|(mask, _)| {
            let sides = mask.sides_touched();
            let holds = masks
                .iter()
                .filter(|(other, _)| {
                    let area = other.area();
                    3 * area < 2 * mask.area() && bbox_inside(other, mask)
                })
                .count();
            match (sides, holds) {
                (3.., _) => Kind::Table,
                (_, 1..) => Kind::Plate,
                _ => Kind::Food,
            }
        })
        .collect();
    masks
        .into_iter()
        .zip(kinds)
        .map(|((mask, quality), kind)| {
            let identity = match kind {
                Kind::Food => Identified::unknown_food(),
                other => Identified {
                    kind: other,
                    label: other.as_str().into(),
                    confidence: 0.3,
                    alternatives: Vec::new(),
                    grams: None,
                },
            };
            Candidate {
                mask,
                quality,
                identity,
            }
        })
        .collect()
}

fn bbox_inside(inner: &Mask, outer: &Mask) -> bool {
    match (inner.bbox(), outer.bbox()) {
        (Some(a), Some(b)) => a.x0 >= b.x0 && a.y0 >= b.y0 && a.x1 <= b.x1 && a.y1 <= b.y1,
        _ => false,
    }
}
