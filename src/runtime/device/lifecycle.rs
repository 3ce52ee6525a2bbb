//! From nothing to a ready engine, and from a ready engine to none.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use metrics::gauge;
use tokio::sync::watch;

use super::EngineState;
use crate::contract::{ErrorCode, ScanError};
use crate::runtime::{Engine, EngineFactory, JobContext, memory};
use crate::telemetry::names;

/// A new engine in the place of one that panicked; without it this process is of no more use.
pub(super) fn bring_up_again(
    factory: &EngineFactory,
    state: &watch::Sender<EngineState>,
) -> Option<Box<dyn Engine>> {
    let engine = bring_up(factory, false, state);
    let failed = match &*state.borrow() {
        EngineState::Failed(error) => Some(error.to_string()),
        _ => None,
    };
    if let Some(why) = failed {
        lose(state, &why);
    }
    engine
}

pub(super) fn lose(state: &watch::Sender<EngineState>, why: &str) {
    let error = ScanError::new(ErrorCode::DeviceUnavailable, format!("the device is lost: {why}"))
        .next_step("start the process again; if it happens often, look at the GPU with `nvidia-smi -q`");
    state.send_replace(EngineState::Lost(Arc::new(error)));
}

/// For jobs that a lost device never began: another instance can run them as they are.
pub(super) fn given_up(error: &ScanError) -> ScanError {
    ScanError::new(ErrorCode::Draining, format!("this instance stops: {error}"))
}

pub(super) fn bring_up(
    factory: &EngineFactory,
    warm_up: bool,
    state: &watch::Sender<EngineState>,
) -> Option<Box<dyn Engine>> {
    let begun = Instant::now();
    state.send_replace(EngineState::Loading);
    let built = catch_unwind(AssertUnwindSafe(|| {
        let mut engine = factory()?;
        let loaded = begun.elapsed();
        if warm_up {
            state.send_replace(EngineState::WarmingUp);
            engine.warm_up(&JobContext::detached())?;
        }
        Ok((engine, loaded))
    }))
    .unwrap_or_else(|_| {
        Err(ScanError::new(
            ErrorCode::Internal,
            "the engine panicked while it was being loaded",
        ))
    });
    match built {
        Ok((engine, loaded)) => {
            let mut info = engine.info();
            info.memory = info.memory.map(|m| memory::measured(m, &info.device));
            tracing::info!(
                set = info.set,
                device = info.device,
                dtype = info.dtype,
                arithmetic = info.arithmetic,
                weights_mib = info.memory.map(|m| m.weights_bytes >> 20),
                peak_mib = info.memory.and_then(|m| m.peak_bytes).map(|b| b >> 20),
                load_ms = loaded.as_millis() as u64,
                warm_up_ms = (begun.elapsed() - loaded).as_millis() as u64,
                "engine ready"
            );
            if let Some(memory) = info.memory {
                gauge!(names::MEMORY_USED).set(memory.peak_bytes.unwrap_or(memory.weights_bytes) as f64);
            }
            state.send_replace(EngineState::Ready(Arc::new(info)));
            Some(engine)
        }
        Err(error) => {
            tracing::error!(
                code = error.code.as_str(),
                "engine not loaded: {}",
                error.causes()
            );
            state.send_replace(EngineState::Failed(Arc::new(error)));
            None
        }
    }
}

pub(super) fn unavailable(state: &watch::Sender<EngineState>) -> ScanError {
    let reason = match &*state.borrow() {
        EngineState::Lost(error) => return given_up(error),
        EngineState::Failed(error) => error.to_string(),
        _ => "it is not loaded".into(),
    };
    ScanError::new(
        ErrorCode::DeviceUnavailable,
        format!("the engine did not start: {reason}"),
    )
    .next_step("see the log, then run `dragunov doctor`")
}
