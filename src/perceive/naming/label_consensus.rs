//! Pieces of one food that were named apart: five nuggets, of which one is called a cookie.
//!
//! Pieces of one food have one colour and one texture, on one photo to within a few units of CIELAB; two foods of one meal
//! hardly ever do. What looks alike is named together, by what is said of all of it.

use dragunov_models::{Mask, RgbImage};

use crate::identify::Kind;
use crate::perceive::colour::lab;
use crate::perceive::ellipse::Moments;
use crate::perceive::region::Candidate;

/// Largest differences between pieces of one food, in units of CIELAB: of the mean hue and chroma (a, b), of the mean
/// lightness, and of the standard deviations (mean over L, a, b). Set on all pairs of foods of the 245 rendered scenes of
/// development.
const MAX_CHROMA_DIFFERENCE: f64 = 3.2;
const MAX_LIGHTNESS_DIFFERENCE: f64 = 3.0;
const MAX_DEVIATION_DIFFERENCE: f64 = 2.5;
/// Largest ratio of their areas, and distance of their middles in roots of their mean area.
const MAX_AREA_RATIO: f64 = 5.0;
const MAX_DISTANCE_SIDES: f64 = 6.0;
/// Other names that an item keeps.
const MAX_ALTERNATIVES: usize = 4;

/// Gives foods that look alike, but were named apart, the name that is likeliest for all of them, each piece counting by its
/// area.
pub(in crate::perceive) fn name_together(image: &RgbImage, candidates: &mut [Candidate]) {
    let appearances: Vec<(usize, Appearance)> = candidates
        .iter()
        .enumerate()
        .filter(|(_, c)| c.identity.kind == Kind::Food)
        .filter_map(|(i, c)| Some((i, Appearance::of(image, &c.mask)?)))
        .collect();
    let mut left = appearances;
    while let Some(first) = left.pop() {
        let mut group = vec![first];
        let mut reached = 0;
        while reached < group.len() {
            let from = group[reached].1;
            let (near, far): (Vec<_>, Vec<_>) = left.into_iter().partition(|(_, other)| from.like(other));
            group.extend(near);
            left = far;
            reached += 1;
        }
        let members: Vec<(usize, f64)> = group
            .iter()
            .map(|(i, appearance)| (*i, appearance.area))
            .collect();
        let label = &candidates[members[0].0].identity.label;
        if members
            .iter()
            .any(|(i, _)| candidates[*i].identity.label != *label)
        {
            rename(candidates, &members);
        }
    }
}

fn rename(candidates: &mut [Candidate], members: &[(usize, f64)]) {
    let whole: f64 = members.iter().map(|(_, area)| area).sum();
    let mut names: Vec<(String, f64)> = Vec::new();
    for (i, area) in members {
        let said = &candidates[*i].identity;
        let own = (said.label.clone(), said.confidence);
        for (label, p) in std::iter::once(&own).chain(&said.alternatives) {
            match names.iter_mut().find(|(known, _)| known == label) {
                Some((_, sum)) => *sum += p * area / whole,
                None => names.push((label.clone(), p * area / whole)),
            }
        }
    }
    names.sort_by(|a, b| b.1.total_cmp(&a.1));
    names.truncate(1 + MAX_ALTERNATIVES);
    let (label, confidence) = names.remove(0);
    for (i, _) in members {
        let identity = &mut candidates[*i].identity;
        identity.label.clone_from(&label);
        identity.confidence = confidence;
        identity.alternatives.clone_from(&names);
    }
}

/// How a mask looks: mean and standard deviation in CIELAB, where it is and how large.
#[derive(Debug, Clone, Copy)]
struct Appearance {
    mean: [f64; 3],
    deviation: [f64; 3],
    middle: [f64; 2],
    area: f64,
}

