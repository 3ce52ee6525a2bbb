//! `devices`: phones that want to be pushed to. `gateway_sockets`: sockets that a gateway holds for us.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

use super::UserTx;
use super::row::{Columns, Result, instant};

/// Whose push service a token is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Platform {
    /// Apple.
    Apns,
    /// Firebase Cloud Messaging.
    Fcm,
}

impl Platform {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apns => "apns",
            Self::Fcm => "fcm",
        }
    }
}

/// A phone.
#[derive(Clone)]
pub struct Device {
    pub id: Uuid,
    pub platform: Platform,
    pub token: String,
    pub registered_at: Timestamp,
}

/// Not the token: whoever has it can push.
impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device")
            .field("platform", &self.platform)
            .finish_non_exhaustive()
    }
}

/// A socket held by a gateway.
#[derive(Debug, Clone)]
pub struct GatewaySocket {
    pub connection: String,
    pub told: i64,
}

impl UserTx {
    /// Registers a phone, taking its token over from whoever had it. The oldest beyond `most` are forgotten.
    ///
    /// # Errors
    /// The database.
    pub async fn register_device(
        &mut self,
        platform: Platform,
        token: &str,
        now: Timestamp,
        most: i64,
    ) -> Result<Uuid> {
        let user = self.user().uuid();
        let hash: Vec<u8> = Sha256::digest(format!("{}:{token}", platform.as_str())).to_vec();
        let hex: String = hash.iter().map(|b| format!("{b:02x}")).collect();
        sqlx::query("SELECT set_config('app.device', $1, true)")
            .bind(hex)
            .execute(self.conn())
            .await?;
        let others = "DELETE FROM devices WHERE token_hash = $1 AND user_id <> $2";
        sqlx::query(others)
            .bind(&hash)
            .bind(user)
            .execute(self.conn())
            .await?;
        let id = sqlx::query_scalar(
            "INSERT INTO devices (user_id, platform, token, token_hash, registered_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (token_hash) DO UPDATE SET registered_at = $5 RETURNING id",
        )
        .bind(user)
        .bind(platform.as_str())
        .bind(token)
        .bind(&hash)
        .bind(instant(now))
        .fetch_one(self.conn())
        .await?;
        sqlx::query(
            "DELETE FROM devices WHERE user_id = $1 AND id NOT IN (SELECT id FROM devices WHERE user_id = $1 \
             ORDER BY registered_at DESC, id LIMIT $2)",
        )
        .bind(user)
        .bind(most)
        .execute(self.conn())
        .await?;
        Ok(id)
    }

    /// # Errors
    /// The database.
    pub async fn devices(&mut self) -> Result<Vec<Device>> {
        let rows = sqlx::query(
            "SELECT id, platform, token, registered_at FROM devices WHERE user_id = ops.current_user_id() \
             ORDER BY registered_at DESC, id",
        )
        .fetch_all(self.conn())
        .await?;
        rows.iter()
            .map(|row| {
                let platform: String = row.get_as("platform")?;
                Ok(Device {
                    id: row.get_as("id")?,
                    platform: if platform == "apns" {
                        Platform::Apns
                    } else {
                        Platform::Fcm
                    },
                    token: row.get_as("token")?,
                    registered_at: row.instant("registered_at")?,
                })
            })
            .collect()
    }

    /// Whether there was one. With `before`, only if it was not registered anew since then.
    ///
    /// # Errors
    /// The database.
    pub async fn forget_device(&mut self, id: Uuid, before: Option<Timestamp>) -> Result<bool> {
        let done = sqlx::query(
            "DELETE FROM devices WHERE user_id = ops.current_user_id() AND id = $1 \
             AND coalesce(registered_at <= $2, true)",
        )
        .bind(id)
        .bind(before.map(instant))
        .execute(self.conn())
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// # Errors
    /// The database; not found if the connection is another user's.
    pub async fn open_gateway_socket(&mut self, connection: &str, told: i64, now: Timestamp) -> Result<()> {
        let user = self.user().uuid();
        self.lock_notices().await?;
        sqlx::query(
            "INSERT INTO gateway_sockets (connection, user_id, opened_at, told) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (connection) DO UPDATE SET told = $4",
        )
        .bind(connection)
        .bind(user)
        .bind(instant(now))
        .bind(told)
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// # Errors
    /// The database.
    pub async fn gateway_sockets(&mut self) -> Result<Vec<GatewaySocket>> {
        let rows = sqlx::query(
            "SELECT connection, told FROM gateway_sockets WHERE user_id = ops.current_user_id() ORDER BY opened_at",
        )
        .fetch_all(self.conn())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(GatewaySocket {
                    connection: row.get_as("connection")?,
                    told: row.get_as("told")?,
                })
            })
            .collect()
    }

    /// # Errors
    /// The database.
    pub async fn told_gateway_socket(&mut self, connection: &str, told: i64) -> Result<()> {
        sqlx::query(
            "UPDATE gateway_sockets SET told = greatest(told, $2) \
             WHERE user_id = ops.current_user_id() AND connection = $1",
        )
        .bind(connection)
        .bind(told)
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// # Errors
    /// The database.
    pub async fn close_gateway_socket(&mut self, connection: &str) -> Result<()> {
        sqlx::query("DELETE FROM gateway_sockets WHERE user_id = ops.current_user_id() AND connection = $1")
            .bind(connection)
            .execute(self.conn())
            .await?;
        Ok(())
    }
}
