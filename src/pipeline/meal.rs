//! Several photos of one meal: items matched across them, volumes and names brought together.
//!
//! Every photo is measured by itself first. [`matching`] finds which items are the same thing, by name, size and place on the
//! table; [`fusion`] weighs the volumes by their errors, of which the photos share a part.

mod fusion;
mod matching;
mod names;
mod sighting;

use crate::contract::result::VolumeSigma;
use crate::contract::{Estimated, Warning, WarningCode};
use crate::identify::Identified;
use crate::nutrition::FoodTable;

use super::measure::MeasuredScene;
use fusion::Observation;
use matching::Group;
use sighting::Sighting;

/// Two volumes further apart than this many of their standard deviations disagree.
const DISAGREE_SIGMAS: f64 = 2.5;

/// One item of the meal.
#[derive(Debug)]
pub(super) struct MealItem {
    pub(super) identity: Identified,
    pub(super) pieces: usize,
    pub(super) volume_cm3: Estimated,
    pub(super) volume_sigma_ln: VolumeSigma,
    /// Where it is seen: photo, index among that photo's items, share in the volume. The one to show comes first.
    pub(super) seen: Vec<(usize, usize, f64)>,
}

/// The meal as all photos together show it.
#[derive(Debug)]
pub(super) struct Meal {
    pub(super) items: Vec<MealItem>,
    /// Of the photos that were given: those that show another meal.
    pub(super) strangers: Vec<usize>,
    /// The photo that counts most.
    pub(super) main: usize,
    pub(super) warnings: Vec<Warning>,
}

/// What the scenes, one a photo, tell of the meal together.
pub(super) fn bring_together(scenes: &[&MeasuredScene], foods: &FoodTable) -> Meal {
    let seen: Vec<Vec<Sighting>> = scenes.iter().map(|scene| Sighting::all(scene, foods)).collect();
    let grouping = matching::group(&seen);
    let observations: Vec<Observation> = (grouping.groups.iter().enumerate())
        .flat_map(|(item, group)| group.members.iter().map(move |m| (item, *m)))
        .map(|(item, (photo, index))| {
            let cut = seen[photo][index].cut_off
                && grouping.groups[item]
                    .members
                    .iter()
                    .any(|(p, i)| !seen[*p][*i].cut_off);
            Observation::new(item, photo, index, scenes[photo], cut)
        })
        .collect();
    let volumes = fusion::fuse(&observations, grouping.groups.len());
    let mut warnings = Vec::new();
    let items = grouping
        .groups
        .iter()
        .zip(volumes)
        .map(|(group, volume)| {
            let identity = names::together(&identities(group, scenes));
            if volume.apart > DISAGREE_SIGMAS {
                warnings.push(disagreement(&identity.label, group, scenes));
            }
            let mut seen: Vec<(usize, usize, f64)> = group
                .members
                .iter()
                .zip(&volume.weights)
                .map(|((photo, index), weight)| (*photo, *index, *weight))
                .collect();
            seen.sort_by(|a, b| {
                (b.0 == grouping.main)
                    .cmp(&(a.0 == grouping.main))
                    .then(b.2.total_cmp(&a.2))
            });
            let pieces = |(photo, index): &(usize, usize)| scenes[*photo].regions.foods[*index].pieces;
            MealItem {
                identity,
                pieces: group.members.iter().map(pieces).max().unwrap_or(1),
                volume_cm3: Estimated::log_normal(
                    volume.ln_cm3.exp(),
                    volume.sigma.shared.hypot(volume.sigma.own),
                ),
                volume_sigma_ln: volume.sigma,
                seen,
            }
        })
        .collect();
    Meal {
        items,
        strangers: grouping.strangers,
        main: grouping.main,
        warnings,
    }
}

fn identities<'a>(group: &Group, scenes: &[&'a MeasuredScene]) -> Vec<&'a Identified> {
    let of = |(photo, index): &(usize, usize)| &scenes[*photo].regions.foods[*index].identity;
    group.members.iter().map(of).collect()
}

fn disagreement(label: &str, group: &Group, scenes: &[&MeasuredScene]) -> Warning {
    let volumes: Vec<String> = group
        .members
        .iter()
        .map(|(photo, index)| {
            let volume = scenes[*photo].geometry.items[*index].volume_cm3.p50;
            format!("{volume:.0} cm3 on photo {photo}")
        })
        .collect();
    Warning::new(
        WarningCode::PhotosDisagree,
        format!("the photos disagree about the {label}: {}", volumes.join(", ")),
    )
}
