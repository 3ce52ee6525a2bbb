//! Numbered migrations, then the step that upgrades to TimescaleDB where the server has it. Both by the owner role.

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqlStr};

/// Version, name, text. A file under `migrations/` that is not listed here fails a test.
/// Numbers may have gaps.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "roles", include_str!("../../migrations/0001_roles.sql")),
    (2, "tables", include_str!("../../migrations/0002_tables.sql")),
    (
        3,
        "machinery",
        include_str!("../../migrations/0003_machinery.sql"),
    ),
    (
        4,
        "row security",
        include_str!("../../migrations/0004_row_security.sql"),
    ),
    (10, "scans", include_str!("../../migrations/0010_scans.sql")),
    (11, "training", include_str!("../../migrations/0011_training.sql")),
    (
        20,
        "restaurants",
        include_str!("../../migrations/0020_restaurants.sql"),
    ),
    (21, "notices", include_str!("../../migrations/0021_notices.sql")),
];

fn migrator() -> Migrator {
    let migration = |(version, name, sql): &(i64, &'static str, &'static str)| {
        let sql = SqlStr::from_static(sql);
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql, false)
    };
    Migrator::with_migrations(MIGRATIONS.iter().map(migration).collect())
}

/// The repeatable step; changes nothing on its second run.
const CAPABILITY: &str = include_str!("../../migrations/capability/timescale.sql");

#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error("the database cannot be reached as the owner")]
    Connect(#[source] sqlx::Error),
    #[error("a migration failed")]
    Migration(#[from] sqlx::migrate::MigrateError),
    #[error("the TimescaleDB step failed")]
    Capability(#[source] sqlx::Error),
}

/// What the server turned out to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// A plain table with BRIN.
    Plain,
    /// A hypertable.
    Hypertable,
    /// A hypertable with compression and a continuous aggregate.
    Compressed,
}

/// Brings the schema up to date. Several at once are safe: one runs, the others wait.
///
/// # Errors
/// [`MigrateError`].
pub async fn migrate(owner: &PgConnectOptions) -> Result<Tier, MigrateError> {
    let owner = owner
        .clone()
        .options([("statement_timeout", "0")])
        .disable_statement_logging();
    let mut connection = PgConnection::connect_with(&owner)
        .await
        .map_err(MigrateError::Connect)?;
    migrator().run(&mut connection).await?;
    let tier = capability(&mut connection)
        .await
        .map_err(MigrateError::Capability)?;
    let _ = connection.close().await;
    Ok(tier)
}

/// A login of that name with that password, a member of `role`; made or changed.
///
/// # Errors
/// The database.
pub async fn set_login(
    owner: &PgConnectOptions,
    name: &str,
    password: &str,
    role: &str,
) -> Result<(), sqlx::Error> {
    let owner = owner.clone().disable_statement_logging();
    let mut connection = PgConnection::connect_with(&owner).await?;
    // No statement about roles takes parameters; the server quotes.
    let statements: (Option<String>, String, String) = sqlx::query_as(
        "SELECT CASE WHEN NOT EXISTS (SELECT FROM pg_roles WHERE rolname = $1) THEN format('CREATE ROLE %I', $1) END, \
         format('ALTER ROLE %I LOGIN PASSWORD %L', $1, $2), format('GRANT %I TO %I', $3, $1)",
    )
    .bind(name)
    .bind(password)
    .bind(role)
    .fetch_one(&mut connection)
    .await?;
    for statement in statements.0.into_iter().chain([statements.1, statements.2]) {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut connection)
            .await?;
    }
    connection.close().await
}

async fn capability(connection: &mut PgConnection) -> Result<Tier, sqlx::Error> {
    // One at a time: creating the extension twice at once fails.
    sqlx::query("SELECT pg_advisory_lock(7311040)")
        .execute(&mut *connection)
        .await?;
    let step = sqlx::raw_sql(CAPABILITY).execute(&mut *connection).await;
    let tier = match step {
        Ok(_) => tier(connection).await,
        Err(error) => Err(error),
    };
    sqlx::query("SELECT pg_advisory_unlock(7311040)")
        .execute(&mut *connection)
        .await?;
    tier
}

/// # Errors
/// The database.
pub async fn tier(connection: &mut PgConnection) -> Result<Tier, sqlx::Error> {
    let (extension, aggregate): (bool, bool) = sqlx::query_as(
        "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb'), \
         to_regclass('health_daily_cagg') IS NOT NULL",
    )
    .fetch_one(connection)
    .await?;
    Ok(match (extension, aggregate) {
        (false, _) => Tier::Plain,
        (true, false) => Tier::Hypertable,
        (true, true) => Tier::Compressed,
    })
}

#[cfg(test)]
mod tests {
    use super::MIGRATIONS;

    #[test]
    fn every_file_is_listed_once_and_in_order() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .expect("the folder")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("a name")
            })
            .filter(|name| name.ends_with(".sql"))
            .collect();
        files.sort();
        let listed: Vec<String> = MIGRATIONS
            .iter()
            .map(|(version, name, _)| format!("{version:04}_{}.sql", name.replace(' ', "_")))
            .collect();
        assert_eq!(listed, files);
    }
}
