//! One job and what the API shows of it.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, Schema, SchemaType};
use utoipa::openapi::{Ref, RefOr};

use crate::contract::vocabulary::vocabulary;
use crate::contract::{ScanResult, StageUpdate};
use crate::runpod::Outcome;
use crate::runtime::Event;
use crate::s3::S3Keys;

vocabulary! {
    /// How a job stands, spelled as the platform's API does.
    Status as "JobStatus" {
        InQueue = "IN_QUEUE":
            "It waits for the device.",
            "Ask again, or let `/status-sync` wait.";
        InProgress = "IN_PROGRESS":
            "It runs; `output` is the latest progress.",
            "Ask again, or let `/status-sync` wait.";
        Completed = "COMPLETED":
            "It ended; `output` is the result.",
            "Read `output`; it is forgotten after a while.";
        Failed = "FAILED":
            "It ended with an error; `error` is a JSON object as text.",
            "Read `error_type` and `retryable` in it; `/retry` runs the job again.";
        Cancelled = "CANCELLED":
            "It was cancelled before it ended.",
            "Nothing.";
        TimedOut = "TIMED_OUT":
            "It ran or waited longer than its `policy` allows.",
            "Allow more time, or `/retry` it.";
    }
}

impl Status {
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::InQueue | Self::InProgress)
    }
}

/// What the API shows of a job. Keys without a value are left out.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobView {
    pub id: String,
    pub status: Status,
    /// Of an ended job its result; of a running one its latest progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = output_schema)]
    pub output: Option<Value>,
    /// A JSON object as text, with the keys `error_type` (an `ErrorCode`), `error_message`, `next_step`, `fault`,
    /// `retryable`, `error_traceback`, `hostname`, `worker_id` and `runpod_version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub error: Option<String>,
    /// Milliseconds in the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub delay_time: Option<u64>,
    /// Milliseconds on the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub execution_time: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub worker_id: Option<String>,
    /// Times it was run again by `/retry`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub retries: Option<u32>,
}

fn output_schema() -> RefOr<Schema> {
    let free = ObjectBuilder::new().schema_type(SchemaType::AnyValue);
    AnyOfBuilder::new()
        .item(Ref::from_schema_name(ScanResult::name()))
        .item(Ref::from_schema_name(StageUpdate::name()))
        .item(free)
        .description(Some(
            "Of a scan that COMPLETED a `ScanResult`; of one model alone its answer; of a job IN_PROGRESS its latest update, \
             mostly a `StageUpdate`.",
        ))
        .into()
}

/// New elements of a job's stream.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct JobStream {
    pub id: String,
    pub status: Status,
    pub stream: Vec<StreamElement>,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct StreamElement {
    /// A stage that began, or a part of a streaming job's answer.
    #[schema(schema_with = element_schema)]
    pub output: Value,
}

fn element_schema() -> RefOr<Schema> {
    AnyOfBuilder::new()
        .item(Ref::from_schema_name(StageUpdate::name()))
        .item(ObjectBuilder::new().schema_type(SchemaType::AnyValue))
        .into()
}

/// Milliseconds, as the platform's `policy` object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Policy {
    /// Counts while the job runs. 5 s to 7 days.
    #[schema(minimum = 5000, maximum = 604800000)]
    pub execution_timeout: u64,
    /// Counts from submission; the record goes when it is over. 10 s to 7 days.
    #[schema(minimum = 10000, maximum = 604800000)]
    pub ttl: u64,
    pub low_priority: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            execution_timeout: 600_000,
            ttl: 86_400_000,
            low_priority: false,
        }
    }
}

impl Policy {
    const WEEK_MS: u64 = 7 * 86_400_000;

    /// # Errors
    /// The field that is out of range.
    pub fn check(&self) -> Result<(), String> {
        if !(5_000..=Self::WEEK_MS).contains(&self.execution_timeout) {
            return Err("policy.executionTimeout must be 5000 to 604800000 (milliseconds)".into());
        }
        if !(10_000..=Self::WEEK_MS).contains(&self.ttl) {
            return Err("policy.ttl must be 10000 to 604800000 (milliseconds)".into());
        }
        Ok(())
    }
}

/// What a client sends to `/run` or `/runsync`, checked.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The `input` as it came.
    pub input: Arc<RawValue>,
    pub webhook: Option<String>,
    pub policy: Policy,
    /// Where the job's own bucket is.
    pub s3: Option<S3Keys>,
    /// `/runsync`: short retention and an id that starts with `sync-`.
    pub sync: bool,
}

/// Where a job's webhook stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    None,
    Due,
    Delivered,
    GivenUp,
}

