//! Where the food table comes from: compiled in, a CSV file, or a PostgreSQL database that may be away.
//!
//! A scan never waits for a source. It uses the last table read; a background task reads a new one. While the source
//! gives nothing, the last table (at first the compiled-in one) goes on being used and every answer says so.

mod csv;
pub mod postgres;
pub mod sql;

use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

pub use csv::CsvFoods;
pub use postgres::{PostgresConfig, PostgresFoods};

use crate::contract::result::FoodsInfo;
use crate::contract::{ErrorCode, FoodSourceKind, ScanError, Warning, WarningCode};
use crate::nutrition::{FoodTable, TableError};

/// For a connection to the database and for a query, each.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a source gave no table.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("the food database does not answer")]
    Database(#[from] sqlx::Error),
    #[error("the food database did not answer within {0:?}")]
    Timeout(Duration),
    #[error("the food database holds rows that cannot be used: {0}")]
    Rows(#[from] TableError),
    #[error("{file} cannot be read: {error}")]
    Unreadable { file: String, error: std::io::Error },
    #[error("{file}: {error}")]
    Csv { file: String, error: TableError },
}

/// Gives a whole food table.
pub trait FoodSource: Send + Sync + 'static {
    fn kind(&self) -> FoodSourceKind;

    fn load(&self) -> BoxFuture<'_, Result<Arc<FoodTable>, SourceError>>;
}

/// The source that `--foods` names; none for the compiled-in table. Opens nothing yet.
///
/// # Errors
/// `config_invalid`; the text, which may hold a password, is not repeated.
pub fn source(foods: &SecretString) -> Result<Option<Box<dyn FoodSource>>, ScanError> {
    let text = foods.expose_secret().trim();
    let wrong = |why: String| {
        ScanError::new(ErrorCode::ConfigInvalid, format!("--foods: {why}"))
            .next_step("give `builtin`, a CSV file, or postgres://user:password@host/database")
    };
    match text.split_once("://") {
        None if matches!(text, "" | "builtin") => Ok(None),
        None => Ok(Some(Box::new(CsvFoods::new(text)))),
        Some(("postgres" | "postgresql", _)) => {
            let config = PostgresConfig {
                url: foods.clone(),
                timeout: DATABASE_TIMEOUT,
            };
            let source = PostgresFoods::new(&config).map_err(|e| wrong(e.to_string()).source(e))?;
            Ok(Some(Box::new(source)))
        }
        Some(_) => Err(wrong("this kind of address is no food table".into())),
    }
}

/// The table in use, and what is wrong with it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub table: Arc<FoodTable>,
    /// Where it was read from, and which contents it has.
    pub info: FoodsInfo,
    /// Set while the configured source gives nothing.
    pub warning: Option<Warning>,
}

impl Snapshot {
    fn new(table: Arc<FoodTable>, source: FoodSourceKind) -> Self {
        Self {
            info: FoodsInfo {
                source,
                revision: revision(&table),
            },
            table,
            warning: None,
        }
    }

    /// What an identifier may call the foods.
    pub fn names(&self) -> Vec<String> {
        self.table.common_names()
    }
}

/// The same for the same rows, whatever their order and source.
fn revision(table: &FoodTable) -> String {
    let mut rows: Vec<String> = table.rows().iter().map(|row| format!("{row:?}")).collect();
    rows.sort_unstable();
    let hash = Sha256::digest(rows.join("\n"));
    hash[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The compiled-in table, read at its first use.
fn builtin() -> Snapshot {
    static BUILTIN: OnceLock<Snapshot> = OnceLock::new();
    BUILTIN
        .get_or_init(|| Snapshot::new(FoodTable::builtin(), FoodSourceKind::Builtin))
        .clone()
}

/// Hands out the current table; shared by clones.
#[derive(Debug, Clone)]
pub struct FoodStore {
    /// None: the compiled-in table, which is not read before somebody asks.
    current: Arc<RwLock<Option<Snapshot>>>,
}

impl Default for FoodStore {
    fn default() -> Self {
        Self::builtin()
    }
}

impl FoodStore {
    /// Over the compiled-in table.
    pub fn builtin() -> Self {
        Self {
            current: Arc::default(),
        }
    }

    /// Reads `source` once. A database that gives no table costs a warning: the compiled-in table is used until it does.
    ///
    /// # Errors
    /// `config_invalid`, with the line, for a CSV file that is no food table.
    pub async fn read(source: &dyn FoodSource) -> Result<Self, ScanError> {
        let store = Self::builtin();
        match source.load().await {
            Err(error) if source.kind() == FoodSourceKind::Csv => {
                let message = format!("--foods: {error}");
                Err(ScanError::new(ErrorCode::ConfigInvalid, message)
                    .source(error)
                    .next_step("`dragunov foods export --csv` prints a table to start from"))
            }
            loaded => {
                store.put(loaded, source.kind());
                Ok(store)
            }
        }
    }

    /// Reads `source` again every `period` for as long as a clone of this store is in use. Must be called within a tokio
    /// runtime.
    pub fn refresh(&self, source: Box<dyn FoodSource>, period: Duration) {
        let current: Weak<_> = Arc::downgrade(&self.current);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(period).await;
                let loaded = source.load().await;
                let Some(current) = current.upgrade() else { return };
                Self { current }.put(loaded, source.kind());
            }
        });
    }

    /// The table to use now.
    pub fn current(&self) -> Snapshot {
        let read = self.current.read().unwrap_or_else(PoisonError::into_inner);
        read.clone().unwrap_or_else(builtin)
    }

    fn put(&self, loaded: Result<Arc<FoodTable>, SourceError>, source: FoodSourceKind) {
        let loaded = loaded.map(|table| Snapshot::new(table, source));
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let current = current.get_or_insert_with(builtin);
        match loaded {
            Ok(new) => {
                if current.warning.is_some() || current.info != new.info {
                    tracing::info!(
                        source = source.as_str(),
                        revision = new.info.revision,
                        "food table read"
                    );
                    *current = new;
                }
            }
            Err(error) => {
                // Once, not at every period.
                if current.warning.is_none() {
                    tracing::warn!(
                        source = source.as_str(),
                        error = &error as &dyn std::error::Error,
                        "no food table"
                    );
                }
                let last = current.info.source;
                current.warning = Some(Warning::new(
                    WarningCode::FoodTableStale,
                    format!("{error}; foods are taken from the last {last} table"),
                ));
            }
        }
    }
}
