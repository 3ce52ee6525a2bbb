//! The device's loop on a queue that is full before it starts, so that what is taken up together is certain.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};

use super::super::{DeviceOptions, EngineState, Item, Load, Work, run};
use crate::contract::model_answer::SegmentAnswer;
use crate::contract::request::ImageSource;
use crate::contract::{ErrorCode, ModelAnswer, ScanError, ScanRequest, ScanResult};
use crate::intake::{DecodeLimits, Photo, Shot, SourceMeta, read_photo};
use crate::runtime::context::Limit;
use crate::runtime::engine::{Encoded, ScanJob};
use crate::runtime::photos::Ready;
use crate::runtime::{Engine, EngineFactory, EngineInfo, JobContext, ModelRequest, StubEngine};

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Encodes,
    /// Job `b` is cancelled meanwhile.
    Cancels,
    Refuses,
    Panics,
    /// On scanning `b`.
    PanicsLater,
    /// On scanning `b`, and no engine comes after it.
    NotAgain,
    /// The device breaks under `b`.
    Loses,
}

struct Scripted {
    stub: StubEngine,
    mode: Mode,
    /// What the engine was asked, in order.
    calls: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    fn note(&self, call: String) {
        self.calls.lock().unwrap().push(call);
    }

    fn answer(&mut self, job: ScanJob<'_>) -> Result<ScanResult, ScanError> {
        match (job.ctx.id(), self.mode) {
            ("b", Mode::PanicsLater | Mode::NotAgain) => panic!("a scripted panic"),
            ("b", Mode::Loses) => Err(ScanError::new(ErrorCode::DeviceUnavailable, "scripted")),
            ("bad", _) => Err(ScanError::new(ErrorCode::NoFood, "scripted")),
            _ => self.stub.scan(job.photo, job.request, job.ctx),
        }
    }
}

impl Engine for Scripted {
    fn info(&self) -> EngineInfo {
        self.stub.info()
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
        self.note(format!("alone {}", ctx.id()));
        self.answer(ScanJob { photo, request, ctx })
    }

