//! What a case is, and what it works with.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use serde_json::Value;

use crate::plane::{Answer, Call, Plane};
use crate::subject::Subject;

/// Why a case failed.
pub(crate) type Outcome = Result<(), String>;

/// What a case needs of the worker's handler or command. The handler reads its orders from the job's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Skill {
    /// `mock_delay`: seconds to wait, interruptible.
    Delay,
    /// `mock_block`: seconds to block the thread.
    Block,
    /// `mock_raise`: text of an error to raise.
    Raise,
    /// `mock_chunks`: values to stream.
    Stream,
    /// `mock_progress`: `{"updates": [...], "wait_time": seconds}`.
    Progress,
    /// `mock_refresh`: ask for a new worker.
    Refresh,
    /// Several jobs at a time.
    Concurrency,
    /// `--test_input JSON` as a flag of the command.
    Local,
}

impl std::fmt::Display for Skill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}

pub(crate) struct Case {
    pub(crate) id: &'static str,
    pub(crate) what: &'static str,
    pub(crate) needs: &'static [Skill],
    pub(crate) run: fn(Rig) -> BoxFuture<'static, Outcome>,
}

/// `case!("B1", "one job", [Delay], |rig| { ... })`; the block ends with `Ok(())` by itself.
macro_rules! case {
    ($id:literal, $what:literal, [$($skill:ident),*], |$rig:ident| $body:block) => {
        $crate::case::Case {
            id: $id,
            what: $what,
            needs: &[$($crate::case::Skill::$skill),*],
            run: |$rig: $crate::case::Rig| Box::pin(async move {
                $body
                Ok(())
            }),
        }
    };
}

/// Fails the case with a text.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+));
        }
    };
}

pub(crate) use {case, ensure};

/// A worker may need this long to be up, its language's start included.
pub(crate) const START: Duration = Duration::from_secs(40);
/// For something that should come soon.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A control plane and the command of the worker.
pub(crate) struct Rig {
    pub(crate) plane: Plane,
    command: Arc<Vec<String>>,
    concurrency: String,
}

impl Rig {
    pub(crate) async fn new(command: Arc<Vec<String>>, concurrency: String) -> Self {
        Self {
            plane: Plane::start().await,
            command,
            concurrency,
        }
    }

    pub(crate) fn takes(&self, answers: impl IntoIterator<Item = Answer>) -> &Self {
        self.plane.script("take", answers);
        self
    }

    pub(crate) fn dones(&self, answers: impl IntoIterator<Item = Answer>) -> &Self {
        self.plane.script("done", answers);
        self
    }

    /// The worker under the platform's usual environment.
    pub(crate) fn start(&self) -> Result<Subject, String> {
        self.start_with(|_| ())
    }

    /// The same with changes to it.
    pub(crate) fn start_with(
        &self,
        turn: impl FnOnce(&mut HashMap<String, String>),
    ) -> Result<Subject, String> {
        let mut env = self.plane.env();
        for (name, value) in [
            ("RUNPOD_LOG_LEVEL", "INFO"),
            // They look at the machine and at a name server of the open internet.
            ("RUNPOD_SKIP_AUTO_SYSTEM_CHECKS", "true"),
            ("RUNPOD_SKIP_GPU_CHECK", "true"),
        ] {
            env.insert(name.into(), value.into());
        }
        turn(&mut env);
        Subject::start(&self.command, &[], &env)
    }

    /// With `n` jobs at a time.
    pub(crate) fn start_many(&self, n: usize) -> Result<Subject, String> {
        let name = self.concurrency.clone();
        self.start_with(|env| {
            env.insert(name, n.to_string());
        })
    }

    /// One local job, without a platform.
    pub(crate) fn start_local(&self, args: &[&str]) -> Result<Subject, String> {
        Subject::start(&self.command, args, &HashMap::new())
    }

    /// Waits for `n` final posts.
    pub(crate) async fn finals(&self, n: usize, within: Duration) -> Result<Vec<Call>, String> {
        self.until("final post", n, within, || self.plane.finals()).await
    }

    /// Waits for `n` calls of a kind.
    pub(crate) async fn calls(
        &self,
        kind: &'static str,
        n: usize,
        within: Duration,
    ) -> Result<Vec<Call>, String> {
        self.until(kind, n, within, || self.plane.calls(kind)).await
    }

    async fn until(
        &self,
        what: &str,
        n: usize,
        within: Duration,
        read: impl Fn() -> Vec<Call>,
    ) -> Result<Vec<Call>, String> {
        let begun = Instant::now();
        loop {
            let calls = read();
            if calls.len() >= n {
                return Ok(calls);
            }
            if begun.elapsed() > within {
                return Err(format!("{} of {n} {what}s came within {within:?}", calls.len()));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The body of the only final post of a job.
    pub(crate) async fn result(&self, within: Duration) -> Result<Value, String> {
        json(&self.finals(1, within).await?[0])
    }
}

pub(crate) fn json(call: &Call) -> Result<Value, String> {
    serde_json::from_str(&call.body).map_err(|e| format!("a body is no JSON ({e}): {}", brief(&call.body)))
}

/// The job that a post is about.
pub(crate) fn job_of(call: &Call) -> &str {
    call.headers.get("x-request-id").map_or("", String::as_str)
}

pub(crate) fn brief(text: &str) -> String {
    text.chars().take(200).collect()
}

/// The error text of a final post.
pub(crate) fn error_of(call: &Call) -> Result<String, String> {
    let body = json(call)?;
    match body["error"].as_str() {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(format!("no error text in {}", brief(&call.body))),
    }
}

pub(crate) async fn pause(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}
