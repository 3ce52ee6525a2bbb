//! One batch, in one transaction.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

use super::SyncAnswer;
use super::verdict::{differs, verdicts};
use crate::domain::day;
use crate::domain::ingest::fold::{Folded, fold};
use crate::domain::ingest::{Batch, Bounds, Kind};
use crate::domain::metrics::Sample;
use crate::problem::Problem;
use crate::routes::App;
use crate::routes::caller::CurrentUser;
use crate::store::UserTx;
use crate::store::health_metrics as stored;
use crate::store::outbox::kinds::{CALCULATE_ENERGY_SCORE, REFRESH_HEALTH_DAILY};

pub(super) async fn take(
    app: &App,
    user: &CurrentUser,
    batch: Batch,
    tx: Option<UserTx>,
) -> Result<SyncAnswer, Problem> {
    let now = app.clock.now();
    let mut tx = match tx {
        Some(tx) => tx,
        None => app.db.user(user.id).await?,
    };
    let known = tx.begin_sync().await?;
    let hint = batch.timezone.as_deref().filter(|z| day::zone(z).is_some());
    if let (None, Some(name)) = (&known.timezone, hint) {
        tx.adopt_timezone(name).await?;
    }
    let zone = known
        .timezone
        .as_deref()
        .or(hint)
        .and_then(day::zone)
        .unwrap_or(jiff::tz::TimeZone::UTC);
    let grace = i64::try_from(app.limits.sync_grace.as_micros()).unwrap_or(i64::MAX);
    let bounds = Bounds {
        now: now.as_microsecond(),
        oldest: known.created_at.as_microsecond().saturating_sub(grace),
    };
    let folded = fold(&batch.entries, &bounds, &zone);
    let mut deleted = 0;
    for d in &batch.deletions {
        let at = |us| Timestamp::from_microsecond(us).unwrap_or_default();
        deleted += tx
            .clear_samples(&d.source, column_of(d.kind), at(d.from), at(d.to))
            .await?;
    }
    let before = if folded.rows.is_empty() {
        Default::default()
    } else {
        tx.stored_like(&folded.rows).await?
    };
    let (results, counts) = verdicts(&batch, &folded, &before);
    let changed: Vec<Sample> = folded
        .rows
        .iter()
        .filter(|r| differs(r, before.get(&(r.time, r.source.clone()))))
        .cloned()
        .collect();
    let mut newest = changed.iter().map(|r| r.time).max();
    tx.upsert_samples(&changed).await?;
    if !changed.is_empty() && tx.supersede(&folded.covered, &folded.rows).await? > 0 {
        newest = newest.max(Some(bounds.now));
    }
    if let Some((from, to)) = touched(&batch, &folded, &changed, deleted) {
        tx.changed_days(REFRESH_HEALTH_DAILY, from, to, now).await?;
    }
    if deleted > 0 {
        newest = newest.max(batch.deletions.iter().map(|d| d.to.min(bounds.now)).max());
    }
    metrics::counter!("bff_sync_records_total", "verdict" => "stored").increment(counts.stored as u64);
    metrics::counter!("bff_sync_records_total", "verdict" => "duplicate").increment(counts.duplicate as u64);
    metrics::counter!("bff_sync_records_total", "verdict" => "corrected").increment(counts.corrected as u64);
    metrics::counter!("bff_sync_records_total", "verdict" => "rejected").increment(counts.rejected as u64);
    let device = batch.device.as_deref().unwrap_or("");
    let cursor = if batch.entries.is_empty() && batch.deletions.is_empty() {
        batch.cursor.clone()
    } else {
        let cursor = new_cursor(&batch, bounds.now);
        // Only what the score looks back on is worth an event; four hundred thousand duplicates are not.
        let recent = newest.is_some_and(|t| t > bounds.now - 31 * 24 * 3_600_000_000);
        tx.end_sync(device, &cursor, recent.then_some(CALCULATE_ENERGY_SCORE))
            .await?;
        Some(cursor)
    };
    tx.commit().await?;
    Ok(SyncAnswer {
        batch_id: batch.batch_id,
        cursor,
        counts,
        ignored: batch.ignored,
        deleted,
        results,
    })
}

/// From the first to the last instant at which something stored was changed.
fn touched(
    batch: &Batch,
    folded: &Folded,
    changed: &[Sample],
    deleted: u64,
) -> Option<(Timestamp, Timestamp)> {
    let mut spans: Vec<(i64, i64)> = changed.iter().map(|r| (r.time, r.time)).collect();
    if !changed.is_empty() {
        spans.extend(folded.covered.iter().map(|c| (c.from, c.to)));
    }
    if deleted > 0 {
        spans.extend(batch.deletions.iter().map(|d| (d.from, d.to)));
    }
    let at = |us: i64| Timestamp::from_microsecond(us).unwrap_or_default();
    let from = spans.iter().map(|s| s.0).min()?;
    let to = spans.iter().map(|s| s.1).max()?;
    Some((at(from), at(to)))
}

/// Newer than every cursor before, and the end of the latest record for a person who looks into it.
fn new_cursor(batch: &Batch, now: i64) -> String {
    let end = batch
        .entries
        .iter()
        .flat_map(|e| &e.record)
        .map(|r| r.end.min(now))
        .max()
        .unwrap_or(now);
    URL_SAFE_NO_PAD.encode(format!("1.{now}.{end}.{:08x}", rand::random::<u32>()))
}

fn column_of(kind: Kind) -> stored::Column {
    match kind {
        Kind::Steps => stored::Column::Steps,
        Kind::ActiveEnergy => stored::Column::Energy,
        Kind::RestingHr => stored::Column::RestingHr,
        Kind::HrvRmssd => stored::Column::HrvRmssd,
        Kind::HrvSdnn => stored::Column::HrvSdnn,
        Kind::SleepScore | Kind::Stage(_) => stored::Column::Sleep,
        Kind::SubjFeel => stored::Column::Feel,
    }
}