    fn encode(&mut self, jobs: &[ScanJob<'_>]) -> Result<Vec<Encoded>, ScanError> {
        let ids: Vec<String> = jobs.iter().map(|job| job.ctx.id().to_owned()).collect();
        self.note(format!("encode {}", ids.join(" ")));
        match self.mode {
            Mode::Panics => panic!("a scripted panic"),
            Mode::Refuses => return Err(ScanError::new(ErrorCode::ImageUnreadable, "scripted")),
            Mode::Cancels => jobs
                .iter()
                .filter(|j| j.ctx.id() == "b")
                .for_each(|j| j.ctx.cancel()),
            Mode::Encodes | Mode::PanicsLater | Mode::NotAgain | Mode::Loses => {}
        }
        Ok(ids.into_iter().map(|id| Box::new(id) as Encoded).collect())
    }

    fn scan_encoded(&mut self, job: ScanJob<'_>, encoded: Encoded) -> Result<ScanResult, ScanError> {
        let of = *encoded.downcast::<String>().unwrap();
        assert_eq!(of, job.ctx.id(), "another job's");
        self.note(format!("encoded {of}"));
        self.answer(job)
    }

    fn run_model(&mut self, _: &Photo, _: &ModelRequest, ctx: &JobContext) -> Result<ModelAnswer, ScanError> {
        self.note(format!("model {}", ctx.id()));
        Ok(ModelAnswer::Segment(SegmentAnswer::default()))
    }

    fn mock(&mut self, _: &Value, ctx: &JobContext) -> Result<Value, ScanError> {
        self.note(format!("mock {}", ctx.id()));
        Ok(Value::Null)
    }
}

fn photo() -> Photo {
    let mut png = std::io::Cursor::new(Vec::new());
    // Not a blank one, which is refused.
    image::RgbImage::from_fn(64, 48, |x, y| image::Rgb([3 * x as u8, 5 * y as u8, 90]))
        .write_to(&mut png, image::ImageFormat::Png)
        .unwrap();
    let meta = SourceMeta::default();
    read_photo(
        &png.into_inner(),
        &Shot::default(),
        &meta,
        &DecodeLimits::default(),
    )
    .unwrap()
}

fn scan() -> Work {
    let ready = Ready {
        loaded: photo().into(),
        fetched: Duration::ZERO,
        decoded: Duration::ZERO,
    };
    Work::Scan(Box::new(ScanRequest::new(ImageSource::Bytes(Vec::new()))), ready)
}

/// How each job ended, in the order given: `ok` or its code; and what the engine was asked.
fn play(mode: Mode, batch: usize, jobs: Vec<(JobContext, Work)>) -> (Vec<&'static str>, Vec<String>) {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let noted = calls.clone();
    let factory: EngineFactory = Arc::new(move || {
        if mode == Mode::NotAgain && !noted.lock().unwrap().is_empty() {
            return Err(ScanError::new(ErrorCode::DeviceUnavailable, "scripted"));
        }
        noted.lock().unwrap().push("loaded".into());
        Ok(Box::new(Scripted {
            stub: StubEngine::default(),
            mode,
            calls: noted.clone(),
        }))
    });
    let (queue, waiting) = mpsc::channel(16);
    let mut answers = Vec::new();
    for (ctx, work) in jobs {
        let (reply, answer) = oneshot::channel();
        let item = Item {
            work,
            ctx,
            queued: Instant::now(),
            span: tracing::Span::none(),
            photo: None,
            reply,
        };
        assert!(queue.try_send(item).is_ok());
        answers.push(answer);
    }
    drop(queue);
    let options = DeviceOptions {
        batch,
        ..DeviceOptions::default()
    };
    let (state, _watched) = watch::channel(EngineState::Loading);
    run(&factory, options, waiting, &state, &Load::default());
    let ends = answers
        .into_iter()
        .map(|mut answer| match answer.try_recv().unwrap() {
            Ok(_) => "ok",
            Err(error) => error.code.as_str(),
        })
        .collect();
    let calls = calls.lock().unwrap().clone();
    (ends, calls)
}

fn scans(ids: &[&str]) -> Vec<(JobContext, Work)> {
    ids.iter()
        .map(|id| (JobContext::of(*id).build(), scan()))
        .collect()
}

#[test]
fn waiting_scans_are_encoded_together_and_run_in_order() {
    let (ends, calls) = play(Mode::Encodes, 3, scans(&["a", "b", "c", "d"]));
    assert_eq!(ends, ["ok"; 4]);
    // The last one waits with nobody.
    let expected = [
        "loaded",
        "encode a b c",
        "encoded a",
        "encoded b",
        "encoded c",
        "alone d",
    ];
    assert_eq!(calls, expected);
    let (_, calls) = play(Mode::Encodes, 1, scans(&["a", "b"]));
    assert_eq!(calls, ["loaded", "alone a", "alone b"], "off is off");
}

#[test]
fn other_work_keeps_its_place() {
    let mut jobs = scans(&["a", "b"]);
    jobs.insert(1, (JobContext::of("m").build(), Work::Mock(json!({}))));
    let (ends, calls) = play(Mode::Encodes, 4, jobs);
    assert_eq!(ends, ["ok"; 3]);
    assert_eq!(
        calls,
        ["loaded", "encode a b", "encoded a", "mock m", "encoded b"]
    );
}

#[test]
fn ends_stay_each_jobs_own() {
    let (ends, calls) = play(Mode::Encodes, 4, scans(&["a", "bad", "c"]));
    assert_eq!(ends, ["ok", "no_food", "ok"]);
    assert_eq!(calls.len(), 5);

    let mut jobs = scans(&["a", "b", "c"]);
    jobs[0].0.cancel();
    let late = Limit::At(Instant::now());
    jobs.push((JobContext::of("late").limit(late).build(), scan()));
    let (ends, calls) = play(Mode::Encodes, 4, jobs);
    assert_eq!(ends, ["cancelled", "ok", "ok", "deadline_exceeded"]);
    assert_eq!(calls, ["loaded", "encode b c", "encoded b", "encoded c"]);

    let (ends, calls) = play(Mode::Cancels, 4, scans(&["a", "b", "c"]));
    assert_eq!(ends, ["ok", "cancelled", "ok"]);
    assert_eq!(calls, ["loaded", "encode a b c", "encoded a", "encoded c"]);
}

/// The time a job may run does not pass while others of its batch run.
#[test]
fn running_time_counts_from_each_jobs_own_turn() {
    let mut jobs = scans(&["a"]);
    let limit = Limit::AfterStart(Duration::from_secs(60));
    let b = JobContext::of("b").limit(limit).build();
    jobs.push((b.clone(), scan()));
    let started = Arc::new(Mutex::new(Vec::new()));
    let note = started.clone();
    let seen = b.clone();
    let first = JobContext::of("a")
        .on_event(move |_| note.lock().unwrap().push(seen.remaining().is_some()))
        .build();
    jobs[0].0 = first;
    assert_eq!(play(Mode::Encodes, 2, jobs).0, ["ok"; 2]);
    let started = started.lock().unwrap();
    assert!(!started.is_empty() && started.iter().all(|s| !s), "{started:?}");
    assert!(b.remaining().is_some());
}

#[test]
fn what_cannot_be_encoded_together_runs_alone() {
    let (ends, calls) = play(Mode::Refuses, 4, scans(&["a", "b"]));
    assert_eq!(ends, ["ok"; 2]);
    assert_eq!(calls, ["loaded", "encode a b", "alone a", "alone b"]);

    let (ends, calls) = play(Mode::Panics, 4, scans(&["a", "b"]));
    assert_eq!(ends, ["ok"; 2]);
    assert_eq!(calls, ["loaded", "encode a b", "loaded", "alone a", "alone b"]);

    let (ends, calls) = play(Mode::PanicsLater, 4, scans(&["a", "b", "c"]));
    assert_eq!(ends, ["ok", "internal", "ok"]);
    let expected = [
        "loaded",
        "encode a b c",
        "encoded a",
        "encoded b",
        "loaded",
        "alone c",
    ];
    assert_eq!(calls, expected, "nothing of a broken engine is used");
}

/// A broken device answers nobody: the job that met it is told so, the others are for another instance.
#[test]
fn nothing_runs_on_a_lost_device() {
    for mode in [Mode::Loses, Mode::NotAgain] {
        let (ends, calls) = play(mode, 2, scans(&["a", "b", "c", "d"]));
        let met = if mode == Mode::Loses {
            "device_unavailable"
        } else {
            "internal"
        };
        assert_eq!(ends, ["ok", met, "draining", "draining"]);
        assert_eq!(calls, ["loaded", "encode a b", "encoded a", "encoded b"]);
    }
}
