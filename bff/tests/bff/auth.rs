//! Hostile and honest tokens.

pub mod idp;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use self::idp::{KEY_1, KEY_2, sign, sign_header, sign_with};
use crate::harness::{Service, service};

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn with(mut claims: Value, key: &str, value: Value) -> Value {
    claims[key] = value;
    claims
}

fn without(mut claims: Value, key: &str) -> Value {
    claims.as_object_mut().unwrap().remove(key);
    claims
}

async fn status(s: &Service, token: String) -> u16 {
    s.with_token(token).get("/me").await.status.as_u16()
}

#[tokio::test]
async fn claims_that_pass_and_claims_that_do_not() {
    let s = service!();
    let t = now();
    let (access, id, fire) = (
        s.idp.access_claims("a", t),
        s.idp.id_claims("a", t),
        s.idp.firebase_claims("uid", t),
    );
    let good = [
        access.clone(),
        id.clone(),
        fire.clone(),
        with(access.clone(), "aud", json!("resource")),
        with(id.clone(), "aud", json!(["other", "app"])),
        with(access.clone(), "exp", json!(t - 20)),
        with(access.clone(), "nbf", json!(t + 20)),
    ];
    for claims in good {
        assert_eq!(status(&s, sign(&claims)).await, 200, "{claims}");
    }
    let bad = [
        without(access.clone(), "exp"),
        without(access.clone(), "iss"),
        without(access.clone(), "sub"),
        without(access.clone(), "client_id"),
        without(access.clone(), "token_use"),
        without(id.clone(), "aud"),
        without(fire.clone(), "aud"),
        with(access.clone(), "exp", json!(t - 90)),
        with(access.clone(), "exp", json!("never")),
        with(access.clone(), "nbf", json!(t + 500)),
        with(access.clone(), "iat", json!(t + 500)),
        with(access.clone(), "client_id", json!("other")),
        with(access.clone(), "token_use", json!("refresh")),
        with(access.clone(), "iss", json!("https://evil.example")),
        with(access.clone(), "iss", json!(format!("{}/", s.idp.issuer))),
        // The shape of one kind with the claims of another.
        with(without(access.clone(), "client_id"), "aud", json!("app")),
        with(id.clone(), "token_use", json!("access")),
        with(id.clone(), "aud", json!("other")),
        with(id.clone(), "aud", json!([])),
        with(fire.clone(), "aud", json!("other-project")),
        with(fire.clone(), "iss", json!("https://securetoken.google.com/other")),
        with(fire.clone(), "token_use", json!("access")),
        with(fire.clone(), "sub", json!("")),
        with(fire.clone(), "sub", json!("x".repeat(129))),
        with(access.clone(), "sub", json!("")),
        with(access.clone(), "sub", json!("a\u{0}b")),
        with(access.clone(), "sub", json!("firebase:uid")),
        with(access.clone(), "sub", json!(42)),
    ];
    for claims in bad {
        assert_eq!(status(&s, sign(&claims)).await, 401, "{claims}");
    }
}

