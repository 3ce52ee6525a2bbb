//! Records into rows.
//!
//! A record's row begins where the record begins; a longer one is split where a new 15-minute slot begins, by share of
//! time, so that the sum is kept. Samples that begin inside a slot keep rows of their own: an exporter that sends a slot
//! in two parts must not overwrite one with the other.

use std::collections::BTreeMap;
use std::collections::btree_map;

use jiff::tz::TimeZone;

use super::night::{self, Night};
use super::{Bounds, Entry, Kind, Record, Refusal};
use crate::domain::metrics::{HrvKind, SLOT_US, Sample};

/// Rows to write, and which of them each record is about.
#[derive(Debug, Default)]
pub struct Folded {
    /// By (time, source), no key twice.
    pub rows: Vec<Sample>,
    /// For each entry: refused, or the rows and the column that say it.
    pub outcomes: Vec<Outcome>,
    /// Spans that additive records tell the whole of.
    pub covered: Vec<Covered>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Refused(Refusal),
    /// Indices into the rows.
    Rows(Column, Vec<usize>),
}

/// Where a value stands in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Column {
    Steps,
    Energy,
    RestingHr,
    Hrv,
    Sleep,
    Feel,
}

/// Columns that add up over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Additive {
    Steps,
    Energy,
}

/// A span of which a source told the whole: what it told before about parts of it no longer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covered {
    pub source: String,
    pub column: Additive,
    pub from: i64,
    pub to: i64,
}

type Key = (i64, String);

/// Folds a batch. `zone` is where nights end.
pub fn fold(entries: &[Entry], bounds: &Bounds, zone: &TimeZone) -> Folded {
    let mut checked: Vec<Result<Record, Refusal>> = entries
        .iter()
        .map(|e| e.record.clone().and_then(|r| r.check(bounds).map(|()| r)))
        .collect();
    difference(&mut checked, bounds);
    refuse_repeated(&mut checked);
    let mut building = Building::default();
    let mut outcomes: Vec<Outcome> = checked
        .iter()
        .map(|r| match r {
            Err(refusal) => Outcome::Refused(*refusal),
            Ok(record) => building.add(record),
        })
        .collect();
    add_nights(&checked, &mut outcomes, &mut building, zone);
    Folded {
        rows: building.rows,
        outcomes,
        covered: covered(&checked),
    }
}

/// Running totals become what was added since the one before; a total that falls has begun anew.
fn difference(records: &mut [Result<Record, Refusal>], bounds: &Bounds) {
    let mut running: BTreeMap<(Kind, String), Vec<usize>> = BTreeMap::new();
    for (i, r) in records.iter().enumerate() {
        if let Ok(r) = r
            && r.cumulative
        {
            running.entry((r.kind, r.source.clone())).or_default().push(i);
        }
    }
    for mut places in running.into_values() {
        places.sort_by_key(|i| records[*i].as_ref().map_or(0, |r| r.end));
        let mut before: Option<(i64, f64)> = None;
        for i in places {
            let Ok(r) = &mut records[i] else { continue };
            let here = (r.end, r.value);
            r.cumulative = false;
            let (from, base) = match before {
                Some((at, total)) if total <= here.1 => (at, total),
                _ => (r.start, 0.0),
            };
            before = Some(here);
            r.start = from;
            r.value = here.1 - base;
            if let Err(refusal) = r.check(bounds) {
                records[i] = Err(refusal);
            }
        }
    }
}

/// Of records that say the same thing the last one holds.
fn refuse_repeated(records: &mut [Result<Record, Refusal>]) {
    let mut last: BTreeMap<(Kind, i64, String), usize> = BTreeMap::new();
    for i in 0..records.len() {
        let Ok(r) = &records[i] else { continue };
        let kind = match r.kind {
            // One column for both.
            Kind::HrvSdnn => Kind::HrvRmssd,
            // Stages overlap and repeat by nature; the sweep sorts them out.
            Kind::Stage(_) => continue,
            other => other,
        };
        if let Some(earlier) = last.insert((kind, r.start, r.source.clone()), i) {
            records[earlier] = Err(Refusal::DuplicateInBatch);
        }
    }
}

