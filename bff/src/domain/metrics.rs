//! What the phone measured, merged over its sources.
//!
//! A row is one source's word about one 15-minute slot (or a sample that begins inside one). Sources are never added up:
//! for each slot and column the best-ranked source that says something is believed, so a watch and a phone that both
//! counted the same steps give them once, and a phone carried while the watch charged is not lost.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// Length of a slot in microseconds.
pub const SLOT_US: i64 = 15 * 60 * 1_000_000;

/// Where a value comes from, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    /// Deduplicated by the phone's own health store.
    Merged = 0,
    Watch = 1,
    Band = 2,
    Phone = 3,
    Manual = 4,
    Unknown = 9,
}

impl Rank {
    /// By the first word of a source, `watch` or `watch:name`.
    pub fn of(source: &str) -> Self {
        match source.split(':').next().unwrap_or_default() {
            "merged" => Self::Merged,
            "watch" => Self::Watch,
            "band" | "ring" => Self::Band,
            "phone" => Self::Phone,
            "manual" => Self::Manual,
            _ => Self::Unknown,
        }
    }
}

/// RMSSD and SDNN are different measures and never mixed.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum HrvKind {
    Rmssd,
    Sdnn,
}

impl HrvKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rmssd => "rmssd",
            Self::Sdnn => "sdnn",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "rmssd" => Some(Self::Rmssd),
            "sdnn" => Some(Self::Sdnn),
            _ => None,
        }
    }
}

/// A row of `health_metrics`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// Microseconds.
    pub time: i64,
    pub source: String,
    pub steps: Option<i32>,
    /// kcal.
    pub energy: Option<f64>,
    pub resting_hr: Option<i32>,
    /// ms.
    pub hrv: Option<i32>,
    pub hrv_kind: Option<HrvKind>,
    /// 0 to 100.
    pub sleep: Option<i32>,
    /// 0 to 100.
    pub feel: Option<i32>,
    pub device: Option<String>,
}

/// A column that adds up over time.
pub fn merged_slots(samples: &[Sample], column: impl Fn(&Sample) -> Option<f64>) -> BTreeMap<i64, f64> {
    // (slot, rank, source) -> sum; several samples of one source in a slot add up.
    let mut by_source: BTreeMap<(i64, Rank, &str), f64> = BTreeMap::new();
    for s in samples {
        if let Some(value) = column(s) {
            let slot = s.time.div_euclid(SLOT_US) * SLOT_US;
            *by_source
                .entry((slot, Rank::of(&s.source), &s.source))
                .or_default() += value;
        }
    }
    let mut slots = BTreeMap::new();
    for ((slot, _, _), value) in by_source {
        // The first of a slot is the best-ranked.
        slots.entry(slot).or_insert(value);
    }
    slots
}

/// Sum over the slots that begin in `[from, to)`.
pub fn sum_between(slots: &BTreeMap<i64, f64>, from: Timestamp, to: Timestamp) -> Option<f64> {
    let (from, to) = (from.as_microsecond(), to.as_microsecond());
    if from >= to {
        return None;
    }
    let mut any = None;
    for (_, value) in slots.range(from..to) {
        *any.get_or_insert(0.0) += value;
    }
    any
}

/// Latest value of the best-ranked source.
pub fn latest_of_best<'a, T>(
    samples: impl Iterator<Item = &'a Sample>,
    column: impl Fn(&Sample) -> Option<T>,
) -> Option<(T, &'a Sample)> {
    let mut best: Option<(T, &Sample)> = None;
    for s in samples {
        let Some(value) = column(s) else { continue };
        let better = best.as_ref().is_none_or(|(_, b)| {
            let (new, old) = (Rank::of(&s.source), Rank::of(&b.source));
            new < old || (new == old && s.time >= b.time)
        });
        if better {
            best = Some((value, s));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(slot: i64, source: &str, n: i32) -> Sample {
        Sample {
            time: slot * SLOT_US,
            source: source.into(),
            steps: Some(n),
            ..Sample::default()
        }
    }

    fn total(samples: &[Sample]) -> BTreeMap<i64, f64> {
        merged_slots(samples, |s| s.steps.map(f64::from))
    }

    #[test]
    fn slots_of_watch_and_phone() {
        let both = |watch: Option<i32>, phone: Option<i32>, os: Option<i32>| {
            let mut rows = Vec::new();
            rows.extend(phone.map(|n| steps(4, "phone", n)));
            rows.extend(watch.map(|n| steps(4, "watch:Ultra", n)));
            rows.extend(os.map(|n| steps(4, "merged", n)));
            total(&rows).values().sum::<f64>()
        };
        assert_eq!(both(Some(300), Some(280), None), 300.0);
        assert_eq!(both(None, Some(410), None), 410.0);
        assert_eq!(both(Some(0), Some(35), None), 0.0);
        assert_eq!(both(Some(120), None, None), 120.0);
        assert_eq!(both(Some(300), Some(280), Some(350)), 350.0);
    }

    #[test]
    fn watch_in_the_morning_and_phone_in_the_afternoon_are_both_counted_and_the_overlap_once() {
        let mut rows: Vec<_> = (0..8).map(|i| steps(i, "watch", 100)).collect();
        rows.extend((6..16).map(|i| steps(i, "phone", 90)));
        assert_eq!(total(&rows).values().sum::<f64>(), 8.0 * 100.0 + 8.0 * 90.0);
    }

    #[test]
    fn samples_of_one_source_in_a_slot_add_up() {
        let mut second = steps(4, "watch", 50);
        second.time += 60_000_000;
        assert_eq!(
            total(&[steps(4, "watch", 100), second]).values().sum::<f64>(),
            150.0
        );
    }
}
