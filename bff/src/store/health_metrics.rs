//! `health_metrics`. TimescaleDB does not go with row security, so this file is the only door to the table: every
//! statement here is bound to `ops.current_user_id()`, which only a [`UserTx`] sets.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use sqlx::postgres::PgRow;

use super::UserTx;
use super::row::{Columns, Result, instant};
use crate::domain::ingest::fold::{Additive, Covered};
use crate::domain::metrics::{HrvKind, Sample};

macro_rules! clear {
    ($column:literal) => {
        concat!(
            "UPDATE health_metrics SET ",
            $column,
            " = NULL WHERE user_id = ops.current_user_id() AND source = $1 \
             AND time >= $2 AND time < $3 AND ",
            $column,
            " IS NOT NULL"
        )
    };
    ($column:literal, $kind:literal, $word:literal) => {
        concat!(
            "UPDATE health_metrics SET ",
            $column,
            " = NULL, ",
            $kind,
            " = NULL WHERE user_id = \
             ops.current_user_id() AND source = $1 AND time >= $2 AND time < $3 AND ",
            $kind,
            " = '",
            $word,
            "'"
        )
    };
}

fn at(us: i64) -> jiff_sqlx::Timestamp {
    instant(Timestamp::from_microsecond(us).unwrap_or(Timestamp::UNIX_EPOCH))
}

fn read(row: &PgRow) -> Result<Sample> {
    Ok(Sample {
        time: row.instant("time")?.as_microsecond(),
        source: row.get_as("source")?,
        steps: row.get_as("steps_delta")?,
        energy: row.get_as("energy")?,
        resting_hr: row.get_as("resting_hr")?,
        hrv: row.get_as("hrv_ms")?,
        hrv_kind: row
            .get_as::<Option<String>>("hrv_kind")?
            .as_deref()
            .and_then(HrvKind::from_name),
        sleep: row.get_as("sleep_score")?,
        feel: row.get_as("subj_feel")?,
        device: row.get_as("device")?,
    })
}

impl UserTx {
    /// Rows of `[from, to)`, oldest first.
    ///
    /// # Errors
    /// The database.
    pub async fn samples(&mut self, from: Timestamp, to: Timestamp) -> Result<Vec<Sample>> {
        let rows = sqlx::query(
            "SELECT time, source, steps_delta, active_energy_kcal::float8 AS energy, resting_hr, hrv_ms, hrv_kind, \
             sleep_score, subj_feel, device FROM health_metrics \
             WHERE user_id = ops.current_user_id() AND time >= $1 AND time < $2 ORDER BY time",
        )
        .bind(instant(from))
        .bind(instant(to))
        .fetch_all(self.conn())
        .await?;
        rows.iter().map(read).collect()
    }

    /// Rows of `[from, now]`: what was measured at this very moment counts.
    ///
    /// # Errors
    /// The database.
    pub async fn samples_until(&mut self, from: Timestamp, now: Timestamp) -> Result<Vec<Sample>> {
        let after = now.saturating_add(SignedDuration::from_micros(1)).unwrap_or(now);
        self.samples(from, after).await
    }

    /// What is stored under the keys of these rows.
    ///
    /// # Errors
    /// The database.
    pub async fn stored_like(&mut self, rows: &[Sample]) -> Result<HashMap<(i64, String), Sample>> {
        let times: Vec<_> = rows.iter().map(|r| at(r.time)).collect();
        let sources: Vec<&str> = rows.iter().map(|r| r.source.as_str()).collect();
        let found = sqlx::query(
            "SELECT h.time, h.source, h.steps_delta, h.active_energy_kcal::float8 AS energy, h.resting_hr, h.hrv_ms, \
             h.hrv_kind, h.sleep_score, h.subj_feel, h.device \
             FROM unnest($1::timestamptz[], $2::text[]) AS k (time, source) JOIN health_metrics h \
             ON h.time = k.time AND h.source = k.source AND h.user_id = ops.current_user_id()",
        )
        .bind(times)
        .bind(sources)
        .fetch_all(self.conn())
        .await?;
        let mut stored = HashMap::with_capacity(found.len());
        for row in &found {
            let sample = read(row)?;
            stored.insert((sample.time, sample.source.clone()), sample);
        }
        Ok(stored)
    }

