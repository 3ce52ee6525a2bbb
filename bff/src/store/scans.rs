//! `scans` and `scan_photos` as their user sees and changes them. Every change of state goes through [`State::after`].

use jiff::Timestamp;
use serde_json::Value;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::UserTx;
use super::page::{List, Page, Place};
use super::row::{Columns, Result, Version, instant};
use crate::domain::scan::{Event, State};

/// A scan with everything that is kept of it.
#[derive(Debug, Clone)]
pub struct Scan {
    pub id: Uuid,
    pub meal_group: Uuid,
    pub state: State,
    pub model_set: Option<String>,
    pub job_id: Option<String>,
    pub plate_diameter_cm: Option<f64>,
    pub camera_height_cm: Option<f64>,
    pub taken_at: Timestamp,
    pub meal_type: Option<String>,
    /// In the person's words.
    pub note: Option<String>,
    pub consent_training: bool,
    pub original_result: Option<Value>,
    pub edits: Value,
    pub corrected_result: Option<Value>,
    pub has_overlay: bool,
    pub has_depth: bool,
    pub error: Option<String>,
    pub version: Version,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub entered_at: Timestamp,
    pub submissions: i32,
    pub failures: i32,
}

impl Scan {
    /// The original, or what corrections made of it.
    pub fn result(&self) -> Option<&Value> {
        self.corrected_result.as_ref().or(self.original_result.as_ref())
    }
}

/// One line of a list.
#[derive(Debug, Clone)]
pub struct ScanLine {
    pub id: Uuid,
    pub meal_group: Uuid,
    pub state: State,
    pub error: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A photo of a meal.
#[derive(Debug, Clone)]
pub struct Photo {
    pub position: i16,
    pub key: String,
    pub content_type: String,
    pub bytes: i64,
    pub pitch_deg: Option<f64>,
    pub uploaded_at: Option<Timestamp>,
    pub kept_at: Option<Timestamp>,
}

/// A scan to begin.
#[derive(Debug, Clone)]
pub struct NewScan {
    pub id: Uuid,
    pub meal_group: Uuid,
    pub state: State,
    pub model_set: Option<String>,
    pub plate_diameter_cm: Option<f64>,
    pub camera_height_cm: Option<f64>,
    pub taken_at: Timestamp,
    pub meal_type: Option<String>,
    /// In the person's words.
    pub note: Option<String>,
    pub consent_training: bool,
}

/// What is written with a change of state.
#[derive(Debug, Clone, Copy, Default)]
pub struct Step<'a> {
    pub error: Option<&'a str>,
    /// When the machinery looks again; absent where nothing is left to do.
    pub next_at: Option<Timestamp>,
}

const COLUMNS: &str = "id, meal_group, state, model_set, job_id, plate_diameter_cm::float8 AS plate_diameter_cm, \
    camera_height_cm::float8 AS camera_height_cm, taken_at, meal_type, note, consent_training, original_result, edits, \
    corrected_result, has_overlay, has_depth, error, version, created_at, updated_at, entered_at, submissions, failures";

fn sql(before: &'static str, after: &'static str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe([before, COLUMNS, after].concat())
}

pub(super) fn state(row: &PgRow) -> Result<State> {
    let name: String = row.get_as("state")?;
    State::named(&name).ok_or_else(|| sqlx::Error::Decode("a state that is not known".into()))
}

pub(super) fn read(row: &PgRow) -> Result<Scan> {
    Ok(Scan {
        id: row.get_as("id")?,
        meal_group: row.get_as("meal_group")?,
        state: state(row)?,
        model_set: row.get_as("model_set")?,
        job_id: row.get_as("job_id")?,
        plate_diameter_cm: row.get_as("plate_diameter_cm")?,
        camera_height_cm: row.get_as("camera_height_cm")?,
        taken_at: row.instant("taken_at")?,
        meal_type: row.get_as("meal_type")?,
        note: row.get_as("note")?,
        consent_training: row.get_as("consent_training")?,
        original_result: row.get_as("original_result")?,
        edits: row.get_as("edits")?,
        corrected_result: row.get_as("corrected_result")?,
        has_overlay: row.get_as("has_overlay")?,
        has_depth: row.get_as("has_depth")?,
        error: row.get_as("error")?,
        version: Version(row.get_as("version")?),
        created_at: row.instant("created_at")?,
        updated_at: row.instant("updated_at")?,
        entered_at: row.instant("entered_at")?,
        submissions: row.get_as("submissions")?,
        failures: row.get_as("failures")?,
    })
}

fn maybe_instant(row: &PgRow, column: &str) -> Result<Option<Timestamp>> {
    Ok(row
        .get_as::<Option<jiff_sqlx::Timestamp>>(column)?
        .map(|t| t.to_jiff()))
}