#[tokio::test]
async fn headers_and_signatures() {
    let s = service!();
    let claims = s.idp.access_claims("a", now());
    let good = sign(&claims);
    let part = |i: usize| good.split('.').nth(i).unwrap().to_owned();
    let b64 = |v: &Value| URL_SAFE_NO_PAD.encode(v.to_string());
    let header = |edit: &dyn Fn(&mut Header)| {
        let mut h = Header::new(Algorithm::RS256);
        h.kid = Some("k/1+=".into());
        edit(&mut h);
        sign_header(&h, KEY_1, &claims)
    };
    // The public key as an HMAC secret.
    let mut hs = Header::new(Algorithm::HS256);
    hs.kid = Some("k/1+=".into());
    let confused = jsonwebtoken::encode(&hs, &claims, &EncodingKey::from_secret(KEY_1).unwrap()).unwrap();
    let jwk = serde_json::from_value(json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"})).unwrap();
    let bad = [
        (
            "alg none",
            format!("{}.{}.", b64(&json!({"alg": "none", "kid": "k/1+="})), part(1)),
        ),
        ("HS256 with the public key", confused),
        ("no kid", header(&|h| h.kid = None)),
        ("empty kid", header(&|h| h.kid = Some(String::new()))),
        ("long kid", header(&|h| h.kid = Some("x".repeat(300)))),
        ("unknown kid", header(&|h| h.kid = Some("k2".into()))),
        (
            "jku",
            header(&|h| h.jku = Some("https://evil.example/keys".into())),
        ),
        (
            "x5u",
            header(&|h| h.x5u = Some("https://evil.example/cert".into())),
        ),
        ("x5c", header(&|h| h.x5c = Some(vec!["MIIB".into()]))),
        ("jwk", header(&|h| h.jwk = Some(Jwk::clone(&jwk)))),
        ("crit", header(&|h| h.crit = Some(vec!["b64".into()]))),
        ("another key", sign_with("k/1+=", KEY_2, &claims)),
        (
            "swapped payload",
            format!(
                "{}.{}.{}",
                part(0),
                b64(&s.idp.access_claims("b", now())),
                part(2)
            ),
        ),
        ("cut signature", good[..good.len() - 4].to_owned()),
        ("four parts", format!("{good}.x")),
        ("two parts", format!("{}.{}", part(0), part(1))),
        ("not base64", "a.b.c".into()),
        ("huge", format!("{}.{}.{}", part(0), "A".repeat(20_000), part(2))),
    ];
    assert_eq!(status(&s, good.clone()).await, 200);
    for (what, token) in bad {
        let answer = s.with_token(token).get("/me").await;
        assert_eq!(answer.status.as_u16(), 401, "{what}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer", "{what}");
    }
    s.with_token(String::new())
        .get("/me")
        .await
        .refused(401, "token_missing");
}

use jsonwebtoken::jwk::Jwk;

#[tokio::test]
async fn a_thousand_unknown_kids_cost_one_fetch_and_rotation_goes_on() {
    let s = service!();
    assert_eq!(status(&s, s.idp.access("a", now())).await, 200);
    assert_eq!(s.idp.fetches(), 1);
    let claims = s.idp.access_claims("a", now());
    let tokens: Vec<_> = (0..1000)
        .map(|i| sign_with(&format!("odd{i}"), KEY_1, &claims))
        .collect();
    let answers = futures::future::join_all(tokens.into_iter().map(|t| status(&s, t))).await;
    assert!(answers.iter().all(|a| *a == 401));
    assert_eq!(s.idp.fetches(), 2, "one more for a thousand unknown ids");
}

#[tokio::test]
async fn a_new_key_is_found_and_a_broken_one_harms_nobody() {
    let s = service!();
    assert_eq!(status(&s, s.idp.access("a", now())).await, 200);
    s.idp
        .publish_raw(json!({"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"}));
    s.idp.publish_raw(json!({"kty": "weird"}));
    s.idp.publish("k2", KEY_2);
    assert_eq!(
        status(&s, sign_with("k2", KEY_2, &s.idp.access_claims("a", now()))).await,
        200
    );
    assert_eq!(status(&s, s.idp.access("a", now())).await, 200);
}

#[tokio::test]
async fn keys_stay_good_while_the_provider_is_away() {
    let s = service!();
    s.idp.set_away(true);
    let answer = s.user("a").get("/me").await;
    assert!(answer.headers.contains_key("retry-after"));
    answer.refused(503, "identity_provider_unavailable");
    s.idp.set_away(false);
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    assert_eq!(status(&s, s.idp.access("a", now())).await, 200);
    s.idp.set_away(true);
    assert_eq!(
        status(&s, sign_with("odd", KEY_1, &s.idp.access_claims("a", now()))).await,
        401
    );
    assert_eq!(status(&s, s.idp.access("a", now())).await, 200);
}

#[tokio::test]
async fn first_sight_makes_one_user_and_addresses_never_join_accounts() {
    let s = service!();
    let alice = s.user("alice");
    let many = futures::future::join_all((0..20).map(|_| alice.get("/me"))).await;
    let ids: std::collections::HashSet<_> = many
        .into_iter()
        .map(|a| a.expect(200)["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(s.sql("SELECT count(*) FROM users"), ["1"]);
    let id = ids.into_iter().next().unwrap();
    assert_eq!(s.sql("SELECT email FROM users"), [format!("{id}@users.invalid")]);

    let named = |sub: &str, verified: bool| {
        let claims = with(s.idp.id_claims(sub, now()), "email", json!("a@example.org"));
        s.with_token(sign(&with(claims, "email_verified", json!(verified))))
    };
    // Unverified: not taken. A fresh replica, because this one remembers the subject.
    let other = s.replica(Default::default()).await;
    let at = |c: crate::harness::Client| crate::harness::Client {
        base: other.base.clone(),
        ..c
    };
    assert_eq!(
        at(named("bob", false)).get("/me").await.expect(200)["email"],
        Value::Null
    );
    assert_eq!(
        at(named("alice", true)).get("/me").await.expect(200)["email"],
        "a@example.org"
    );
    let carol = at(named("carol", true)).get("/me").await.expect(200);
    assert_eq!(carol["email"], Value::Null, "another account has it");
    assert_ne!(carol["id"], json!(id));
    // The same name at two providers is two people.
    let fire = at(s.with_token(sign(&s.idp.firebase_claims("alice", now()))))
        .get("/me")
        .await
        .expect(200);
    assert_ne!(fire["id"], json!(id));
}
