//! A worker that cannot start says so where the platform's users look: in a ping, and as the failure of one job.
//! Otherwise its endpoint would queue jobs without a word.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::fitness::Unfit;
use super::take::{self, Answer};
use super::wire::{FinalPost, Wire};
use super::{Timings, WorkerEnv, ping};
use crate::contract::{ErrorCode, ScanError};
use crate::runpod::Outcome;

/// Why a worker cannot work.
#[derive(Debug)]
pub struct CannotWork {
    /// `_model_check`, ... as the platform calls them.
    pub check: &'static str,
    pub error: Arc<ScanError>,
    /// One job may be failed with the reason. Not where the machine is unfit: another one may run the job.
    pub tell_one: bool,
}

impl CannotWork {
    /// The set-up is wrong: every worker of the endpoint will fail like this.
    pub fn config(error: ScanError) -> Self {
        Self {
            check: "_config_check",
            error: Arc::new(error),
            tell_one: true,
        }
    }

    /// The machine is unfit.
    pub fn unfit(unfit: Unfit) -> Self {
        let message = format!("FitnessError: {unfit}");
        Self {
            check: unfit.check,
            error: Arc::new(ScanError::new(ErrorCode::DeviceUnavailable, message)),
            tell_one: false,
        }
    }

    /// The ping's words: the kind of error, then its text.
    fn reason(&self) -> String {
        match self.tell_one {
            true => format!("{}: {}", self.error.code.as_str(), self.error),
            false => self.error.to_string(),
        }
    }
}

/// One unhealthy ping; then one job is taken, if one comes in time, and failed with the reason. `stop` ends the wait
/// for a job, not the post about one that was taken.
pub async fn refuse(env: &WorkerEnv, timings: Timings, why: &CannotWork, stop: impl Future<Output = ()>) {
    let error = &why.error;
    ping::unhealthy(env, why.check, &why.reason(), timings.unhealthy_ping).await;
    if !why.tell_one || env.check().is_err() {
        return;
    }
    let draining = CancellationToken::new();
    let wire = match Wire::new(env.urls.clone(), env.key.as_ref(), timings, draining.clone()) {
        Ok(wire) => wire,
        Err(e) => {
            tracing::error!("no usable TLS set-up: {e}");
            return;
        }
    };
    let mut told = std::pin::pin!(tell_one(env, &wire, timings, error));
    tokio::select! {
        () = &mut told => {}
        () = stop => {
            draining.cancel();
            let _ = tokio::time::timeout(timings.drain, told).await;
        }
    }
}

async fn tell_one(env: &WorkerEnv, wire: &Wire, timings: Timings, error: &ScanError) {
    let url = wire.urls.take(1, false);
    let end = Instant::now() + timings.last_take;
    let jobs = loop {
        let answer = tokio::select! {
            sent = wire.get(&url).send() => take::answer(sent).await,
            () = tokio::time::sleep_until(end) => return,
            () = wire.drained_for(timings.take_grace) => return,
        };
        let pause = match answer {
            Answer::Jobs(jobs, _) => break jobs,
            Answer::Busy(Some(wait)) => wait,
            _ => timings.empty_pause.max(Duration::from_millis(10)),
        };
        if Instant::now() + pause >= end {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = wire.drained_for(Duration::ZERO) => return,
        }
    };
    let identity = env.identity();
    let text = json!({
        "event": "prestart_failed",
        "error_type": error.code,
        "error_message": error.to_string(),
        "error_traceback": error.causes(),
        "worker_id": identity.worker_id,
        "runpod_version": identity.version,
        "next_step": error.next_step,
    })
    .to_string();
    for job in jobs {
        let post = Arc::new(FinalPost {
            body: Outcome::plain_error(text.clone()).to_post(false).to_string(),
            is_stream: false,
        });
        wire.finish(&job.id, &post).await;
    }
}