    /// Writes rows; values that are absent leave the stored ones. No two rows may have the same key.
    ///
    /// # Errors
    /// The database.
    pub async fn upsert_samples(&mut self, rows: &[Sample]) -> Result<u64> {
        if rows.is_empty() {
            return Ok(0);
        }
        let done = sqlx::query(
            "INSERT INTO health_metrics AS h (time, user_id, source, steps_delta, active_energy_kcal, resting_hr, \
             hrv_ms, hrv_kind, sleep_score, subj_feel, device) \
             SELECT t, ops.current_user_id(), s, steps, round(kcal::numeric, 3), hr, hrv, kind, sleep, feel, device \
             FROM unnest($1::timestamptz[], $2::text[], $3::int[], $4::float8[], $5::int[], $6::int[], $7::text[], \
             $8::int[], $9::int[], $10::text[]) AS u (t, s, steps, kcal, hr, hrv, kind, sleep, feel, device) \
             ON CONFLICT (time, user_id, source) DO UPDATE SET \
             steps_delta = coalesce(excluded.steps_delta, h.steps_delta), \
             active_energy_kcal = coalesce(excluded.active_energy_kcal, h.active_energy_kcal), \
             resting_hr = coalesce(excluded.resting_hr, h.resting_hr), \
             hrv_ms = coalesce(excluded.hrv_ms, h.hrv_ms), \
             hrv_kind = coalesce(excluded.hrv_kind, h.hrv_kind), \
             sleep_score = coalesce(excluded.sleep_score, h.sleep_score), \
             subj_feel = coalesce(excluded.subj_feel, h.subj_feel), \
             device = coalesce(excluded.device, h.device)",
        )
        .bind(rows.iter().map(|r| at(r.time)).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.source.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.steps).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.energy).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.resting_hr).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.hrv).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.hrv_kind.map(HrvKind::as_str)).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.sleep).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.feel).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.device.as_deref()).collect::<Vec<_>>())
        .execute(self.conn())
        .await?;
        Ok(done.rows_affected())
    }

    /// Clears values that begin strictly inside spans told anew and are not among `rows`. Returns how many.
    ///
    /// # Errors
    /// The database.
    pub async fn supersede(&mut self, spans: &[Covered], rows: &[Sample]) -> Result<u64> {
        if spans.is_empty() {
            return Ok(0);
        }
        // NOT IN is always hashed. NOT EXISTS may become a nested loop where the table has no statistics yet, and ten
        // thousand rows then take ten seconds.
        let done = sqlx::query(
            "UPDATE health_metrics h SET \
             steps_delta = CASE WHEN c.steps THEN NULL ELSE h.steps_delta END, \
             active_energy_kcal = CASE WHEN c.steps THEN h.active_energy_kcal END \
             FROM unnest($1::text[], $2::bool[], $3::timestamptz[], $4::timestamptz[]) AS c (source, steps, f, t) \
             WHERE h.user_id = ops.current_user_id() AND h.source = c.source AND h.time > c.f AND h.time < c.t \
             AND (CASE WHEN c.steps THEN h.steps_delta IS NOT NULL ELSE h.active_energy_kcal IS NOT NULL END) \
             AND (h.time, h.source) NOT IN (SELECT k.time, k.source FROM unnest($5::timestamptz[], $6::text[]) \
             AS k (time, source))",
        )
        .bind(spans.iter().map(|s| s.source.as_str()).collect::<Vec<_>>())
        .bind(spans.iter().map(|s| s.column == Additive::Steps).collect::<Vec<_>>())
        .bind(spans.iter().map(|s| at(s.from)).collect::<Vec<_>>())
        .bind(spans.iter().map(|s| at(s.to)).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| at(r.time)).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.source.as_str()).collect::<Vec<_>>())
        .execute(self.conn())
        .await?;
        Ok(done.rows_affected())
    }

    /// Clears one column of a source in `[from, to)`; rows left without a value go.
    ///
    /// # Errors
    /// The database.
    pub async fn clear_samples(
        &mut self,
        source: &str,
        column: Column,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<u64> {
        let sql = match column {
            Column::Steps => clear!("steps_delta"),
            Column::Energy => clear!("active_energy_kcal"),
            Column::RestingHr => clear!("resting_hr"),
            Column::HrvRmssd => clear!("hrv_ms", "hrv_kind", "rmssd"),
            Column::HrvSdnn => clear!("hrv_ms", "hrv_kind", "sdnn"),
            Column::Sleep => clear!("sleep_score"),
            Column::Feel => clear!("subj_feel"),
        };
        let cleared = sqlx::query(sql)
            .bind(source)
            .bind(instant(from))
            .bind(instant(to))
            .execute(self.conn())
            .await?
            .rows_affected();
        if cleared > 0 {
            sqlx::query(
                "DELETE FROM health_metrics WHERE user_id = ops.current_user_id() AND source = $1 AND time >= $2 \
                 AND time < $3 AND num_nonnulls(steps_delta, active_energy_kcal, resting_hr, hrv_ms, sleep_score, \
                 subj_feel) = 0",
            )
            .bind(source)
            .bind(instant(from))
            .bind(instant(to))
            .execute(self.conn())
            .await?;
        }
        Ok(cleared)
    }

    /// When a source measured first and last.
    ///
    /// # Errors
    /// The database.
    pub async fn span_of_source(&mut self, source: &str) -> Result<Option<(Timestamp, Timestamp)>> {
        let row = sqlx::query(
            "SELECT min(time) AS first, max(time) AS last FROM health_metrics \
             WHERE user_id = ops.current_user_id() AND source = $1 HAVING count(*) > 0",
        )
        .bind(source)
        .fetch_optional(self.conn())
        .await?;
        let span = |row: PgRow| Ok((row.instant("first")?, row.instant("last")?));
        row.map(span).transpose()
    }

    /// Removes everything of one source.
    ///
    /// # Errors
    /// The database.
    pub async fn forget_source(&mut self, source: &str) -> Result<u64> {
        let done =
            sqlx::query("DELETE FROM health_metrics WHERE user_id = ops.current_user_id() AND source = $1")
                .bind(source)
                .execute(self.conn())
                .await?;
        Ok(done.rows_affected())
    }

    /// Names of the user's sources, with how many rows each has.
    ///
    /// # Errors
    /// The database.
    pub async fn sources(&mut self) -> Result<Vec<(String, i64)>> {
        sqlx::query_as(
            "SELECT source, count(*) FROM health_metrics WHERE user_id = ops.current_user_id() GROUP BY source \
             ORDER BY source LIMIT 200",
        )
        .fetch_all(self.conn())
        .await
    }
}

