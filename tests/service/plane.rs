//! The scripted platform, and a worker of it in this process.

use std::collections::HashMap;
use std::time::Duration;

use dragunov::intake::{Intake, IntakeConfig};
use dragunov::runtime::{Device, DeviceOptions, Executor, StubEngine};
use dragunov::s3::{Buckets, S3Keys};
use dragunov::worker::inflight::Inflight;
use dragunov::worker::ping::Pinger;
use dragunov::worker::{Ended, Timings, Worker, WorkerEnv, WorkerOptions};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

#[path = "../common/plane.rs"]
mod scripted;

pub use scripted::{Answer, Call, Plane};

/// Longer than any test waits: what a worker does that must not wait for something.
pub const AGES: Duration = Duration::from_secs(120);

/// The waits of the protocol, ten to a hundred times shorter.
pub fn quick() -> Timings {
    let ms = Duration::from_millis;
    Timings {
        poll: ms(3000),
        connect: ms(1000),
        held: ms(100),
        empty_pause: ms(200),
        odd_pause: ms(200),
        busy_pause: ms(500),
        backoff_min: ms(50),
        backoff_max: ms(400),
        result_for: ms(6000),
        result_min: ms(50),
        result_max: ms(400),
        post: ms(2000),
        progress_gap: ms(200),
        progress_wait: ms(200),
        stop_pause: ms(100),
        stop_absent: ms(1000),
        last_take: ms(1000),
        unhealthy_ping: ms(500),
        chunk_for: ms(2000),
        drain: ms(20_000),
        take_grace: ms(200),
        drain_post: ms(1000),
    }
}

/// A worker in this process.
pub struct Running {
    stop: CancellationToken,
    pub worker: JoinHandle<Ended>,
    pub jobs: Inflight,
    _pinger: Option<Pinger>,
}

impl Running {
    pub fn start(plane: &Plane) -> Self {
        Self::with(plane, WorkerOptions::default(), quick(), |_| {})
    }

    pub fn with(
        plane: &Plane,
        options: WorkerOptions,
        timings: Timings,
        turn: impl FnOnce(&mut HashMap<String, String>),
    ) -> Self {
        let mut vars = plane.env();
        turn(&mut vars);
        let var = |name: &str| vars.get(name).cloned();
        let env = WorkerEnv::read(var).unwrap();
        let buckets = Buckets::new(S3Keys::from_env(var).unwrap().as_ref(), true).unwrap();
        let device = Device::start(StubEngine::factory(Duration::ZERO), DeviceOptions::default()).unwrap();
        let intake = Intake::new(IntakeConfig::default());
        let executor = Executor::new(device, intake, buckets, 4).takes_scripts(true);
        let jobs = Inflight::default();
        let pinger = Pinger::start(&env, jobs.clone()).unwrap();
        let worker = Worker::new(&env, executor, jobs.clone(), options, timings).unwrap();
        let stop = CancellationToken::new();
        let until = stop.clone();
        let worker = tokio::spawn(async move { worker.run(until.cancelled_owned()).await });
        Self {
            stop,
            worker,
            jobs,
            _pinger: pinger,
        }
    }

    /// Ends the worker, which must not take as long as the answers that tests hold back.
    pub async fn stop(self) -> Ended {
        self.stop.cancel();
        tokio::time::timeout(AGES / 2, self.worker)
            .await
            .unwrap()
            .unwrap()
    }
}
