//! Several photos of one meal: items matched across them, volumes and names brought together.
//!
//! Every photo is measured by itself first. [`matching`] finds which items are the same thing, by name, size and place on the
//! table; [`fusion`] weighs the volumes by their errors, of which the photos share a part.

mod fusion;
mod matching;
mod missing;
mod names;
mod sighting;
mod turn;

use crate::contract::result::VolumeSigma;
use crate::contract::{Estimated, ItemFlag, Warning, WarningCode};
use crate::identify::Identified;
use crate::nutrition::FoodTable;

use super::measure::MeasuredScene;
use fusion::Observation;
pub(super) use fusion::{OWN, SAME_SCALE};
use matching::{Group, Grouping};
pub(super) use missing::Missing;
use sighting::Seen;

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

/// Which items of the photos are the same, and what they are called.
#[derive(Debug)]
pub(super) struct Matched {
    grouping: Grouping,
    identities: Vec<Identified>,
}

impl Matched {
    /// Matches the items of the scenes, one a photo.
    pub(super) fn of(scenes: &[&MeasuredScene], foods: &FoodTable) -> Self {
        let seen: Vec<Seen> = scenes.iter().map(|scene| Seen::of(scene, foods)).collect();
        let grouping = matching::group(&seen);
        let name = |group: &Group| names::together(&identities(group, scenes));
        Self {
            identities: grouping.groups.iter().map(name).collect(),
            grouping,
        }
    }

    /// What some photos show and others, in which it must be in view, do not.
    pub(super) fn missing(&self, scenes: &[&MeasuredScene]) -> Vec<Missing> {
        missing::all(&self.grouping, scenes)
    }

    /// What an item of a photo is called by all photos; none for the items of a stranger.
    pub(super) fn identity(&self, photo: usize, index: usize) -> Option<&Identified> {
        let groups = self.grouping.groups.iter().zip(&self.identities);
        let found = groups
            .into_iter()
            .find(|(group, _)| group.members.contains(&(photo, index)));
        found.map(|(_, identity)| identity)
    }

    /// Volumes by all photos. The scenes have the items that were matched, in the same order.
    pub(super) fn fuse(self, scenes: &[&MeasuredScene], foods: &FoodTable) -> Meal {
        let Grouping {
            groups,
            main,
            strangers,
            ..
        } = self.grouping;
        let mut observations = observations(&groups, scenes);
        let mut volumes = fusion::fuse(&observations, groups.len());
        let torn: Vec<bool> = volumes
            .iter()
            .map(|volume| volume.apart > DISAGREE_SIGMAS)
            .collect();
        if torn.contains(&true) {
            // One of them took a part of something else, or missed a part: the one nearer to the food's usual size is believed.
            for observation in observations.iter_mut().filter(|o| torn[o.item]) {
                let label = &self.identities[observation.item].label;
                observation.doubt(&foods.lookup(label).food.usual_portion.portion);
            }
            volumes = fusion::fuse(&observations, groups.len());
        }
        let mut warnings = Vec::new();
        let items = groups
            .iter()
            .zip(self.identities)
            .zip(volumes)
            .zip(torn)
            .map(|(((group, identity), volume), torn)| {
                if torn {
                    warnings.push(disagreement(&identity.label, group, scenes));
                }
                let mut seen: Vec<(usize, usize, f64)> = group
                    .members
                    .iter()
                    .zip(&volume.weights)
                    .map(|((photo, index), weight)| (*photo, *index, *weight))
                    .collect();
                seen.sort_by(|a, b| (b.0 == main).cmp(&(a.0 == main)).then(b.2.total_cmp(&a.2)));
                let pieces = |(photo, index): &(usize, usize)| scenes[*photo].regions.foods[*index].pieces;
                let sigma = volume.sigma.shared.hypot(volume.sigma.own);
                MealItem {
                    identity,
                    pieces: group.members.iter().map(pieces).max().unwrap_or(1),
                    volume_cm3: Estimated::log_normal(volume.ln_cm3.exp(), sigma),
                    volume_sigma_ln: volume.sigma,
                    seen,
                }
            })
            .collect();
        Meal {
            items,
            strangers,
            main,
            warnings,
        }
    }
}

/// Every measurement of every item. One that the photo's edge cuts off counts little where another photo shows it whole.
fn observations(groups: &[Group], scenes: &[&MeasuredScene]) -> Vec<Observation> {
    let cut = |(photo, index): (usize, usize)| {
        scenes[photo].geometry.items[index]
            .flags
            .contains(&ItemFlag::TouchesEdge)
    };
    let mut out = Vec::new();
    for (item, group) in groups.iter().enumerate() {
        let whole_somewhere = group.members.iter().any(|m| !cut(*m));
        for &(photo, index) in &group.members {
            let cut_off = cut((photo, index)) && whole_somewhere;
            out.push(Observation::new(item, photo, index, scenes[photo], cut_off));
        }
    }
    out
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
