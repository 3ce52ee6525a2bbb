//! Notices: to sockets of any process, in order, once each, from where a client was.

mod phones;
mod push;

use std::time::Duration;

use bio_bff::domain::notice::Kind;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use uuid::Uuid;

use crate::harness::{Client, PATIENCE, Service, Wish, service};

pub(crate) async fn user_id(c: &Client) -> Uuid {
    c.get("/me").await.expect(200)["id"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

/// In a transaction of its own.
pub(crate) async fn tell(s: &Service, c: &Client, kind: Kind, subject: Uuid) {
    let user = s.app.db.existing(user_id(c).await).await.unwrap().unwrap();
    let mut tx = s.app.db.user(user).await.unwrap();
    tx.tell(kind, subject).await.unwrap();
    tx.commit().await.unwrap();
}

/// A client's end.
pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub(crate) async fn open(base: &str) -> Self {
        let url = format!("{}/ws", base.replacen("http", "ws", 1));
        Self(tokio_tungstenite::connect_async(url).await.unwrap().0)
    }

    pub(crate) async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    /// The next message; the close code instead, if that is what comes.
    pub(crate) async fn hear(&mut self) -> Result<Value, u16> {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.0.next())
                .await
                .expect("something");
            match next {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => return Err(frame.map_or(0, |f| u16::from(f.code))),
                Some(Ok(_)) => {}
                None | Some(Err(_)) => return Err(0),
            }
        }
    }

    async fn is_silent(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(400), self.0.next())
            .await
            .is_err()
    }

    /// After a good first message.
    pub(crate) async fn of(base: &str, c: &Client, last: Option<&str>) -> Self {
        let mut socket = Self::open(base).await;
        socket
            .say(json!({"type": "hello", "token": c.token, "last_event_id": last}))
            .await;
        assert_eq!(socket.hear().await, Ok(json!({"type": "welcome"})));
        socket
    }

    /// It is closed with this close code, after a word about why.
    async fn expect_refusal(mut self, code: &str, close: u16) {
        assert_eq!(self.hear().await, Ok(json!({"type": "problem", "code": code})));
        assert_eq!(self.hear().await, Err(close));
    }
}

#[tokio::test]
async fn a_client_hears_of_its_user_from_every_process() {
    let s = service!();
    let other = s.replica(Wish::default()).await;
    let (a, b) = (s.user("a"), s.user("b"));
    let mut sockets = [
        Socket::of(&s.base, &a, None).await,
        Socket::of(&other.base, &a, None).await,
    ];
    let mut stranger = Socket::of(&s.base, &b, None).await;
    for socket in sockets.iter_mut().chain([&mut stranger]) {
        assert_eq!(
            socket.hear().await,
            Ok(json!({"type": "resync", "event_id": "0"})),
            "a new client fetches everything"
        );
    }
    let scan = Uuid::new_v4();
    tell(&s, &a, Kind::ScanReady, scan).await;
    for socket in &mut sockets {
        let got = socket.hear().await.unwrap();
        assert_eq!(
            (&got["type"], &got["kind"], &got["id"]),
            (&json!("notice"), &json!("scan_ready"), &json!(scan))
        );
    }
    assert!(stranger.is_silent().await);
    // What is rolled back is not told.
    let user = s.app.db.existing(user_id(&a).await).await.unwrap().unwrap();
    let mut tx = s.app.db.user(user).await.unwrap();
    tx.tell(Kind::ScanReady, Uuid::new_v4()).await.unwrap();
    drop(tx);
    assert!(sockets[0].is_silent().await);
    let [mut socket, _] = sockets;
    socket.say(json!({"type": "ping"})).await;
    assert_eq!(socket.hear().await, Ok(json!({"type": "pong"})));
}

#[tokio::test]
async fn a_client_that_was_away_gets_what_it_missed() {
    let s = service!();
    let a = s.user("a");
    let first = Uuid::new_v4();
    tell(&s, &a, Kind::ScanChanged, first).await;
    let mut socket = Socket::of(&s.base, &a, None).await;
    let seen = socket.hear().await.unwrap()["event_id"]
        .as_str()
        .unwrap()
        .to_owned();
    drop(socket);
    let missed: Vec<Uuid> = (0..250).map(|_| Uuid::new_v4()).collect();
    for id in &missed {
        tell(&s, &a, Kind::ScanChanged, *id).await;
    }
    let mut socket = Socket::of(&s.base, &a, Some(&seen)).await;
    let mut last = String::new();
    for id in &missed {
        let got = socket.hear().await.unwrap();
        assert_eq!(got["id"], json!(id));
        last = got["event_id"].as_str().unwrap().to_owned();
    }
    assert!(socket.is_silent().await);
    let mut again = Socket::of(&s.base, &a, Some(&last)).await;
    assert!(again.is_silent().await);
    // Away for so long that what it saw last is not kept any more.
    s.sql("DELETE FROM notices");
    for odd in [last.as_str(), "99999999", "-1", "nonsense", ""] {
        let mut late = Socket::of(&s.base, &a, Some(odd)).await;
        assert_eq!(late.hear().await.unwrap()["type"], "resync", "{odd}");
    }
}

