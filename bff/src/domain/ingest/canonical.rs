//! Our own shape: `POST /sync/batch`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Batch, Deletion, Entry, Kind, Record, Refusal, Stage, device_of, source_of, time};

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(default)]
    batch_id: Option<String>,
    #[serde(default)]
    cursor: Option<String>,
    #[serde(default)]
    device: Option<String>,
    #[serde(default)]
    timezone: Option<String>,
    #[serde(borrow)]
    records: Vec<&'a RawValue>,
    #[serde(default, borrow)]
    deletions: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct WireRecord {
    #[serde(default)]
    id: Option<String>,
    kind: String,
    start: String,
    #[serde(default)]
    end: Option<String>,
    #[serde(default)]
    value: Option<Number>,
    #[serde(default)]
    stage: Option<String>,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    device: Option<String>,
    #[serde(default)]
    merged: bool,
    #[serde(default)]
    cumulative: bool,
}

/// Some clients write what JSON cannot hold as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(f64),
    Text(String),
}

#[derive(Deserialize)]
struct WireDeletion {
    source: String,
    kind: String,
    from: String,
    to: String,
}

/// The shape of a whole body was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotABatch {
    NotJson,
    Shape,
    /// More than the limit.
    TooMany,
}

/// # Errors
/// [`NotABatch`].
pub fn read(body: &[u8], most: usize) -> Result<Batch, NotABatch> {
    let wire: Wire<'_> = serde_json::from_slice(body).map_err(|e| not_a_batch(&e))?;
    if wire.records.len() + wire.deletions.len() > most {
        return Err(NotABatch::TooMany);
    }
    let short = |text: Option<String>, max: usize| {
        text.filter(|t| t.chars().count() <= max && !t.chars().any(char::is_control))
    };
    let device = short(wire.device, 100);
    Ok(Batch {
        entries: wire
            .records
            .iter()
            .map(|r| entry(r.get(), device.as_deref()))
            .collect(),
        ignored: 0,
        deletions: wire
            .deletions
            .iter()
            .map(|d| deletion(d.get()))
            .collect::<Result<_, _>>()?,
        batch_id: short(wire.batch_id, 100),
        cursor: short(wire.cursor, 200),
        device,
        timezone: short(wire.timezone, 64),
    })
}

pub(super) fn not_a_batch(error: &serde_json::Error) -> NotABatch {
    if error.is_data() {
        NotABatch::Shape
    } else {
        NotABatch::NotJson
    }
}

fn entry(text: &str, device: Option<&str>) -> Entry {
    match serde_json::from_str::<WireRecord>(text) {
        Ok(mut r) => {
            let id =
                r.id.take()
                    .map(|id| id.chars().filter(|c| !c.is_control()).take(100).collect());
            Entry {
                id,
                record: record(&r, device),
            }
        }
        Err(_) => Entry {
            id: None,
            record: Err(Refusal::Malformed),
        },
    }
}

fn record(r: &WireRecord, device: Option<&str>) -> Result<Record, Refusal> {
    let kind = match (r.kind.as_str(), &r.stage) {
        ("sleep_stage", Some(stage)) => Kind::Stage(Stage::from_word(stage).ok_or(Refusal::UnknownKind)?),
        ("sleep_stage", None) => return Err(Refusal::Malformed),
        (kind, _) => kind_of(kind)?,
    };
    let value = match (&r.value, kind) {
        (Some(Number::Number(x)), _) => *x,
        (Some(Number::Text(t)), _) => match t.to_ascii_lowercase().trim_start_matches(['+', '-']) {
            "nan" | "inf" | "infinity" => return Err(Refusal::NotFinite),
            _ => return Err(Refusal::Malformed),
        },
        (None, Kind::Stage(_)) => 0.0,
        (None, _) => return Err(Refusal::Malformed),
    };
    let start = time::rfc3339(&r.start)?;
    let end = r.end.as_deref().map_or(Ok(start), time::rfc3339)?;
    Ok(Record {
        kind,
        start,
        end,
        value,
        source: source_of(r.merged.then_some("merged"), r.source.as_deref())?,
        device: device_of(r.device.as_deref().or(device))?,
        cumulative: r.cumulative && kind.is_additive(),
    })
}

fn kind_of(word: &str) -> Result<Kind, Refusal> {
    Ok(match word {
        "steps" => Kind::Steps,
        "active_energy_kcal" => Kind::ActiveEnergy,
        "resting_hr" => Kind::RestingHr,
        "hrv_rmssd" => Kind::HrvRmssd,
        "hrv_sdnn" => Kind::HrvSdnn,
        "hrv" => return Err(Refusal::HrvKindMissing),
        "sleep_score" => Kind::SleepScore,
        "subj_feel" => Kind::SubjFeel,
        "total_energy_kcal" => return Err(Refusal::TotalEnergy),
        _ => return Err(Refusal::UnknownKind),
    })
}

fn deletion(text: &str) -> Result<Deletion, NotABatch> {
    let d: WireDeletion = serde_json::from_str(text).map_err(|_| NotABatch::Shape)?;
    let shape = |_| NotABatch::Shape;
    let deletion = Deletion {
        source: source_of(None, Some(&d.source)).map_err(shape)?,
        kind: if d.kind == "sleep_stage" {
            Kind::SleepScore
        } else {
            kind_of(&d.kind).map_err(shape)?
        },
        from: time::rfc3339(&d.from).map_err(shape)?,
        to: time::rfc3339(&d.to).map_err(shape)?,
    };
    if deletion.from >= deletion.to {
        Err(NotABatch::Shape)
    } else {
        Ok(deletion)
    }
}
