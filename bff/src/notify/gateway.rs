//! Sockets that API Gateway holds: it hands us their messages as events, and posts ours to them.

use aws_sdk_apigatewaymanagement::Client;
use aws_sdk_apigatewaymanagement::error::ProvideErrorMetadata;
use aws_sdk_apigatewaymanagement::primitives::Blob;
use futures::future::BoxFuture;

use super::frame::{FromClient, MESSAGE, ToClient, catch_up, event_id};
use crate::problem::Problem;
use crate::routes::App;
use crate::store::UserId;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posted {
    Done,
    /// The client has left.
    Gone,
    Later,
}

/// Whoever holds the sockets.
pub trait Gateway: Send + Sync + std::fmt::Debug {
    fn post<'a>(&'a self, connection: &'a str, text: String) -> BoxFuture<'a, Posted>;
}

/// AWS's.
#[derive(Debug, Clone)]
pub struct ApiGateway(Client);

impl ApiGateway {
    pub fn of(client: Client) -> Self {
        Self(client)
    }

    /// `endpoint` is the stage's: `https://{api}.execute-api.{region}.amazonaws.com/{stage}`.
    pub async fn new(endpoint: &str) -> Self {
        let shared = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
        let config = aws_sdk_apigatewaymanagement::config::Builder::from(&shared).endpoint_url(endpoint);
        Self(Client::from_conf(config.build()))
    }
}

impl Gateway for ApiGateway {
    fn post<'a>(&'a self, connection: &'a str, text: String) -> BoxFuture<'a, Posted> {
        Box::pin(async move {
            let post = self
                .0
                .post_to_connection()
                .connection_id(connection)
                .data(Blob::new(text));
            let Err(error) = post.send().await else {
                return Posted::Done;
            };
            // By the status, which is there whatever the body and its headers say.
            if error.raw_response().is_some_and(|r| r.status().as_u16() == 410) {
                return Posted::Gone;
            }
            tracing::warn!("API Gateway: {}", error.code().unwrap_or("no answer"));
            Posted::Later
        })
    }
}

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
    let user = crate::auth::resolve(app, token).await.map_err(code)?.id;
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
