//! Health Auto Export (iOS): `{"data":{"metrics":[{"name","units","data":[...]}], ...}}`.
//!
//! Points have a time and no length: the automation's aggregation says it, or the closest two points of a metric do.
//! There are no record ids, and every run overlaps the last.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::canonical::{NotABatch, not_a_batch};
use super::{Batch, Entry, Kind, MINUTE, Record, Refusal, Stage, kcal, milliseconds, night, source_of, time};

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(default, borrow)]
    metrics: Vec<Metric<'a>>,
    /// Their energy is inside active energy already.
    #[serde(default, borrow)]
    workouts: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Metric<'a> {
    name: String,
    #[serde(default)]
    units: Option<String>,
    #[serde(default, borrow)]
    data: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Point {
    date: String,
    #[serde(default)]
    qty: Option<f64>,
    #[serde(default)]
    source: Option<String>,
}

/// One row a stage.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StageRow {
    start_date: String,
    end_date: String,
    value: String,
    #[serde(default)]
    source: Option<String>,
}

/// A night in hours.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    total_sleep: f64,
    #[serde(default)]
    asleep: f64,
    #[serde(default)]
    core: f64,
    #[serde(default)]
    deep: f64,
    #[serde(default)]
    rem: f64,
    #[serde(default)]
    awake: Option<f64>,
    #[serde(default)]
    sleep_start: Option<String>,
    sleep_end: String,
    #[serde(default)]
    source: Option<String>,
}

/// What the header `automation-aggregation` says of a point's length; `None` if it says nothing known.
fn length_of(aggregation: Option<&str>) -> Option<i64> {
    Some(match aggregation?.trim().to_ascii_lowercase().as_str() {
        "seconds" | "second" => 1_000_000,
        "minutes" | "minute" => MINUTE,
        "hours" | "hour" => 60 * MINUTE,
        "days" | "day" => 24 * 60 * MINUTE,
        "weeks" | "week" => 7 * 24 * 60 * MINUTE,
        "months" | "month" | "years" | "year" => 31 * 24 * 60 * MINUTE,
        _ => return None,
    })
}

/// # Errors
/// [`NotABatch`].
pub fn read(body: &[u8], aggregation: Option<&str>, most: usize) -> Result<Batch, NotABatch> {
    let wire: Wire<'_> = serde_json::from_slice(body).map_err(|e| not_a_batch(&e))?;
    let count: usize = wire.data.metrics.iter().map(|m| m.data.len()).sum();
    if count > most {
        return Err(NotABatch::TooMany);
    }
    let mut batch = Batch {
        ignored: wire.data.workouts.len(),
        device: Some("health_auto_export".into()),
        ..Batch::default()
    };
    for metric in &wire.data.metrics {
        let unit = metric.units.as_deref();
        let records: Vec<Result<Record, Refusal>> = match metric.name.as_str() {
            "step_count" => additive(metric, Kind::Steps, aggregation, Ok),
            "active_energy" => additive(metric, Kind::ActiveEnergy, aggregation, |x| kcal(x, unit)),
            "resting_heart_rate" => momentary(metric, Kind::RestingHr, Ok),
            // HealthKit has one type, and it is SDNN.
            "heart_rate_variability" => momentary(metric, Kind::HrvSdnn, |x| milliseconds(x, unit)),
            "sleep_analysis" => metric.data.iter().map(|p| sleep(p.get())).collect(),
            "basal_energy_burned" | "total_energy" => vec![Err(Refusal::TotalEnergy); metric.data.len()],
            _ => vec![Err(Refusal::UnknownKind); metric.data.len()],
        };
        batch
            .entries
            .extend(records.into_iter().map(|record| Entry { id: None, record }));
    }
    Ok(batch)
}

fn point(text: &str) -> Result<(Point, i64, f64), Refusal> {
    let p: Point = serde_json::from_str(text).map_err(|_| Refusal::Malformed)?;
    let at = time::health_auto_export(&p.date)?;
    let qty = p.qty.ok_or(Refusal::Malformed)?;
    Ok((p, at, qty))
}

