//! Phones and a gateway's sockets: each change reaches each of them, and nobody else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bio_bff::domain::notice::Kind;
use bio_bff::notify::gateway::{ApiGateway, Gateway, Posted};
use bio_bff::notify::push::{Push, Sent};
use bio_bff::routes::on_message;
use bio_bff::store::devices::{Device, Platform};
use futures::future::BoxFuture;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::phones::Phones;
use super::{tell, user_id};
use crate::events::Worker;
use crate::harness::{Client, Service, Wish, service};

const APPLE: &str = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0";
const GOOGLE: &str = "fcm-registration-token:APA91b_x-1";

async fn register(c: &Client, platform: &str, token: &str) -> String {
    let body = json!({"platform": platform, "token": token});
    let device = c
        .call(Method::PUT, "/devices", &[], Some(&body))
        .await
        .expect(200);
    device["id"].as_str().unwrap().to_owned()
}

async fn start() -> Option<(Service, Phones, Worker)> {
    let s = Service::start(Wish::default()).await?;
    let phones = Phones::start().await;
    let mut worker = Worker::of(&s);
    worker.hands.push = phones.senders(&worker.hands.db);
    Some((s, phones, worker))
}

/// Makes messages that wait for another try visible now.
fn hurry(s: &Service) {
    s.sql("UPDATE ops.messages SET visible_at = now() WHERE dead_at IS NULL");
}

#[tokio::test]
async fn each_phone_of_the_user_is_told_and_no_other() {
    let Some((s, phones, w)) = start().await else {
        return;
    };
    let (a, b) = (s.user("a"), s.user("b"));
    register(&a, "apns", APPLE).await;
    register(&a, "fcm", GOOGLE).await;
    register(&b, "fcm", "the-phone-of-somebody-else").await;
    let scan = Uuid::new_v4();
    tell(&s, &a, Kind::ScanReady, scan).await;
    tell(&s, &a, Kind::ScanChanged, scan).await;
    assert_eq!(w.drain().await.1, Vec::<String>::new());
    let apple = phones.apns.lock().unwrap().pushes.clone();
    assert_eq!(apple.len(), 1, "of changes nothing is shown");
    assert_eq!(apple[0].0, APPLE);
    assert_eq!(
        apple[0].1,
        json!({"aps": {"alert": {"body": "Scan Complete. Tap to Confirm"}, "sound": "default", "thread-id": "scans"},
            "kind": "scan_ready", "id": scan})
    );
    let headers = &phones.apns.lock().unwrap().headers[0];
    assert_eq!(headers["apns-collapse-id"], format!("scan-{scan}").as_str());
    let google = phones.fcm.lock().unwrap().pushes.clone();
    assert_eq!(google.len(), 1);
    assert_eq!(
        (google[0].0.as_str(), &google[0].1["data"]["id"]),
        (GOOGLE, &json!(scan))
    );
}

#[tokio::test]
async fn a_hundred_pushes_need_one_token_of_each_kind_in_all_processes() {
    let Some((s, phones, w)) = start().await else {
        return;
    };
    let a = s.user("a");
    register(&a, "apns", APPLE).await;
    register(&a, "fcm", GOOGLE).await;
    for _ in 0..100 {
        tell(&s, &a, Kind::ScanReady, Uuid::new_v4()).await;
    }
    w.drain().await;
    assert_eq!(phones.apns.lock().unwrap().pushes.len(), 100);
    assert_eq!(phones.fcm.lock().unwrap().tokens.len(), 1);
    // Another process.
    let other = phones.senders(&w.hands.db);
    let push = Push {
        alert: "x",
        kind: "scan_ready".into(),
        subject: Uuid::nil(),
    };
    let device = Device {
        id: Uuid::nil(),
        platform: Platform::Apns,
        token: APPLE.into(),
        registered_at: jiff::Timestamp::now(),
    };
    assert_eq!(
        other.of(&device).unwrap().send(APPLE, &push).await,
        Sent::Delivered
    );
    assert_eq!(phones.apns.lock().unwrap().tokens.len(), 1);
    // An hour later it is signed anew.
    s.sql("UPDATE ops.provider_tokens SET minted_at = now() - interval '51 minutes'");
    // By whole seconds: the same claims would give the same token but for the signature's random number.
    let third = phones.senders(&w.hands.db);
    assert_eq!(
        third.of(&device).unwrap().send(APPLE, &push).await,
        Sent::Delivered
    );
    assert_eq!(phones.apns.lock().unwrap().tokens.len(), 2);
}

