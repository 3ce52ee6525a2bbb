//! What exporters post, as rows of `health_metrics`.
//!
//! Adapters turn each client's shape into [`Entry`]s, one for each record it sent, good or not; [`fold`] turns the good
//! ones into rows. A bad record is refused alone, with its index and a code, and never takes its batch along.

pub mod canonical;
pub mod fold;
pub mod health_auto_export;
pub mod night;
pub mod open_wearables;
pub mod sparky;
pub mod time;

use serde::Serialize;
use utoipa::ToSchema;

/// Why a record is refused; part of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Not an object of the expected shape.
    Malformed,
    /// A time that does not parse, or has no offset where one is needed.
    BadTime,
    /// Begins more than ten minutes from now.
    FutureTime,
    /// Older than the account and its grace.
    BeforeAccount,
    /// Ends before it begins, or has no length where it needs one.
    BadInterval,
    /// A sum over more than an hour, such as a day's total.
    IntervalTooCoarse,
    OutOfRange,
    UnknownKind,
    /// Heart rate variability without saying whether RMSSD or SDNN.
    HrvKindMissing,
    /// Total energy is not active energy.
    TotalEnergy,
    NotFinite,
    UnknownUnit,
    /// A later record of this batch says the same thing.
    DuplicateInBatch,
    /// Sleep of less than three hours: a nap never is the night's score.
    NotANight,
    /// Sleep without stages: no score is made from duration alone.
    NoStages,
    /// Text with control characters.
    BadText,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Steps,
    /// kcal.
    ActiveEnergy,
    RestingHr,
    HrvRmssd,
    HrvSdnn,
    SleepScore,
    SubjFeel,
    Stage(Stage),
}

impl Kind {
    /// Adds up over time.
    pub fn is_additive(self) -> bool {
        matches!(self, Self::Steps | Self::ActiveEnergy)
    }
}

/// Best first when two overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    Deep,
    Rem,
    /// Core, or light.
    Core,
    Awake,
    /// Asleep, no more is known.
    Asleep,
    InBed,
}

impl Stage {
    /// By the words of all exporters.
    pub fn from_word(word: &str) -> Option<Self> {
        Some(
            match word.to_ascii_lowercase().replace([' ', '-'], "_").as_str() {
                "deep" | "asleepdeep" | "asleep_deep" => Self::Deep,
                "rem" | "asleeprem" | "asleep_rem" => Self::Rem,
                "core" | "light" | "asleepcore" | "asleep_core" => Self::Core,
                "awake" | "awake_in_bed" | "out_of_bed" => Self::Awake,
                "asleep" | "sleeping" | "unspecified" | "asleepunspecified" | "asleep_unspecified" => {
                    Self::Asleep
                }
                "in_bed" | "inbed" => Self::InBed,
                _ => return None,
            },
        )
    }
}

/// A good record. Times are microseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub kind: Kind,
    pub start: i64,
    pub end: i64,
    pub value: f64,
    /// As stored: `watch`, `watch:Ultra`, `merged`, ...
    pub source: String,
    pub device: Option<String>,
    /// A running total, to be differenced.
    pub cumulative: bool,
}

/// One record as it was sent: its own id, and what it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub id: Option<String>,
    pub record: Result<Record, Refusal>,
}

/// A batch in canonical form.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    pub entries: Vec<Entry>,
    /// Things that were sent and are not records to us, such as workouts, whose energy is inside active energy.
    pub ignored: usize,
    pub deletions: Vec<Deletion>,
    pub batch_id: Option<String>,
    pub cursor: Option<String>,
    pub device: Option<String>,
    /// IANA zone that the client says it is in.
    pub timezone: Option<String>,
}

/// A span whose values of one kind and source are to be cleared. Microseconds, half-open.
#[derive(Debug, Clone, PartialEq)]
pub struct Deletion {
    pub source: String,
    pub kind: Kind,
    pub from: i64,
    pub to: i64,
}

/// Bounds in time of what is accepted. Microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub now: i64,
    pub oldest: i64,
}

const MINUTE: i64 = 60_000_000;
/// How far a client's clock may be ahead.
const AHEAD: i64 = 10 * MINUTE;
/// Sums over more than this are no measure of a moment.
const COARSEST: i64 = 60 * MINUTE;