/// What can be cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    Steps,
    Energy,
    RestingHr,
    HrvRmssd,
    HrvSdnn,
    Sleep,
    Feel,
}

/// What a sync must know of its user.
#[derive(Debug, Clone)]
pub struct SyncUser {
    pub created_at: Timestamp,
    pub timezone: Option<String>,
}

impl UserTx {
    /// Reads what a sync needs and lets the user's other syncs wait until this transaction ends: what it finds stored
    /// stays so.
    ///
    /// # Errors
    /// The database; `RowNotFound` for a user that is gone.
    pub async fn begin_sync(&mut self) -> Result<SyncUser> {
        // Not FOR UPDATE: rows that refer to the user may be inserted meanwhile.
        let row = sqlx::query(
            "SELECT u.created_at, p.timezone FROM users u LEFT JOIN bio_profile p ON p.user_id = u.id \
             WHERE u.id = ops.current_user_id() FOR NO KEY UPDATE OF u",
        )
        .fetch_one(self.conn())
        .await?;
        Ok(SyncUser {
            created_at: row.instant("created_at")?,
            timezone: row.get_as("timezone")?,
        })
    }

    /// Takes the client's zone if the profile has none.
    ///
    /// # Errors
    /// The database.
    pub async fn adopt_timezone(&mut self, name: &str) -> Result<()> {
        let user = self.user().uuid();
        sqlx::query(
            "INSERT INTO bio_profile AS p (user_id, timezone) VALUES ($1, $2) ON CONFLICT (user_id) \
             DO UPDATE SET timezone = excluded.timezone WHERE p.timezone IS NULL",
        )
        .bind(user)
        .bind(name)
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Notes how far a device has come, and the event if something changed, in one go.
    ///
    /// # Errors
    /// The database.
    pub async fn end_sync(&mut self, device: &str, cursor: &str, event: Option<&str>) -> Result<()> {
        let user = self.user().uuid();
        sqlx::query(
            "WITH event AS (INSERT INTO outbox (user_id, kind) SELECT $1, $4 WHERE $4 IS NOT NULL) \
             INSERT INTO sync_cursors (user_id, device, cursor) VALUES ($1, $2, $3) ON CONFLICT (user_id, device) \
             DO UPDATE SET cursor = excluded.cursor, updated_at = now()",
        )
        .bind(user)
        .bind(device)
        .bind(cursor)
        .bind(event)
        .execute(self.conn())
        .await?;
        Ok(())
    }
}
