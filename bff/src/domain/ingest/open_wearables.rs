//! The mobile SDKs of open-wearables (Apple, Samsung, Health Connect): `{provider, sdkVersion, data: {records, sleep,
//! workouts}}`. They go on after any 2xx, throw a chunk away on a 4xx, and never send deletions.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::canonical::{NotABatch, not_a_batch};
use super::{Batch, Entry, Kind, Record, Refusal, Stage, device_of, kcal, milliseconds, source_of, time};

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(default)]
    provider: Option<String>,
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(default, borrow)]
    records: Vec<&'a RawValue>,
    #[serde(default, borrow)]
    sleep: Vec<&'a RawValue>,
    /// Their energy is inside active energy already.
    #[serde(default, borrow)]
    workouts: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireRecord {
    #[serde(default)]
    id: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    start_date: String,
    #[serde(default)]
    end_date: Option<String>,
    #[serde(default)]
    zone_offset: Option<String>,
    #[serde(default)]
    value: Option<serde_json::Value>,
    #[serde(default)]
    unit: Option<String>,
    #[serde(default)]
    stage: Option<String>,
    #[serde(default)]
    metadata: Option<serde_json::Value>,
    #[serde(default)]
    source: Option<Source>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Source {
    app_id: Option<String>,
    bundle_identifier: Option<String>,
    device_name: Option<String>,
    device_model: Option<String>,
    product_type: Option<String>,
    device_type: Option<String>,
    recording_method: Option<String>,
}

/// # Errors
/// [`NotABatch`].
pub fn read(body: &[u8], most: usize) -> Result<Batch, NotABatch> {
    let wire: Wire<'_> = serde_json::from_slice(body).map_err(|e| not_a_batch(&e))?;
    if wire.data.records.len() + wire.data.sleep.len() > most {
        return Err(NotABatch::TooMany);
    }
    let provider: String = wire
        .provider
        .unwrap_or_default()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(20)
        .collect();
    let records = wire.data.records.iter().map(|r| entry(r.get(), false));
    let sleep = wire.data.sleep.iter().map(|r| entry(r.get(), true));
    Ok(Batch {
        entries: records.chain(sleep).collect(),
        ignored: wire.data.workouts.len(),
        device: Some(format!("open_wearables:{provider}")),
        ..Batch::default()
    })
}

fn entry(text: &str, sleep: bool) -> Entry {
    match serde_json::from_str::<WireRecord>(text) {
        Ok(mut r) => {
            let id =
                r.id.take()
                    .map(|id| id.chars().filter(|c| !c.is_control()).take(100).collect());
            Entry {
                id,
                record: record(&r, sleep),
            }
        }
        Err(_) => Entry {
            id: None,
            record: Err(Refusal::Malformed),
        },
    }
}

fn record(r: &WireRecord, sleep: bool) -> Result<Record, Refusal> {
    let kind = kind(r, sleep)?;
    let start = time::with_offset(&r.start_date, r.zone_offset.as_deref())?;
    let end = r
        .end_date
        .as_deref()
        .map_or(Ok(start), |t| time::with_offset(t, r.zone_offset.as_deref()))?;
    let unit = r.unit.as_deref().filter(|u| !u.is_empty());
    let raw = match (&r.value, kind) {
        (_, Kind::Stage(_)) => 0.0,
        (Some(v), _) => number(v)?,
        (None, _) => return Err(Refusal::Malformed),
    };
    let value = match kind {
        Kind::ActiveEnergy => kcal(raw, unit)?,
        Kind::HrvRmssd | Kind::HrvSdnn => milliseconds(raw, unit)?,
        _ => raw,
    };
    let (source, device) = source(r.source.as_ref())?;
    Ok(Record {
        kind,
        start,
        end,
        value,
        source,
        device,
        cumulative: false,
    })
}

fn number(v: &serde_json::Value) -> Result<f64, Refusal> {
    match v {
        serde_json::Value::Number(n) => n.as_f64().ok_or(Refusal::NotFinite),
        serde_json::Value::String(s) => match s.parse::<f64>() {
            Ok(x) if x.is_finite() => Ok(x),
            Ok(_) => Err(Refusal::NotFinite),
            Err(_) => Err(Refusal::Malformed),
        },
        _ => Err(Refusal::Malformed),
    }
}

/// The kind comes from the type's name, never from the number.
fn kind(r: &WireRecord, sleep: bool) -> Result<Kind, Refusal> {
    let name = r.kind.as_deref().unwrap_or_default();
    let is_sleep = sleep || name.contains("SleepAnalysis") || name.starts_with("SLEEP");
    if is_sleep {
        let word = r.stage.as_deref().ok_or(Refusal::Malformed)?;
        return Stage::from_word(word)
            .map(Kind::Stage)
            .ok_or(Refusal::UnknownKind);
    }
    Ok(
        match name.strip_prefix("HKQuantityTypeIdentifier").unwrap_or(name) {
            "StepCount" | "STEP_COUNT" => Kind::Steps,
            "ActiveEnergyBurned" | "ACTIVE_CALORIES_BURNED" => Kind::ActiveEnergy,
            "RestingHeartRate" | "RESTING_HEART_RATE" => Kind::RestingHr,
            "HeartRateVariabilitySDNN" | "HEART_RATE_VARIABILITY_SDNN" => Kind::HrvSdnn,
            "HEART_RATE_VARIABILITY_RMSSD" => Kind::HrvRmssd,
            "HEART_RATE_VARIABILITY" => match method(r) {
                // Health Connect and Samsung have RMSSD alone.
                None | Some("rmssd") => Kind::HrvRmssd,
                Some("sdnn") => Kind::HrvSdnn,
                Some(_) => return Err(Refusal::HrvKindMissing),
            },
            "TOTAL_CALORIES_BURNED" | "BasalEnergyBurned" | "BASAL_METABOLIC_RATE" => {
                return Err(Refusal::TotalEnergy);
            }
            other if other.contains("HeartRateVariability") || other.contains("HEART_RATE_VARIABILITY") => {
                return Err(Refusal::HrvKindMissing);
            }
            _ => return Err(Refusal::UnknownKind),
        },
    )
}

fn method(r: &WireRecord) -> Option<&str> {
    r.metadata.as_ref()?.get("method")?.as_str()
}

/// The source as it is ranked, and the device that makes an era of heart rate variability.
fn source(s: Option<&Source>) -> Result<(String, Option<String>), Refusal> {
    let Some(s) = s else {
        return Ok(("unknown".into(), None));
    };
    let class = match s.device_type.as_deref() {
        _ if s.recording_method.as_deref() == Some("manual") => Some("manual"),
        Some("watch") => Some("watch"),
        Some("ring") => Some("ring"),
        Some("fitness_band" | "chest_strap") => Some("band"),
        Some("phone") => Some("phone"),
        _ => None,
    };
    let model = [&s.device_name, &s.device_model, &s.product_type]
        .into_iter()
        .find_map(Option::as_deref);
    let app = [&s.bundle_identifier, &s.app_id]
        .into_iter()
        .find_map(Option::as_deref);
    let source = source_of(class, model.or(app))?;
    Ok((
        source,
        device_of(
            s.product_type
                .as_deref()
                .or(s.device_model.as_deref())
                .or(s.device_name.as_deref()),
        )?,
    ))
}
