//! `GET /ws`: the socket. Not in the OpenAPI description, which knows no sockets; docs/notifications.md describes it.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::response::{IntoResponse, Response};

use super::{App, socket};
use crate::notify::frame::MESSAGE;
use crate::problem::{Code, Problem};

pub(super) async fn open(State(app): State<Arc<App>>, upgrade: WebSocketUpgrade) -> Response {
    if app.is_draining() {
        return Problem::new(Code::Draining, "this instance is shutting down").into_response();
    }
    let Some(place) = app.hub.knock() else {
        return Problem::new(Code::Overloaded, "too many sockets have not said who they are").into_response();
    };
    upgrade
        .max_message_size(MESSAGE)
        .max_frame_size(MESSAGE)
        .on_upgrade(move |ws| socket::run(app, ws, place))
}
