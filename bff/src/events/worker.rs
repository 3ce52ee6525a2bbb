//! The loop that relays and handles.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::handle::{Failed, Hands};
use super::relay::relay_once;
use crate::queue::{Queue, Received};
use crate::store::notices;

/// How long a message stays hidden while it is handled, unless told.
pub const VISIBILITY: Duration = Duration::from_secs(60);
const WAIT: Duration = Duration::from_secs(1);
const AT_ONCE: u32 = 10;
const UPKEEP: Duration = Duration::from_secs(30);
const RECONCILE: Duration = Duration::from_millis(500);
/// After the database or the queue was away.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

/// Runs until `stop`; what is in hand is finished.
pub async fn run(hands: Hands, queue: Arc<dyn Queue>, visibility: Duration, stop: CancellationToken) {
    let upkeep = tokio::spawn(upkeep(hands.clone(), queue.clone()));
    let news = Arc::new(Notify::new());
    let hearing = tokio::spawn(hear(hands.clone(), news.clone()));
    let relay = tokio::spawn(relay(hands.clone(), queue.clone(), news, stop.clone()));
    let reconciler = tokio::spawn(reconcile(hands.clone(), stop.clone()));
    while !stop.is_cancelled() {
        let received = tokio::select! {
            received = queue.receive(AT_ONCE, visibility, WAIT) => received,
            () = stop.cancelled() => break,
        };
        match received {
            Ok(messages) => {
                handle_all(&hands, &*queue, messages).await;
            }
            Err(error) => {
                tracing::warn!("the queue is away: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    let _ = tokio::join!(relay, reconciler);
    upkeep.abort();
    hearing.abort();
}

/// Clears what has served its time, and measures the queue.
async fn upkeep(hands: Hands, queue: Arc<dyn Queue>) {
    let mut tick = tokio::time::interval(UPKEEP);
    for round in 0u64.. {
        tick.tick().await;
        if let Ok(depth) = queue.depth().await {
            for (state, n) in [
                ("waiting", depth.waiting),
                ("hidden", depth.hidden),
                ("dead", depth.dead),
            ] {
                metrics::gauge!("bff_queue_messages", "state" => state).set(n as f64);
            }
        }
        if round.is_multiple_of(20)
            && let Err(error) = hands.db.upkeep(hands.clock.now()).await
        {
            tracing::warn!("upkeep waits: {}", crate::problem::Problem::from(error).detail);
        }
    }
}

/// Looks after scans whose webhook or storage event does not come.
async fn reconcile(hands: Hands, stop: CancellationToken) {
    let Some(scans) = hands.scans else { return };
    while !stop.is_cancelled() {
        if let Err(stuck) = scans.reconcile().await {
            tracing::warn!("scans wait: {stuck}");
        }
        tokio::select! {
            () = tokio::time::sleep(RECONCILE) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// A notice has committed somewhere: somebody waits for what is in the outbox.
async fn hear(hands: Hands, news: Arc<Notify>) {
    hands.db.hear(notices::CHANNEL, |_| news.notify_one()).await;
}

async fn relay(hands: Hands, queue: Arc<dyn Queue>, news: Arc<Notify>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let pause = match relay_once(&hands.db, &*queue).await {
            Ok(0) => Duration::from_millis(100),
            Ok(_) => continue,
            Err(error) => {
                tracing::warn!("the outbox waits: {error}");
                PAUSE
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = news.notified() => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Handles messages side by side; one that fails comes again later and takes no other along. Returns the ids that failed.
pub async fn handle_all(hands: &Hands, queue: &dyn Queue, messages: Vec<Received>) -> Vec<String> {
    futures::stream::iter(messages)
        .map(|m| async move {
            match hands.handle(&m.body).await {
                Ok(()) => {
                    if let Err(error) = queue.delete(&m.receipt).await {
                        // It will come again, and do no harm.
                        tracing::warn!("a message that is done was not deleted: {error}");
                    }
                    None
                }
                Err(why) => {
                    tracing::warn!(message = m.id, attempts = m.attempts, "a message failed: {why}");
                    let pause = match why {
                        Failed::Poisoned => Duration::ZERO,
                        Failed::Later(_) => Duration::from_secs(1 << m.attempts.min(8)),
                    };
                    let _ = queue.hide(&m.receipt, pause).await;
                    Some(m.id)
                }
            }
        })
        .buffer_unordered(4)
        .filter_map(|failed| async { failed })
        .collect()
        .await
}
