//! The food table in PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::types::Json;

use super::{FoodSource, SourceError};
use crate::contract::FoodSourceKind;
use crate::nutrition::table::COLUMNS;
use crate::nutrition::{FoodRow, FoodTable};

/// `CREATE TABLE foods`, to be run once; repeating it changes nothing.
pub const SCHEMA: &str = include_str!("schema.sql");

/// Where the database is and how long it may take.
#[derive(Debug, Clone)]
pub struct PostgresConfig {
    /// `postgres://user:password@host/database`
    pub url: SecretString,
    /// For a connection and for a query, each.
    pub timeout: Duration,
}

/// Foods kept in a table `foods`.
#[derive(Debug, Clone)]
pub struct PostgresFoods {
    pool: PgPool,
    timeout: Duration,
}

impl PostgresFoods {
    /// Opens nothing yet: connections are made on first use. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the URL is not one of PostgreSQL (the error does not repeat it), or outside of a runtime.
    pub fn new(config: &PostgresConfig) -> Result<Self, SourceError> {
        let refused = |why: &str| SourceError::Database(sqlx::Error::Configuration(why.into()));
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(refused("the food database needs a tokio runtime"));
        }
        // The driver itself takes any scheme.
        let options = Some(config.url.expose_secret())
            .filter(|u| u.starts_with("postgres://") || u.starts_with("postgresql://"))
            .and_then(|u| u.parse::<PgConnectOptions>().ok())
            .ok_or_else(|| refused("the food database's URL is not postgres://user@host/database"))?;
        let pool = PgPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(config.timeout)
            .idle_timeout(Duration::from_secs(60))
            .connect_lazy_with(options);
        Ok(Self {
            pool,
            timeout: config.timeout,
        })
    }

    /// Creates the table where it is missing.
    ///
    /// # Errors
    /// [`SourceError::Database`], [`SourceError::Timeout`].
    pub async fn migrate(&self) -> Result<(), SourceError> {
        self.limited(async {
            sqlx::raw_sql(SCHEMA).execute(&self.pool).await?;
            Ok(())
        })
        .await
    }

    async fn read(&self) -> Result<Arc<FoodTable>, SourceError> {
        let columns = COLUMNS.join(", ");
        let query = format!("SELECT to_jsonb(f) FROM (SELECT {columns} FROM foods ORDER BY id) f");
        let rows: Vec<(Json<FoodRow>,)> = sqlx::query_as(sqlx::AssertSqlSafe(query))
            .fetch_all(&self.pool)
            .await?;
        let rows = rows.into_iter().map(|(Json(row),)| row).collect();
        Ok(Arc::new(FoodTable::from_rows(rows)?))
    }

    async fn limited<T>(&self, work: impl Future<Output = Result<T, SourceError>>) -> Result<T, SourceError> {
        let limit = 2 * self.timeout;
        tokio::time::timeout(limit, work)
            .await
            .unwrap_or(Err(SourceError::Timeout(limit)))
    }
}

impl FoodSource for PostgresFoods {
    fn kind(&self) -> FoodSourceKind {
        FoodSourceKind::Postgres
    }

    fn load(&self) -> BoxFuture<'_, Result<Arc<FoodTable>, SourceError>> {
        Box::pin(self.limited(self.read()))
    }
}
