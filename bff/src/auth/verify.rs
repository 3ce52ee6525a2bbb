//! One token, from text to subject.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::jwks::{Jwks, Lookup};
use super::jws::Token;
use super::provider::{Provider, ProviderKind};

/// Seconds that clocks may differ.
const LEEWAY: i64 = 30;
const SUBJECT_BYTES: usize = 200;

/// Why a token is refused; for metrics, never with the token's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Malformed,
    Header,
    Issuer,
    UnknownKey,
    Signature,
    Expired,
    NotYet,
    Audience,
    TokenUse,
    Subject,
    ProviderAway,
}

impl Refused {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Header => "header",
            Self::Issuer => "issuer",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::Audience => "audience",
            Self::TokenUse => "token_use",
            Self::Subject => "subject",
            Self::ProviderAway => "provider_away",
        }
    }
}

/// Whom a verified token stands for. Only `verify` makes one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    key: String,
    email: Option<String>,
    signed_in_s: i64,
}

/// No subject, no address: it would end in a log.
impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Subject(..)")
    }
}

impl Subject {
    /// As stored: Cognito's `sub`, or `firebase:<uid>`, so that two providers never collide.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Only if the provider says that it is verified.
    pub fn verified_email(&self) -> Option<&str> {
        self.email.as_deref()
    }

    /// When the person last signed in; renewing a token does not change it.
    pub fn signed_in_at(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_second(self.signed_in_s).unwrap_or(jiff::Timestamp::MIN)
    }
}

#[derive(Debug, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    exp: i64,
    iat: Option<i64>,
    auth_time: Option<i64>,
    nbf: Option<i64>,
    token_use: Option<String>,
    client_id: Option<String>,
    aud: Option<Value>,
    email: Option<String>,
    email_verified: Option<Value>,
}

pub(super) async fn verify(
    providers: &[(Provider, Arc<Jwks>)],
    token: &str,
    now_s: i64,
) -> Result<Subject, Refused> {
    let token = Token::parse(token)?;
    // Of these nothing is used before the signature is checked but the issuer, to choose among what is configured.
    let claims: Claims = serde_json::from_slice(&token.claims).map_err(|_| Refused::Malformed)?;
    let (provider, keys) = providers
        .iter()
        .find(|(p, _)| p.issuer == claims.iss)
        .ok_or(Refused::Issuer)?;
    match keys.find(&token.kid).await {
        Lookup::Key(key) => token.check(&key)?,
        Lookup::Unknown => return Err(Refused::UnknownKey),
        Lookup::Away => return Err(Refused::ProviderAway),
    }
    check_times(&claims, now_s)?;
    check_audience(provider, &claims)?;
    subject(provider, claims)
}

fn check_times(claims: &Claims, now_s: i64) -> Result<(), Refused> {
    if claims.exp.saturating_add(LEEWAY) <= now_s {
        return Err(Refused::Expired);
    }
    let future = |t: Option<i64>| t.is_some_and(|t| t > now_s.saturating_add(LEEWAY));
    if future(claims.nbf) || future(claims.iat) || future(claims.auth_time) {
        return Err(Refused::NotYet);
    }
    Ok(())
}

fn check_audience(provider: &Provider, claims: &Claims) -> Result<(), Refused> {
    let named = |value: &str| provider.audience.iter().any(|a| a == value);
    let aud = || match &claims.aud {
        Some(Value::String(one)) => named(one),
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).any(named),
        _ => false,
    };
    let good = match (provider.kind, claims.token_use.as_deref()) {
        (ProviderKind::Cognito, Some("access")) => claims.client_id.as_deref().is_some_and(named),
        (ProviderKind::Cognito, Some("id")) | (ProviderKind::Firebase, None) => aud(),
        _ => return Err(Refused::TokenUse),
    };
    if good { Ok(()) } else { Err(Refused::Audience) }
}

fn subject(provider: &Provider, claims: Claims) -> Result<Subject, Refused> {
    let sub = claims.sub;
    let longest = if provider.kind == ProviderKind::Firebase {
        128
    } else {
        SUBJECT_BYTES
    };
    if sub.trim().is_empty()
        || sub.chars().count() > longest
        || sub.len() > SUBJECT_BYTES
        || sub.chars().any(char::is_control)
    {
        return Err(Refused::Subject);
    }
    let verified = match &claims.email_verified {
        Some(Value::Bool(b)) => *b,
        // Some gateways hand claims on as text.
        Some(Value::String(s)) => s == "true",
        _ => false,
    };
    let email = claims.email.filter(|e| {
        verified
            && e.contains('@')
            && e.len() <= 255
            && !e.chars().any(char::is_control)
            && !e.ends_with(".invalid")
    });
    let key = match provider.kind {
        ProviderKind::Cognito if sub.starts_with("firebase:") => return Err(Refused::Subject),
        ProviderKind::Cognito => sub,
        ProviderKind::Firebase => format!("firebase:{sub}"),
    };
    Ok(Subject {
        key,
        email,
        signed_in_s: claims.auth_time.or(claims.iat).unwrap_or(0),
    })
}
