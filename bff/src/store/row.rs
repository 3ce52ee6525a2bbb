//! Reading columns into the types of this crate.

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use sqlx::postgres::PgRow;
use sqlx::{Decode, Postgres, Row, Type};

pub(crate) type Result<T> = std::result::Result<T, sqlx::Error>;

/// Column access with short names.
pub(crate) trait Columns {
    fn get_as<'r, T: Decode<'r, Postgres> + Type<Postgres>>(&'r self, column: &str) -> Result<T>;

    fn instant(&self, column: &str) -> Result<Timestamp> {
        Ok(self.get_as::<jiff_sqlx::Timestamp>(column)?.to_jiff())
    }

    fn date(&self, column: &str) -> Result<Date> {
        Ok(self.get_as::<jiff_sqlx::Date>(column)?.to_jiff())
    }

    fn maybe_date(&self, column: &str) -> Result<Option<Date>> {
        Ok(self
            .get_as::<Option<jiff_sqlx::Date>>(column)?
            .map(|d| d.to_jiff()))
    }

    fn maybe_time(&self, column: &str) -> Result<Option<Time>> {
        Ok(self
            .get_as::<Option<jiff_sqlx::Time>>(column)?
            .map(|t| t.to_jiff()))
    }

    /// Row version: the id of the transaction that wrote the row, selected as `version`.
    fn version(&self) -> Result<Version> {
        Ok(Version(self.get_as("version")?))
    }
}

impl Columns for PgRow {
    fn get_as<'r, T: Decode<'r, Postgres> + Type<Postgres>>(&'r self, column: &str) -> Result<T> {
        self.try_get(column)
    }
}

/// What an ETag of an editable thing says: `xmin` of its row, so that no table needs a column for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version(pub i64);

/// Something and the version of its row.
#[derive(Debug, Clone)]
pub struct Versioned<T> {
    pub version: Version,
    pub value: T,
}

/// What became of a change that was made under a version.
#[derive(Debug)]
pub enum Changed<T> {
    Done(T),
    /// Somebody changed it in between; as it is now.
    Stale(T),
}

pub(crate) fn instant(t: Timestamp) -> jiff_sqlx::Timestamp {
    use jiff_sqlx::ToSqlx;
    t.to_sqlx()
}

pub(crate) fn date(d: Date) -> jiff_sqlx::Date {
    use jiff_sqlx::ToSqlx;
    d.to_sqlx()
}

pub(crate) fn time(t: Time) -> jiff_sqlx::Time {
    use jiff_sqlx::ToSqlx;
    t.to_sqlx()
}