impl Appearance {
    fn of(image: &RgbImage, mask: &Mask) -> Option<Self> {
        let moments = Moments::of(mask)?;
        let (mut sum, mut squares) = ([0.0; 3], [0.0; 3]);
        mask.for_each_run(|x, from, to| {
            for y in from..to {
                let c = lab(image.pixel(x, y));
                for k in 0..3 {
                    sum[k] += c[k];
                    squares[k] += c[k] * c[k];
                }
            }
        });
        let mean = sum.map(|s| s / moments.area);
        let deviation = [0, 1, 2].map(|k| (squares[k] / moments.area - mean[k] * mean[k]).max(0.0).sqrt());
        Some(Self {
            mean,
            deviation,
            middle: moments.mean,
            area: moments.area,
        })
    }

    fn like(&self, other: &Self) -> bool {
        let off = [0, 1, 2].map(|k| (self.mean[k] - other.mean[k]).abs());
        let texture = (0..3)
            .map(|k| (self.deviation[k] - other.deviation[k]).abs() / 3.0)
            .sum::<f64>();
        let apart = (self.middle[0] - other.middle[0]).hypot(self.middle[1] - other.middle[1]);
        off[1].hypot(off[2]) < MAX_CHROMA_DIFFERENCE
            && off[0] < MAX_LIGHTNESS_DIFFERENCE
            && texture < MAX_DEVIATION_DIFFERENCE
            && self.area.max(other.area) < MAX_AREA_RATIO * self.area.min(other.area)
            && apart < MAX_DISTANCE_SIDES * (0.5 * (self.area + other.area)).sqrt()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::perceive::region::tests::{candidate, rect};

    const BROWN: [u8; 3] = [170, 110, 60];
    const RED: [u8; 3] = [200, 40, 30];

    /// Three pieces in a row, each of one colour, and what they are called.
    fn named(colours: [[u8; 3]; 3], said: [(&str, f64); 3]) -> Vec<Candidate> {
        let places = [rect(5, 10, 25, 30), rect(35, 10, 55, 30), rect(65, 10, 85, 30)];
        let mut data = vec![230; 100 * 100 * 3];
        for (place, colour) in places.iter().zip(colours) {
            place.for_each_run(|x, from, to| {
                for y in from..to {
                    data[3 * (y * 100 + x)..][..3].copy_from_slice(&colour);
                }
            });
        }
        let image = RgbImage::new(100, 100, data).unwrap();
        let mut found: Vec<Candidate> = places
            .into_iter()
            .zip(said)
            .map(|(mask, (label, confidence))| candidate(mask, Kind::Food, label, confidence))
            .collect();
        found[2].identity.alternatives = vec![("chicken nuggets".into(), 0.4)];
        name_together(&image, &mut found);
        found
    }

    #[test]
    fn pieces_that_look_alike_get_the_likeliest_name() {
        let found = named(
            [BROWN; 3],
            [("chicken nuggets", 0.8), ("cookie", 0.9), ("cookie", 0.5)],
        );
        let first = &found[0].identity;
        assert_eq!(first.label, "cookie");
        assert!((first.confidence - 1.4 / 3.0).abs() < 1e-9);
        assert_eq!(first.alternatives[0].0, "chicken nuggets");
        assert!((first.alternatives[0].1 - 0.4).abs() < 1e-9);
        assert!(found.iter().all(|c| c.identity.label == "cookie"));
    }

    #[test]
    fn what_looks_different_and_what_agrees_keep_their_names() {
        let said = [("chicken nuggets", 0.8), ("tomato", 0.9), ("cookie", 0.3)];
        let found = named([BROWN, RED, BROWN], said);
        let names: Vec<&str> = found.iter().map(|c| c.identity.label.as_str()).collect();
        assert_eq!(names, ["chicken nuggets", "tomato", "chicken nuggets"]);
        let agreed = named([BROWN; 3], [("cookie", 0.8), ("cookie", 0.9), ("cookie", 0.5)]);
        assert!((agreed[0].identity.confidence - 0.8).abs() < 1e-9);
    }
}
