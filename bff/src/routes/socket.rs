//! One WebSocket: the token in the first message, then what the client missed, then what happens.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

use super::App;
use super::caller::resolve;
use crate::notify::frame::{FromClient, ToClient, catch_up, event_id};
use crate::notify::hub::Seat;
use crate::problem::{Code, Problem};
use crate::store::UserId;
use crate::store::notices::AT_ONCE;

/// For the first message.
const HELLO: Duration = Duration::from_secs(10);
/// Between two pings of ours; whoever has said nothing for two of them is gone.
const PING: Duration = Duration::from_secs(25);
/// For a message to leave: a client that reads nothing is gone.
const SEND: Duration = Duration::from_secs(10);
/// As long as API Gateway lets one live.
const LIFE: Duration = Duration::from_secs(2 * 3600);
/// Messages of a client between two pings.
const CHATTER: u32 = 60;

/// Why a socket is closed.
#[derive(Debug)]
enum End {
    /// The client left, or cannot be reached.
    Gone,
    /// Close code, and a code of ours.
    Closed(u16, &'static str),
}

impl From<Problem> for End {
    fn from(problem: Problem) -> Self {
        let code = problem.code.as_str();
        match problem.code.status().as_u16() {
            503 => Self::Closed(close_code::AGAIN, code),
            500 => Self::Closed(close_code::ERROR, code),
            // In the range that is free for applications.
            status => Self::Closed(4000 + status, code),
        }
    }
}

impl From<sqlx::Error> for End {
    fn from(error: sqlx::Error) -> Self {
        Problem::from(error).into()
    }
}

impl From<axum::Error> for End {
    fn from(_: axum::Error) -> Self {
        Self::Gone
    }
}

/// Serves a socket until either side has enough.
pub(super) async fn run(app: Arc<App>, mut socket: WebSocket, stranger: OwnedSemaphorePermit) {
    metrics::gauge!("bff_sockets").increment(1.0);
    let end = match converse(&app, &mut socket, stranger).await {
        Ok(()) => End::Gone,
        Err(end) => end,
    };
    if let End::Closed(code, reason) = end {
        let problem = ToClient::Problem { code: reason }.text();
        let last = async {
            socket.send(Message::text(problem)).await?;
            let reason = reason.into();
            socket
                .send(Message::Close(Some(CloseFrame { code, reason })))
                .await
        };
        let _ = timeout(SEND, last).await;
    }
    metrics::gauge!("bff_sockets").decrement(1.0);
}

async fn converse(app: &Arc<App>, socket: &mut WebSocket, stranger: OwnedSemaphorePermit) -> Result<(), End> {
    let (user, mut seen) = tokio::select! {
        hello = timeout(HELLO, hello(app, socket)) => hello.unwrap_or(Err(End::Closed(close_code::POLICY, "hello_missing")))?,
        () = app.hub.closing.cancelled() => return Err(draining()),
    };
    drop(stranger);
    // Before the first look at the table, so that nothing falls between.
    let seat = app.hub.sit(user);
    let mut seat: Seat = seat.ok_or(End::Closed(close_code::AGAIN, "too_many_sockets"))?;
    send(socket, &ToClient::Welcome).await?;
    seen = tell(app, socket, user, seen, true).await?;
    let end = tokio::time::sleep(LIFE);
    tokio::pin!(end);
    let (mut ping, mut heard, mut chatter) = (
        tokio::time::interval_at(Instant::now() + PING, PING),
        Instant::now(),
        0,
    );
    loop {
        tokio::select! {
            () = seat.woken() => seen = tell(app, socket, user, seen, false).await?,
            // With a token that is still good.
            () = &mut end => return Err(End::Closed(close_code::RESTART, "connect_again")),
            () = app.hub.closing.cancelled() => return Err(draining()),
            _ = ping.tick() => {
                if heard.elapsed() > 2 * PING {
                    return Err(End::Gone);
                }
                chatter = 0;
                timeout(SEND, socket.send(Message::Ping(bytes::Bytes::new()))).await.map_err(|_| End::Gone)??;
            }
            message = socket.recv() => {
                let Some(message) = message else { return Ok(()) };
                heard = Instant::now();
                chatter += 1;
                if chatter > CHATTER {
                    return Err(End::Closed(close_code::POLICY, "too_many_messages"));
                }
                match message? {
                    Message::Text(text) => match serde_json::from_str(&text) {
                        Ok(FromClient::Ping) => send(socket, &ToClient::Pong).await?,
                        _ => return Err(End::Closed(close_code::POLICY, "message_unknown")),
                    },
                    Message::Binary(_) => return Err(End::Closed(close_code::UNSUPPORTED, "message_unknown")),
                    Message::Close(_) => return Ok(()),
                    Message::Ping(_) | Message::Pong(_) => {}
                }
            }
        }
    }
}

fn draining() -> End {
    End::Closed(close_code::RESTART, "draining")
}

async fn hello(app: &Arc<App>, socket: &mut WebSocket) -> Result<(UserId, i64), End> {
    loop {
        match socket.recv().await.ok_or(End::Gone)?? {
            Message::Text(text) => {
                let Ok(FromClient::Hello { token, last_event_id }) = serde_json::from_str(&text) else {
                    return Err(End::Closed(close_code::POLICY, "hello_missing"));
                };
                let user = resolve(app, &token).await?;
                return Ok((user.id, event_id(last_event_id.as_deref())));
            }
            Message::Ping(_) | Message::Pong(_) => {}
            _ => return Err(End::Closed(close_code::POLICY, "hello_missing")),
        }
    }
}

/// Sends what came after `seen`; the last of it.
async fn tell(
    app: &App,
    socket: &mut WebSocket,
    user: UserId,
    mut seen: i64,
    mut first: bool,
) -> Result<i64, End> {
    loop {
        let since = {
            let mut tx = app.db.user(user).await?;
            tx.notices_since(seen).await?
        };
        // An erased user has none any more.
        if since.notices.is_empty() && app.db.existing(user.uuid()).await?.is_none() {
            return Err(Problem::new(Code::AccountErased, "this account was erased").into());
        }
        let more = since.notices.len() as i64 == AT_ONCE;
        let (messages, newest) = catch_up(since, seen, first);
        first = false;
        for message in &messages {
            send(socket, message).await?;
        }
        seen = newest;
        if !more {
            return Ok(seen);
        }
    }
}

async fn send(socket: &mut WebSocket, message: &ToClient) -> Result<(), End> {
    let sent = timeout(SEND, socket.send(Message::text(message.text()))).await;
    Ok(sent.map_err(|_| End::Gone)??)
}
