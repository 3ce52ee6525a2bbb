//! Apple's push service: HTTP/2 and a token signed with ES256.
//!
//! Apple wants a token to live between 20 and 60 minutes and punishes clients that sign many, so all processes share one
//! through the database.

use std::time::Duration;

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;
use url::Url;

use super::push::{Push, Sender, Sent, word};
use crate::outgoing;
use crate::store::Db;

const PATIENCE: Duration = Duration::from_secs(10);
const BODY: usize = 16 << 10;
const LIFE: SignedDuration = SignedDuration::from_mins(50);
/// A push that was not delivered within this is not worth delivering.
const EXPIRY: SignedDuration = SignedDuration::from_hours(12);

/// What Apple's developer pages give.
#[derive(Debug, Clone)]
pub struct ApnsAccount {
    /// `https://api.push.apple.com`, or the sandbox.
    pub base: Url,
    pub key_id: String,
    pub team_id: String,
    /// Bundle id of the app.
    pub topic: String,
    /// The `.p8` file's text.
    pub key: SecretString,
}

/// A client of one app.
pub struct Apns {
    http: reqwest::Client,
    account: ApnsAccount,
    key: EncodingKey,
    db: Db,
    token: Mutex<Option<(String, Timestamp)>>,
}

impl std::fmt::Debug for Apns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Apns")
            .field("topic", &self.account.topic)
            .finish_non_exhaustive()
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum NoClient {
    #[error("the key is no private key in PEM")]
    Key,
    #[error("an address is neither https nor on loopback")]
    Address,
    #[error("the TLS library cannot be set up")]
    Tls(#[from] reqwest::Error),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    reason: String,
    /// Milliseconds; with 410.
    timestamp: Option<i64>,
}

impl Apns {
    /// # Errors
    /// [`NoClient`].
    pub fn new(account: ApnsAccount, db: Db) -> Result<Self, NoClient> {
        let key =
            EncodingKey::from_ec_pem(account.key.expose_secret().as_bytes()).map_err(|_| NoClient::Key)?;
        let mut http = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if account.base.scheme() == "http" {
            // Without TLS there is no negotiation, and this service speaks nothing but HTTP/2.
            http = http.http2_prior_knowledge();
        }
        Ok(Self {
            http: http.build()?,
            key,
            account,
            db,
            token: Mutex::new(None),
        })
    }

    async fn token(&self) -> Option<String> {
        let mut kept = self.token.lock().await;
        let now = Timestamp::now();
        if let Some((token, minted)) = &*kept
            && *minted + LIFE > now
        {
            return Some(token.clone());
        }
        let name = format!("apns:{}:{}", self.account.team_id, self.account.key_id);
        let shared = match self.db.provider_token(&name, now - LIFE).await.ok()? {
            Some(shared) => shared,
            None => {
                let mut header = Header::new(Algorithm::ES256);
                header.kid = Some(self.account.key_id.clone());
                header.typ = None;
                let claims = json!({"iss": self.account.team_id, "iat": now.as_second()});
                let token = jsonwebtoken::encode(&header, &claims, &self.key).ok()?;
                self.db
                    .keep_provider_token(&name, &token, now, now - LIFE)
                    .await
                    .ok()?
            }
        };
        let token = shared.0.clone();
        *kept = Some(shared);
        Some(token)
    }

    async fn post(&self, device: &str, push: &Push) -> Sent {
        if !device.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Sent::Gone(None);
        }
        let Some(token) = self.token().await else {
            return Sent::Later(None);
        };
        let body = json!({
            "aps": {"alert": {"body": push.alert}, "sound": "default", "thread-id": "scans"},
            "kind": push.kind, "id": push.subject
        });
        let expiry = (Timestamp::now() + EXPIRY).as_second();
        let response = self
            .http
            .post(outgoing::below(&self.account.base, &format!("3/device/{device}")))
            .header("authorization", format!("bearer {token}"))
            .header("apns-topic", &self.account.topic)
            .header("apns-push-type", "alert")
            .header("apns-priority", "10")
            .header("apns-expiration", expiry.to_string())
            .header("apns-collapse-id", push.collapse_id())
            .json(&body)
            .send()
            .await;
        let Ok(response) = response else {
            return Sent::Later(None);
        };
        let (status, after) = (response.status(), outgoing::retry_after(&response));
        if status == StatusCode::OK {
            return Sent::Delivered;
        }
        let refusal: Refusal = outgoing::body(response, BODY)
            .await
            .and_then(|b| serde_json::from_slice(&b).ok())
            .unwrap_or_default();
        match (status.as_u16(), refusal.reason.as_str()) {
            (410, _) => Sent::Gone(
                refusal
                    .timestamp
                    .and_then(|ms| Timestamp::from_millisecond(ms).ok()),
            ),
            (400, "BadDeviceToken" | "DeviceTokenNotForTopic") => Sent::Gone(None),
            // By our clock it is young: ours is wrong, or Apple's. The next one is signed anew.
            (403, "ExpiredProviderToken") => {
                *self.token.lock().await = None;
                Sent::Later(None)
            }
            (429, _) | (500.., _) => Sent::Later(after),
            (_, reason) => Sent::Refused(format!("{} {}", status.as_u16(), word(reason))),
        }
    }
}

impl Sender for Apns {
    fn send<'a>(&'a self, token: &'a str, push: &'a Push) -> BoxFuture<'a, Sent> {
        Box::pin(self.post(token, push))
    }
}
