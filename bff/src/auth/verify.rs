//! One token, from text to subject.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;
use serde_json::Value;

use super::jwks::{Jwks, Lookup};
use super::provider::{Provider, ProviderKind};

/// Seconds that clocks may differ.
const LEEWAY: i64 = 30;
const TOKEN_BYTES: usize = 8 << 10;
const KID_BYTES: usize = 256;
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
    if token.len() > TOKEN_BYTES || token.split('.').count() != 3 {
        return Err(Refused::Malformed);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| Refused::Header)?;
    // Keys come from the provider, never from the token; an extension that must be understood is not.
    let brings_key =
        header.jku.is_some() || header.x5u.is_some() || header.jwk.is_some() || header.x5c.is_some();
    let b64 = header.extras.inner().contains_key("b64");
    if header.alg != Algorithm::RS256 || brings_key || header.crit.is_some() || header.zip.is_some() || b64 {
        return Err(Refused::Header);
    }
    let kid = header
        .kid
        .filter(|k| !k.is_empty() && k.len() <= KID_BYTES)
        .ok_or(Refused::Header)?;
    // Unverified, and used only to choose among what is configured.
    #[derive(Deserialize)]
    struct Issuer {
        iss: String,
    }
    let issuer: Issuer =
        jsonwebtoken::dangerous::insecure_decode_claims(token).map_err(|_| Refused::Issuer)?;
    let (provider, keys) = providers
        .iter()
        .find(|(p, _)| p.issuer == issuer.iss)
        .ok_or(Refused::Issuer)?;
    let key = match keys.find(&kid).await {
        Lookup::Key(key) => key,
        Lookup::Unknown => return Err(Refused::UnknownKey),
        Lookup::Away => return Err(Refused::ProviderAway),
    };
    let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation(provider))
        .map_err(|e| refused(e.kind()))?
        .claims;
    check_times(&claims, now_s)?;
    check_audience(provider, &claims)?;
    subject(provider, claims)
}

/// The library checks signature, issuer and presence; times and audience are checked here, with the service's clock and
/// for both shapes of Cognito's tokens.
fn validation(provider: &Provider) -> Validation {
    let mut v = Validation::new(Algorithm::RS256);
    v.validate_exp = false;
    v.validate_nbf = false;
    v.validate_aud = false;
    v.set_issuer(&[&provider.issuer]);
    v.set_required_spec_claims(&["exp", "iss", "sub"]);
    v
}

fn refused(kind: &jsonwebtoken::errors::ErrorKind) -> Refused {
    use jsonwebtoken::errors::ErrorKind;
    match kind {
        ErrorKind::InvalidSignature => Refused::Signature,
        ErrorKind::InvalidIssuer => Refused::Issuer,
        ErrorKind::InvalidAlgorithm => Refused::Header,
        _ => Refused::Malformed,
    }
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
