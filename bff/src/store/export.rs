//! All rows of a user as JSON lines, table by table as the catalogue lists them.

use futures::Stream;
use sqlx::AssertSqlSafe;

use super::UserTx;
use super::row::Result;

/// Machinery, which holds nothing that is not in other tables.
const LEFT_OUT: [&str; 5] = [
    "public.idempotency_keys",
    "public.outbox",
    "public.notices",
    "public.gateway_sockets",
    "ops.exports",
];

impl UserTx {
    /// Tables with rows of users, as `schema.table`.
    ///
    /// # Errors
    /// The database.
    pub async fn export_tables(&mut self) -> Result<Vec<String>> {
        let left_out: Vec<String> = LEFT_OUT.iter().map(|t| (*t).to_owned()).collect();
        sqlx::query_scalar(
            "SELECT c.table_schema || '.' || c.table_name FROM information_schema.columns c \
             JOIN information_schema.tables t USING (table_schema, table_name) WHERE c.column_name = 'user_id' \
             AND t.table_type = 'BASE TABLE' AND c.table_schema IN ('public', 'ops') \
             AND NOT c.table_schema || '.' || c.table_name = ANY ($1) ORDER BY 1",
        )
        .bind(left_out)
        .fetch_all(self.conn())
        .await
    }

    /// Rows of one of those tables, a JSON object each; never all of them in memory.
    pub fn export_rows(&mut self, table: &str) -> impl Stream<Item = Result<String>> + Send + '_ {
        let quoted = table
            .split('.')
            .map(|part| format!("\"{}\"", part.replace('"', "\"\"")))
            .collect::<Vec<_>>()
            .join(".");
        let sql =
            format!("SELECT row_to_json(t)::text FROM {quoted} t WHERE user_id = ops.current_user_id()");
        sqlx::query_scalar::<_, String>(AssertSqlSafe(sql)).fetch(self.conn())
    }

    /// Keys of the photos that are kept of the user.
    ///
    /// # Errors
    /// The database.
    pub async fn kept_photos(&mut self) -> Result<Vec<String>> {
        sqlx::query_scalar(
            "SELECT s3_key FROM scan_photos WHERE user_id = ops.current_user_id() AND kept_at IS NOT NULL ORDER BY s3_key",
        )
        .fetch_all(self.conn())
        .await
    }

    /// The account without what is the identity provider's.
    ///
    /// # Errors
    /// The database.
    pub async fn export_account(&mut self) -> Result<String> {
        sqlx::query_scalar(
            "SELECT json_build_object('id', id, 'email', email, 'tier', tier, 'created_at', created_at)::text \
             FROM users WHERE id = ops.current_user_id()",
        )
        .fetch_one(self.conn())
        .await
    }
}
