//! Firebase Cloud Messaging, HTTP v1: an access token for a service account, then one call a message.

use std::time::Duration;

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use url::Url;

use super::apns::NoClient;
use super::push::{Push, Sender, Sent, word};
use crate::outgoing;

const PATIENCE: Duration = Duration::from_secs(10);
const BODY: usize = 64 << 10;
const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
/// Renewed so long before its end.
const SPARE: SignedDuration = SignedDuration::from_mins(5);

/// A service account's key, as Google's console gives it.
#[derive(Debug, Clone, Deserialize)]
pub struct FcmAccount {
    pub project_id: String,
    pub client_email: String,
    pub private_key: SecretString,
    pub token_uri: String,
}

/// A client of one project.
pub struct Fcm {
    http: reqwest::Client,
    base: Url,
    /// Where access tokens are given.
    token_uri: Url,
    account: FcmAccount,
    key: EncodingKey,
    /// Access token, and when to renew it.
    access: Mutex<Option<(String, Timestamp)>>,
}

impl std::fmt::Debug for Fcm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fcm")
            .field("project", &self.account.project_id)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Access {
    access_token: String,
    #[serde(default = "an_hour")]
    expires_in: i64,
}

fn an_hour() -> i64 {
    3600
}

impl Fcm {
    /// # Errors
    /// [`NoClient`].
    pub fn new(base: Url, account: FcmAccount) -> Result<Self, NoClient> {
        let key = account.private_key.expose_secret();
        let key = EncodingKey::from_rsa_pem(key.as_bytes()).map_err(|_| NoClient::Key)?;
        Ok(Self {
            http: outgoing::client(PATIENCE)?,
            base,
            token_uri: outgoing::base(&account.token_uri).ok_or(NoClient::Address)?,
            account,
            key,
            access: Mutex::new(None),
        })
    }

    /// One fetch for everybody who waits.
    async fn access(&self) -> Result<String, Sent> {
        let mut kept = self.access.lock().await;
        let now = Timestamp::now();
        if let Some((token, until)) = &*kept
            && *until > now
        {
            return Ok(token.clone());
        }
        let iat = now.as_second();
        let claims = json!({"iss": self.account.client_email, "scope": SCOPE, "aud": self.account.token_uri,
            "iat": iat, "exp": iat + 3600});
        let assertion = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &self.key);
        let assertion = assertion.map_err(|_| Sent::Refused("no assertion".into()))?;
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
            .append_pair("assertion", &assertion)
            .finish();
        let response = self
            .http
            .post(self.token_uri.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form)
            .send()
            .await
            .map_err(|_| Sent::Later(None))?;
        let (status, after) = (response.status(), outgoing::retry_after(&response));
        if status.as_u16() == 429 || status.is_server_error() {
            return Err(Sent::Later(after));
        }
        if !status.is_success() {
            return Err(Sent::Refused(format!(
                "{} at the token's address",
                status.as_u16()
            )));
        }
        let body = outgoing::body(response, BODY).await.ok_or(Sent::Later(None))?;
        let access: Access = serde_json::from_slice(&body).map_err(|_| Sent::Later(None))?;
        let life = SignedDuration::from_secs(access.expires_in.clamp(0, 86_400));
        *kept = Some((access.access_token.clone(), now + life - SPARE));
        Ok(access.access_token)
    }

    async fn post(&self, device: &str, push: &Push) -> Result<Sent, Sent> {
        let access = self.access().await?;
        let path = format!("v1/projects/{}/messages:send", self.account.project_id);
        // Values of `data` must be strings.
        let message = json!({"message": {
            "token": device,
            "notification": {"body": push.alert},
            "data": {"kind": push.kind, "id": push.subject.to_string()},
            "android": {"collapse_key": push.collapse_id(), "priority": "HIGH", "ttl": "43200s"}
        }});
        let response = self
            .http
            .post(outgoing::below(&self.base, &path))
            .bearer_auth(&access)
            .json(&message)
            .send()
            .await
            .map_err(|_| Sent::Later(None))?;
        let (status, after) = (response.status(), outgoing::retry_after(&response));
        if status.is_success() {
            return Ok(Sent::Delivered);
        }
        let body = outgoing::body(response, BODY).await.unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let code = fcm_code(&body);
        Err(match (status.as_u16(), code) {
            // Also INVALID_ARGUMENT, but only where it speaks of the token: of a field, it is a fault of ours.
            (404, _) | (_, "UNREGISTERED" | "SENDER_ID_MISMATCH") => Sent::Gone(None),
            (400, "INVALID_ARGUMENT") if !names_a_field(&body) => Sent::Gone(None),
            (401, code) if code != "THIRD_PARTY_AUTH_ERROR" => {
                *self.access.lock().await = None;
                Sent::Later(None)
            }
            (429 | 500.., _) => Sent::Later(after),
            (status, code) => Sent::Refused(format!("{status} {}", word(code))),
        })
    }
}

fn details(body: &Value) -> impl Iterator<Item = &Value> {
    body["error"]["details"].as_array().into_iter().flatten()
}

/// `errorCode` of the detail of FCM's own type.
fn fcm_code(body: &Value) -> &str {
    let own = details(body).find(|d| d["@type"].as_str().is_some_and(|t| t.ends_with("FcmError")));
    own.and_then(|d| d["errorCode"].as_str()).unwrap_or_default()
}

fn names_a_field(body: &Value) -> bool {
    let violations = |d: &Value| d["fieldViolations"].as_array().cloned().unwrap_or_default();
    details(body)
        .flat_map(violations)
        .any(|v| v["field"].as_str().is_some_and(|f| f != "message.token"))
}

impl Sender for Fcm {
    fn send<'a>(&'a self, token: &'a str, push: &'a Push) -> BoxFuture<'a, Sent> {
        Box::pin(async move { self.post(token, push).await.unwrap_or_else(|sent| sent) })
    }
}
