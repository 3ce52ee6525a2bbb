//! Messages of the socket, both ways. JSON text, the same behind axum and behind API Gateway.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::store::notices::{Notice, Since};

/// Bytes of a message from a client.
pub const MESSAGE: usize = 16 << 10;

/// From the client.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromClient {
    /// The first message: who it is, and the last event it has seen.
    Hello {
        token: String,
        #[serde(default)]
        last_event_id: Option<String>,
    },
    /// For clients whose library sends no ping frames, and for gateways that count only messages.
    Ping,
}

/// To the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToClient {
    /// The token was good; what came after the last event follows.
    Welcome,
    Notice {
        event_id: String,
        kind: String,
        id: Uuid,
    },
    /// Some notices are not kept any more, or this is a new client: fetch everything once.
    Resync {
        event_id: String,
    },
    Pong,
    /// Before the socket is closed.
    Problem {
        code: &'static str,
    },
}

impl ToClient {
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// An event id of ours; anything else is no event.
pub fn event_id(text: Option<&str>) -> i64 {
    text.and_then(|t| t.parse().ok())
        .filter(|id| *id >= 0)
        .unwrap_or(0)
}

/// What a client that has seen `seen` is sent, and what it has seen after that.
/// `first`: it has just come; one that has seen nothing fetches everything once.
pub fn catch_up(since: Since, seen: i64, first: bool) -> (Vec<ToClient>, i64) {
    if since.gap || (first && seen == 0) {
        let event_id = since.newest.to_string();
        return (vec![ToClient::Resync { event_id }], since.newest);
    }
    let newest = since.notices.last().map_or(seen, |n| n.id);
    (since.notices.into_iter().map(ToClient::from).collect(), newest)
}

impl From<Notice> for ToClient {
    fn from(notice: Notice) -> Self {
        Self::Notice {
            event_id: notice.id.to_string(),
            kind: notice.kind,
            id: notice.subject,
        }
    }
}