#[tokio::test]
async fn what_a_push_service_answers_decides_what_happens() {
    let Some((s, phones, w)) = start().await else {
        return;
    };
    let a = s.user("a");
    let devices = || s.sql("SELECT count(*) FROM devices")[0].clone();
    let reason = |status: u16, reason: &str| (status, json!({"reason": reason}));
    // Apple's word, phones left, whether it is tried again.
    let old = jiff::Timestamp::now().as_millisecond() - 86_400_000;
    for (turn, left, again) in [
        (reason(400, "BadDeviceToken"), "0", false),
        (reason(400, "DeviceTokenNotForTopic"), "0", false),
        (reason(410, "Unregistered"), "0", false),
        (
            (410, json!({"reason": "Unregistered", "timestamp": old})),
            "1",
            false,
        ),
        (reason(403, "InvalidProviderToken"), "1", false),
        (reason(400, "PayloadEmpty"), "1", false),
        (reason(413, "PayloadTooLarge"), "1", false),
        (reason(403, "ExpiredProviderToken"), "1", true),
        (reason(429, "TooManyRequests"), "1", true),
        (reason(500, "InternalServerError"), "1", true),
        (reason(503, "Shutdown"), "1", true),
        ((502, json!("not Apple's")), "1", true),
    ] {
        s.sql("DELETE FROM devices");
        register(&a, "apns", APPLE).await;
        let before = {
            let mut apns = phones.apns.lock().unwrap();
            apns.turns.push_back(turn.clone());
            apns.pushes.len()
        };
        tell(&s, &a, Kind::ScanReady, Uuid::new_v4()).await;
        let failed = w.drain().await.1.len();
        assert_eq!((failed > 0, devices().as_str()), (again, left), "{turn:?}");
        hurry(&s);
        w.drain().await;
        let pushed = phones.apns.lock().unwrap().pushes.len() - before;
        assert_eq!(pushed, usize::from(again), "{turn:?}");
    }
    let fcm = |status: u16, code: &str| {
        (
            status,
            json!({"error": {"code": status, "details": [
            {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}]}}),
        )
    };
    let bad_field = json!({"error": {"code": 400, "details": [
        {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "INVALID_ARGUMENT"},
        {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{"field": "message.android.ttl"}]}]}});
    for (turn, left, again) in [
        (fcm(404, "UNREGISTERED"), "0", false),
        (fcm(403, "SENDER_ID_MISMATCH"), "0", false),
        (fcm(400, "INVALID_ARGUMENT"), "0", false),
        ((400, bad_field), "1", false),
        (fcm(401, "THIRD_PARTY_AUTH_ERROR"), "1", false),
        ((401, json!({"error": {"status": "UNAUTHENTICATED"}})), "1", true),
        (fcm(429, "QUOTA_EXCEEDED"), "1", true),
        (fcm(503, "UNAVAILABLE"), "1", true),
        (fcm(500, "INTERNAL"), "1", true),
    ] {
        s.sql("DELETE FROM devices");
        register(&a, "fcm", GOOGLE).await;
        phones.fcm.lock().unwrap().turns.push_back(turn.clone());
        tell(&s, &a, Kind::ScanReady, Uuid::new_v4()).await;
        let failed = w.drain().await.1.len();
        assert_eq!((failed > 0, devices().as_str()), (again, left), "{turn:?}");
        hurry(&s);
        w.drain().await;
    }
}

