//! Which tokens are accepted.

use url::Url;

/// One issuer.
#[derive(Debug, Clone)]
pub struct Provider {
    pub kind: ProviderKind,
    /// Exact value of `iss`.
    pub issuer: String,
    /// Cognito: app client ids. Firebase: the project.
    pub audience: Vec<String>,
    pub jwks_url: Url,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderKind {
    /// Access tokens (`token_use` access, `client_id`, mostly no `aud`) and id tokens (`token_use` id, `aud`).
    Cognito,
    /// Id tokens (`aud` is the project).
    Firebase,
}

const FIREBASE_KEYS: &str =
    "https://www.googleapis.com/service_accounts/v1/metadata/jwk/securetoken@system.gserviceaccount.com";

/// Why a provider cannot be configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    #[error("the issuer is not a URL")]
    Issuer,
    #[error("the key URL must be https, or http on loopback")]
    Keys,
    #[error("no client id is given")]
    NoAudience,
}

impl Provider {
    /// A Cognito user pool; its keys are at `<issuer>/.well-known/jwks.json` unless told.
    ///
    /// # Errors
    /// `ProviderError`.
    pub fn cognito(issuer: &str, client_ids: Vec<String>, jwks: Option<&str>) -> Result<Self, ProviderError> {
        let issuer = issuer.trim_end_matches('/').to_owned();
        Url::parse(&issuer).map_err(|_| ProviderError::Issuer)?;
        let default = format!("{issuer}/.well-known/jwks.json");
        Self::checked(
            ProviderKind::Cognito,
            issuer,
            client_ids,
            jwks.unwrap_or(&default),
        )
    }

    /// A Firebase project.
    ///
    /// # Errors
    /// `ProviderError`.
    pub fn firebase(project: &str, jwks: Option<&str>) -> Result<Self, ProviderError> {
        let issuer = format!("https://securetoken.google.com/{project}");
        let audience = vec![project.to_owned()];
        Self::checked(
            ProviderKind::Firebase,
            issuer,
            audience,
            jwks.unwrap_or(FIREBASE_KEYS),
        )
    }

    fn checked(
        kind: ProviderKind,
        issuer: String,
        audience: Vec<String>,
        jwks: &str,
    ) -> Result<Self, ProviderError> {
        let jwks_url = Url::parse(jwks).map_err(|_| ProviderError::Keys)?;
        let loopback = match jwks_url.host() {
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost",
            None => false,
        };
        if jwks_url.scheme() != "https" && !(jwks_url.scheme() == "http" && loopback) {
            return Err(ProviderError::Keys);
        }
        if audience.is_empty() || audience.iter().any(String::is_empty) {
            return Err(ProviderError::NoAudience);
        }
        Ok(Self {
            kind,
            issuer,
            audience,
            jwks_url,
        })
    }
}
