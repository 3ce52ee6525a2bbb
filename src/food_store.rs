//! Where the food table comes from: compiled in, or a PostgreSQL database that may be away.
//!
//! A scan never waits for the database. It uses the last table read; a background task reads a new one; while the
//! database is dead the last table (at first the compiled-in one) goes on being used and every answer says so.

pub mod postgres;
pub mod sql;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

pub use postgres::{PostgresConfig, PostgresFoods};

use crate::contract::{Warning, WarningCode};
use crate::nutrition::{FoodTable, TableError};

/// Why a source gave no table.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("the food database does not answer")]
    Database(#[from] sqlx::Error),
    #[error("the food database did not answer within {0:?}")]
    Timeout(Duration),
    #[error("the food database holds rows that cannot be")]
    Rows(#[from] TableError),
}

/// Gives a whole food table.
pub trait FoodSource: Send + Sync + 'static {
    /// Short name for logs and warnings.
    fn name(&self) -> &'static str;

    fn load(&self) -> BoxFuture<'_, Result<Arc<FoodTable>, SourceError>>;
}

/// The table compiled into the program.
#[derive(Debug, Clone, Copy, Default)]
pub struct Builtin;

impl FoodSource for Builtin {
    fn name(&self) -> &'static str {
        "builtin"
    }

    fn load(&self) -> BoxFuture<'_, Result<Arc<FoodTable>, SourceError>> {
        Box::pin(async { Ok(FoodTable::builtin()) })
    }
}

/// The table in use, and what is wrong with it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub table: Arc<FoodTable>,
    /// Name of the source it was read from.
    pub source: &'static str,
    /// Set while the configured source gives nothing.
    pub warning: Option<Warning>,
}

/// Hands out the current table; shared by clones.
#[derive(Debug, Clone)]
pub struct FoodStore {
    current: Arc<RwLock<Snapshot>>,
}

impl Default for FoodStore {
    fn default() -> Self {
        Self::builtin()
    }
}

impl FoodStore {
    /// Over the compiled-in table, for good.
    pub fn builtin() -> Self {
        Self {
            current: Arc::new(RwLock::new(Snapshot {
                table: FoodTable::builtin(),
                source: Builtin.name(),
                warning: None,
            })),
        }
    }

    /// Reads `source` once, then again every `period` until `stop`. Never fails: the compiled-in table is used until
    /// the source answers.
    pub async fn watch(source: impl FoodSource, period: Duration, stop: CancellationToken) -> Self {
        let store = Self::builtin();
        store.refresh(&source).await;
        let shared = store.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(period) => shared.refresh(&source).await,
                }
            }
        });
        store
    }

    /// The table to use now.
    pub fn current(&self) -> Snapshot {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    async fn refresh(&self, source: &impl FoodSource) {
        let loaded = source.load().await;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        match loaded {
            Ok(table) => {
                if current.warning.is_some() {
                    tracing::info!(source = source.name(), "food table read again");
                }
                *current = Snapshot {
                    table,
                    source: source.name(),
                    warning: None,
                };
            }
            Err(error) => {
                // Once, not at every period.
                if current.warning.is_none() {
                    tracing::warn!(
                        source = source.name(),
                        error = &error as &dyn std::error::Error,
                        "no food table"
                    );
                }
                current.warning = Some(Warning::new(
                    WarningCode::FoodTableStale,
                    format!("{error}; foods are taken from the last {} table", current.source),
                ));
            }
        }
    }
}