fn record(kind: Kind, p: &Point, start: i64, end: i64, value: f64) -> Result<Record, Refusal> {
    let source = source_of(None, p.source.as_deref())?;
    Ok(Record {
        kind,
        start,
        end,
        value,
        source,
        device: None,
        cumulative: false,
    })
}

fn momentary(
    metric: &Metric<'_>,
    kind: Kind,
    convert: impl Fn(f64) -> Result<f64, Refusal>,
) -> Vec<Result<Record, Refusal>> {
    let one = |text: &&RawValue| {
        let (p, at, qty) = point(text.get())?;
        record(kind, &p, at, at, convert(qty)?)
    };
    metric.data.iter().map(one).collect()
}

fn additive(
    metric: &Metric<'_>,
    kind: Kind,
    aggregation: Option<&str>,
    convert: impl Fn(f64) -> Result<f64, Refusal>,
) -> Vec<Result<Record, Refusal>> {
    let points: Vec<_> = metric.data.iter().map(|t| point(t.get())).collect();
    let lengths = lengths(&points, length_of(aggregation));
    points
        .into_iter()
        .map(|p| {
            let (p, at, qty) = p?;
            let length = lengths
                .get(&p.source)
                .copied()
                .flatten()
                .unwrap_or_else(|| alone(&p.date));
            record(kind, &p, at, at + length, convert(qty)?)
        })
        .collect()
}

/// Length of the points of each source: told, or the closest two points' distance.
fn lengths(
    points: &[Result<(Point, i64, f64), Refusal>],
    told: Option<i64>,
) -> HashMap<Option<String>, Option<i64>> {
    let mut times: HashMap<Option<String>, Vec<i64>> = HashMap::new();
    for (p, at, _) in points.iter().flatten() {
        times.entry(p.source.clone()).or_default().push(*at);
    }
    times
        .into_iter()
        .map(|(source, mut times)| {
            times.sort_unstable();
            times.dedup();
            let closest = times.windows(2).map(|w| w[1] - w[0]).min();
            let length = told.or(closest.map(|gap| match gap {
                gap if gap <= 60 * MINUTE => gap,
                // A day of 23 hours is a day.
                gap if gap >= 23 * 60 * MINUTE => gap,
                // Sparse minutes.
                _ => MINUTE,
            }));
            (source, length)
        })
        .collect()
}

/// A point that stands alone: a day's total if it stands at midnight, else a minute.
fn alone(date: &str) -> i64 {
    if date.contains("00:00:00") {
        24 * 60 * MINUTE
    } else {
        MINUTE
    }
}

fn sleep(text: &str) -> Result<Record, Refusal> {
    if let Ok(row) = serde_json::from_str::<StageRow>(text) {
        return Ok(Record {
            kind: Kind::Stage(Stage::from_word(&row.value).ok_or(Refusal::UnknownKind)?),
            start: time::health_auto_export(&row.start_date)?,
            end: time::health_auto_export(&row.end_date)?,
            value: 0.0,
            source: source_of(None, row.source.as_deref())?,
            device: None,
            cumulative: false,
        });
    }
    let night: Summary = serde_json::from_str(text).map_err(|_| Refusal::Malformed)?;
    let end = time::health_auto_export(&night.sleep_end)?;
    let start = night
        .sleep_start
        .as_deref()
        .map_or(Ok(end), time::health_auto_export)?;
    let hours = night
        .total_sleep
        .max(night.asleep + night.core + night.deep + night.rem);
    if !(0.0..=24.0).contains(&hours) {
        return Err(Refusal::OutOfRange);
    }
    if hours < 3.0 {
        return Err(Refusal::NotANight);
    }
    let between = (end - start) as f64 / MINUTE as f64;
    let minutes = night::Minutes {
        asleep: hours * 60.0,
        deep: night.deep * 60.0,
        rem: night.rem * 60.0,
        awake: night
            .awake
            .map_or((between - hours * 60.0).max(0.0), |a| a * 60.0),
    };
    Ok(Record {
        kind: Kind::SleepScore,
        start,
        end,
        value: f64::from(night::score(&minutes)?),
        source: source_of(None, night.source.as_deref())?,
        device: None,
        cumulative: false,
    })
}