#[tokio::test]
async fn a_second_delivery_pushes_only_to_whom_the_first_did_not_reach() {
    let Some((s, phones, w)) = start().await else {
        return;
    };
    let a = s.user("a");
    register(&a, "apns", APPLE).await;
    register(&a, "fcm", GOOGLE).await;
    phones.fcm.lock().unwrap().turns.push_back((503, json!({})));
    tell(&s, &a, Kind::ScanReady, Uuid::new_v4()).await;
    assert_eq!(w.drain().await.1.len(), 1);
    hurry(&s);
    w.drain().await;
    let id: i64 = s.sql("SELECT id FROM notices")[0].parse().unwrap();
    let event = json!({"event_id": Uuid::nil(), "user_id": user_id(&a).await, "kind": "Deliver", "payload": {"notice": id}});
    w.hands.handle(&event).await.unwrap();
    assert_eq!(
        (
            phones.apns.lock().unwrap().tries,
            phones.fcm.lock().unwrap().tries
        ),
        (1, 2)
    );
}

#[tokio::test]
async fn a_phone_belongs_to_the_last_who_signed_in_on_it() {
    let Some((s, phones, w)) = start().await else {
        return;
    };
    let (a, b) = (s.user("a"), s.user("b"));
    let mine = register(&a, "apns", APPLE).await;
    assert_eq!(
        register(&a, "apns", APPLE).await,
        mine,
        "each start of the app registers again"
    );
    b.call(Method::DELETE, &format!("/devices/{mine}"), &[], None)
        .await
        .refused(404, "not_found");
    assert_eq!(b.get("/devices").await.expect(200), json!([]));
    register(&b, "apns", APPLE).await;
    assert_eq!(a.get("/devices").await.expect(200), json!([]));
    tell(&s, &a, Kind::ScanReady, Uuid::new_v4()).await;
    w.drain().await;
    assert_eq!(phones.apns.lock().unwrap().tries, 0);
    for i in 0..12 {
        register(&a, "fcm", &format!("fcm-token-number-{i:04}")).await;
    }
    let devices = a.get("/devices").await.expect(200);
    assert_eq!(devices.as_array().unwrap().len(), 10);
    let one = devices[0]["id"].as_str().unwrap();
    a.call(Method::DELETE, &format!("/devices/{one}"), &[], None)
        .await
        .expect(204);
    for (platform, token) in [
        ("apns", "not hexadecimal!"),
        ("apns", "abc"),
        ("fcm", "with space in between"),
        ("fcm", &"x".repeat(4097)),
    ] {
        let body = json!({"platform": platform, "token": token});
        a.call(Method::PUT, "/devices", &[], Some(&body))
            .await
            .refused(422, "invalid_field");
    }
    // Nobody is told after an erasure, whatever still waits.
    tell(&s, &b, Kind::ScanReady, Uuid::new_v4()).await;
    b.call(Method::DELETE, "/me", &[], None).await.expect(202);
    w.drain().await;
    assert_eq!(phones.apns.lock().unwrap().tries, 0);
    assert_eq!(
        s.sql("SELECT count(*) FROM devices WHERE platform = 'apns'"),
        ["0"]
    );
}

/// Holds sockets, as API Gateway does.
#[derive(Debug, Default)]
struct FakeGateway {
    posted: Mutex<HashMap<String, Vec<Value>>>,
    gone: Mutex<Vec<String>>,
}

impl FakeGateway {
    fn of(&self, connection: &str) -> Vec<Value> {
        self.posted
            .lock()
            .unwrap()
            .get(connection)
            .cloned()
            .unwrap_or_default()
    }
}

impl Gateway for FakeGateway {
    fn post<'a>(&'a self, connection: &'a str, text: String) -> BoxFuture<'a, Posted> {
        Box::pin(async move {
            if self.gone.lock().unwrap().iter().any(|c| c == connection) {
                return Posted::Gone;
            }
            let message = serde_json::from_str(&text).unwrap();
            self.posted
                .lock()
                .unwrap()
                .entry(connection.to_owned())
                .or_default()
                .push(message);
            Posted::Done
        })
    }
}

