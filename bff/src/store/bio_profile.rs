//! `bio_profile`: one row a user, made by the first change.

use jiff::civil::{Date, Time};
use serde::Serialize;
use sqlx::postgres::PgRow;
use utoipa::ToSchema;

use super::UserTx;
use super::row::{Changed, Columns, Result, Version, Versioned, date, time};
use crate::domain::day::{self, Calendar, EatingHours};
use crate::domain::targets::Body;

/// What the user told about body, goals and day. Absent values are null, and what cannot be derived without them is
/// null too.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct BioProfile {
    #[schema(required)]
    pub height_cm: Option<i32>,
    #[schema(required)]
    pub weight_kg: Option<f64>,
    #[schema(required, value_type = Option<String>, format = Date)]
    pub birth_date: Option<Date>,
    /// `male`, `female`, or the user's own word, which counts as unknown in formulas.
    #[schema(required)]
    pub gender: Option<String>,
    /// `fat_loss`, `maintain`, `hypertrophy`.
    #[schema(required)]
    pub primary_goal: Option<String>,
    #[schema(required)]
    pub dietary_preference: Option<String>,
    pub allergies: Vec<String>,
    pub dislikes: Vec<String>,
    pub is_fasting_enabled: bool,
    /// Local wall time; fasting lasts from here to `fasting_end_time`.
    #[schema(required, value_type = Option<String>)]
    pub fasting_start_time: Option<Time>,
    #[schema(required, value_type = Option<String>)]
    pub fasting_end_time: Option<Time>,
    /// IANA name; UTC is assumed while it is null.
    #[schema(required)]
    pub timezone: Option<String>,
    #[schema(required, value_type = Option<String>)]
    pub wake_time: Option<Time>,
    #[schema(required, value_type = Option<String>)]
    pub sleep_time: Option<Time>,
    #[schema(required)]
    pub plate_diameter_cm: Option<f64>,
    pub consent_training: bool,
}

const COLUMNS: &str = "height_cm, weight_kg::float8 AS weight_kg, birth_date, gender, primary_goal, \
    dietary_preference, allergies, dislikes, is_fasting_enabled, fasting_start_time, fasting_end_time, timezone, \
    wake_time, sleep_time, plate_diameter_cm::float8 AS plate_diameter_cm, consent_training, \
    xmin::text::bigint AS version";

fn read(row: &PgRow) -> Result<Versioned<BioProfile>> {
    Ok(Versioned {
        version: row.version()?,
        value: BioProfile {
            height_cm: row.get_as("height_cm")?,
            weight_kg: row.get_as("weight_kg")?,
            birth_date: row.maybe_date("birth_date")?,
            gender: row.get_as("gender")?,
            primary_goal: row.get_as("primary_goal")?,
            dietary_preference: row.get_as("dietary_preference")?,
            allergies: row.get_as::<Option<_>>("allergies")?.unwrap_or_default(),
            dislikes: row.get_as::<Option<_>>("dislikes")?.unwrap_or_default(),
            is_fasting_enabled: row.get_as("is_fasting_enabled")?,
            fasting_start_time: row.maybe_time("fasting_start_time")?,
            fasting_end_time: row.maybe_time("fasting_end_time")?,
            timezone: row.get_as("timezone")?,
            wake_time: row.maybe_time("wake_time")?,
            sleep_time: row.maybe_time("sleep_time")?,
            plate_diameter_cm: row.get_as("plate_diameter_cm")?,
            consent_training: row.get_as("consent_training")?,
        },
    })
}

/// The version of a profile that nobody has written yet.
pub const UNWRITTEN: Version = Version(0);

