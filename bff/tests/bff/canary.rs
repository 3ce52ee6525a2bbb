//! No value of a user in any log, at any level.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bio_bff::domain::notice::Kind;
use bio_bff::routes::Limits;
use reqwest::Method;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::auth::idp::sign;
use crate::events::Worker;
use crate::harness::{Wish, service};

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Buffer {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// In a process of its own: what other tests of this binary run at the same time decides which lines are heard at all.
#[test]
fn nothing_of_anybody_is_logged() {
    let inner = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "canary::everything_is_heard",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&inner.stdout),
        String::from_utf8_lossy(&inner.stderr)
    );
    assert!(inner.status.success() && said.contains("1 passed"), "{said}");
}

/// Whether a line tells a value. A number counts only where it begins, and a whole one where it ends too: ids, hashes and durations
/// hold any few digits by chance.
fn tells(line: &str, canary: &str) -> bool {
    let number = canary.starts_with(|c: char| c.is_ascii_digit());
    let whole = number && !canary.contains('.');
    line.match_indices(canary).any(|(at, found)| {
        let before = line[..at].bytes().next_back();
        let after = line[at + found.len()..].bytes().next();
        let begins = !before.is_some_and(|b| b.is_ascii_hexdigit() || b == b'.');
        let ends = !after.is_some_and(|b| b.is_ascii_hexdigit());
        (!number || begins) && (!whole || ends)
    })
}

#[test]
fn a_number_is_found_as_a_value_and_not_within_another() {
    for told in ["kcal=18765", "18765.0", "{\"calories\":18765}", "-18765 kcal"] {
        assert!(tells(told, "18765"), "{told}");
    }
    for chance in ["1187650 ns", "0.187650Z", "3f218765-aa", "18765ef0"] {
        assert!(!tells(chance, "18765"), "{chance}");
    }
    assert!(tells("value: 487.654321", "487.65") && !tells("1487.65", "487.65"));
    assert!(tells("uncanary", "canary"));
}

/// The service runs on this thread, so this thread's subscriber hears all of it.
#[tokio::test]
#[ignore = "run by nothing_of_anybody_is_logged"]
async fn everything_is_heard() {
    let buffer = Buffer::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .without_time()
        .with_ansi(false)
        .with_writer(buffer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let limits = Limits {
        menu_wait: Duration::ZERO,
        ..Limits::default()
    };
    let s = service!(Wish {
        limits,
        ..Wish::default()
    });
    let w = Worker::of(&s);
    let now = s.clock.now();
    let mut claims = s.idp.id_claims("canary-subject", now.as_second());
    claims["email"] = json!("canary@example.org");
    claims["email_verified"] = json!(true);
    let token = sign(&claims);
    let c = s.with_token(token.clone());
    let id = c.get("/me").await.expect(200)["id"].as_str().unwrap().to_owned();
    c.patch(
        "/profile",
        json!({"weight_kg": 598.76, "timezone": "Europe/Berlin", "allergies": ["canaryseed"]}),
    )
    .await
    .expect(200);
    c.patch("/profile", json!({"weight_kg": 98765.4}))
        .await
        .refused(422, "invalid_field");
    c.patch("/profile", json!({"weight_kg": "canary-wrong-type"}))
        .await
        .refused(422, "invalid_field");
    c.post(
        "/food_logs",
        json!({"food_name": "Canary pie", "calories": 18765}),
    )
    .await
    .expect(201);
    c.post(
        "/food_logs",
        json!({"food_name": "Canary pie", "calories": 18765, "canary_field": 1}),
    )
    .await
    .refused(422, "invalid_field");
    let r = |v: f64| {
        json!({"kind": "active_energy_kcal", "start": (now - jiff::SignedDuration::from_mins(20)).to_string(),
        "end": (now - jiff::SignedDuration::from_mins(10)).to_string(), "value": v, "source": "canary-watch"})
    };
    c.post("/sync/batch", json!({"records": [r(487.654321), r(98765.4)]}))
        .await
        .expect(200);
    c.post("/feel", json!({"value": 3})).await.expect(200);
    c.get("/bff/restaurant/menu?name=Canary%20diner")
        .await
        .expect(202);
    let phone = json!({"platform": "fcm", "token": "canary-device-token"});
    c.call(Method::PUT, "/devices", &[], Some(&phone))
        .await
        .expect(200);
    let mut socket = crate::notify::Socket::of(&s.base, &c, Some("98765")).await;
    socket.say(json!({"type": "canary"})).await;
    crate::notify::tell(&s, &c, Kind::ScanReady, uuid::Uuid::new_v4()).await;
    w.drain().await;
    c.get("/dashboard/state").await.expect(200);
    c.get("/pantry?cursor=canary-cursor")
        .await
        .refused(400, "cursor_invalid");
    c.get("/canary-path?token=canary-query")
        .await
        .refused(404, "not_found");
    s.with_token("canary.token.forged".into())
        .get("/me")
        .await
        .refused(401, "token_invalid");
    c.call(Method::DELETE, "/me", &[], None).await.expect(202);
    w.drain().await;
    let log = String::from_utf8_lossy(&buffer.0.lock().unwrap()).into_owned();
    assert!(
        log.contains("answered") && log.contains("TRACE"),
        "the log was heard"
    );
    // The client of this test logs on the same thread; the service's lines are what counts.
    let ours: Vec<&str> = log
        .lines()
        .filter(|l| !l.contains("hyper_util::client") && !l.contains("reqwest"))
        .collect();
    for canary in [
        "canary",
        "Canary",
        "598.76",
        "18765",
        "487.65",
        "98765",
        token.as_str(),
        id.as_str(),
    ] {
        let found: Vec<_> = ours.iter().filter(|l| tells(l, canary)).take(3).collect();
        assert!(found.is_empty(), "{canary}: {found:?}");
    }
}
