//! An identity provider: signs tokens and serves its keys, counts fetches, and can be away.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

pub const KEY_1: &[u8] = include_bytes!("../../fixtures/test_only_key_1.pem");
pub const KEY_2: &[u8] = include_bytes!("../../fixtures/test_only_key_2.pem");

#[derive(Default)]
struct Shared {
    keys: Mutex<Vec<Value>>,
    fetches: AtomicUsize,
    away: AtomicBool,
}

pub struct Idp {
    pub issuer: String,
    pub jwks_url: String,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Idp {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn published(kid: &str, pem: &[u8]) -> Value {
    let key = EncodingKey::from_rsa_pem(pem).unwrap();
    let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&key, Algorithm::RS256).unwrap()).unwrap();
    jwk["kid"] = kid.into();
    jwk["use"] = "sig".into();
    jwk["alg"] = "RS256".into();
    jwk
}

async fn serve_keys(State(shared): State<Arc<Shared>>) -> (StatusCode, Json<Value>) {
    shared.fetches.fetch_add(1, Ordering::SeqCst);
    if shared.away.load(Ordering::SeqCst) {
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(Value::Null));
    }
    (
        StatusCode::OK,
        Json(json!({ "keys": *shared.keys.lock().unwrap() })),
    )
}

impl Idp {
    pub async fn start() -> Self {
        let shared = Arc::new(Shared::default());
        // Kids of real providers hold such characters.
        shared.keys.lock().unwrap().push(published("k/1+=", KEY_1));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new()
            .route("/keys", get(serve_keys))
            .with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            issuer: "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_test".into(),
            jwks_url: format!("{base}/keys"),
            shared,
            server,
        }
    }

    pub fn publish(&self, kid: &str, pem: &[u8]) {
        self.shared.keys.lock().unwrap().push(published(kid, pem));
    }

    pub fn publish_raw(&self, key: Value) {
        self.shared.keys.lock().unwrap().push(key);
    }

    pub fn set_away(&self, away: bool) {
        self.shared.away.store(away, Ordering::SeqCst);
    }

    pub fn fetches(&self) -> usize {
        self.shared.fetches.load(Ordering::SeqCst)
    }

    /// Claims of a good access token, issued at `now`.
    pub fn access_claims(&self, subject: &str, now: i64) -> Value {
        json!({"iss": self.issuer, "sub": subject, "token_use": "access", "client_id": "app", "username": "u",
               "scope": "openid", "auth_time": now, "iat": now, "exp": now + 3 * 86_400, "jti": "j", "version": 2})
    }

    pub fn id_claims(&self, subject: &str, now: i64) -> Value {
        json!({"iss": self.issuer, "sub": subject, "token_use": "id", "aud": "app", "cognito:username": "u",
               "auth_time": now, "iat": now, "exp": now + 3600})
    }

    pub fn firebase_claims(&self, uid: &str, now: i64) -> Value {
        json!({"iss": "https://securetoken.google.com/proj", "aud": "proj", "sub": uid, "user_id": uid,
               "auth_time": now, "iat": now, "exp": now + 3600, "firebase": {"sign_in_provider": "password"}})
    }

    pub fn access(&self, subject: &str, now: i64) -> String {
        sign(&self.access_claims(subject, now))
    }
}

/// Signed with the first key.
pub fn sign(claims: &Value) -> String {
    sign_with("k/1+=", KEY_1, claims)
}

pub fn sign_with(kid: &str, pem: &[u8], claims: &Value) -> String {
    let mut header = Header::new(Algorithm::RS256);
    header.kid = Some(kid.to_owned());
    sign_header(&header, pem, claims)
}

pub fn sign_header(header: &Header, pem: &[u8], claims: &Value) -> String {
    jsonwebtoken::encode(header, claims, &EncodingKey::from_rsa_pem(pem).unwrap()).unwrap()
}