#[tokio::test]
async fn changes_at_once_come_in_the_order_of_commits_and_none_is_lost() {
    let s = service!(Wish {
        connections: 16,
        ..Wish::default()
    });
    let a = s.user("a");
    let mut socket = Socket::of(&s.base, &a, None).await;
    socket.hear().await.unwrap();
    let user = s.app.db.existing(user_id(&a).await).await.unwrap().unwrap();
    let writers = (0..60u64).map(|i| {
        let db = s.app.db.clone();
        tokio::spawn(async move {
            let mut tx = db.user(user).await.unwrap();
            tx.tell(Kind::ScanChanged, Uuid::from_u128(u128::from(i)))
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_millis(i * 7 % 13)).await;
            tx.commit().await.unwrap();
        })
    });
    futures::future::join_all(writers).await;
    let (mut last, mut seen) = (0, std::collections::HashSet::new());
    for _ in 0..60 {
        let got = socket.hear().await.unwrap();
        let id: i64 = got["event_id"].as_str().unwrap().parse().unwrap();
        assert!(id > last, "{id} after {last}");
        last = id;
        seen.insert(got["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen.len(), 60);
}

#[tokio::test]
async fn who_does_not_say_who_it_is_is_shown_out() {
    let s = service!();
    let (a, now) = (s.user("a"), s.clock.now().as_second());
    for first in [
        json!({"type": "ping"}),
        json!({"type": "hello"}),
        json!({"token": a.token}),
        json!([]),
        json!("x".repeat(9000)),
    ] {
        let mut socket = Socket::open(&s.base).await;
        socket.say(first).await;
        socket
            .expect_refusal("hello_missing", u16::from(CloseCode::Policy))
            .await;
    }
    let mut expired = s.idp.access_claims("a", now);
    expired["exp"] = json!(now - 100);
    for (token, code) in [
        (crate::auth::idp::sign(&expired), "token_expired"),
        ("forged".into(), "token_invalid"),
    ] {
        let mut socket = Socket::open(&s.base).await;
        socket.say(json!({"type": "hello", "token": token})).await;
        socket.expect_refusal(code, 4401).await;
    }
    let mut large = Socket::open(&s.base).await;
    large.say(json!("x".repeat(100_000))).await;
    assert!(large.hear().await.is_err());
    let mut chatty = Socket::of(&s.base, &a, None).await;
    chatty.hear().await.unwrap();
    for _ in 0..61 {
        chatty.say(json!({"type": "ping"})).await;
    }
    for _ in 0..60 {
        assert_eq!(chatty.hear().await, Ok(json!({"type": "pong"})));
    }
    chatty
        .expect_refusal("too_many_messages", u16::from(CloseCode::Policy))
        .await;
    s.user("a").get("/ws").await.refused(400, "bad_request");
}

#[tokio::test]
async fn a_user_has_only_so_many_sockets() {
    let s = service!();
    let a = s.user("a");
    let mut open = Vec::new();
    for _ in 0..8 {
        open.push(Socket::of(&s.base, &a, None).await);
    }
    let mut ninth = Socket::open(&s.base).await;
    ninth.say(json!({"type": "hello", "token": a.token})).await;
    ninth
        .expect_refusal("too_many_sockets", u16::from(CloseCode::Again))
        .await;
    Socket::of(&s.base, &s.user("b"), None).await;
    drop(open.pop());
    crate::harness::until("the place of who left is free", async || {
        let mut next = Socket::open(&s.base).await;
        next.say(json!({"type": "hello", "token": a.token})).await;
        next.hear().await == Ok(json!({"type": "welcome"}))
    })
    .await;
}

#[tokio::test]
async fn a_lost_listener_comes_back_and_misses_nothing() {
    let s = service!();
    let a = s.user("a");
    let mut socket = Socket::of(&s.base, &a, None).await;
    socket.hear().await.unwrap();
    let killed = s.sql(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() \
        AND query LIKE 'LISTEN%'",
    );
    assert_eq!(killed, ["1"]);
    let scan = Uuid::new_v4();
    tell(&s, &a, Kind::ScanReady, scan).await;
    assert_eq!(socket.hear().await.unwrap()["id"], json!(scan));
}

#[tokio::test]
async fn an_erased_user_is_shown_out_at_once_and_a_drained_process_sends_its_clients_away() {
    let s = service!();
    let (a, b) = (s.user("a"), s.user("b"));
    let mut socket = Socket::of(&s.base, &a, None).await;
    socket.hear().await.unwrap();
    let mut stays = Socket::of(&s.base, &b, None).await;
    stays.hear().await.unwrap();
    a.call(reqwest::Method::DELETE, "/me", &[], None)
        .await
        .expect(202);
    socket.expect_refusal("account_erased", 4404).await;
    assert!(stays.is_silent().await);
    let mut late = Socket::open(&s.base).await;
    late.say(json!({"type": "hello", "token": a.token})).await;
    late.expect_refusal("account_erased", 4404).await;
    s.app.begin_drain();
    s.app.hub.closing.cancel();
    stays
        .expect_refusal("draining", u16::from(CloseCode::Restart))
        .await;
    b.get("/ws").await;
}
