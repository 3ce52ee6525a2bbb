//! The food table in PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

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

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    name: String,
    aliases: String,
    category: String,
    basis: String,
    shape: String,
    density_g_cm3: f64,
    density_low: f64,
    density_high: f64,
    piece_density_g_cm3: Option<f64>,
    kcal_100g: f64,
    protein_100g: f64,
    carbs_100g: f64,
    fat_100g: f64,
    kcal_sigma_ln: f64,
    energy_note: Option<String>,
    hidden_kind: Option<String>,
    hidden_kcal_100g: Option<f64>,
    density_source: String,
    nutrient_source: String,
    fibre_100g: Option<f64>,
    sugars_100g: Option<f64>,
    saturated_fat_100g: Option<f64>,
    sodium_mg_100g: Option<f64>,
    units: Option<String>,
    tier: Option<String>,
}

impl From<Row> for FoodRow {
    fn from(r: Row) -> Self {
        Self {
            id: r.id,
            name: r.name,
            aliases: r.aliases,
            category: r.category,
            basis: r.basis,
            shape: r.shape,
            density_g_cm3: r.density_g_cm3,
            density_low: r.density_low,
            density_high: r.density_high,
            piece_density_g_cm3: r.piece_density_g_cm3,
            kcal_100g: r.kcal_100g,
            protein_100g: r.protein_100g,
            carbs_100g: r.carbs_100g,
            fat_100g: r.fat_100g,
            kcal_sigma_ln: r.kcal_sigma_ln,
            energy_note: r.energy_note,
            hidden_kind: r.hidden_kind,
            hidden_kcal_100g: r.hidden_kcal_100g,
            density_source: r.density_source,
            nutrient_source: r.nutrient_source,
            fibre_100g: r.fibre_100g,
            sugars_100g: r.sugars_100g,
            saturated_fat_100g: r.saturated_fat_100g,
            sodium_mg_100g: r.sodium_mg_100g,
            units: r.units,
            tier: r.tier,
        }
    }
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
        let query = format!("SELECT {} FROM foods ORDER BY id", COLUMNS.join(", "));
        let rows: Vec<Row> = sqlx::query_as(sqlx::AssertSqlSafe(query))
            .fetch_all(&self.pool)
            .await?;
        let rows = rows.into_iter().map(FoodRow::from).collect();
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
