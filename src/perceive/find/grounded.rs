//! Names with boxes of the whole picture, each box turned into a mask.

use dragunov_models::sam::{Embedding, Prompt};
use dragunov_models::{Rect, RgbImage};

use super::{Finder, best_masks};
use crate::contract::{Control, ErrorCode, ScanError, Stage, Warning, WarningCode};
use crate::identify::Groundings;
use crate::perceive::region::Candidate;

/// Boxes with a shorter side, in pixels of the photo, show nothing.
const MIN_BOX_SIDE_PX: f64 = 2.0;
/// Reasons of the identifier that a warning repeats.
const MAX_TOLD_REASONS: usize = 3;

impl Finder<'_> {
    pub(super) fn grounded(
        &mut self,
        image: &RgbImage,
        embedding: &Embedding,
        control: &dyn Control,
        warnings: &mut Vec<Warning>,
    ) -> Result<Vec<Candidate>, ScanError> {
        let Some(identifier) = &mut self.identifier else {
            return Err(ScanError::new(
                ErrorCode::ConfigInvalid,
                "the grounded strategy needs an identifier",
            )
            .next_step("configure one, or use the automatic strategy"));
        };
        control.stage(Stage::Identify)?;
        let answer = identifier.ground(image, &|| control.check().is_err())?;
        control.stage(Stage::Segment)?;
        warnings.extend(untidiness(&answer));
        let items = answer.items;
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
                let seen = rect.width() >= MIN_BOX_SIDE_PX && rect.height() >= MIN_BOX_SIDE_PX;
                seen.then_some((item.identity, Prompt::rect(rect)))
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
        let masks = best_masks(self.sam, embedding, &prompts, control)?;
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

/// What had to be done to an answer before it could be used.
fn untidiness(answer: &Groundings) -> Vec<Warning> {
    let mut out = Vec::new();
    if !answer.dropped.is_empty() {
        out.push(Warning::new(
            WarningCode::PartlyIdentified,
            format!(
                "{} things that the vision-language model named could not be used and were left out: {}",
                answer.dropped.len(),
                answer.dropped[..answer.dropped.len().min(MAX_TOLD_REASONS)].join("; ")
            ),
        ));
    }
    if let Some([width, height]) = answer.rescaled_from {
        out.push(Warning::new(WarningCode::BoxesRescaled, format!(
                "the vision-language model gave boxes on a grid of {width} x {height} instead of the picture's pixels"
            )));
    }
    out
}
