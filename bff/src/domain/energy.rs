//! Energy score of a day: sleep, heart rate variability against its own past, how the user feels, less what today
//! already cost.
//!
//! Score = Sleep*0.4 + (HRV/Baseline)*30 + Subj_Feel*0.3 - Activity_Fatigue_Factor. Missing terms leave their weight to
//! the others and lower the confidence.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::day::{Calendar, next, previous};
use super::metrics::{HrvKind, Rank, Sample, latest_of_best, merged_slots, sum_between};

/// Days of the past that make a baseline, and how many of them must have data.
pub const BASELINE_DAYS: usize = 30;
pub const BASELINE_MIN: usize = 5;
/// HRV outside is noise, ms.
pub const HRV_VALID: std::ops::RangeInclusive<i32> = 10..=250;
/// Below this the day's plan changes.
pub const THRESHOLD: f64 = 40.0;

const HRV_HOURS: i64 = 4;
const RATIO_CAP: f64 = 1.25;
const FULL_CONFIDENCE_DAYS: f64 = 14.0;

/// What the score is computed from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct EnergyInputs {
    /// 0 to 100, of the night that ended today.
    #[schema(required)]
    pub sleep_score: Option<f64>,
    #[schema(required)]
    pub hrv: Option<HrvInput>,
    /// 0 to 100, the last of today.
    #[schema(required)]
    pub subj_feel: Option<f64>,
    /// Active energy of today so far, kcal.
    pub active_kcal: f64,
    /// Median of the days before; null with fewer than five active ones.
    #[schema(required)]
    pub usual_active_kcal: Option<f64>,
}

/// Mean of the last four hours, and what it is held against.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct HrvInput {
    pub mean_ms: f64,
    pub kind: HrvKind,
    /// Geometric mean of daily geometric means; null with fewer than five days of this device and kind.
    #[schema(required)]
    pub baseline_ms: Option<f64>,
    pub baseline_days: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EnergyScore {
    /// 0 to 100 with one decimal; null without any input.
    #[schema(required)]
    pub score: Option<f64>,
    /// 0 to 1.
    pub confidence: f64,
    pub components: Components,
    pub inputs: EnergyInputs,
    /// Why a term is absent: `no_inputs`, `sleep_missing`, `hrv_missing`, `baseline_days n/5`, `feel_missing`,
    /// `fatigue_unknown`.
    pub reasons: Vec<String>,
}

/// Each term, 0 to 100 before its weight; points for fatigue.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct Components {
    #[schema(required)]
    pub sleep: Option<f64>,
    /// 100 times the ratio to the baseline, at most 125.
    #[schema(required)]
    pub hrv: Option<f64>,
    #[schema(required)]
    pub feel: Option<f64>,
    /// Points taken off, 0 to 20.
    pub fatigue: f64,
}

/// The formula.
pub fn score(inputs: EnergyInputs) -> EnergyScore {
    let mut reasons = Vec::new();
    let ratio = match &inputs.hrv {
        None => {
            reasons.push("hrv_missing".to_owned());
            None
        }
        Some(hrv) => match hrv.baseline_ms {
            None => {
                reasons.push(format!("baseline_days {}/{BASELINE_MIN}", hrv.baseline_days));
                None
            }
            Some(baseline) => Some((hrv.mean_ms / baseline).min(RATIO_CAP)),
        },
    };
    if inputs.sleep_score.is_none() {
        reasons.push("sleep_missing".to_owned());
    }
    if inputs.subj_feel.is_none() {
        reasons.push("feel_missing".to_owned());
    }
    let days = inputs.hrv.as_ref().map_or(0.0, |h| h.baseline_days as f64);
    let terms = [
        (0.4, 0.4, inputs.sleep_score),
        (
            0.3,
            0.3 * (days / FULL_CONFIDENCE_DAYS).min(1.0),
            ratio.map(|r| 100.0 * r),
        ),
        (0.3, 0.3, inputs.subj_feel),
    ];
    let (mut sum, mut weights, mut confidence) = (0.0, 0.0, 0.0);
    for (weight, trust, term) in terms {
        if let Some(x) = term {
            sum += weight * x;
            weights += weight;
            confidence += trust;
        }
    }
    let fatigue = match inputs.usual_active_kcal {
        Some(usual) => (20.0 * (inputs.active_kcal / usual.max(100.0) - 1.0)).clamp(0.0, 20.0),
        None => {
            reasons.push("fatigue_unknown".to_owned());
            confidence -= 0.1;
            0.0
        }
    };
    let score = (weights > 0.0).then(|| rounded((sum / weights - fatigue).clamp(0.0, 100.0), 1));
    if score.is_none() {
        reasons.insert(0, "no_inputs".to_owned());
    }
    EnergyScore {
        score,
        confidence: rounded(confidence.clamp(0.0, 1.0), 2),
        components: Components {
            sleep: inputs.sleep_score,
            hrv: ratio.map(|r| rounded(100.0 * r, 1)),
            feel: inputs.subj_feel,
            fatigue: rounded(fatigue, 2),
        },
        inputs,
        reasons,
    }
}

/// Half away from zero, after taking back what binary fractions lose.
fn rounded(x: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    ((x * scale) * (1.0 + 1e-12)).round() / scale
}