#[derive(Default)]
struct Building {
    rows: Vec<Sample>,
    index: BTreeMap<Key, usize>,
}

impl Building {
    fn row(&mut self, time: i64, source: &str, device: Option<&str>) -> usize {
        let i = match self.index.entry((time, source.to_owned())) {
            btree_map::Entry::Occupied(e) => *e.get(),
            btree_map::Entry::Vacant(e) => {
                let i = *e.insert(self.rows.len());
                self.rows.push(Sample {
                    time,
                    source: source.to_owned(),
                    ..Sample::default()
                });
                i
            }
        };
        if let Some(device) = device {
            self.rows[i].device = Some(device.to_owned());
        }
        i
    }

    fn add(&mut self, r: &Record) -> Outcome {
        let device = r.device.as_deref();
        let whole = r.value.round() as i32;
        let (column, time) = match r.kind {
            Kind::Steps => return self.spread(r, Column::Steps, 1.0),
            Kind::ActiveEnergy => return self.spread(r, Column::Energy, 1000.0),
            // Set by the night it belongs to.
            Kind::Stage(_) => return Outcome::Rows(Column::Sleep, Vec::new()),
            Kind::RestingHr => (Column::RestingHr, r.start),
            Kind::HrvRmssd | Kind::HrvSdnn => (Column::Hrv, r.start),
            // A night is told on the morning it ends.
            Kind::SleepScore => (Column::Sleep, r.end),
            Kind::SubjFeel => (Column::Feel, r.start),
        };
        let i = self.row(time, &r.source, device);
        let row = &mut self.rows[i];
        match column {
            Column::RestingHr => row.resting_hr = Some(whole),
            Column::Hrv => {
                row.hrv = Some(whole);
                row.hrv_kind = Some(if r.kind == Kind::HrvSdnn {
                    HrvKind::Sdnn
                } else {
                    HrvKind::Rmssd
                });
            }
            Column::Sleep => row.sleep = Some(whole),
            _ => row.feel = Some(whole),
        }
        Outcome::Rows(column, vec![i])
    }

    /// Splits a sum over slots by share of time, in units of `1 / scale`, by largest remainder.
    fn spread(&mut self, r: &Record, column: Column, scale: f64) -> Outcome {
        let mut cuts = vec![r.start];
        let mut slot = (r.start.div_euclid(SLOT_US) + 1) * SLOT_US;
        while slot < r.end {
            cuts.push(slot);
            slot += SLOT_US;
        }
        let total = (r.value * scale).round() as i64;
        let length = (r.end - r.start).max(1) as f64;
        let ends = cuts.iter().skip(1).copied().chain([r.end]);
        let shares: Vec<f64> = cuts
            .iter()
            .zip(ends)
            .map(|(from, to)| total as f64 * (to - from) as f64 / length)
            .collect();
        let mut units: Vec<i64> = shares.iter().map(|s| s.floor() as i64).collect();
        let mut order: Vec<usize> = (0..units.len()).collect();
        order.sort_by(|a, b| (shares[*b] - shares[*b].floor()).total_cmp(&(shares[*a] - shares[*a].floor())));
        let missing = total - units.iter().sum::<i64>();
        for i in order.into_iter().take(usize::try_from(missing).unwrap_or(0)) {
            units[i] += 1;
        }
        let rows = cuts
            .iter()
            .zip(units)
            .map(|(time, n)| {
                let i = self.row(*time, &r.source, r.device.as_deref());
                let row = &mut self.rows[i];
                match column {
                    Column::Steps => row.steps = Some(row.steps.unwrap_or(0).saturating_add(n as i32)),
                    _ => row.energy = Some(row.energy.unwrap_or(0.0) + n as f64 / scale),
                }
                i
            })
            .collect();
        Outcome::Rows(column, rows)
    }
}