#[tokio::test]
async fn sockets_behind_a_gateway_are_told_too() {
    let s = service!();
    let gateway = Arc::new(FakeGateway::default());
    let mut w = Worker::of(&s);
    w.hands.gateway = Some(gateway.clone());
    let (a, b) = (s.user("a"), s.user("b"));
    let say = async |connection: &str, message: Value| {
        on_message(&s.app, &*gateway, connection, &message.to_string()).await
    };
    say("c1", json!({"type": "hello", "token": a.token})).await;
    say("c2", json!({"type": "hello", "token": b.token})).await;
    say("c3", json!({"type": "hello", "token": "forged"})).await;
    say("c1", json!({"type": "ping"})).await;
    say("c3", json!({"type": "nonsense"})).await;
    let scan = Uuid::new_v4();
    tell(&s, &a, Kind::ScanReady, scan).await;
    w.drain().await;
    let id = s.sql("SELECT max(id) FROM notices")[0].clone();
    let notice = json!({"type": "notice", "event_id": id, "kind": "scan_ready", "id": scan});
    let resync = json!({"type": "resync", "event_id": "0"});
    assert_eq!(
        gateway.of("c1"),
        [
            json!({"type": "welcome"}),
            resync.clone(),
            json!({"type": "pong"}),
            notice.clone()
        ]
    );
    assert_eq!(gateway.of("c2"), [json!({"type": "welcome"}), resync]);
    let problem = |code: &str| json!({"type": "problem", "code": code});
    assert_eq!(
        gateway.of("c3"),
        [problem("token_invalid"), problem("message_unknown")]
    );
    // It reconnects, and gets what it missed.
    gateway.gone.lock().unwrap().push("c1".into());
    let second = Uuid::new_v4();
    tell(&s, &a, Kind::ScanFailed, second).await;
    w.drain().await;
    assert_eq!(
        s.sql("SELECT connection FROM gateway_sockets"),
        ["c2"],
        "whoever has left is forgotten"
    );
    say(
        "c4",
        json!({"type": "hello", "token": a.token, "last_event_id": id}),
    )
    .await;
    let missed = gateway.of("c4");
    assert_eq!((missed.len(), &missed[1]["id"]), (2, &json!(second)));
    // A connection that is another user's is not taken over.
    say("c2", json!({"type": "hello", "token": a.token})).await;
    assert_eq!(gateway.of("c2").last().unwrap(), &problem("not_found"));
}

#[tokio::test]
async fn the_client_of_api_gateway_speaks_its_protocol() {
    use axum::extract::{Path, State};
    use axum::http::{HeaderMap, StatusCode};
    type Calls = Arc<Mutex<Vec<(String, HeaderMap, String)>>>;
    async fn answer(
        State(calls): State<Calls>,
        Path(id): Path<String>,
        headers: HeaderMap,
        body: String,
    ) -> (StatusCode, &'static str) {
        calls.lock().unwrap().push((id.clone(), headers, body));
        match id.as_str() {
            "gone=" => (StatusCode::GONE, "{\"message\":null}"),
            "limited" => (StatusCode::TOO_MANY_REQUESTS, "{\"message\":\"Limit Exceeded\"}"),
            _ => (StatusCode::OK, ""),
        }
    }
    let calls = Calls::default();
    let router = axum::Router::new()
        .route("/prod/@connections/{id}", axum::routing::post(answer))
        .with_state(calls.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/prod", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    use aws_sdk_apigatewaymanagement::config::retry::RetryConfig;
    use aws_sdk_apigatewaymanagement::config::{BehaviorVersion, Credentials, Region};
    let config = aws_sdk_apigatewaymanagement::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("AKIDEXAMPLE", "secret", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .endpoint_url(endpoint)
        .build();
    let gateway = ApiGateway::of(aws_sdk_apigatewaymanagement::Client::from_conf(config));
    assert_eq!(
        gateway.post("L0SM9cOFvHcCIhw=", "{\"a\":1}".into()).await,
        Posted::Done
    );
    assert_eq!(gateway.post("gone=", "x".into()).await, Posted::Gone);
    assert_eq!(gateway.post("limited", "x".into()).await, Posted::Later);
    let calls = calls.lock().unwrap();
    assert_eq!(
        (calls[0].0.as_str(), calls[0].2.as_str()),
        ("L0SM9cOFvHcCIhw=", "{\"a\":1}")
    );
    let signed = calls[0].1["authorization"].to_str().unwrap();
    assert!(
        signed.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
            && signed.contains("/eu-central-1/execute-api/")
    );
}
