//! In PostgreSQL, claimed with SKIP LOCKED.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use sqlx::Row;
use tokio::sync::Notify;
use uuid::Uuid;

use super::{Depth, Outcome, Outgoing, Queue, Received};
use crate::store::Db;

/// How often an empty queue is looked at; what this process sends it sees at once.
const POLL: Duration = Duration::from_millis(200);

/// One queue of the table `ops.messages`.
#[derive(Debug, Clone)]
pub struct PostgresQueue {
    db: Db,
    name: String,
    attempts: i32,
    sent: Arc<Notify>,
}

impl PostgresQueue {
    /// Messages that fail `attempts` times are dead.
    pub fn new(db: Db, name: impl Into<String>, attempts: i32) -> Self {
        Self {
            db,
            name: name.into(),
            attempts,
            sent: Arc::default(),
        }
    }

    async fn claim(&self, most: u32, visibility: Duration) -> Outcome<Vec<Received>> {
        let mut tx = self.db.machinery().await?;
        sqlx::query(
            "UPDATE ops.messages SET dead_at = now(), dedup_key = NULL, receipt = NULL WHERE id IN \
             (SELECT id FROM ops.messages WHERE queue = $1 AND dead_at IS NULL AND visible_at <= now() \
             AND attempts >= $2 FOR UPDATE SKIP LOCKED)",
        )
        .bind(&self.name)
        .bind(self.attempts)
        .execute(&mut *tx)
        .await?;
        // Once received a message no longer answers for its key: what comes now must not be dropped.
        let rows = sqlx::query(
            "UPDATE ops.messages SET receipt = gen_random_uuid(), attempts = attempts + 1, dedup_key = NULL, \
             visible_at = now() + $3 * interval '1 second' WHERE id IN \
             (SELECT id FROM ops.messages WHERE queue = $1 AND dead_at IS NULL AND visible_at <= now() \
             ORDER BY visible_at, sent_at LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING id, body, receipt, attempts",
        )
        .bind(&self.name)
        .bind(i64::from(most))
        .bind(visibility.as_secs_f64())
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        let received = |row: &sqlx::postgres::PgRow| -> Result<Received, sqlx::Error> {
            Ok(Received {
                id: row.try_get::<Uuid, _>("id")?.to_string(),
                body: row.try_get("body")?,
                receipt: row.try_get::<Uuid, _>("receipt")?.to_string(),
                attempts: row.try_get::<i32, _>("attempts")?.unsigned_abs(),
            })
        };
        Ok(rows.iter().map(received).collect::<Result<_, _>>()?)
    }
}

impl Queue for PostgresQueue {
    fn send<'a>(&'a self, messages: &'a [Outgoing]) -> BoxFuture<'a, Outcome<Vec<bool>>> {
        Box::pin(async move {
            let ids: Vec<Uuid> = messages.iter().map(|_| Uuid::now_v7()).collect();
            let bodies: Vec<_> = messages.iter().map(|m| m.body.clone()).collect();
            let keys: Vec<_> = messages.iter().map(|m| m.dedup_key.clone()).collect();
            let delays: Vec<f64> = messages.iter().map(|m| m.delay.as_secs_f64()).collect();
            sqlx::query(
                "INSERT INTO ops.messages (id, queue, body, dedup_key, visible_at) \
                 SELECT id, $1, body, key, now() + delay * interval '1 second' \
                 FROM unnest($2::uuid[], $3::jsonb[], $4::text[], $5::float8[]) AS m (id, body, key, delay) \
                 ON CONFLICT DO NOTHING",
            )
            .bind(&self.name)
            .bind(ids)
            .bind(bodies)
            .bind(keys)
            .bind(delays)
            .execute(self.db.pool())
            .await?;
            self.sent.notify_waiters();
            // Dropped as a repetition is taken, too.
            Ok(vec![true; messages.len()])
        })
    }

    fn receive(
        &self,
        most: u32,
        visibility: Duration,
        wait: Duration,
    ) -> BoxFuture<'_, Outcome<Vec<Received>>> {
        Box::pin(async move {
            let begun = Instant::now();
            loop {
                // Before the look, so that nothing is sent unheard between the two.
                let sent = self.sent.notified();
                let got = self.claim(most, visibility).await?;
                if !got.is_empty() || begun.elapsed() >= wait {
                    return Ok(got);
                }
                let _ = tokio::time::timeout(POLL, sent).await;
            }
        })
    }

    fn delete<'a>(&'a self, receipt: &'a str) -> BoxFuture<'a, Outcome<()>> {
        Box::pin(async move {
            let Ok(receipt) = receipt.parse::<Uuid>() else {
                return Ok(());
            };
            sqlx::query("DELETE FROM ops.messages WHERE queue = $1 AND receipt = $2")
                .bind(&self.name)
                .bind(receipt)
                .execute(self.db.pool())
                .await?;
            Ok(())
        })
    }

    fn hide<'a>(&'a self, receipt: &'a str, visibility: Duration) -> BoxFuture<'a, Outcome<()>> {
        Box::pin(async move {
            let Ok(receipt) = receipt.parse::<Uuid>() else {
                return Ok(());
            };
            sqlx::query(
                "UPDATE ops.messages SET visible_at = now() + $3 * interval '1 second' \
                 WHERE queue = $1 AND receipt = $2",
            )
            .bind(&self.name)
            .bind(receipt)
            .bind(visibility.as_secs_f64())
            .execute(self.db.pool())
            .await?;
            Ok(())
        })
    }

    fn redrive(&self, most: u32) -> BoxFuture<'_, Outcome<u64>> {
        Box::pin(async move {
            let done = sqlx::query(
                "UPDATE ops.messages SET dead_at = NULL, attempts = 0, visible_at = now() WHERE id IN \
                 (SELECT id FROM ops.messages WHERE queue = $1 AND dead_at IS NOT NULL ORDER BY dead_at LIMIT $2)",
            )
            .bind(&self.name)
            .bind(i64::from(most))
            .execute(self.db.pool())
            .await?;
            Ok(done.rows_affected())
        })
    }

    fn depth(&self) -> BoxFuture<'_, Outcome<Depth>> {
        Box::pin(async move {
            let (waiting, hidden, dead) = sqlx::query_as(
                "SELECT count(*) FILTER (WHERE dead_at IS NULL AND visible_at <= now()), \
                 count(*) FILTER (WHERE dead_at IS NULL AND visible_at > now()), \
                 count(*) FILTER (WHERE dead_at IS NOT NULL) FROM ops.messages WHERE queue = $1",
            )
            .bind(&self.name)
            .fetch_one(self.db.pool())
            .await?;
            Ok(Depth {
                waiting,
                hidden,
                dead,
            })
        })
    }
}
