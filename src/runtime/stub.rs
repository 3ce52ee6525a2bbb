//! An engine without models: for load tests, conformance tests of the fronts, and the web page's own tests.
//!
//! It understands the scripts of RunPod's mock worker (`mock_return`, `mock_delay`, `mock_error`, `mock_progress`,
//! `mock_refresh`, `mock_logs`) and three of ours: `mock_chunks` (a streaming job), `mock_block` (seconds during
//! which it cannot be cancelled) and `mock_panic`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Engine, EngineInfo, Event, JobContext, ModelRequest};
use crate::contract::{ErrorCode, ModelAnswer, ScanError, ScanRequest, ScanResult, Stage};
use crate::intake::Photo;

mod answer;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct StubEngine {
    /// Time a scan takes.
    pub latency: Duration,
}

impl StubEngine {
    pub fn factory(latency: Duration) -> super::EngineFactory {
        std::sync::Arc::new(move || Ok(Box::new(Self { latency }) as Box<dyn Engine>))
    }
}

impl Engine for StubEngine {
    fn info(&self) -> EngineInfo {
        EngineInfo {
            set: "stub".into(),
            models: BTreeMap::new(),
            device: "none".into(),
            dtype: "none".into(),
            arithmetic: "none".into(),
            memory: None,
        }
    }

    fn warm_up(&mut self, _ctx: &JobContext) -> Result<(), ScanError> {
        Ok(())
    }

    fn scan(
        &mut self,
        photo: &Photo,
        request: &ScanRequest,
        ctx: &JobContext,
    ) -> Result<ScanResult, ScanError> {
        let mut result = answer::of(request, photo)?;
        let begun = Instant::now();
        // The photo is received and opened before the device.
        let stages = &Stage::ALL[2..];
        for &stage in stages {
            let entered = Instant::now();
            ctx.stage(stage)?;
            sleep(self.latency / stages.len() as u32, ctx)?;
            result.timings_ms.add(stage, entered.elapsed());
        }
        result.timings_ms.total = begun.elapsed().as_secs_f64() * 1e3;
        Ok(result)
    }

    fn scan_meal(
        &mut self,
        photos: Vec<Result<Photo, ScanError>>,
        request: &ScanRequest,
        ctx: &JobContext,
    ) -> Result<ScanResult, ScanError> {
        let mut infos = Vec::new();
        let mut main = None;
        for (k, photo) in photos.into_iter().enumerate() {
            match photo.and_then(|photo| self.scan(&photo, &request.of_photo(k), ctx)) {
                Ok(result) => {
                    infos.push(answer::photo_info(k, Ok(&result)));
                    main = main.or(Some(result));
                }
                Err(error) => infos.push(answer::photo_info(k, Err(&error))),
            }
        }
        let mut result =
            main.ok_or_else(|| ScanError::new(ErrorCode::ImageUnreadable, "no photo can be read"))?;
        result.photos = infos;
        Ok(result)
    }

    fn run_model(
        &mut self,
        photo: &Photo,
        request: &ModelRequest,
        ctx: &JobContext,
    ) -> Result<ModelAnswer, ScanError> {
        ctx.check()?;
        answer::of_one_model(request.task, photo)
    }

    fn mock(&mut self, script: &Value, ctx: &JobContext) -> Result<Value, ScanError> {
        let seconds = |key: &str| script[key].as_f64().map(Duration::from_secs_f64);
        if let Some(lines) = script["mock_logs"].as_array() {
            for line in lines {
                tracing::info!(job = ctx.id(), "{}", line.as_str().unwrap_or_default());
            }
        }
        if script["mock_panic"].as_bool() == Some(true) {
            panic!("a scripted panic");
        }
        if let Some(block) = seconds("mock_block") {
            std::thread::sleep(block);
        }
        if let Some(delay) = seconds("mock_delay") {
            sleep(delay, ctx)?;
        }
        if let Some(updates) = script["mock_progress"]["updates"].as_array() {
            let pause = script["mock_progress"]["wait_time"].as_f64().unwrap_or(0.0);
            for update in updates {
                ctx.emit(Event::Progress(update.clone()));
                sleep(Duration::from_secs_f64(pause), ctx)?;
            }
        }
        if let Some(chunks) = script["mock_chunks"].as_array() {
            for chunk in chunks {
                ctx.check()?;
                ctx.emit(Event::Chunk(chunk.clone()));
            }
        }
        if let Some(text) = script["mock_raise"].as_str() {
            return Err(ScanError::new(ErrorCode::Internal, text));
        }
        let mut answer = script.get("mock_return").cloned().unwrap_or(Value::Null);
        let soft = script
            .get("mock_error")
            .filter(|e| !matches!(e, Value::Null | Value::Bool(false)));
        let refresh = script["mock_refresh"].as_bool() == Some(true);
        if soft.is_some() || refresh {
            if !answer.is_object() {
                answer = json!({});
            }
            if let Some(error) = soft {
                let text = if error == &Value::Bool(true) {
                    json!("mock error")
                } else {
                    error.clone()
                };
                answer["error"] = text;
            }
            if refresh {
                answer["refresh_worker"] = Value::Bool(true);
            }
        }
        Ok(answer)
    }
}

/// Sleeps in short steps, so that a cancelled job ends within one.
fn sleep(time: Duration, ctx: &JobContext) -> Result<(), ScanError> {
    let end = Instant::now() + time;
    loop {
        ctx.check()?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(Duration::from_millis(10)));
    }
}
