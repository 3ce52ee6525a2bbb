//! The photos of a job on their way to the device: fetched, decoded, a bounded number at a time.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use metrics::histogram;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::JobContext;
use crate::contract::depth_map::DepthMap;
use crate::contract::request::ImageSource;
use crate::contract::{Fault, ScanError};
use crate::intake::{DepthInput, Intake, Loaded, Shot, SourceMeta};
use crate::telemetry::names;

/// How long a photo that is being fetched counts as one of those held ahead of the device.
const PATIENCE: Duration = Duration::from_secs(1);

/// One photo as it was sent, and what was said of it.
pub(super) struct Sent {
    pub(super) image: ImageSource,
    pub(super) shot: Shot,
    pub(super) depth: Option<DepthMap>,
}

impl Sent {
    pub(super) fn is_remote(&self) -> bool {
        self.image.is_remote() || self.depth_is_remote()
    }

    pub(super) fn depth_is_remote(&self) -> bool {
        self.depth.as_ref().is_some_and(DepthMap::is_remote)
    }
}

/// A photo that is here, not yet decoded.
pub(super) struct Fetched {
    bytes: Vec<u8>,
    meta: SourceMeta,
    took: Duration,
}

/// A photo that needs the device next, and what it took to get there.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) loaded: Loaded,
    pub(super) fetched: Duration,
    pub(super) decoded: Duration,
}

/// The photos of a meal, in order, or why one cannot be read.
#[derive(Debug)]
pub(super) struct MealPhotos {
    pub(super) photos: Vec<Result<Ready, ScanError>>,
    _memory: OwnedSemaphorePermit,
}

impl MealPhotos {
    /// With the first photo before them.
    pub(super) fn after(mut self, first: Ready) -> Self {
        self.photos.insert(0, Ok(first));
        self
    }
}

/// Gets photos ready. Cheap to clone.
#[derive(Clone)]
pub(super) struct Photos {
    intake: Arc<Intake>,
    /// Photos fetched, decoded, or decoded and waiting for the device: each may hold a hundred megabytes.
    ahead: Arc<Semaphore>,
}

impl Photos {
    /// At most `ahead` photos are held while the device is busy with another.
    pub(super) fn new(intake: Intake, ahead: usize) -> Self {
        Self {
            intake: Arc::new(intake),
            ahead: Arc::new(Semaphore::new(ahead)),
        }
    }

    pub(super) fn intake(&self) -> &Intake {
        &self.intake
    }

    /// One photo held ahead of the device.
    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        self.ahead.clone().acquire_owned().await.ok()
    }

    /// Awaits `place` with the permit held if it is there at once. Else the permit is left to others meanwhile: they have turn and
    /// place and wait for it, so it comes last.
    pub(super) async fn hold_unless_waiting<T>(
        &self,
        mut held: Option<OwnedSemaphorePermit>,
        place: impl Future<Output = Result<T, ScanError>>,
    ) -> Result<(Option<OwnedSemaphorePermit>, T), ScanError> {
        let mut place = pin!(place);
        match futures::poll!(place.as_mut()) {
            Poll::Ready(got) => Ok((held, got?)),
            Poll::Pending => {
                drop(held.take());
                let got = place.await?;
                Ok((self.permit().await, got))
            }
        }
    }

    /// A photo's bytes, and the permit of one photo held ahead of the device. A host that takes its time gives the
    /// permit to others meanwhile.
    pub(super) async fn fetch(
        &self,
        source: ImageSource,
        ctx: &JobContext,
    ) -> Result<(Fetched, Option<OwnedSemaphorePermit>), ScanError> {
        let mut permit = self.permit().await;
        let begun = Instant::now();
        let mut fetching = pin!(self.intake.fetch(source, ctx.bucket()));
        let (bytes, meta) = match tokio::time::timeout(PATIENCE, fetching.as_mut()).await {
            Ok(result) => result?,
            Err(_) => {
                drop(permit.take());
                let result = fetching.await?;
                permit = self.permit().await;
                result
            }
        };
        let took = begun.elapsed();
        histogram!(names::FETCH_SECONDS).record(took.as_secs_f64());
        Ok((Fetched { bytes, meta, took }, permit))
    }

    /// Decodes a photo while the device is busy with other work.
    pub(super) async fn decode(&self, fetched: Fetched, shot: Shot) -> Result<Ready, ScanError> {
        let Fetched { bytes, meta, took } = fetched;
        let begun = Instant::now();
        let loaded = self.intake.decode(bytes, shot, meta).await?;
        let decoded = begun.elapsed();
        histogram!(names::DECODE_SECONDS).record(decoded.as_secs_f64());
        Ok(Ready {
            loaded,
            fetched: took,
            decoded,
        })
    }

    /// A meal's second photo and those after it, one after the other, each reduced to what is measured. One that is no photo is left to
    /// the engine, which goes on with the others.
    pub(super) async fn further(
        &self,
        photos: Vec<Sent>,
        ctx: &JobContext,
    ) -> Result<Option<MealPhotos>, ScanError> {
        if photos.is_empty() {
            return Ok(None);
        }
        let memory = self.intake.meal_place(photos.len()).await?;
        let mut out = MealPhotos {
            photos: Vec::new(),
            _memory: memory,
        };
        for (i, mut sent) in photos.into_iter().enumerate() {
            ctx.check()?;
            let name = format!("images[{}]", i + 1);
            sent.shot.depth = self.depth(&mut sent, ctx).await.map_err(|e| e.of(&name))?;
            let Sent {
                image: source, shot, ..
            } = sent;
            let _fetching = self
                .intake
                .fetch_place(&source, ctx.bucket())
                .await
                .map_err(|e| e.of(&name))?;
            let (fetched, _permit) = self.fetch(source, ctx).await.map_err(|e| e.of(&name))?;
            let Fetched { bytes, meta, took } = fetched;
            let begun = Instant::now();
            let ready = match self.intake.decode_further(bytes, shot, meta).await {
                Ok(loaded) => Ok(Ready {
                    loaded,
                    fetched: took,
                    decoded: begun.elapsed(),
                }),
                Err(error) if error.code.fault() == Fault::Client => Err(error),
                Err(error) => return Err(error.of(&name)),
            };
            out.photos.push(ready);
        }
        Ok(Some(out))
    }

    pub(super) async fn depth(
        &self,
        sent: &mut Sent,
        ctx: &JobContext,
    ) -> Result<Option<DepthInput>, ScanError> {
        match sent.depth.take() {
            Some(map) => Ok(Some(self.intake.fetch_depth(map, ctx.bucket()).await?)),
            None => Ok(None),
        }
    }
}
