//! Sockets that API Gateway holds: it hands us their messages as events.

use super::App;
use super::caller::resolve;
use crate::notify::frame::{FromClient, MESSAGE, ToClient, catch_up, event_id};
use crate::notify::gateway::{Gateway, Posted};
use crate::problem::Problem;
use crate::store::UserId;

/// A message of a client behind the gateway; what it is told goes through the gateway too. Nothing is to be done when a
/// socket opens, because the token comes in the first message, nor when it closes: the next post finds nobody and says so.
pub async fn on_message(app: &App, gateway: &dyn Gateway, connection: &str, body: &str) {
    let outcome = match (body.len() <= MESSAGE).then(|| serde_json::from_str(body)) {
        Some(Ok(FromClient::Ping)) => {
            gateway.post(connection, ToClient::Pong.text()).await;
            Ok(())
        }
        Some(Ok(FromClient::Hello { token, last_event_id })) => {
            hello(
                app,
                gateway,
                connection,
                &token,
                event_id(last_event_id.as_deref()),
            )
            .await
        }
        _ => Err("message_unknown"),
    };
    if let Err(code) = outcome {
        gateway.post(connection, ToClient::Problem { code }.text()).await;
    }
}

async fn hello(
    app: &App,
    gateway: &dyn Gateway,
    connection: &str,
    token: &str,
    seen: i64,
) -> Result<(), &'static str> {
    let code = |problem: Problem| problem.code.as_str();
    let user = resolve(app, token).await.map_err(code)?.id;
    let messages = enter(app, user, connection, seen).await.map_err(code)?;
    for message in messages {
        if gateway.post(connection, message.text()).await != Posted::Done {
            break;
        }
    }
    Ok(())
}

/// From here on the worker posts to it.
async fn enter(app: &App, user: UserId, connection: &str, seen: i64) -> Result<Vec<ToClient>, Problem> {
    let mut tx = app.db.user(user).await?;
    tx.open_gateway_socket(connection, seen, app.clock.now()).await?;
    let (mut messages, newest) = catch_up(tx.notices_since(seen).await?, seen, true);
    tx.told_gateway_socket(connection, newest).await?;
    tx.commit().await?;
    messages.insert(0, ToClient::Welcome);
    Ok(messages)
}
