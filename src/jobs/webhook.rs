//! Tells the client's own address how its job ended: a few tries, signed, at least once.
//!
//! The signature follows the Standard Webhooks layout: `webhook-id`, `webhook-timestamp` and
//! `webhook-signature: v1,<base64 of HMAC-SHA256(secret, "id.timestamp.body")>`. The id is the job's: a receiver that
//! sees it twice has the same news twice.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use hmac::{Hmac, Mac};
use metrics::counter;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use tokio::sync::{Semaphore, mpsc};

use super::Store;
use super::clock::wall_ms;
use super::record::Delivery;
use crate::telemetry::names;

/// How webhooks are delivered.
#[derive(Debug, Clone)]
pub struct WebhookOptions {
    /// Signs the body; without one there is no signature header.
    pub secret: Option<SecretString>,
    pub attempts: u32,
    pub pause: Duration,
    pub timeout: Duration,
}

impl Default for WebhookOptions {
    fn default() -> Self {
        Self {
            secret: None,
            attempts: 3,
            pause: Duration::from_secs(10),
            timeout: Duration::from_secs(10),
        }
    }
}

/// Delivers until the store is gone. `client` decides which addresses may be reached.
pub async fn deliver_all(
    store: Store,
    mut due: mpsc::UnboundedReceiver<String>,
    client: reqwest::Client,
    options: WebhookOptions,
) {
    let options = Arc::new(options);
    let at_a_time = Arc::new(Semaphore::new(32));
    while let Some(id) = due.recv().await {
        let Ok(slot) = at_a_time.clone().acquire_owned().await else {
            return;
        };
        let (store, client, options) = (store.clone(), client.clone(), options.clone());
        tokio::spawn(async move {
            let result = deliver(&store, &id, &client, &options).await;
            let label = if result == Delivery::Delivered {
                "delivered"
            } else {
                "given_up"
            };
            counter!(names::WEBHOOKS, "result" => label).increment(1);
            store.delivered(&id, result);
            drop(slot);
        });
    }
}

async fn deliver(store: &Store, id: &str, client: &reqwest::Client, options: &WebhookOptions) -> Delivery {
    let Some(record) = store.record(id) else {
        return Delivery::GivenUp;
    };
    let Some(url) = record.webhook.clone() else {
        return Delivery::None;
    };
    let body = record.webhook_body(store.worker_id()).to_string();
    for attempt in 1..=options.attempts {
        let timestamp = wall_ms() / 1000;
        let mut request = client
            .post(&url)
            .timeout(options.timeout)
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp);
        if let Some(secret) = &options.secret {
            request = request.header(
                "webhook-signature",
                signature(secret, id, timestamp, body.as_bytes()),
            );
        }
        let failure = match request.body(body.clone()).send().await {
            Ok(response) if response.status() == reqwest::StatusCode::OK => return Delivery::Delivered,
            Ok(response) => format!("HTTP {}", response.status().as_u16()),
            Err(error) => error.without_url().to_string(),
        };
        tracing::warn!(
            job = id,
            attempt,
            of = options.attempts,
            "webhook not taken: {failure}"
        );
        if attempt < options.attempts {
            tokio::time::sleep(options.pause).await;
        }
    }
    Delivery::GivenUp
}

/// The value of `webhook-signature`.
pub fn signature(secret: &SecretString, id: &str, timestamp: u64, body: &[u8]) -> String {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()) else {
        return String::new();
    };
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    let digest = mac.finalize().into_bytes();
    format!("v1,{}", base64::engine::general_purpose::STANDARD.encode(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_documented_one() {
        // Python: base64.b64encode(hmac.new(b"secret", b'job-1.1700000000.{"a":1}', "sha256").digest())
        assert_eq!(
            signature(&"secret".into(), "job-1", 1_700_000_000, br#"{"a":1}"#),
            "v1,WgTs5xiK2S6KTZDHTmeo80v+VgMRUyWnLW81SRQ4ecg="
        );
    }
}
