//! Places that the client points at.

use dragunov_models::Rect;
use dragunov_models::sam::{Embedding, Prompt, Sam};

use super::best_masks;
use crate::contract::request::{Hints, ItemHint};
use crate::contract::{Control, ScanError};
use crate::identify::{Identified, Kind};
use crate::perceive::region::{Candidate, Scored};

/// Hints with a place become masks; those with a label are named already, the others are returned to be named.
pub(super) fn masks(
    sam: &Sam,
    embedding: &Embedding,
    hints: &Hints,
    control: &dyn Control,
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
    let masks = best_masks(sam, embedding, &prompts, control)?;
    let (mut named, mut unnamed) = (Vec::new(), Vec::new());
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
                    novelty: None,
                },
            }),
            None => unnamed.push((mask, 1.0)),
        }
    }
    Ok((named, unnamed))
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
