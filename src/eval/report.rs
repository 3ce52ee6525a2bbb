//! The figures of a run, as text, JSON and a self-contained HTML page.

mod html;
mod text;

use std::collections::BTreeMap;

use serde::Serialize;

use super::amounts::Quantity;
use super::bootstrap::Bootstrap;
use super::figures::{Errors, Summary, baselines, by_quantity};
use super::groups;
use super::reliability::Reliability;
use super::score::{Fate, Outcome, Outcomes, PhotoOutcome};

/// Everything an evaluation says.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// How it was run, in words.
    pub title: String,
    /// How the intervals were drawn, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<Bootstrap>,
    /// Items.
    pub groups: Vec<(String, Summary)>,
    pub classes: BTreeMap<String, Summary>,
    /// All food of each photo together.
    pub photos: Vec<(String, PhotoSummary)>,
    /// Whether confidence is kept.
    pub names: Vec<(String, Reliability)>,
    pub baselines: BTreeMap<String, Errors>,
    /// Photos by what they were refused with and what the manifest expects of them.
    pub refusals: BTreeMap<String, usize>,
    pub outcomes: Vec<Outcome>,
    pub photo_outcomes: Vec<PhotoOutcome>,
}

/// Figures of a set of photos.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PhotoSummary {
    pub photos: usize,
    pub answered: usize,
    pub refused: usize,
    /// Of the answered ones.
    pub items: usize,
    /// By the quantity's name.
    #[serde(flatten)]
    pub errors: BTreeMap<Quantity, Errors>,
    /// Median and largest p50 of the answered masses, g, whatever the truth: what is absurd shows here.
    pub median_mass_g: Option<f64>,
    pub largest_mass_g: Option<f64>,
}

impl PhotoSummary {
    fn of(photos: &[&PhotoOutcome], bootstrap: Option<Bootstrap>) -> Self {
        let answered = photos.iter().filter(|p| p.fate == Fate::Measured);
        let mut grams: Vec<f64> = answered
            .clone()
            .filter_map(|p| Some(p.predicted.mass_g?.p50))
            .collect();
        grams.sort_unstable_by(f64::total_cmp);
        Self {
            photos: photos.len(),
            answered: answered.clone().count(),
            refused: photos.len() - answered.clone().count(),
            items: answered.map(|p| p.items).sum(),
            errors: by_quantity(photos, bootstrap),
            median_mass_g: grams.get(grams.len() / 2).copied(),
            largest_mass_g: grams.last().copied(),
        }
    }
}

impl Report {
    /// `bootstrap`: also how far the figures would move with other photos.
    pub fn new(title: String, outcomes: Outcomes, bootstrap: Option<Bootstrap>) -> Self {
        let Outcomes { items, photos } = outcomes;
        let mut of_items: Vec<(String, Summary)> = groups::all()
            .into_iter()
            .map(|g| {
                let summary = Summary::of(g.of(&items).into_iter(), bootstrap);
                (g.name, summary)
            })
            .collect();
        of_items.retain(|(name, s)| name == "all" || s.items > 0);
        let mut of_photos: Vec<(String, PhotoSummary)> = groups::all()
            .into_iter()
            .map(|g| {
                let summary = PhotoSummary::of(&g.of(&photos), bootstrap);
                (g.name, summary)
            })
            .collect();
        of_photos.retain(|(name, s)| name == "all" || s.photos > 0);
        let mut names: Vec<(String, Reliability)> = groups::by_bowl()
            .into_iter()
            .map(|g| {
                let reliability = Reliability::of(g.of(&items).into_iter());
                (g.name, reliability)
            })
            .collect();
        names.retain(|(name, r)| name == "all" || !r.is_empty());
        Self {
            title,
            bootstrap,
            groups: of_items,
            classes: classes(&items),
            photos: of_photos,
            names,
            baselines: baselines(&items),
            refusals: refusals(&photos),
            outcomes: items,
            photo_outcomes: photos,
        }
    }

    /// Whether any group of items has this quantity.
    fn has(&self, quantity: Quantity) -> bool {
        self.groups.iter().any(|(_, s)| s.errors.contains_key(&quantity))
    }

    /// The same of whole photos.
    fn has_of_photos(&self, quantity: Quantity) -> bool {
        self.photos.iter().any(|(_, s)| s.errors.contains_key(&quantity))
    }
}

/// By true label; in bowls apart.
fn classes(items: &[Outcome]) -> BTreeMap<String, Summary> {
    let mut parts: BTreeMap<String, Vec<&Outcome>> = BTreeMap::new();
    for item in items.iter().filter(|o| o.fate != Fate::Extra) {
        let bowl = if item.in_bowl { ", in bowls" } else { "" };
        parts
            .entry(format!("{}{bowl}", item.label))
            .or_default()
            .push(item);
    }
    parts
        .into_iter()
        .map(|(name, items)| (name, Summary::of(items.into_iter(), None)))
        .collect()
}

fn refusals(photos: &[PhotoOutcome]) -> BTreeMap<String, usize> {
    let mut out = BTreeMap::new();
    for photo in photos {
        let words = match (&photo.fate, &photo.expected) {
            (Fate::RightlyRefused(code), _) => format!("refused with {code}, as expected"),
            (Fate::Refused(code), Some(other)) => format!("refused with {code}, expected {other}"),
            (Fate::Refused(code), None) => format!("refused with {code}"),
            (_, Some(code)) => format!("answered, expected {code}"),
            (_, None) => continue,
        };
        let bowl = if photo.in_bowl { " (with a bowl)" } else { "" };
        *out.entry(format!("{words}{bowl}")).or_insert(0) += 1;
    }
    out
}
