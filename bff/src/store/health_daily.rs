//! The daily aggregate that TimescaleDB keeps of `health_metrics`. It forgets nothing by itself: days that it has
//! materialised stay as they are when rows are added late, changed or erased, until somebody refreshes them.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};
use serde_json::json;

use super::row::{Result, instant};
use super::{Db, UserTx};

/// The aggregate's policy refreshes the last seven days by itself.
const BY_ITSELF: SignedDuration = SignedDuration::from_hours(6 * 24);

impl UserTx {
    /// Asks, by an event of this kind, for a refresh of the days of `[from, to]` if the aggregate does not come to them by itself.
    ///
    /// # Errors
    /// The database.
    pub async fn changed_days(
        &mut self,
        event: &str,
        from: Timestamp,
        to: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        if from > now - BY_ITSELF {
            return Ok(());
        }
        let day = |at: Timestamp| at.to_zoned(TimeZone::UTC).date();
        let (from, to) = (day(from), day(to).saturating_add(Span::new().days(1)));
        let user = self.user().uuid();
        sqlx::query(
            "INSERT INTO outbox (user_id, kind, dedup_key, payload) SELECT $1, $2, $3, $4 \
             WHERE to_regclass('health_daily_cagg') IS NOT NULL",
        )
        .bind(user)
        .bind(event)
        .bind(format!("{event}:{from}:{to}"))
        .bind(json!({"from": from.to_string(), "to": to.to_string()}))
        .execute(self.conn())
        .await?;
        Ok(())
    }
}

impl Db {
    /// Refreshes the aggregate from one day to before another, or all of it. Nothing to do without TimescaleDB.
    ///
    /// # Errors
    /// The database; also if the login is no member of the aggregate's owner.
    pub async fn refresh_aggregates(&self, days: Option<(Date, Date)>) -> Result<()> {
        let has: bool = sqlx::query_scalar("SELECT to_regclass('health_daily_cagg') IS NOT NULL")
            .fetch_one(self.pool())
            .await?;
        if !has {
            return Ok(());
        }
        let mut connection = self.pool().acquire().await?;
        // It may take longer than a request's statement, and cannot run in a transaction that would say so for itself.
        connection.close_on_drop();
        sqlx::query("SET statement_timeout = 0")
            .execute(&mut *connection)
            .await?;
        let midnight = |day: Date| day.to_zoned(TimeZone::UTC).ok().map(|z| instant(z.timestamp()));
        sqlx::query(
            "CALL refresh_continuous_aggregate('health_daily_cagg', $1::timestamptz, $2::timestamptz)",
        )
        .bind(days.and_then(|(from, _)| midnight(from)))
        .bind(days.and_then(|(_, to)| midnight(to)))
        .execute(&mut *connection)
        .await?;
        Ok(())
    }
}
