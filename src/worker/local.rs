//! One local job, without the platform: `--test_input JSON` or `./test_input.json`.

use std::path::Path;

use serde_json::Value;

use crate::runpod::{Outcome, WorkerIdentity};
use crate::runtime::{Admission, Event, Executor, JobContext};

/// Runs the job and logs its result in the official words. False if it failed, there is none, or its result is not
/// `expected` (`--test_output`).
pub async fn run(executor: &Executor, given: Option<&str>, expected: Option<&str>, dir: &Path) -> bool {
    let text = match given {
        Some(text) => text.to_owned(),
        None => match std::fs::read_to_string(dir.join("test_input.json")) {
            Ok(text) => text,
            Err(_) => {
                tracing::warn!("test_input.json not found, exiting.");
                return false;
            }
        },
    };
    let job: Value = match serde_json::from_str(&text) {
        Ok(job) => job,
        Err(e) => {
            tracing::error!("test_input is not JSON: {e}");
            return false;
        }
    };
    let Some(input) = job.get("input").filter(|i| !i.is_null()).cloned() else {
        tracing::error!("Job has no input parameter. Unable to run.");
        return false;
    };
    let id = job
        .get("id")
        .and_then(Value::as_str)
        .unwrap_or("local_test")
        .to_owned();
    let ctx = JobContext::of(id.clone())
        .on_event(|event| {
            if let Event::Chunk(chunk) = event {
                tracing::info!("Stream output: {chunk}");
            }
        })
        .build();
    let result = match executor.parse(input) {
        Ok(parsed) => executor.run(parsed, ctx, Admission::Wait).await,
        Err(error) => Err(error),
    };
    let outcome = match result {
        Ok(value) => Outcome::from_return(value),
        Err(error) => Outcome::from_error(&error, &WorkerIdentity::new("local")),
    };
    if let Some(error) = outcome.error {
        tracing::error!("Job {id} failed with error: {error}");
        return false;
    }
    let output = outcome.output.unwrap_or_default();
    tracing::info!("Job {id} completed successfully.");
    tracing::info!("Job result: {output}");
    if let Some(expected) = expected {
        if serde_json::from_str::<Value>(expected).ok().as_ref() != Some(&output) {
            tracing::error!("Job output does not match test_output.");
            return false;
        }
        tracing::info!("Job output matches test_output.");
    }
    tracing::info!("Local testing complete, exiting.");
    true
}
