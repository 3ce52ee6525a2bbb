//! Signed webhooks in the layout of Standard Webhooks: `webhook-id`, `webhook-timestamp`, and `webhook-signature` with
//! `v1,<base64 of HMAC-SHA256(secret, "id.timestamp.body")>`.

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// How far a sender's clock, or a call's way, may be off.
const OFF_S: i64 = 300;

/// Hashes a body as it comes, so that none of it has to be kept.
pub struct Check {
    mac: Hmac<Sha256>,
    told: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Check(..)")
    }
}

impl Check {
    /// `None` if the headers cannot belong to a good call.
    pub fn begin(secret: &SecretString, headers: &HeaderMap, now_s: i64) -> Option<Self> {
        let text = |name: &str| headers.get(name)?.to_str().ok();
        let (id, timestamp) = (text("webhook-id")?, text("webhook-timestamp")?);
        let sent: i64 = timestamp.parse().ok()?;
        if now_s.checked_sub(sent)?.abs() > OFF_S {
            return None;
        }
        // Several are allowed, for a change of keys.
        let told: Vec<_> = text("webhook-signature")?
            .split(' ')
            .filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok())
            .take(8)
            .collect();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).ok()?;
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        Some(Self { mac, told })
    }

    pub fn update(&mut self, part: &[u8]) {
        self.mac.update(part);
    }

    /// Whether one of the signatures is right; compared in constant time.
    pub fn good(self) -> bool {
        self.told
            .iter()
            .any(|told| self.mac.clone().verify_slice(told).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(signature: &str, now: i64, body: &[u8]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("webhook-id", "job-1"),
            ("webhook-timestamp", "1700000000"),
            ("webhook-signature", signature),
        ] {
            headers.insert(name, value.parse().expect("a header"));
        }
        let Some(mut check) = Check::begin(&"secret".to_owned().into(), &headers, now) else {
            return false;
        };
        check.update(body);
        check.good()
    }

    #[test]
    fn only_the_right_signature_of_now_is_good() {
        // Python: base64.b64encode(hmac.new(b"secret", b'job-1.1700000000.{"a":1}', "sha256").digest())
        let good = "v1,WgTs5xiK2S6KTZDHTmeo80v+VgMRUyWnLW81SRQ4ecg=";
        let body = br#"{"a":1}"#;
        assert!(check(good, 1_700_000_000, body));
        assert!(check(&format!("v1,AAAA {good}"), 1_700_000_299, body));
        assert!(!check(good, 1_700_000_301, body), "replayed");
        assert!(!check(good, 1_700_000_000, br#"{"a":2}"#));
        for bad in [
            "",
            "v1,",
            "v1,WgTs",
            "v2,WgTs5xiK2S6KTZDHTmeo80v+VgMRUyWnLW81SRQ4ecg=",
        ] {
            assert!(!check(bad, 1_700_000_000, body), "{bad}");
        }
        assert!(Check::begin(&"secret".to_owned().into(), &HeaderMap::new(), 0).is_none());
    }
}
