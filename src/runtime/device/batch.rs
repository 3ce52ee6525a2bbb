//! Waiting scans taken up together, so that what can run as one batch does.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use metrics::counter;
use tokio::sync::mpsc;

use super::{Item, Work};
use crate::runtime::Engine;
use crate::runtime::engine::{Encoded, ScanJob};
use crate::telemetry::names;

/// The engine panicked; nothing is encoded.
pub(super) struct Panicked;

/// The first item and up to `most - 1` that wait behind it now; nobody waits for more to come.
pub(super) fn gather(
    first: Item,
    jobs: &mut mpsc::Receiver<Item>,
    most: usize,
) -> VecDeque<(Item, Option<Encoded>)> {
    let mut taken = VecDeque::from([(first, None)]);
    while taken.len() < most
        && let Ok(next) = jobs.try_recv()
    {
        taken.push_back((next, None));
    }
    taken
}

/// Runs the first part of the scans among `taken` as one batch, if there are several that somebody waits for. If that
/// fails each runs alone later, and its caller hears its own error.
pub(super) fn encode(
    engine: &mut dyn Engine,
    taken: &mut VecDeque<(Item, Option<Encoded>)>,
) -> Result<(), Panicked> {
    let mut places = Vec::new();
    let mut scans = Vec::new();
    for (place, (item, _)) in taken.iter().enumerate() {
        if let Work::Scan(request, ready) = &item.work
            && !item.reply.is_closed()
            && item.ctx.check().is_ok()
        {
            places.push(place);
            scans.push(ScanJob {
                photo: &ready.loaded.photo,
                request,
                ctx: &item.ctx,
            });
        }
    }
    if scans.len() < 2 {
        return Ok(());
    }
    let span = tracing::info_span!("batch", scans = scans.len());
    let encoded = span.in_scope(|| catch_unwind(AssertUnwindSafe(|| engine.encode(&scans))));
    match encoded {
        Ok(Ok(encoded)) => {
            counter!(names::SCANS_BATCHED).increment(encoded.len() as u64);
            for (place, value) in places.into_iter().zip(encoded) {
                taken[place].1 = Some(value);
            }
            Ok(())
        }
        Ok(Err(error)) => {
            tracing::debug!(
                code = error.code.as_str(),
                "not encoded together, each runs alone: {error}"
            );
            Ok(())
        }
        Err(_) => {
            tracing::error!("the engine panicked on a batch; building a new one, each job runs alone");
            Err(Panicked)
        }
    }
}

#[cfg(test)]
mod tests;
