//! Following one scan: server-sent events, one for each change.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::broadcast;
use tokio::time::Instant;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::problem::{Code, Problem, ProblemBody};
use crate::routes::App;
use crate::routes::caller::CurrentUser;
use crate::routes::query::{Id, Params};
use crate::store::{Db, UserId};

/// PostgreSQL's channel; each payload is a scan's id.
const CHANNEL: &str = "bff_scans";
/// What the channel misses is seen after so long.
const LOOK: Duration = Duration::from_secs(2);
/// A stream ends after this, and the client comes again.
const LONGEST: u64 = 300;
/// Streams of one process.
const STREAMS: usize = 2000;

/// Changes of scans, heard once for the process, on a connection of its own from the first stream on.
#[derive(Debug, Default)]
pub(in crate::routes) struct Watch {
    changes: std::sync::OnceLock<broadcast::Sender<Uuid>>,
}

impl Watch {
    fn changes(&self, db: &Db) -> broadcast::Receiver<Uuid> {
        let start = || {
            let (sender, _) = broadcast::channel(1024);
            tokio::spawn(listen(db.clone(), sender.clone()));
            sender
        };
        self.changes.get_or_init(start).subscribe()
    }

    fn streams(&self) -> usize {
        self.changes.get().map_or(0, broadcast::Sender::receiver_count)
    }
}

async fn listen(db: Db, sender: broadcast::Sender<Uuid>) {
    db.hear(CHANNEL, |id| {
        if let Some(id) = id.and_then(|id| id.parse().ok()) {
            // Nobody may be there to hear.
            let _ = sender.send(id);
        }
    })
    .await;
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::routes) struct FollowParams {
    /// Seconds until the stream ends: 1 to 300, 60 unless told.
    #[param(minimum = 1, maximum = 300)]
    wait: Option<u64>,
}

/// Follows a scan. Each event is `state` with `{"state", "error", "version"}`; the stream ends when the scan waits for the
/// user or has ended, or after `wait`.
#[utoipa::path(get, path = "/scans/{id}/events", tag = "scans", params(("id" = Uuid, Path), FollowParams), responses(
    (status = 200, description = "server-sent events", body = String, content_type = "text/event-stream"),
    (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(in crate::routes) async fn follow(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Id(id): Id,
    Params(params): Params<FollowParams>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let mut tx = app.db.user(user.id).await?;
    tx.scan(id).await?;
    drop(tx);
    let wait = params.wait.unwrap_or(60);
    if !(1..=LONGEST).contains(&wait) {
        return Err(Problem::field("?wait", "out_of_range"));
    }
    if app.watch.streams() >= STREAMS {
        return Err(Problem::new(Code::Overloaded, "too many streams are open"));
    }
    let follower = Follower {
        changes: app.watch.changes(&app.db),
        until: Instant::now() + Duration::from_secs(wait),
        app,
        user: user.id,
        id,
        seen: None,
        ended: false,
    };
    let events = futures::stream::unfold(follower, |mut f| async move {
        let event = f.next().await?;
        Some((Ok(event), f))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

struct Follower {
    changes: broadcast::Receiver<Uuid>,
    until: Instant,
    app: Arc<App>,
    user: UserId,
    id: Uuid,
    seen: Option<i64>,
    ended: bool,
}

impl Follower {
    async fn next(&mut self) -> Option<Event> {
        while !self.ended && Instant::now() < self.until && !self.app.is_draining() {
            if let Some(event) = self.look().await {
                return Some(event);
            }
            if !self.ended {
                let at_most = self.until.min(Instant::now() + LOOK);
                let _ = tokio::time::timeout_at(at_most, self.changed()).await;
            }
        }
        None
    }

    /// What is new. A scan that is gone ends the stream; a database that is away does not.
    async fn look(&mut self) -> Option<Event> {
        let scan = async { self.app.db.user(self.user).await?.scan(self.id).await };
        let scan = match scan.await {
            Ok(scan) => scan,
            Err(error) => {
                self.ended = matches!(error, sqlx::Error::RowNotFound);
                return None;
            }
        };
        let version = scan.version.0;
        if self.seen == Some(version) {
            return None;
        }
        self.seen = Some(version);
        self.ended = scan.state.is_final() || scan.state == crate::domain::scan::State::Ready;
        let data = json!({"state": scan.state, "error": scan.error, "version": version});
        Some(
            Event::default()
                .event("state")
                .id(version.to_string())
                .data(data.to_string()),
        )
    }

    async fn changed(&mut self) {
        loop {
            match self.changes.recv().await {
                Ok(id) if id != self.id => {}
                // Too many at once, or ours: look.
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}
