//! The account.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;

use super::App;
use crate::auth::CurrentUser;
use crate::problem::Problem;
use crate::store::users::Account;

/// The account that the token stands for; its first request makes it.
#[utoipa::path(get, path = "/me", tag = "me", responses((status = 200, body = Account)))]
pub(super) async fn account(
    State(app): State<Arc<App>>,
    user: CurrentUser,
) -> Result<Answer<Account>, Problem> {
    let mut tx = app.db.user(user.id).await?;
    Ok(Answer(tx.account().await?))
}