impl UserTx {
    /// # Errors
    /// The database.
    pub async fn profile(&mut self) -> Result<Versioned<BioProfile>> {
        let sql = const_str(
            COLUMNS,
            "SELECT ",
            " FROM bio_profile WHERE user_id = ops.current_user_id()",
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .fetch_optional(self.conn())
            .await?;
        match row {
            Some(row) => read(&row),
            None => Ok(Versioned {
                version: UNWRITTEN,
                value: BioProfile::default(),
            }),
        }
    }

    /// Writes the whole profile if it still has this version.
    ///
    /// # Errors
    /// The database.
    pub async fn put_profile(
        &mut self,
        seen: Version,
        p: &BioProfile,
    ) -> Result<Changed<Versioned<BioProfile>>> {
        let user = self.user().uuid();
        let sql = const_str(
            COLUMNS,
            "INSERT INTO bio_profile AS b (user_id, height_cm, weight_kg, birth_date, gender, primary_goal, \
             dietary_preference, allergies, dislikes, is_fasting_enabled, fasting_start_time, fasting_end_time, \
             timezone, wake_time, sleep_time, plate_diameter_cm, consent_training) \
             VALUES ($1, $2, $3::float8::numeric, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, \
             $16::float8::numeric, $17) \
             ON CONFLICT (user_id) DO UPDATE SET height_cm = excluded.height_cm, weight_kg = excluded.weight_kg, \
             birth_date = excluded.birth_date, gender = excluded.gender, primary_goal = excluded.primary_goal, \
             dietary_preference = excluded.dietary_preference, allergies = excluded.allergies, \
             dislikes = excluded.dislikes, is_fasting_enabled = excluded.is_fasting_enabled, \
             fasting_start_time = excluded.fasting_start_time, fasting_end_time = excluded.fasting_end_time, \
             timezone = excluded.timezone, wake_time = excluded.wake_time, sleep_time = excluded.sleep_time, \
             plate_diameter_cm = excluded.plate_diameter_cm, consent_training = excluded.consent_training \
             WHERE b.xmin::text::bigint = $18 RETURNING ",
            "",
        );
        // A row that is there has a version above 0, so a first write that lost the race is stale, not applied.
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(user)
            .bind(p.height_cm)
            .bind(p.weight_kg)
            .bind(p.birth_date.map(date))
            .bind(&p.gender)
            .bind(&p.primary_goal)
            .bind(&p.dietary_preference)
            .bind(&p.allergies)
            .bind(&p.dislikes)
            .bind(p.is_fasting_enabled)
            .bind(p.fasting_start_time.map(time))
            .bind(p.fasting_end_time.map(time))
            .bind(&p.timezone)
            .bind(p.wake_time.map(time))
            .bind(p.sleep_time.map(time))
            .bind(p.plate_diameter_cm)
            .bind(p.consent_training)
            .bind(seen.0)
            .fetch_optional(self.conn())
            .await?;
        match row {
            Some(row) => Ok(Changed::Done(read(&row)?)),
            None => Ok(Changed::Stale(self.profile().await?)),
        }
    }
}

/// Puts a column list between two pieces of SQL; all three are constants of this crate.
pub(in crate::store) fn const_str(
    columns: &'static str,
    before: &'static str,
    after: &'static str,
) -> String {
    [before, columns, after].concat()
}

impl BioProfile {
    /// The zone and the hours in which the user's days are counted.
    pub fn calendar(&self) -> Calendar {
        let zone = self
            .timezone
            .as_deref()
            .and_then(day::zone)
            .unwrap_or(jiff::tz::TimeZone::UTC);
        let hours = match (
            self.is_fasting_enabled,
            self.fasting_start_time,
            self.fasting_end_time,
        ) {
            (true, Some(start), Some(end)) if start != end => EatingHours::fasting(start, end),
            _ => EatingHours::awake(self.wake_time, self.sleep_time),
        };
        Calendar::new(zone, hours)
    }

    /// Name of the zone that [`Self::calendar`] counts in.
    pub fn zone_name(&self) -> &str {
        self.timezone.as_deref().unwrap_or("UTC")
    }

    /// What targets are made of.
    pub fn body(&self, usual_active_kcal: Option<f64>) -> Body<'_> {
        Body {
            height_cm: self.height_cm,
            weight_kg: self.weight_kg,
            birth_date: self.birth_date,
            gender: self.gender.as_deref(),
            goal: self.primary_goal.as_deref(),
            usual_active_kcal,
        }
    }
}