fn photo(row: &PgRow) -> Result<Photo> {
    Ok(Photo {
        position: row.get_as("position")?,
        key: row.get_as("s3_key")?,
        content_type: row.get_as("content_type")?,
        bytes: row.get_as("bytes")?,
        pitch_deg: row.get_as("pitch")?,
        uploaded_at: maybe_instant(row, "uploaded_at")?,
        kept_at: maybe_instant(row, "kept_at")?,
    })
}

impl UserTx {
    /// # Errors
    /// The database.
    pub async fn add_scan(&mut self, scan: &NewScan, next_at: Timestamp, now: Timestamp) -> Result<Scan> {
        let user = self.user().uuid();
        let row = sqlx::query(sql(
            "INSERT INTO scans (id, user_id, meal_group, state, model_set, plate_diameter_cm, camera_height_cm, \
             taken_at, meal_type, consent_training, created_at, updated_at, entered_at, next_at, note) VALUES ($1, $2, $3, $4, \
             $5, $6::float8::numeric, $7::float8::numeric, $8, $9, $10, $11, $11, $11, $12, $13) RETURNING ",
            "",
        ))
        .bind(scan.id)
        .bind(user)
        .bind(scan.meal_group)
        .bind(scan.state.as_str())
        .bind(&scan.model_set)
        .bind(scan.plate_diameter_cm)
        .bind(scan.camera_height_cm)
        .bind(instant(scan.taken_at))
        .bind(&scan.meal_type)
        .bind(scan.consent_training)
        .bind(instant(now))
        .bind(instant(next_at))
        .bind(&scan.note)
        .fetch_one(self.conn())
        .await?;
        read(&row)
    }