/// First instant that [`gather`] looks at.
pub fn reach(calendar: &Calendar, now: Timestamp) -> Timestamp {
    let mut date = calendar.diary_date(now);
    for _ in 0..=BASELINE_DAYS {
        date = previous(date);
    }
    calendar
        .midnight(date)
        .min(now - SignedDuration::from_hours(HRV_HOURS))
}

/// Inputs at `now` from samples of [`reach`] to `now`, in any order.
pub fn gather(calendar: &Calendar, now: Timestamp, samples: &[Sample]) -> EnergyInputs {
    let today = calendar.diary_date(now);
    let known: Vec<&Sample> = samples
        .iter()
        .filter(|s| s.time <= now.as_microsecond())
        .collect();
    let within = |from: Timestamp, to: Timestamp| {
        let (from, to) = (from.as_microsecond(), to.as_microsecond());
        known
            .iter()
            .copied()
            .filter(move |s| from <= s.time && s.time < to)
    };
    let day = calendar.diary_day(today);
    // A night belongs to the local date of waking up, whatever the hours of meals.
    let sleep = latest_of_best(
        within(calendar.midnight(today), calendar.midnight(next(today))),
        |s| s.sleep,
    );
    let feel = known
        .iter()
        .filter(|s| s.feel.is_some() && day.contains_us(s.time))
        .max_by_key(|s| s.time)
        .and_then(|s| s.feel);
    let days = past_days(calendar, today);
    let (active_kcal, usual) = activity(calendar, now, &days, samples);
    EnergyInputs {
        sleep_score: sleep.map(|(v, _)| f64::from(v)),
        hrv: hrv(now, &days, &known),
        subj_feel: feel.map(f64::from),
        active_kcal,
        usual_active_kcal: usual,
    }
}

/// Starts of the baseline's days and the end of the last, oldest first.
fn past_days(calendar: &Calendar, today: Date) -> Vec<Timestamp> {
    let mut date = today;
    let mut starts = vec![calendar.diary_start(today)];
    for _ in 0..BASELINE_DAYS {
        date = previous(date);
        starts.push(calendar.diary_start(date));
    }
    starts.reverse();
    starts
}

/// Merged active energy of today so far, and the median of the days before that had any.
fn activity(
    calendar: &Calendar,
    now: Timestamp,
    days: &[Timestamp],
    samples: &[Sample],
) -> (f64, Option<f64>) {
    let slots = merged_slots(samples, |s| s.energy);
    let today = calendar.diary_day(calendar.diary_date(now));
    let so_far = sum_between(
        &slots,
        today.from,
        now.saturating_add(SignedDuration::from_micros(1)).unwrap_or(now),
    );
    let mut totals: Vec<f64> = days
        .windows(2)
        .filter_map(|d| sum_between(&slots, d[0], d[1]))
        .filter(|total| *total > 0.0)
        .collect();
    (
        so_far.unwrap_or(0.0),
        (totals.len() >= BASELINE_MIN).then(|| median(&mut totals)),
    )
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let mid = values.len() / 2;
    if values.len().is_multiple_of(2) {
        (values[mid - 1] + values[mid]) / 2.0
    } else {
        values[mid]
    }
}

/// The median of active days alone, for the day's targets.
pub fn usual_active_kcal(calendar: &Calendar, now: Timestamp, samples: &[Sample]) -> Option<f64> {
    let days = past_days(calendar, calendar.diary_date(now));
    activity(calendar, now, &days, samples).1
}

fn hrv(now: Timestamp, days: &[Timestamp], known: &[&Sample]) -> Option<HrvInput> {
    let from = (now - SignedDuration::from_hours(HRV_HOURS)).as_microsecond();
    let valid = |s: &Sample| s.hrv.filter(|ms| HRV_VALID.contains(ms)).zip(s.hrv_kind);
    let recent = || {
        known
            .iter()
            .copied()
            .filter(|s| s.time > from && valid(s).is_some())
    };
    let best = recent().min_by_key(|s| (Rank::of(&s.source), std::cmp::Reverse(s.time)))?;
    let era = |s: &Sample| (s.source.clone(), s.device.clone(), s.hrv_kind);
    let this_era = era(best);
    let kind = best.hrv_kind?;
    let window: Vec<f64> = recent()
        .filter(|s| era(s) == this_era)
        .filter_map(|s| s.hrv)
        .map(f64::from)
        .collect();
    let mean_ms = window.iter().sum::<f64>() / window.len() as f64;
    // Logarithms by day.
    let mut daily: BTreeMap<usize, (f64, usize)> = BTreeMap::new();
    for s in known.iter().filter(|s| valid(s).is_some() && era(s) == this_era) {
        let after = days.partition_point(|start| start.as_microsecond() <= s.time);
        if (1..days.len()).contains(&after) {
            let day = daily.entry(after).or_default();
            day.0 += f64::from(s.hrv.unwrap_or_default()).ln();
            day.1 += 1;
        }
    }
    let n = daily.len();
    let mean_ln = daily.values().map(|(ln, k)| ln / *k as f64).sum::<f64>() / n.max(1) as f64;
    Some(HrvInput {
        mean_ms,
        kind,
        baseline_ms: (n >= BASELINE_MIN).then(|| mean_ln.exp()),
        baseline_days: n,
    })
}

#[cfg(test)]
#[path = "energy_tests.rs"]
mod tests;
