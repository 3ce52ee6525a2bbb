//! How far the answers move when focal length and pitch are not quite what was said: every item against its own answer
//! with the camera as it was said, for each departure alone and for all combinations of signs.

use std::fmt::Write;

use serde::Serialize;

use super::manifest::{Dataset, Sample, Support};
use super::predictor::{GeometryOnly, Predicted};
use super::score::NADIR_DEG;
use super::truth::Perturb;
use crate::contract::{DishKind, ScanError};

/// A move that counts as large, as a share of the volume.
const LARGE_MOVE_SHARE: f64 = 0.2;

/// Items that are reported together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    Tilted,
    NearNadir,
    InBowl,
}

impl Group {
    pub const ALL: [Self; 3] = [Self::Tilted, Self::NearNadir, Self::InBowl];

    fn of(sample: &Sample, item: usize) -> Self {
        if sample.items.get(item).and_then(|i| i.dish) == Some(Support::Dish(DishKind::Bowl)) {
            Self::InBowl
        } else if sample.pitch_deg.is_some_and(|p| p < NADIR_DEG) {
            Self::NearNadir
        } else {
            Self::Tilted
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Tilted => "off bowls, 12 degrees or more",
            Self::NearNadir => "off bowls, near nadir",
            Self::InBowl => "in bowls",
        }
    }
}

/// One item under one departure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Move {
    pub sample: String,
    pub label: String,
    pub group: Group,
    pub perturb: Perturb,
    /// Volume over the unperturbed volume, less one; none where the photo was refused.
    pub share: Option<f64>,
}

/// All departures: each alone and together, in both directions.
fn departures(by: Perturb) -> Vec<Perturb> {
    let mut out = Vec::new();
    for pitch in [0.0, 1.0, -1.0] {
        for focal in [0.0, 1.0, -1.0] {
            out.push(Perturb {
                focal: focal * by.focal,
                pitch_deg: pitch * by.pitch_deg,
            });
        }
    }
    out.retain(|p| *p != Perturb::default());
    out.dedup();
    out
}

/// Every item of the data set under every departure of this size; `tick` is called after each photo.
///
/// # Errors
/// If a photo's truth cannot be read, or it is refused as it stands.
pub fn moves(
    dataset: &Dataset,
    geometry_only: &GeometryOnly,
    by: Perturb,
    mut tick: impl FnMut(&Sample),
) -> Result<Vec<Move>, ScanError> {
    let mut out = Vec::new();
    for sample in &dataset.samples {
        let truth = geometry_only.truth(&dataset.root, sample)?;
        let start = geometry_only.answer(&truth, sample, Perturb::default())?;
        for perturb in departures(by) {
            let moved = geometry_only.answer(&truth, sample, perturb);
            for (i, item) in sample.items.iter().take(start.items.len()).enumerate() {
                let volume = |p: &Predicted| Some(p.items.get(i)?.amounts.volume_cm3?.p50);
                let to = moved.as_ref().ok().and_then(volume);
                let from = volume(&start);
                out.push(Move {
                    sample: sample.id.clone(),
                    label: item.label.clone(),
                    group: Group::of(sample, i),
                    perturb,
                    share: to.zip(from).map(|(to, from)| to / from - 1.0),
                });
            }
        }
        tick(sample);
    }
    Ok(out)
}

/// Largest moves by departure and group, as text.
pub fn text(title: &str, moves: &[Move]) -> String {
    let mut out = format!("{title}\n\nlargest move of one item's volume, %\n");
    let mut seen: Vec<Perturb> = Vec::new();
    for m in moves {
        if !seen.contains(&m.perturb) {
            seen.push(m.perturb);
        }
    }
    for group in Group::ALL {
        let of_group: Vec<&Move> = moves.iter().filter(|m| m.group == group).collect();
        if of_group.is_empty() {
            continue;
        }
        let _ = writeln!(
            out,
            "\n{}: {} items",
            group.title(),
            of_group.len() / seen.len().max(1)
        );
        for perturb in &seen {
            let here = || of_group.iter().filter(|m| m.perturb == *perturb);
            let size = |m: &Move| m.share.map_or(f64::INFINITY, f64::abs);
            let Some(worst) = here().max_by(|a, b| size(a).total_cmp(&size(b))) else {
                continue;
            };
            let share = worst
                .share
                .map_or("refused".to_owned(), |s| format!("{:+.1}", 100.0 * s));
            let large = here().filter(|m| size(m) > LARGE_MOVE_SHARE).count();
            let _ = writeln!(
                out,
                "  focal {:+.1} %, pitch {:+.1}: {share:>8}   {} {}{}",
                100.0 * perturb.focal,
                perturb.pitch_deg,
                worst.sample,
                worst.label,
                if large > 0 {
                    format!("   ({large} over {:.0} %)", 100.0 * LARGE_MOVE_SHARE)
                } else {
                    String::new()
                }
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_alone_and_all_signs() {
        let both = departures(Perturb {
            focal: 0.02,
            pitch_deg: 1.0,
        });
        assert_eq!(both.len(), 8);
        assert!(both.iter().any(|p| p.focal == -0.02 && p.pitch_deg == 1.0));
        assert!(both.iter().any(|p| p.focal == 0.0 && p.pitch_deg == -1.0));
    }

    #[test]
    fn the_worst_item_is_named_and_refusals_are_worse() {
        let perturb = Perturb {
            focal: 0.02,
            pitch_deg: 0.0,
        };
        let item = |label: &str, group, share| Move {
            sample: "s".into(),
            label: label.into(),
            group,
            perturb,
            share,
        };
        let said = text(
            "t",
            &[
                item("rice", Group::Tilted, Some(0.05)),
                item("peas", Group::Tilted, Some(-0.3)),
                item("soup", Group::InBowl, None),
            ],
        );
        assert!(said.contains("-30.0   s peas   (1 over 20 %)"), "{said}");
        assert!(said.contains("refused   s soup"), "{said}");
        assert!(!said.contains("near nadir"), "{said}");
    }
}