/// Scores of nights, from the stages of each source.
fn add_nights(
    records: &[Result<Record, Refusal>],
    outcomes: &mut [Outcome],
    building: &mut Building,
    zone: &TimeZone,
) {
    let mut by_source: BTreeMap<&str, Vec<(usize, &Record)>> = BTreeMap::new();
    for (i, r) in records.iter().enumerate() {
        if let Ok(r) = r
            && matches!(r.kind, Kind::Stage(_))
        {
            by_source.entry(&r.source).or_default().push((i, r));
        }
    }
    for (source, stages) in by_source {
        for Night { end, score, members } in night::nights(&stages, zone) {
            let device = members
                .first()
                .and_then(|i| records[*i].as_ref().ok())
                .and_then(|r| r.device.as_deref());
            let outcome = match score {
                Ok(score) => {
                    let i = building.row(end, source, device);
                    building.rows[i].sleep = Some(score);
                    Outcome::Rows(Column::Sleep, vec![i])
                }
                Err(refusal) => Outcome::Refused(refusal),
            };
            for i in members {
                outcomes[i] = outcome.clone();
            }
        }
    }
}

/// Spans of additive records, joined where one ends as the next begins.
fn covered(records: &[Result<Record, Refusal>]) -> Vec<Covered> {
    let mut spans: Vec<Covered> = records
        .iter()
        .flatten()
        .filter_map(|r| {
            let column = match r.kind {
                Kind::Steps => Additive::Steps,
                Kind::ActiveEnergy => Additive::Energy,
                _ => return None,
            };
            Some(Covered {
                source: r.source.clone(),
                column,
                from: r.start,
                to: r.end,
            })
        })
        .collect();
    spans.sort_by(|a, b| (a.column as u8, &a.source, a.from).cmp(&(b.column as u8, &b.source, b.from)));
    let mut joined: Vec<Covered> = Vec::new();
    for span in spans {
        match joined.last_mut() {
            Some(last)
                if last.source == span.source && last.column == span.column && span.from <= last.to =>
            {
                last.to = last.to.max(span.to);
            }
            _ => joined.push(span),
        }
    }
    // Nothing begins inside a minute.
    joined.retain(|s| s.to - s.from > 60_000_000);
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        now: i64::MAX / 2,
        oldest: 0,
    };

    fn entry(kind: Kind, start: i64, end: i64, value: f64) -> Entry {
        let record = Record {
            kind,
            start,
            end,
            value,
            source: "watch".into(),
            device: None,
            cumulative: false,
        };
        Entry {
            id: None,
            record: Ok(record),
        }
    }

    proptest::proptest! {
        #[test]
        fn the_sum_is_kept_and_no_key_comes_twice(
            records in proptest::collection::vec((0i64..200_000, 1i64..3600, 0i32..1000, 0.0..100.0f64), 1..40)
        ) {
            let second = 1_000_000;
            let entries: Vec<Entry> = records
                .iter()
                .flat_map(|(from, length, steps, kcal)| {
                    let (a, b) = (from * second, (from + length) * second);
                    [entry(Kind::Steps, a, b, f64::from(*steps)), entry(Kind::ActiveEnergy, a, b, *kcal)]
                })
                .collect();
            let folded = fold(&entries, &BOUNDS, &TimeZone::UTC);
            let (mut steps, mut units) = (0i64, 0i64);
            for (e, o) in entries.iter().zip(&folded.outcomes) {
                let (Ok(r), Outcome::Rows(column, rows)) = (&e.record, o) else { continue };
                match column {
                    Column::Steps => steps += r.value as i64,
                    _ => units += (r.value * 1000.0).round() as i64,
                }
                // No piece begins outside its record, and none reaches over a slot's end.
                for row in rows {
                    let at = folded.rows[*row].time;
                    proptest::prop_assert!(r.start <= at && at < r.end);
                    proptest::prop_assert!(at == r.start || at % SLOT_US == 0);
                }
            }
            let stored: i64 = folded.rows.iter().filter_map(|r| r.steps).map(i64::from).sum();
            let stored_units: f64 = folded.rows.iter().filter_map(|r| r.energy).sum::<f64>() * 1000.0;
            proptest::prop_assert_eq!(stored, steps);
            proptest::prop_assert!((stored_units - units as f64).abs() < 1e-3);
            let keys: std::collections::HashSet<_> = folded.rows.iter().map(|r| (r.time, &r.source)).collect();
            proptest::prop_assert_eq!(keys.len(), folded.rows.len());
        }
    }
}
