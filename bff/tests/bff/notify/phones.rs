//! Apple's and Google's push services in this process: they check signatures, remember, and answer what they are told to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Version};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use bio_bff::notify::apns::{Apns, ApnsAccount};
use bio_bff::notify::fcm::{Fcm, FcmAccount};
use bio_bff::notify::push::Senders;
use bio_bff::store::Db;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

const EC: &str = include_str!("../../fixtures/test_only_ec.pem");
const EC_PUBLIC: &[u8] = include_bytes!("../../fixtures/test_only_ec_public.pem");
const RSA: &str = include_str!("../../fixtures/test_only_key_1.pem");
const RSA_PUBLIC: &[u8] = include_bytes!("../../fixtures/test_only_key_1_public.pem");

#[derive(Default)]
pub struct Seen {
    /// Status and body of the next answers; 200 when it is empty.
    pub turns: VecDeque<(u16, Value)>,
    /// Device token and body of each push that was accepted.
    pub pushes: Vec<(String, Value)>,
    pub tries: usize,
    /// Distinct provider tokens, or access tokens given out.
    pub tokens: Vec<String>,
    pub headers: Vec<HeaderMap>,
}

pub type Shared = Arc<Mutex<Seen>>;

pub struct Phones {
    pub apns: Shared,
    pub fcm: Shared,
    base: String,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Phones {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Claims, if the signature is good.
fn verified(token: &str, algorithm: Algorithm, key: &DecodingKey) -> Value {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    jsonwebtoken::decode::<Value>(token, key, &validation)
        .expect("a good signature")
        .claims
}

fn is_young(claims: &Value) {
    let age = jiff::Timestamp::now().as_second() - claims["iat"].as_i64().unwrap();
    assert!((-5..3600).contains(&age), "signed {age} s ago");
}

fn turn(seen: &mut Seen) -> Option<Response> {
    seen.tries += 1;
    let (status, body) = seen.turns.pop_front()?;
    Some((StatusCode::from_u16(status).unwrap(), Json(body)).into_response())
}

async fn apple(
    State((seen, _)): State<(Shared, Shared)>,
    version: Version,
    Path(device): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    assert_eq!(version, Version::HTTP_2);
    let token = headers["authorization"]
        .to_str()
        .unwrap()
        .strip_prefix("bearer ")
        .unwrap();
    assert_eq!(
        jsonwebtoken::decode_header(token).unwrap().kid.as_deref(),
        Some("KEY1234567")
    );
    let claims = verified(
        token,
        Algorithm::ES256,
        &DecodingKey::from_ec_pem(EC_PUBLIC).unwrap(),
    );
    assert_eq!(claims["iss"], "TEAM123456");
    is_young(&claims);
    for (name, value) in [
        ("apns-topic", "org.example.diet"),
        ("apns-push-type", "alert"),
        ("apns-priority", "10"),
    ] {
        assert_eq!(headers[name], value);
    }
    assert!(headers["apns-collapse-id"].len() <= 64 && body.len() <= 4096);
    let mut seen = seen.lock().unwrap();
    if !seen.tokens.iter().any(|t| t == token) {
        seen.tokens.push(token.to_owned());
    }
    seen.headers.push(headers.clone());
    if let Some(answer) = turn(&mut seen) {
        return answer;
    }
    seen.pushes.push((device, serde_json::from_slice(&body).unwrap()));
    StatusCode::OK.into_response()
}

async fn google_token(State((_, seen)): State<(Shared, Shared)>, body: String) -> Json<Value> {
    let form: std::collections::HashMap<_, _> = url::form_urlencoded::parse(body.as_bytes())
        .into_owned()
        .collect();
    assert_eq!(form["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let claims = verified(
        &form["assertion"],
        Algorithm::RS256,
        &DecodingKey::from_rsa_pem(RSA_PUBLIC).unwrap(),
    );
    assert_eq!(claims["iss"], "push@example.iam.gserviceaccount.com");
    assert_eq!(
        claims["scope"],
        "https://www.googleapis.com/auth/firebase.messaging"
    );
    assert!(claims["aud"].as_str().unwrap().ends_with("/oauth"));
    is_young(&claims);
    let mut seen = seen.lock().unwrap();
    let token = format!("access-{}", seen.tokens.len());
    seen.tokens.push(token.clone());
    Json(json!({"access_token": token, "expires_in": 3599, "token_type": "Bearer"}))
}

async fn google(
    State((_, seen)): State<(Shared, Shared)>,
    Path((project, verb)): Path<(String, String)>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    assert_eq!((project.as_str(), verb.as_str()), ("example", "messages:send"));
    let mut seen = seen.lock().unwrap();
    let newest = format!("Bearer {}", seen.tokens.last().unwrap());
    assert_eq!(headers["authorization"], newest.as_str());
    assert!(
        body["message"]["data"]
            .as_object()
            .unwrap()
            .values()
            .all(Value::is_string)
    );
    if let Some(answer) = turn(&mut seen) {
        return answer;
    }
    let device = body["message"]["token"].as_str().unwrap().to_owned();
    seen.pushes.push((device, body["message"].clone()));
    Json(json!({"name": "projects/example/messages/1"})).into_response()
}

/// HTTP/2 without TLS too, which `axum::serve` does not speak.
async fn serve(listener: tokio::net::TcpListener, router: Router) {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let router = router.clone();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |r: hyper::Request<hyper::body::Incoming>| {
                tower::ServiceExt::oneshot(router.clone(), r)
            });
            let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

impl Phones {
    pub async fn start() -> Self {
        let (apns, fcm) = (Shared::default(), Shared::default());
        let router = Router::new()
            .route("/3/device/{token}", post(apple))
            .route("/oauth", post(google_token))
            .route("/v1/projects/{project}/{verb}", post(google))
            .with_state((apns.clone(), fcm.clone()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(serve(listener, router));
        Self {
            apns,
            fcm,
            base,
            server,
        }
    }

    pub fn senders(&self, db: &Db) -> Senders {
        let base: url::Url = self.base.parse().unwrap();
        let apple = ApnsAccount {
            base: base.clone(),
            key_id: "KEY1234567".into(),
            team_id: "TEAM123456".into(),
            topic: "org.example.diet".into(),
            key: EC.to_owned().into(),
        };
        let google = json!({"type": "service_account", "project_id": "example", "private_key": RSA,
            "client_email": "push@example.iam.gserviceaccount.com", "token_uri": format!("{}/oauth", self.base)});
        let google: FcmAccount = serde_json::from_value(google).unwrap();
        Senders {
            apns: Some(Arc::new(Apns::new(apple, db.clone()).unwrap())),
            fcm: Some(Arc::new(Fcm::new(base, google).unwrap())),
        }
    }
}
