//! Things that a user lists, reads, adds, changes and removes. The statements are here once; a table's own file says
//! what differs: its columns, its order and how a row reads.

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres};
use uuid::Uuid;

use super::UserTx;
use super::page::{List, Page, Place};
use super::row::{Changed, Columns, Result, Version, Versioned};

/// A statement that is being given its values.
pub(in crate::store) type PgQuery<'q> = Query<'q, Postgres, PgArguments>;

/// Order of a list: by a column or expression, then by id.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// Constant SQL; never null.
    pub by: &'static str,
    pub unit: Unit,
    pub descending: bool,
}

/// What the key of a [`Place`] counts, since 1970.
#[derive(Debug, Clone, Copy)]
pub enum Unit {
    Microseconds,
    Days,
}

impl Unit {
    /// The parameter `$2` as the type of the ordered column.
    fn key(self) -> &'static str {
        match self {
            // Exact: 53 bits of microseconds last until the year 2255.
            Self::Microseconds => "timestamptz 'epoch' + $2::bigint * interval '1 microsecond'",
            Self::Days => "date 'epoch' + $2::bigint::int",
        }
    }
}

/// A table that is read by id and in pages.
pub trait Resource: Sized + Send + Sync {
    const TABLE: &'static str;
    /// What [`Resource::read`] needs.
    const COLUMNS: &'static str;
    const ORDER: Order;
    /// Which rows a list shows, as SQL over `$1::text`, null if the client did not ask for anything.
    const FILTER: &'static str = "$1::text IS NULL";
    /// The column that hides a removed row which stays in the table.
    const HIDDEN_BY: Option<&'static str> = None;

    /// # Errors
    /// A column is missing or of another type.
    fn read(row: &PgRow) -> Result<Self>;

    /// Where it stands in [`Resource::ORDER`].
    fn place(&self) -> Place;
}

/// A resource with a part that clients write.
pub trait Editable: Resource {
    /// The editable part.
    type Fields: Send + Sync;
    /// Columns of the editable part, and each one's value in SQL with `?` for the parameter; in the order of
    /// [`Editable::bind`].
    const WRITTEN: &'static [(&'static str, &'static str)];

    fn bind<'q>(fields: &Self::Fields, query: PgQuery<'q>) -> PgQuery<'q>;
}

/// What every statement returns: the columns and the row's version.
pub(in crate::store) fn returned<R: Resource>() -> String {
    format!("{}, xmin::text::bigint AS version", R::COLUMNS)
}

pub(in crate::store) fn read<R: Resource>(row: &PgRow) -> Result<Versioned<R>> {
    Ok(Versioned {
        version: row.version()?,
        value: R::read(row)?,
    })
}

/// Rows of this user that are there.
fn mine<R: Resource>() -> String {
    let there = R::HIDDEN_BY.map_or_else(String::new, |column| format!(" AND NOT {column}"));
    format!("user_id = ops.current_user_id(){there}")
}

/// The values of the editable part, from parameter `$2` on.
fn values<R: Editable>() -> Vec<String> {
    let numbered = |(i, (_, sql)): (usize, &(_, &str))| sql.replace('?', &format!("${}", i + 2));
    R::WRITTEN.iter().enumerate().map(numbered).collect()
}

impl UserTx {
    /// One page of a list, in its order.
    ///
    /// # Errors
    /// The database.
    pub async fn page<R: Resource>(
        &mut self,
        list: &List,
        filter: Option<&str>,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Page<R>> {
        let Order { by, unit, descending } = R::ORDER;
        let (sign, direction) = if descending { ("<", "DESC") } else { (">", "ASC") };
        let sql = format!(
            "SELECT {} FROM {} WHERE {} AND ({}) AND ($2::bigint IS NULL OR ({by}, id) {sign} ({}, $3::uuid)) \
             ORDER BY {by} {direction}, id {direction} LIMIT $4",
            returned::<R>(),
            R::TABLE,
            mine::<R>(),
            R::FILTER,
            unit.key(),
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(filter)
            .bind(after.map(|p| p.key))
            .bind(after.map(|p| p.id))
            .bind(i64::from(limit) + 1)
            .fetch_all(self.conn())
            .await?;
        let items = rows.iter().map(R::read).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(items, limit, list, R::place))
    }

    /// # Errors
    /// The database; `RowNotFound`.
    pub async fn one<R: Resource>(&mut self, id: Uuid) -> Result<Versioned<R>> {
        let sql = format!(
            "SELECT {} FROM {} WHERE {} AND id = $1",
            returned::<R>(),
            R::TABLE,
            mine::<R>()
        );
        read(
            &sqlx::query(AssertSqlSafe(sql))
                .bind(id)
                .fetch_one(self.conn())
                .await?,
        )
    }

    /// # Errors
    /// The database.
    pub async fn add<R: Editable>(&mut self, fields: &R::Fields) -> Result<Versioned<R>> {
        let columns: Vec<_> = R::WRITTEN.iter().map(|(column, _)| *column).collect();
        let sql = format!(
            "INSERT INTO {} (user_id, {}) VALUES ($1, {}) RETURNING {}",
            R::TABLE,
            columns.join(", "),
            values::<R>().join(", "),
            returned::<R>(),
        );
        let insert = sqlx::query(AssertSqlSafe(sql)).bind(self.user().uuid());
        read(&R::bind(fields, insert).fetch_one(self.conn()).await?)
    }

    /// Replaces the editable part if nobody changed it since `seen`.
    ///
    /// # Errors
    /// The database; `RowNotFound`.
    pub async fn put<R: Editable>(
        &mut self,
        id: Uuid,
        seen: Version,
        fields: &R::Fields,
    ) -> Result<Changed<Versioned<R>>> {
        let sets: Vec<_> = R::WRITTEN
            .iter()
            .zip(values::<R>())
            .map(|((column, _), value)| format!("{column} = {value}"))
            .collect();
        let sql = format!(
            "UPDATE {} SET {} WHERE {} AND id = $1 AND xmin::text::bigint = ${} RETURNING {}",
            R::TABLE,
            sets.join(", "),
            mine::<R>(),
            R::WRITTEN.len() + 2,
            returned::<R>(),
        );
        let update = R::bind(fields, sqlx::query(AssertSqlSafe(sql)).bind(id)).bind(seen.0);
        match update.fetch_optional(self.conn()).await? {
            Some(row) => Ok(Changed::Done(read(&row)?)),
            None => Ok(Changed::Stale(self.one(id).await?)),
        }
    }

    /// Removes it if nobody changed it since `seen`; `Stale` with it as it is now otherwise.
    ///
    /// # Errors
    /// The database; `RowNotFound`.
    pub async fn remove<R: Editable>(
        &mut self,
        id: Uuid,
        seen: Version,
    ) -> Result<Changed<Option<Versioned<R>>>> {
        let remove = match R::HIDDEN_BY {
            Some(column) => format!("UPDATE {} SET {column} = true", R::TABLE),
            None => format!("DELETE FROM {}", R::TABLE),
        };
        let sql = format!(
            "{remove} WHERE {} AND id = $1 AND xmin::text::bigint = $2",
            mine::<R>()
        );
        let done = sqlx::query(AssertSqlSafe(sql))
            .bind(id)
            .bind(seen.0)
            .execute(self.conn())
            .await?;
        match done.rows_affected() {
            0 => Ok(Changed::Stale(Some(self.one(id).await?))),
            _ => Ok(Changed::Done(None)),
        }
    }
}
