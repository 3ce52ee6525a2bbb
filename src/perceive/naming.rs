//! What masks show: each is cut out and shown to the identifier.

mod crop;
mod label_consensus;

use dragunov_models::{Mask, RgbImage};

use super::region::{Candidate, Scored};
use crate::contract::{Control, ScanError, Stage, Warning, WarningCode};
use crate::identify::{Identified, Identifier, Kind};
pub use crop::crop;
pub(super) use label_consensus::name_together;

/// What a kind told by shape alone is worth beside a named one.
const BY_SHAPE_CONFIDENCE: f64 = 0.3;
/// Sides of the photo that a mask must reach to be table, and the part of a dish's area that what lies on it may have.
const TABLE_SIDES: usize = 3;
const MAX_CONTENT_AREA_RATIO: (usize, usize) = (2, 3);

/// Names every mask by its crop. Masks that could not be named are left out with a warning; where none could, all are kept
/// without names.
///
/// # Errors
/// `cancelled` or `deadline_exceeded` of the job; the device's own, after which its other answers are worth nothing.
pub(super) fn name_masks(
    identifier: Option<&mut dyn Identifier>,
    image: &RgbImage,
    masks: Vec<Scored>,
    control: &dyn Control,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<Candidate>, ScanError> {
    control.stage(Stage::Identify)?;
    let masks: Vec<Scored> = masks.into_iter().filter(|(m, _)| !m.is_empty()).collect();
    let crops: Vec<RgbImage> = masks.iter().filter_map(|(mask, _)| crop(image, mask)).collect();
    let answers = match identifier {
        Some(identifier) => identifier.identify(&crops, &|| control.check().is_err()),
        None => Vec::new(),
    };
    control.check()?;
    let (broken, answers): (Vec<_>, Vec<_>) =
        (answers.into_iter()).partition(|answer| matches!(answer, Err(e) if e.code.is_of_device()));
    if let Some(Err(error)) = broken.into_iter().next() {
        return Err(error);
    }
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
        return Ok(names_by_shape(masks));
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

/// Without names: what holds other masks is a dish, what spans the photo is table, the rest may be food.
pub(super) fn names_by_shape(masks: Vec<Scored>) -> Vec<Candidate> {
    let kinds: Vec<Kind> = masks
        .iter()
        .map(|(mask, _)| kind_by_shape(mask, &masks))
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
                    confidence: BY_SHAPE_CONFIDENCE,
                    alternatives: Vec::new(),
                    grams: None,
                    novelty: None,
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

fn kind_by_shape(mask: &Mask, all: &[Scored]) -> Kind {
    let (part, whole) = MAX_CONTENT_AREA_RATIO;
    let holds = |other: &Mask| whole * other.area() < part * mask.area() && bbox_inside(other, mask);
    if mask.sides_touched() >= TABLE_SIDES {
        Kind::Table
    } else if all.iter().any(|(other, _)| holds(other)) {
        Kind::Plate
    } else {
        Kind::Food
    }
}

fn bbox_inside(inner: &Mask, outer: &Mask) -> bool {
    match (inner.bbox(), outer.bbox()) {
        (Some(a), Some(b)) => a.x0 >= b.x0 && a.y0 >= b.y0 && a.x1 <= b.x1 && a.y1 <= b.y1,
        _ => false,
    }
}
