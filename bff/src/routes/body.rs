//! JSON bodies and the checks on their fields. A refusal names the field and never repeats the value.

use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::http::header;
use bytes::Bytes;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;

use crate::problem::{Code, FieldError, Problem};

/// A JSON body.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        require_json(&request)?;
        let bytes = Bytes::from_request(request, state).await.map_err(too_large)?;
        parse(&bytes).map(Self)
    }
}

/// # Errors
/// `unsupported_media_type`.
pub fn require_json(request: &Request) -> Result<(), Problem> {
    let given = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let essence = given
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    if essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")) {
        return Ok(());
    }
    Err(Problem::new(Code::UnsupportedMediaType, "send application/json"))
}

pub fn too_large(rejection: BytesRejection) -> Problem {
    use axum::extract::rejection::FailedToBufferBody;
    match rejection {
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
            Problem::new(Code::BodyTooLarge, "the body is larger than allowed")
        }
        // The limit on the wire stands outside of the unpacking, which wraps its error.
        other if broke_a_limit(&other) => Problem::new(Code::BodyTooLarge, "the body is larger than allowed"),
        _ => Problem::new(Code::BadRequest, "the body could not be read"),
    }
}

fn broke_a_limit(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(e) = cause {
        if e.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        cause = e.source();
    }
    false
}

/// JSON into a type: 400 if it is not JSON, 422 with the field if it is another shape.
///
/// # Errors
/// `bad_request`, `invalid_field`.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    use serde_json::error::Category;
    // A struct would also be read from an array.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::new(Code::BadRequest, "the body is not a JSON object"));
    }
    let mut de = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut de).map_err(|e| match e.inner().classify() {
        Category::Data => Problem::field(pointer(e.path()), "wrong_type_or_unknown"),
        _ => Problem::new(Code::BadRequest, "the body is not JSON"),
    })?;
    de.end()
        .map_err(|_| Problem::new(Code::BadRequest, "the body is not one JSON value"))?;
    Ok(value)
}

/// Keys of the client's own are not repeated: they may be anything.
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut out = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => out.push_str(&format!("/{index}")),
            Segment::Map { key }
                if key.len() <= 40 && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') =>
            {
                out.push_str(&format!("/{key}"));
            }
            _ => out.push_str("/*"),
        }
    }
    out
}

/// For fields that may be absent (keep), null (clear) or given: `#[serde(default, deserialize_with = "given")]`.
///
/// # Errors
/// Of the inner type.
pub fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(d).map(Some)
}

/// Collects what is wrong, so that a client learns all of it at once.
#[derive(Debug, Default)]
pub struct Check {
    errors: Vec<FieldError>,
}

impl Check {
    pub fn fail(&mut self, pointer: &str, code: &'static str) {
        self.errors.push(FieldError {
            pointer: pointer.to_owned(),
            code,
        });
    }

    /// # Errors
    /// What failed.
    pub fn into_errors(self) -> Result<(), Vec<FieldError>> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(self.errors)
        }
    }

    /// # Errors
    /// `invalid_field` if anything failed.
    pub fn done(self) -> Result<(), Problem> {
        self.into_errors().map_err(Problem::fields)
    }

    /// Text in composed form, trimmed, of 1 to `max` characters without control characters.
    pub fn text(&mut self, pointer: &str, text: &str, max: usize) -> String {
        // Composition at most triples the length; nobody makes us compose more than could pass.
        if text.len() > max * 16 {
            self.fail(pointer, "too_long");
            return String::new();
        }
        let clean: String = text.nfc().collect::<String>().trim().to_owned();
        if clean.is_empty() {
            self.fail(pointer, "empty");
        } else if clean.chars().count() > max {
            self.fail(pointer, "too_long");
        } else if clean.chars().any(char::is_control) {
            self.fail(pointer, "control_character");
        }
        clean
    }

    pub fn maybe_text(&mut self, pointer: &str, text: Option<&str>, max: usize) -> Option<String> {
        text.map(|t| self.text(pointer, t, max))
    }

    /// A word of a fixed vocabulary to come: lower case letters, digits and `_`.
    pub fn word(&mut self, pointer: &str, word: &str, max: usize) -> String {
        let good = (1..=max).contains(&word.len())
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !good {
            self.fail(pointer, "not_a_word");
        }
        word.to_owned()
    }

    pub fn range<T: PartialOrd>(&mut self, pointer: &str, value: Option<T>, low: T, high: T) -> Option<T> {
        if let Some(v) = &value
            && !(*v >= low && *v <= high)
        {
            self.fail(pointer, "out_of_range");
        }
        value
    }

    pub fn date(&mut self, pointer: &str, date: Option<Date>) -> Option<Date> {
        if date.is_some_and(|d| !(1900..=2200).contains(&d.year())) {
            self.fail(pointer, "out_of_range");
        }
        date
    }

    /// An instant of this century, cut to microseconds as the database keeps it.
    pub fn instant(&mut self, pointer: &str, at: Timestamp) -> Timestamp {
        if !sane(at) {
            self.fail(pointer, "out_of_range");
        }
        micros(at)
    }

    /// An object that jsonb accepts, within bounds of size and depth.
    pub fn object(&mut self, pointer: &str, object: Map<String, Value>, bytes: usize) -> Map<String, Value> {
        let value = Value::Object(object);
        if value.to_string().len() > bytes {
            self.fail(pointer, "too_large");
        } else if !storable(&value, 16) {
            self.fail(pointer, "not_storable");
        }
        match value {
            Value::Object(object) => object,
            _ => Map::new(),
        }
    }
}

/// Between 2000 and 2100.
pub fn sane(at: Timestamp) -> bool {
    (946_684_800..4_102_444_800).contains(&at.as_second())
}

pub fn micros(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

/// PostgreSQL takes no NUL in text.
fn storable(value: &Value, depth: usize) -> bool {
    let plain = |s: &str| !s.contains('\0');
    match value {
        Value::String(s) => plain(s),
        Value::Array(items) => depth > 0 && items.iter().all(|v| storable(v, depth - 1)),
        Value::Object(map) => depth > 0 && map.iter().all(|(k, v)| plain(k) && storable(v, depth - 1)),
        _ => true,
    }
}