/// One job. Events are not kept on disk; everything else is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    pub id: String,
    /// Order of acceptance.
    pub seq: u64,
    pub status: Status,
    pub sync: bool,
    /// Dropped once nobody can ask for it again.
    #[serde(skip)]
    pub input: Option<Arc<RawValue>>,
    pub webhook: Option<String>,
    pub policy: Policy,
    /// Dropped with the input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Keys>,
    pub created_ms: u64,
    pub started_ms: Option<u64>,
    pub ended_ms: Option<u64>,
    pub output: Option<Value>,
    pub error: Option<String>,
    pub retries: u32,
    /// Times it was taken up, crashes of the process included.
    pub attempts: u32,
    pub delivery: Delivery,
    #[serde(skip)]
    pub progress: Option<Value>,
    #[serde(skip)]
    pub chunks: VecDeque<Value>,
    /// Chunks of a streaming job, which become the output.
    #[serde(skip)]
    pub collected: Vec<Value>,
}

impl Record {
    /// Unread stream elements kept; older ones go first.
    const MAX_CHUNKS: usize = 1024;

    pub fn new(id: String, seq: u64, submission: Submission, now_ms: u64) -> Self {
        Self {
            id,
            seq,
            status: Status::InQueue,
            sync: submission.sync,
            input: Some(submission.input),
            delivery: if submission.webhook.is_some() {
                Delivery::Due
            } else {
                Delivery::None
            },
            webhook: submission.webhook,
            policy: submission.policy,
            s3: submission.s3,
            created_ms: now_ms,
            started_ms: None,
            ended_ms: None,
            output: None,
            error: None,
            retries: 0,
            attempts: 0,
            progress: None,
            chunks: VecDeque::new(),
            collected: Vec::new(),
        }
    }

    pub fn note(&mut self, event: &Event) {
        let shown = event.to_json();
        let streamed = match event {
            Event::Chunk(_) => {
                self.collected.push(shown.clone());
                true
            }
            Event::Stage { streamed, .. } => {
                self.progress = Some(shown.clone());
                *streamed
            }
            Event::Progress(_) => {
                self.progress = Some(shown.clone());
                false
            }
        };
        if !streamed {
            return;
        }
        if self.chunks.len() == Self::MAX_CHUNKS {
            self.chunks.pop_front();
        }
        self.chunks.push_back(shown);
    }

    pub fn end(&mut self, status: Status, outcome: Outcome, now_ms: u64) {
        self.status = status;
        self.ended_ms = Some(now_ms);
        self.output = match outcome.output {
            // A streaming job returns nothing itself: its chunks are the answer.
            None | Some(Value::Null) if !self.collected.is_empty() => {
                Some(Value::Array(std::mem::take(&mut self.collected)))
            }
            output => output,
        };
        self.error = outcome.error;
        self.progress = None;
    }

    /// Back to the queue under the same id: `/retry`, or a restart found it unfinished.
    pub fn requeue(&mut self) {
        self.status = Status::InQueue;
        self.started_ms = None;
        self.ended_ms = None;
        self.output = None;
        self.error = None;
        self.progress = None;
        self.chunks.clear();
        self.collected.clear();
    }

    /// The body of `/status`.
    pub fn view(&self, worker_id: &str) -> JobView {
        let output = if self.status.is_terminal() {
            &self.output
        } else {
            &self.progress
        };
        let started = self.started_ms;
        JobView {
            id: self.id.clone(),
            status: self.status,
            output: output.clone().filter(|o| !o.is_null()),
            error: self.error.clone(),
            delay_time: started.map(|at| at.saturating_sub(self.created_ms)),
            execution_time: started
                .zip(self.ended_ms)
                .map(|(at, ended)| ended.saturating_sub(at)),
            worker_id: started.map(|_| worker_id.to_owned()),
            retries: (self.retries > 0).then_some(self.retries),
        }
    }

    /// What a webhook receives: the view, the input and the address.
    pub fn webhook_body(&self, worker_id: &str) -> Value {
        let mut body = json!(self.view(worker_id));
        let input = self
            .input
            .as_ref()
            .and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok());
        body["input"] = input.unwrap_or(Value::Null);
        body["webhook"] = json!(self.webhook);
        body
    }

    /// Bytes this record holds, roughly.
    pub fn weight(&self) -> usize {
        let input = self.input.as_ref().map_or(0, |raw| raw.get().len());
        512 + input + self.output.as_ref().map_or(0, value_weight)
    }
}

fn value_weight(value: &Value) -> usize {
    match value {
        Value::String(s) => 24 + s.len(),
        Value::Array(a) => 24 + a.iter().map(value_weight).sum::<usize>(),
        Value::Object(o) => {
            48 + o
                .iter()
                .map(|(k, v)| 32 + k.len() + value_weight(v))
                .sum::<usize>()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 24,
    }
}
