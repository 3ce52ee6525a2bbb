//! SparkyFitness' mobile app: a bare array of `{type, value, date | timestamp, source, unit, ...}`. Steps and energy are
//! totals of days and are refused as too coarse; what is told of a day as a mean stands in its early morning.

use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::canonical::{NotABatch, not_a_batch};
use super::{Batch, Entry, Kind, MINUTE, Record, Refusal, Stage, kcal, milliseconds, source_of, time};
use crate::domain::day;

#[derive(Deserialize)]
struct WireRecord {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    value: Option<f64>,
    #[serde(default)]
    date: Option<String>,
    #[serde(default)]
    entry_date: Option<String>,
    #[serde(default)]
    timestamp: Option<String>,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    unit: Option<String>,
    #[serde(default)]
    source_id: Option<String>,
    #[serde(default)]
    record_timezone: Option<String>,
    #[serde(default)]
    record_utc_offset_minutes: Option<i32>,
    #[serde(default)]
    sleep_score: Option<f64>,
    #[serde(default)]
    bedtime: Option<String>,
    #[serde(default)]
    wake_time: Option<String>,
    #[serde(default)]
    stage_events: Vec<StageEvent>,
}

#[derive(Deserialize)]
struct StageEvent {
    stage_type: String,
    start_time: String,
    end_time: String,
}

/// # Errors
/// [`NotABatch`].
pub fn read(body: &[u8], account_zone: &TimeZone, most: usize) -> Result<Batch, NotABatch> {
    let wire: Vec<&RawValue> = serde_json::from_slice(body).map_err(|e| not_a_batch(&e))?;
    if wire.len() > most {
        return Err(NotABatch::TooMany);
    }
    let mut batch = Batch {
        device: Some("sparky".into()),
        ..Batch::default()
    };
    for text in wire {
        let r: WireRecord = match serde_json::from_str(text.get()) {
            Ok(r) => r,
            Err(_) => {
                batch.entries.push(Entry {
                    id: None,
                    record: Err(Refusal::Malformed),
                });
                continue;
            }
        };
        if batch.timezone.is_none() {
            batch.timezone = r.record_timezone.clone().filter(|z| day::zone(z).is_some());
        }
        let id = r
            .source_id
            .as_ref()
            .map(|id| id.chars().filter(|c| !c.is_control()).take(100).collect());
        if r.kind == "SleepSession" && r.sleep_score.is_none() && !r.stage_events.is_empty() {
            let stages = r.stage_events.iter().take(most);
            batch.entries.extend(stages.map(|s| Entry {
                id: Option::clone(&id),
                record: stage(&r, s),
            }));
        } else {
            batch.entries.push(Entry {
                id,
                record: record(&r, account_zone),
            });
        }
    }
    if batch.entries.len() > most {
        return Err(NotABatch::TooMany);
    }
    Ok(batch)
}

/// The record's zone, its offset, then the account's; never the device's of today.
fn zone_of(r: &WireRecord, account: &TimeZone) -> TimeZone {
    let named = r.record_timezone.as_deref().and_then(day::zone);
    named
        .or_else(|| r.record_utc_offset_minutes.and_then(time::fixed_minutes))
        .unwrap_or_else(|| account.clone())
}

fn record(r: &WireRecord, account: &TimeZone) -> Result<Record, Refusal> {
    if r.kind == "SleepSession" {
        let score = r.sleep_score.ok_or(Refusal::NoStages)?;
        let end = r
            .wake_time
            .as_deref()
            .or(r.timestamp.as_deref())
            .ok_or(Refusal::BadTime)
            .and_then(time::rfc3339)?;
        let start = r.bedtime.as_deref().map_or(Ok(end), time::rfc3339)?;
        return made(r, Kind::SleepScore, start, end, score);
    }
    let kind = match r.kind.as_str() {
        "step" | "steps" => Kind::Steps,
        "Active Calories" | "active_calories" | "ActiveCaloriesBurned" => Kind::ActiveEnergy,
        "RestingHeartRate" | "resting_heart_rate" => Kind::RestingHr,
        "HRV_SDNN" | "HRV_SDNN_avg" => Kind::HrvSdnn,
        // On Android: Health Connect has RMSSD alone.
        "HRV" | "HRV_avg" | "HRV_RMSSD" | "HRV_RMSSD_avg" => Kind::HrvRmssd,
        "Total Calories" | "TotalCaloriesBurned" => return Err(Refusal::TotalEnergy),
        _ => return Err(Refusal::UnknownKind),
    };
    let value = r.value.ok_or(Refusal::Malformed)?;
    let value = match kind {
        Kind::ActiveEnergy => kcal(value, r.unit.as_deref())?,
        Kind::HrvSdnn | Kind::HrvRmssd => milliseconds(value, r.unit.as_deref())?,
        _ => value,
    };
    if let Some(at) = &r.timestamp {
        let at = time::rfc3339(at)?;
        let length = if kind.is_additive() { MINUTE } else { 0 };
        return made(r, kind, at, at + length, value);
    }
    let date = r
        .date
        .as_deref()
        .or(r.entry_date.as_deref())
        .ok_or(Refusal::BadTime)?;
    let date = date
        .get(..10)
        .and_then(|d| d.parse().ok())
        .ok_or(Refusal::BadTime)?;
    if kind.is_additive() {
        // Spreading a day over its hours would be invented.
        return Err(Refusal::IntervalTooCoarse);
    }
    let at = time::of_day(&zone_of(r, account), date)?;
    made(r, kind, at, at, value)
}

fn stage(r: &WireRecord, s: &StageEvent) -> Result<Record, Refusal> {
    let kind = Kind::Stage(Stage::from_word(&s.stage_type).ok_or(Refusal::UnknownKind)?);
    made(
        r,
        kind,
        time::rfc3339(&s.start_time)?,
        time::rfc3339(&s.end_time)?,
        0.0,
    )
}

fn made(r: &WireRecord, kind: Kind, start: i64, end: i64, value: f64) -> Result<Record, Refusal> {
    // Its daily values come from the health store's own merge.
    let class = r
        .source
        .as_deref()
        .filter(|s| matches!(*s, "HealthKit" | "Health Connect"))
        .map(|_| "merged");
    let source = source_of(class, r.source.as_deref())?;
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
