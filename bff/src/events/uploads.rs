//! Storage's own queue: news of uploads, as S3 writes them.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::worker::PAUSE;
use crate::domain::upload::uploads_seen;
use crate::queue::Queue;
use crate::scans::{Scans, Stuck};

const VISIBILITY: Duration = Duration::from_secs(60);
const WAIT: Duration = Duration::from_secs(10);
const AT_ONCE: u32 = 10;

/// Reads until `stop`.
pub async fn run(scans: &Scans, queue: &dyn Queue, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        let round = tokio::select! {
            round = once(scans, queue, WAIT) => round,
            () = stop.cancelled() => return,
        };
        if let Err(error) = round {
            tracing::warn!("storage's queue is away: {error}");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// One round; how many messages are done. One that cannot be done now comes again, and what is no news of an upload is
/// done.
///
/// # Errors
/// The queue.
pub async fn once(
    scans: &Scans,
    queue: &dyn Queue,
    wait: Duration,
) -> Result<usize, crate::queue::QueueError> {
    let received = queue.receive(AT_ONCE, VISIBILITY, wait).await?;
    let mut done = 0;
    for message in received {
        let mut stuck = false;
        for seen in uploads_seen(&message.body) {
            match scans.upload_seen(&seen).await {
                // The photo is noted; the job is submitted by the reconciler.
                Ok(()) | Err(Stuck::Vision(_)) => {}
                Err(why) => {
                    tracing::warn!("an upload waits: {why}");
                    stuck = true;
                }
            }
        }
        if stuck {
            let pause = Duration::from_secs(1 << message.attempts.min(8));
            queue.hide(&message.receipt, pause).await?;
        } else {
            queue.delete(&message.receipt).await?;
            done += 1;
        }
    }
    Ok(done)
}
