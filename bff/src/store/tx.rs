use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, Transaction};

use super::UserId;

/// Connection options from a URL; statements are never logged.
///
/// # Errors
/// The URL does not parse.
pub fn options(url: &str) -> Result<PgConnectOptions, sqlx::Error> {
    use sqlx::ConnectOptions;
    Ok(PgConnectOptions::from_str(url)?
        .application_name("bio-bff")
        .options([
            ("statement_timeout", "10s"),
            ("idle_in_transaction_session_timeout", "30s"),
            ("TimeZone", "UTC"),
        ])
        .disable_statement_logging())
}

/// The database as one process sees it.
#[derive(Debug, Clone)]
pub struct Db {
    pool: PgPool,
}

impl Db {
    /// Connects on first use.
    pub fn lazy(options: PgConnectOptions, connections: u32, acquire: Duration) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(acquire)
            .max_lifetime(Duration::from_secs(30 * 60))
            // A dead connection is noticed by BEGIN, which is tried again: no ping for each request.
            .test_before_acquire(false)
            .connect_lazy_with(options);
        Self { pool }
    }

    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A transaction of one user. If the user has been erased, it sees nothing and can write nothing.
    ///
    /// # Errors
    /// No connection.
    pub async fn user(&self, user: UserId) -> Result<UserTx, sqlx::Error> {
        self.user_with(user, "").await
    }

    /// As [`Db::user`], with statements after its first ones, in the same round trip.
    pub(in crate::store) async fn user_with(&self, user: UserId, more: &str) -> Result<UserTx, sqlx::Error> {
        // One round trip. The text holds a uuid that we format, nothing else.
        let id = user.uuid();
        let begin = format!(
            "BEGIN; SELECT set_config('app.user_id', CASE WHEN EXISTS (SELECT FROM ops.erasures WHERE erased = '{id}') \
             THEN '' ELSE '{id}' END, true){more}"
        );
        Ok(UserTx {
            tx: self.begin_with(&begin).await?,
            user,
        })
    }

    /// A transaction of no user: the machinery's tables only.
    pub(crate) async fn machinery(&self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        self.begin_with("BEGIN").await
    }

    /// BEGIN has no effect that could be doubled, so a connection that died while idle costs another try, not the
    /// request.
    async fn begin_with(&self, begin: &str) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        let mut tries = self.pool.options().get_max_connections() + 1;
        loop {
            match self.pool.begin_with(AssertSqlSafe(begin.to_owned())).await {
                Err(error) if tries > 0 && is_dead_connection(&error) => tries -= 1,
                outcome => return outcome,
            }
        }
    }
}

fn is_dead_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(db) => matches!(db.code().as_deref(), Some("57P01" | "57P02")),
        _ => false,
    }
}

/// A transaction in which only one user's rows exist. Rolls back unless committed.
#[derive(Debug)]
pub struct UserTx {
    tx: Transaction<'static, Postgres>,
    user: UserId,
}

impl UserTx {
    pub fn user(&self) -> UserId {
        self.user
    }

    pub(in crate::store) fn conn(&mut self) -> &mut PgConnection {
        &mut self.tx
    }

    /// # Errors
    /// The commit failed; nothing is written, or the connection died before the answer came.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        self.tx.commit().await
    }
}