impl Record {
    /// # Errors
    /// Why this record is not acceptable.
    pub fn check(&self, bounds: &Bounds) -> Result<(), Refusal> {
        if !self.value.is_finite() {
            return Err(Refusal::NotFinite);
        }
        let needs_length =
            (self.kind.is_additive() && !self.cumulative) || matches!(self.kind, Kind::Stage(_));
        if self.end < self.start || (needs_length && self.end == self.start) {
            return Err(Refusal::BadInterval);
        }
        let length = self.end - self.start;
        if self.kind.is_additive() && !self.cumulative && length > COARSEST {
            return Err(Refusal::IntervalTooCoarse);
        }
        if matches!(self.kind, Kind::Stage(_)) && length > 24 * 60 * MINUTE {
            return Err(Refusal::IntervalTooCoarse);
        }
        if self.start > bounds.now + AHEAD || self.end > bounds.now + COARSEST + AHEAD {
            return Err(Refusal::FutureTime);
        }
        if self.start < bounds.oldest {
            return Err(Refusal::BeforeAccount);
        }
        let slots = (length as f64 / (15 * MINUTE) as f64).max(1.0);
        let (low, high) = match self.kind {
            Kind::Steps | Kind::ActiveEnergy if self.cumulative => (0.0, 200_000.0),
            Kind::Steps => (0.0, 5000.0 * slots),
            Kind::ActiveEnergy => (0.0, 500.0 * slots),
            Kind::RestingHr => (25.0, 240.0),
            Kind::HrvRmssd | Kind::HrvSdnn => (1.0, 500.0),
            Kind::SleepScore | Kind::SubjFeel => (0.0, 100.0),
            Kind::Stage(_) => (f64::MIN, f64::MAX),
        };
        if !(low..=high).contains(&self.value) {
            return Err(Refusal::OutOfRange);
        }
        Ok(())
    }
}

/// A source as it is stored: its class, from which its rank follows, and its own name. At most 50 characters.
///
/// # Errors
/// `bad_text`.
pub fn source_of(class: Option<&str>, name: Option<&str>) -> Result<String, Refusal> {
    let name = name.map(str::trim).unwrap_or_default();
    if name.chars().any(char::is_control) {
        return Err(Refusal::BadText);
    }
    let first = name.split(':').next().unwrap_or_default();
    let class = match class {
        Some(class) => class,
        // What is stored already, sent back to us.
        None if CLASSES.contains(&first) => return Ok(cut(name)),
        None => class_of(name),
    };
    let full = match (class, name) {
        ("unknown", "") => "unknown".to_owned(),
        (class, "") => class.to_owned(),
        (class, name) if class == name => class.to_owned(),
        (class, name) => format!("{class}:{name}"),
    };
    Ok(cut(&full))
}

const CLASSES: [&str; 7] = ["merged", "watch", "band", "ring", "phone", "manual", "unknown"];

/// What a device's name says of it.
fn class_of(name: &str) -> &'static str {
    let lower = name.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| lower.contains(w));
    // Exporters join the names of sources that the health store merged.
    if has(&["|"]) {
        "merged"
    } else if has(&["watch"]) {
        "watch"
    } else if has(&["band", "whoop", "fitbit", "garmin", "polar", "strap"]) {
        "band"
    } else if lower == "ring" || has(&["oura", " ring", "ultrahuman"]) {
        "ring"
    } else if has(&["phone", "pixel", "galaxy s", "ipad"]) {
        "phone"
    } else if has(&["manual"]) {
        "manual"
    } else {
        "unknown"
    }
}

fn cut(text: &str) -> String {
    text.chars().take(50).collect()
}

/// A device's name as it is stored; at most 100 characters.
///
/// # Errors
/// `bad_text`.
pub fn device_of(name: Option<&str>) -> Result<Option<String>, Refusal> {
    let Some(name) = name.map(str::trim).filter(|n| !n.is_empty()) else {
        return Ok(None);
    };
    if name.chars().any(char::is_control) {
        return Err(Refusal::BadText);
    }
    Ok(Some(name.chars().take(100).collect()))
}

/// kcal from a value and its unit.
///
/// # Errors
/// `unknown_unit`.
pub fn kcal(value: f64, unit: Option<&str>) -> Result<f64, Refusal> {
    match unit
        .map(str::trim)
        .unwrap_or("kcal")
        .to_ascii_lowercase()
        .as_str()
    {
        "kcal" | "cal" | "calories" | "kilocalories" | "kilocalorie" => Ok(value),
        "kj" | "kilojoule" | "kilojoules" => Ok(value / 4.184),
        "j" | "joule" | "joules" => Ok(value / 4184.0),
        _ => Err(Refusal::UnknownUnit),
    }
}

/// Milliseconds from a value and its unit.
///
/// # Errors
/// `unknown_unit`.
pub fn milliseconds(value: f64, unit: Option<&str>) -> Result<f64, Refusal> {
    match unit.map(str::trim).unwrap_or("ms").to_ascii_lowercase().as_str() {
        "ms" | "millisecond" | "milliseconds" => Ok(value),
        "s" | "sec" | "second" | "seconds" => Ok(value * 1000.0),
        _ => Err(Refusal::UnknownUnit),
    }
}
