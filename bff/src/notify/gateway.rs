//! Sockets that API Gateway holds: it posts our messages to them.

use aws_sdk_apigatewaymanagement::Client;
use aws_sdk_apigatewaymanagement::error::ProvideErrorMetadata;
use aws_sdk_apigatewaymanagement::primitives::Blob;
use futures::future::BoxFuture;

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
