//! Who asks: tokens of Cognito and Firebase, verified against the provider's published keys.
//!
//! The algorithm is fixed here and never taken from the token; the user comes from the token and from nothing else.

mod jwks;
mod jws;
mod provider;
mod verify;

pub use jwks::{Jwks, JwksOptions};
pub use provider::{Provider, ProviderKind};
pub use verify::{Refused, Subject};

use std::sync::Arc;

use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::problem::{Code, Problem};

/// Verifies tokens of the configured providers.
#[derive(Debug)]
pub struct Auth {
    providers: Vec<(Provider, Arc<Jwks>)>,
    secret: SecretString,
}

impl Auth {
    /// # Errors
    /// The HTTP client for the keys cannot be made.
    pub fn new(
        providers: Vec<Provider>,
        secret: SecretString,
        options: &JwksOptions,
    ) -> Result<Self, reqwest::Error> {
        let client = jwks::client(options)?;
        let providers = providers
            .into_iter()
            .map(|p| {
                let keys = Jwks::new(p.jwks_url.clone(), client.clone(), options.clone());
                (p, Arc::new(keys))
            })
            .collect();
        Ok(Self { providers, secret })
    }

    /// Fetches keys ahead of the first request; a provider that is away is tried again then.
    pub async fn warm_up(&self) {
        for (_, keys) in &self.providers {
            keys.warm_up().await;
        }
    }

    /// # Errors
    /// 401 for a token that is not good, 503 if no key of its provider has ever been seen.
    pub async fn verify(&self, token: &str, now_s: i64) -> Result<Subject, Problem> {
        let outcome = verify::verify(&self.providers, token, now_s).await;
        outcome.map_err(|why| {
            metrics::counter!("bff_tokens_refused_total", "why" => why.as_str()).increment(1);
            match why {
                Refused::Expired => Problem::new(Code::TokenExpired, "the token has expired"),
                Refused::ProviderAway => Problem::new(
                    Code::IdentityProviderUnavailable,
                    "the identity provider's keys cannot be fetched",
                ),
                _ => Problem::new(Code::TokenInvalid, "the token is not acceptable"),
            }
        })
    }

    /// Keyed hash of a subject: what stays of an erased user, and what stands for a user in logs.
    pub fn pseudonym(&self, text: &str) -> [u8; 32] {
        let mut mac = match Hmac::<Sha256>::new_from_slice(self.secret.expose_secret().as_bytes()) {
            Ok(mac) => mac,
            Err(_) => unreachable!("HMAC takes keys of any length"),
        };
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().into()
    }
}
