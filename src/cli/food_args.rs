//! Flags that pick the food table, shared by every command that looks foods up.

use std::time::Duration;

use secrecy::SecretString;

use super::engine::tokio_runtime;
use crate::contract::{ErrorCode, ScanError};
use crate::food_store::{self, FoodStore};

#[derive(Debug, Clone, clap::Args)]
pub(super) struct FoodArgs {
    /// Food table: `builtin`, a CSV file with the columns of `dragunov foods export --csv`, or
    /// `postgres://user:password@host/database` with the table of `dragunov foods export --sql`. Flags show in process
    /// lists: prefer the environment for a password.
    #[arg(
        long,
        env = "DRAGUNOV_FOODS",
        hide_env_values = true,
        default_value = "builtin",
        value_name = "SOURCE"
    )]
    foods: SecretString,
}

impl FoodArgs {
    /// The table as it is now, for commands that end.
    ///
    /// # Errors
    /// `config_invalid` for a source that cannot be, with the line of a CSV file.
    pub(super) fn read(&self) -> Result<FoodStore, ScanError> {
        tokio_runtime()?.block_on(async {
            match food_store::source(&self.foods)? {
                Some(source) => FoodStore::read(&*source).await,
                None => Ok(FoodStore::builtin()),
            }
        })
    }

    /// The table, read again every `period` from now on.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) async fn watch(&self, period: Duration) -> Result<FoodStore, ScanError> {
        if period < Duration::from_millis(100) {
            return Err(ScanError::new(
                ErrorCode::ConfigInvalid,
                "--foods-refresh: must be at least 100ms",
            ));
        }
        let Some(source) = food_store::source(&self.foods)? else {
            return Ok(FoodStore::builtin());
        };
        let store = FoodStore::read(&*source).await?;
        store.refresh(source, period);
        Ok(store)
    }
}
