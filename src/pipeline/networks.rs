//! What the networks say of a photo: depth and regions at once or one after the other, for one photo or for several.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use dragunov_models::depth_anything::{Depth, DepthAnything, Policy};
use dragunov_models::sam::Embedding;
use dragunov_models::{RgbImage, observer};

use super::clock::Clock;
use super::working::Working;
use super::{NetworkOutputs, Scanner, Strategy};
use crate::contract::{ScanError, ScanRequest, Stage};
use crate::identify::Identifier;
use crate::intake::Photo;
use crate::perceive::{Detections, Finder};
use crate::runtime::JobContext;
use crate::runtime::engine::ScanJob;

/// What the depth network and SAM's image encoder made of a photo, together with others.
#[derive(Debug)]
pub struct PhotoEncoding {
    pub(super) work: Working,
    pub(super) depth: Depth,
    pub(super) embedding: Embedding,
    /// Of the whole batch.
    pub(super) depth_took: Duration,
    /// Of the whole batch.
    pub(super) embedding_took: Duration,
}

/// What is known of a photo before its networks are run.
#[derive(Debug, Default)]
pub(super) struct Precomputed {
    pub(super) depth: Option<Depth>,
    pub(super) detections: Option<Detections>,
    pub(super) embedding: Option<Embedding>,
}

impl Scanner {
    /// What the networks say of a photo, for [`super::ScanInputs::outputs`].
    ///
    /// # Errors
    /// Of the models.
    pub fn network_outputs(
        &mut self,
        photo: &Photo,
        request: &ScanRequest,
        ctx: &JobContext,
    ) -> Result<NetworkOutputs, ScanError> {
        let work = Working::new(photo, request, self.config.max_side_px)?;
        let (depth, detections) =
            self.depth_and_detections(&work, ctx, Precomputed::default(), &Clock::start(ctx))?;
        Ok(NetworkOutputs { depth, detections })
    }

    /// Asks the depth network, where nothing better is known.
    pub(super) fn depth_of(
        &self,
        work: &Working,
        ctx: &JobContext,
        known: Option<Depth>,
    ) -> Result<Depth, ScanError> {
        known.map_or_else(|| estimate(&self.depth, work.image(), ctx), Ok)
    }

    /// Asks for what is not known; both at once where the device has room for that. The times of the two then overlap.
    pub(super) fn depth_and_detections(
        &mut self,
        work: &Working,
        ctx: &JobContext,
        known: Precomputed,
        clock: &Clock<'_>,
    ) -> Result<(Depth, Detections), ScanError> {
        let at_once = self.overlap && known.depth.is_none() && known.detections.is_none();
        let network = &self.depth;
        // The finder may be at work while depth is estimated; it waits where it needs to know.
        let (tell, told) = channel();
        let tell = (self.strategy == Strategy::Hybrid).then_some(tell);
        let mut finder = Finder {
            sam: &self.sam,
            identifier: self.identifier.as_deref_mut().map(|i| i as &mut dyn Identifier),
            amg: &self.config.amg,
            search: self.config.search,
            strategy: self.strategy,
            embedding: known.embedding,
            depth: Some(Box::new(move || told.recv().ok())),
        };
        let ((depth, took), detections) = both(
            at_once,
            || {
                let estimated = timed(|| {
                    known
                        .depth
                        .map_or_else(|| estimate(network, work.image(), ctx), Ok)
                })?;
                // A finder that does not listen needs nothing.
                let _ = tell.map(|tell| tell.send(estimated.0.clone()));
                Ok(estimated)
            },
            || match known.detections {
                Some(detections) => Ok(detections),
                None => finder.detect(work.image(), &work.hints, clock),
            },
        )?;
        if at_once {
            clock.beside(Stage::Depth, took);
        }
        Ok((depth, detections))
    }

    /// Runs the depth network and SAM's image encoder over several photos as one batch. Stops once no job wants its
    /// answer.
    pub(super) fn encode_jobs(&self, jobs: &[ScanJob<'_>]) -> Result<Vec<PhotoEncoding>, ScanError> {
        let works = jobs
            .iter()
            .map(|job| Working::new(job.photo, job.request, self.config.max_side_px))
            .collect::<Result<Vec<_>, _>>()?;
        let images: Vec<_> = works.iter().map(Working::image).collect();
        let mut observer = observer::until(|| jobs.iter().all(|job| job.ctx.check().is_err()));
        let (depths, depth_took) =
            timed(|| Ok(self.depth.infer_batch(&images, Policy::Hf, &mut observer)?))?;
        let (embeddings, embedding_took) = timed(|| Ok(self.sam.embed_batch(&images, &mut observer)?))?;
        Ok(works
            .into_iter()
            .zip(depths)
            .zip(embeddings)
            .map(|((work, depth), embedding)| PhotoEncoding {
                work,
                depth,
                embedding,
                depth_took,
                embedding_took,
            })
            .collect())
    }
}

/// The depth network on one photo; ends between two blocks once the job is cancelled or late.
pub(super) fn estimate(
    network: &DepthAnything,
    image: &RgbImage,
    ctx: &JobContext,
) -> Result<Depth, ScanError> {
    let mut observer = observer::until(|| ctx.check().is_err());
    let depth = network.infer(image, Policy::Hf, &mut observer);
    // Of two errors the job's own tells why.
    depth.map_err(|error| ctx.check().err().unwrap_or_else(|| error.into()))
}

fn timed<T>(f: impl FnOnce() -> Result<T, ScanError>) -> Result<(T, Duration), ScanError> {
    let begun = Instant::now();
    Ok((f()?, begun.elapsed()))
}

/// Both results; `at_once` runs the first on a thread of its own meanwhile. The first one's error is told before the
/// second's.
fn both<A: Send, B>(
    at_once: bool,
    first: impl FnOnce() -> Result<A, ScanError> + Send,
    second: impl FnOnce() -> Result<B, ScanError>,
) -> Result<(A, B), ScanError> {
    if !at_once {
        return Ok((first()?, second()?));
    }
    std::thread::scope(|scope| {
        let first = scope.spawn(first);
        let second = second();
        // A panic goes on where it would have gone without the thread.
        let first = first
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((first?, second?))
    })
}

#[cfg(test)]
mod tests;
