//! What the scale of an answer rests on, as reports group it.

use serde::{Deserialize, Serialize};

use crate::contract::ScaleSource;
use crate::contract::result::ScaleCandidate;

/// What gave a photo its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScaleGroup {
    Plate,
    Coin,
    Card,
    /// Height of the lens by an AR session.
    ArHeight,
    /// Metric distances, of a phone or of a network.
    Depth,
    /// Several of the above together.
    Several,
    /// Usual sizes only.
    Nothing,
}

impl ScaleGroup {
    pub const ALL: [Self; 7] = [
        Self::Plate,
        Self::Coin,
        Self::Card,
        Self::ArHeight,
        Self::Depth,
        Self::Several,
        Self::Nothing,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Self::Plate => "scale by a plate told",
            Self::Coin => "scale by a coin told",
            Self::Card => "scale by a card",
            Self::ArHeight => "scale by an AR height",
            Self::Depth => "scale by metric depth",
            Self::Several => "scale by several of them",
            Self::Nothing => "scale by nothing told",
        }
    }

    /// By the source that decided, and where several did, by those of them that are no guess.
    pub fn of(source: ScaleSource, candidates: &[ScaleCandidate]) -> Self {
        if source != ScaleSource::Fused {
            return Self::of_one(source);
        }
        let mut told = candidates
            .iter()
            .filter(|c| c.used && !c.source.is_prior())
            .map(|c| Self::of_one(c.source));
        match told.next() {
            None => Self::Nothing,
            Some(first) if told.all(|other| other == first) => first,
            Some(_) => Self::Several,
        }
    }

    fn of_one(source: ScaleSource) -> Self {
        match source {
            ScaleSource::PlateKnown => Self::Plate,
            ScaleSource::Coin => Self::Coin,
            ScaleSource::Card => Self::Card,
            ScaleSource::ClientHeight => Self::ArHeight,
            ScaleSource::ClientDepth | ScaleSource::MetricDepth => Self::Depth,
            ScaleSource::Fused => Self::Several,
            ScaleSource::PlatePrior
            | ScaleSource::BowlPrior
            | ScaleSource::BoardPrior
            | ScaleSource::FoodPrior
            | ScaleSource::HeightPrior => Self::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fused_scale_belongs_to_what_is_no_guess() {
        let candidate = |source, used| ScaleCandidate {
            source,
            camera_height_cm: 40.0,
            sigma_ln: 0.1,
            used,
        };
        let coin = candidate(ScaleSource::Coin, true);
        let usual = candidate(ScaleSource::PlatePrior, true);
        let plate = candidate(ScaleSource::PlateKnown, true);
        let ignored = candidate(ScaleSource::PlateKnown, false);
        let of = |c: &[&ScaleCandidate]| {
            let list: Vec<ScaleCandidate> = c.iter().map(|c| (*c).clone()).collect();
            ScaleGroup::of(ScaleSource::Fused, &list)
        };
        assert_eq!(of(&[&coin, &usual]), ScaleGroup::Coin);
        assert_eq!(of(&[&coin, &ignored]), ScaleGroup::Coin);
        assert_eq!(of(&[&coin, &plate]), ScaleGroup::Several);
        assert_eq!(of(&[&usual]), ScaleGroup::Nothing);
        assert_eq!(
            ScaleGroup::of(ScaleSource::ClientHeight, &[]),
            ScaleGroup::ArHeight
        );
    }
}