    /// # Errors
    /// The database.
    pub async fn add_photo(&mut self, meal_group: Uuid, photo: &Photo) -> Result<()> {
        let user = self.user().uuid();
        sqlx::query(
            "INSERT INTO scan_photos (user_id, meal_group, position, s3_key, content_type, bytes, pitch) \
             VALUES ($1, $2, $3, $4, $5, $6, $7::float8::numeric)",
        )
        .bind(user)
        .bind(meal_group)
        .bind(photo.position)
        .bind(&photo.key)
        .bind(&photo.content_type)
        .bind(photo.bytes)
        .bind(photo.pitch_deg)
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// # Errors
    /// The database; `RowNotFound`.
    pub async fn scan(&mut self, id: Uuid) -> Result<Scan> {
        let row = sqlx::query(sql(
            "SELECT ",
            " FROM scans WHERE user_id = ops.current_user_id() AND id = $1",
        ))
        .bind(id)
        .fetch_one(self.conn())
        .await?;
        read(&row)
    }

    /// As [`UserTx::scan`], and nobody else changes it until this transaction ends.
    ///
    /// # Errors
    /// The database; `RowNotFound`.
    pub async fn lock_scan(&mut self, id: Uuid) -> Result<Scan> {
        let row = sqlx::query(sql(
            "SELECT ",
            " FROM scans WHERE user_id = ops.current_user_id() AND id = $1 FOR UPDATE",
        ))
        .bind(id)
        .fetch_one(self.conn())
        .await?;
        read(&row)
    }

    /// The analyses of a meal, the oldest first, locked.
    ///
    /// # Errors
    /// The database.
    pub async fn lock_meal(&mut self, meal_group: Uuid) -> Result<Vec<Scan>> {
        let rows = sqlx::query(sql(
            "SELECT ",
            " FROM scans WHERE user_id = ops.current_user_id() AND meal_group = $1 \
             ORDER BY created_at, id LIMIT 100 FOR UPDATE",
        ))
        .bind(meal_group)
        .fetch_all(self.conn())
        .await?;
        rows.iter().map(read).collect()
    }

    /// The latest first.
    ///
    /// # Errors
    /// The database.
    pub async fn scans_page(
        &mut self,
        list: &List,
        state_wanted: Option<State>,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Page<ScanLine>> {
        let after_time = after.and_then(|p| Timestamp::from_microsecond(p.key).ok());
        let rows = sqlx::query(
            "SELECT id, meal_group, state, error, created_at, updated_at FROM scans \
             WHERE user_id = ops.current_user_id() AND ($1::text IS NULL OR state = $1) \
             AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3)) ORDER BY created_at DESC, id DESC LIMIT $4",
        )
        .bind(state_wanted.map(State::as_str))
        .bind(after_time.map(instant))
        .bind(after.map(|p| p.id).unwrap_or_default())
        .bind(i64::from(limit) + 1)
        .fetch_all(self.conn())
        .await?;
        let line = |row: &PgRow| {
            Ok(ScanLine {
                id: row.get_as("id")?,
                meal_group: row.get_as("meal_group")?,
                state: state(row)?,
                error: row.get_as("error")?,
                created_at: row.instant("created_at")?,
                updated_at: row.instant("updated_at")?,
            })
        };
        let items = rows.iter().map(line).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(items, limit, list, |l| Place {
            key: l.created_at.as_microsecond(),
            id: l.id,
        }))
    }

    /// Scans that neither wait for the user nor have ended.
    ///
    /// # Errors
    /// The database.
    pub async fn scans_under_way(&mut self) -> Result<i64> {
        sqlx::query_scalar(
            "SELECT count(*) FROM scans WHERE user_id = ops.current_user_id() \
             AND state IN ('created', 'uploaded', 'queued', 'running')",
        )
        .fetch_one(self.conn())
        .await
    }

    /// In their order.
    ///
    /// # Errors
    /// The database.
    pub async fn photos(&mut self, meal_group: Uuid) -> Result<Vec<Photo>> {
        let rows = sqlx::query(
            "SELECT position, s3_key, content_type, bytes, pitch::float8 AS pitch, uploaded_at, kept_at FROM scan_photos \
             WHERE user_id = ops.current_user_id() AND meal_group = $1 ORDER BY position",
        )
        .bind(meal_group)
        .fetch_all(self.conn())
        .await?;
        rows.iter().map(photo).collect()
    }

    /// # Errors
    /// The database.
    pub async fn photo_arrived(
        &mut self,
        meal_group: Uuid,
        position: i16,
        bytes: i64,
        now: Timestamp,
    ) -> Result<()> {
        sqlx::query(
            "UPDATE scan_photos SET uploaded_at = coalesce(uploaded_at, $4), bytes = $3 \
             WHERE user_id = ops.current_user_id() AND meal_group = $1 AND position = $2",
        )
        .bind(meal_group)
        .bind(position)
        .bind(bytes)
        .bind(instant(now))
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// # Errors
    /// The database.
    pub async fn photo_kept(&mut self, meal_group: Uuid, position: i16, now: Timestamp) -> Result<()> {
        sqlx::query(
            "UPDATE scan_photos SET kept_at = $3 WHERE user_id = ops.current_user_id() AND meal_group = $1 \
             AND position = $2 AND kept_at IS NULL",
        )
        .bind(meal_group)
        .bind(position)
        .bind(instant(now))
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Neither photos nor pictures of a meal are there any more.
    ///
    /// # Errors
    /// The database.
    pub async fn photos_gone(&mut self, meal_group: Uuid) -> Result<()> {
        sqlx::query(
            "UPDATE scan_photos SET uploaded_at = NULL, kept_at = NULL \
             WHERE user_id = ops.current_user_id() AND meal_group = $1",
        )
        .bind(meal_group)
        .execute(self.conn())
        .await?;
        sqlx::query(
            "UPDATE scans SET has_overlay = false, has_depth = false \
             WHERE user_id = ops.current_user_id() AND meal_group = $1",
        )
        .bind(meal_group)
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Moves a locked scan on; `None` if the event cannot happen in its state.
    ///
    /// # Errors
    /// The database.
    pub async fn step(
        &mut self,
        scan: &Scan,
        event: Event,
        step: Step<'_>,
        now: Timestamp,
    ) -> Result<Option<Scan>> {
        let Some(next) = scan.state.after(event) else {
            return Ok(None);
        };
        let row = sqlx::query(sql(
            "UPDATE scans SET state = $3, error = $4, next_at = $5, claimed_until = NULL, version = version + 1, \
             failures = 0, updated_at = $6, entered_at = $6 WHERE user_id = ops.current_user_id() AND id = $1 AND state = $2 RETURNING ",
            "",
        ))
        .bind(scan.id)
        .bind(scan.state.as_str())
        .bind(next.as_str())
        .bind(step.error)
        .bind(step.next_at.map(instant))
        .bind(instant(now))
        .fetch_optional(self.conn())
        .await?;
        row.as_ref().map(read).transpose()
    }

    /// Keeps the result of a scan; from here on it does not change.
    ///
    /// # Errors
    /// The database.
    pub async fn put_original(&mut self, id: Uuid, result: &Value, overlay: bool, depth: bool) -> Result<()> {
        sqlx::query(
            "UPDATE scans SET original_result = $2, has_overlay = $3, has_depth = $4 \
             WHERE user_id = ops.current_user_id() AND id = $1",
        )
        .bind(id)
        .bind(result)
        .bind(overlay)
        .bind(depth)
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Corrects a scan from the version that was seen; `None` if it is another by now.
    ///
    /// # Errors
    /// The database.
    pub async fn put_correction(
        &mut self,
        id: Uuid,
        seen: Version,
        edits: &Value,
        corrected: Option<&Value>,
        now: Timestamp,
    ) -> Result<Option<Scan>> {
        let row = sqlx::query(sql(
            "UPDATE scans SET edits = $3, corrected_result = $4, version = version + 1, updated_at = $5 \
             WHERE user_id = ops.current_user_id() AND id = $1 AND version = $2 AND state = 'ready' RETURNING ",
            "",
        ))
        .bind(id)
        .bind(seen.0)
        .bind(edits)
        .bind(corrected)
        .bind(instant(now))
        .fetch_optional(self.conn())
        .await?;
        row.as_ref().map(read).transpose()
    }
}
