//! Reading the answer to "is there a job?". Nothing the platform says may end the worker.

use std::time::Duration;

use serde_json::Value;

use crate::contract::quote::said;

/// A job as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct RawJob {
    pub id: String,
    /// None where the key was missing: such a job is failed, not run.
    pub input: Option<Value>,
    /// For log lines.
    pub batch_id: Option<String>,
    /// The job's own bucket, as it came.
    pub s3: Option<Value>,
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Run these; the second number counts elements that were no jobs.
    Jobs(Vec<RawJob>, usize),
    /// No job now.
    Empty,
    /// No job, and something is odd (400 around a revival).
    Odd,
    /// Come back later; after this long where the platform said so.
    Busy(Option<Duration>),
    /// Something is wrong on either side: back off.
    Wrong(String),
}

/// Waits for the whole answer, if there is one, and reads it.
pub(super) async fn answer(sent: reqwest::Result<reqwest::Response>) -> Answer {
    let response = match sent {
        Ok(response) => response,
        Err(error) if error.is_timeout() && !error.is_connect() => return Answer::Empty,
        Err(error) => return Answer::Wrong(describe(error)),
    };
    let status = response.status().as_u16();
    let retry_after = response.headers().get("retry-after");
    let retry_after = retry_after.and_then(|v| v.to_str().ok()).map(str::to_owned);
    match response.bytes().await {
        Ok(body) => read(status, retry_after.as_deref(), &body),
        Err(_) => Answer::Wrong("the answer broke off".into()),
    }
}

fn describe(error: reqwest::Error) -> String {
    use std::error::Error;
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = next.to_string();
        cause = next.source();
    }
    text
}

/// Status, `Retry-After` and body to a meaning. The content type does not matter: a job in a text answer is a job.
pub fn read(status: u16, retry_after: Option<&str>, body: &[u8]) -> Answer {
    match status {
        200 if body.iter().all(u8::is_ascii_whitespace) => Answer::Empty,
        200 => match serde_json::from_slice::<Value>(body) {
            Ok(value) => read_jobs(value),
            Err(e) => Answer::Wrong(format!("the answer is not JSON: {e}")),
        },
        204 => Answer::Empty,
        400 => Answer::Odd,
        429 => Answer::Busy(retry_after.and_then(seconds)),
        other => Answer::Wrong(format!("HTTP {other}")),
    }
}

pub(super) fn seconds(retry_after: &str) -> Option<Duration> {
    let s = retry_after.trim().parse::<u64>().ok()?;
    Some(Duration::from_secs(s.min(120)))
}

fn read_jobs(value: Value) -> Answer {
    let elements = match value {
        Value::Array(elements) => elements,
        object @ Value::Object(_) => vec![object],
        _ => return Answer::Empty,
    };
    let total = elements.len();
    let jobs: Vec<RawJob> = elements.into_iter().filter_map(read_job).collect();
    let bad = total - jobs.len();
    match (jobs.is_empty(), bad) {
        (true, 0) => Answer::Empty,
        (true, _) => Answer::Wrong(format!("{bad} element(s) without a usable id")),
        (false, _) => Answer::Jobs(jobs, bad),
    }
}

fn read_job(element: Value) -> Option<RawJob> {
    let Value::Object(mut fields) = element else {
        return None;
    };
    let id = match fields.remove("id")? {
        Value::String(id) if !id.is_empty() => id,
        Value::Number(id) => id.to_string(),
        _ => return None,
    };
    Some(RawJob {
        id,
        s3: fields.remove("s3Config"),
        input: fields.remove("input"),
        batch_id: fields.get("batchId").and_then(Value::as_str).map(said),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ids(body: &str) -> Vec<String> {
        match read(200, None, body.as_bytes()) {
            Answer::Jobs(jobs, _) => jobs.into_iter().map(|j| j.id).collect(),
            other => panic!("{body}: {other:?}"),
        }
    }

    /// B9 to B14 of the conformance list.
    #[test]
    fn answers_are_read_whatever_their_shape() {
        assert_eq!(ids(r#"{"id":"a","input":{}}"#), ["a"]);
        assert_eq!(
            ids(r#"[{"id":"a","input":{}},{"input":{}},{"id":5,"input":null},7]"#),
            ["a", "5"]
        );
        for empty in ["", " \n", "null", "[]", "\"str\"", "3"] {
            assert_eq!(read(200, None, empty.as_bytes()), Answer::Empty, "{empty:?}");
        }
        for wrong in ["<html>", "{", r#"{"input":{}}"#, r#"[{"id":""}]"#] {
            assert!(
                matches!(read(200, None, wrong.as_bytes()), Answer::Wrong(_)),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn a_missing_input_is_not_a_null_input() {
        let Answer::Jobs(jobs, 0) = read(200, None, br#"[{"id":"q"},{"id":"r","input":null}]"#) else {
            panic!();
        };
        assert_eq!(jobs[0].input, None);
        assert_eq!(jobs[1].input, Some(Value::Null));
    }

    #[test]
    fn statuses() {
        assert_eq!(read(204, None, b""), Answer::Empty);
        assert_eq!(read(400, None, b""), Answer::Odd);
        assert_eq!(read(429, None, b""), Answer::Busy(None));
        assert_eq!(
            read(429, Some("7"), b""),
            Answer::Busy(Some(Duration::from_secs(7)))
        );
        for code in [401, 404, 500, 503] {
            assert!(matches!(read(code, None, b"{}"), Answer::Wrong(_)));
        }
    }
}
