//! An identity provider for this machine: `POST /token` with `{"sub": "..."}` answers a token for anybody.

use std::sync::Arc;

use anyhow::Context;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub const CLIENT_ID: &str = "dev";
const KID: &str = "dev-1";

struct Issuer {
    key: EncodingKey,
    keys: Value,
    issuer: String,
}

/// Address of a running provider.
#[derive(Debug, Clone)]
pub struct DevIdp {
    /// Issuer, and where it listens.
    pub base: String,
    pub jwks_url: String,
}

impl DevIdp {
    /// Starts one with a new key.
    ///
    /// # Errors
    /// No key or no port.
    pub async fn start() -> anyhow::Result<Self> {
        let pair = KeyPair::generate(KeySize::Rsa2048).context("no RSA key")?;
        let der = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair).context("no RSA key")?;
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            STANDARD.encode(der.as_ref())
        );
        let key = EncodingKey::from_rsa_pem(pem.as_bytes())?;
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&key, Algorithm::RS256)?)?;
        jwk["kid"] = KID.into();
        jwk["use"] = "sig".into();
        jwk["alg"] = "RS256".into();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let base = format!("http://{}", listener.local_addr()?);
        let issuer = Arc::new(Issuer {
            key,
            keys: json!({ "keys": [jwk] }),
            issuer: base.clone(),
        });
        let router = Router::new()
            .route(
                "/.well-known/jwks.json",
                get(|State(i): State<Arc<Issuer>>| async move { Json(i.keys.clone()) }),
            )
            .route("/token", post(token))
            .with_state(issuer);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self {
            jwks_url: format!("{base}/.well-known/jwks.json"),
            base,
        })
    }
}

#[derive(Deserialize)]
struct Wish {
    sub: String,
}

async fn token(
    State(issuer): State<Arc<Issuer>>,
    Json(wish): Json<Wish>,
) -> Result<String, axum::http::StatusCode> {
    let now = jiff::Timestamp::now().as_second();
    let claims = json!({"iss": issuer.issuer, "sub": wish.sub, "token_use": "access", "client_id": CLIENT_ID,
        "auth_time": now, "iat": now, "exp": now + 86_400});
    let mut header = Header::new(Algorithm::RS256);
    header.kid = Some(KID.into());
    jsonwebtoken::encode(&header, &claims, &issuer.key)
        .map_err(|_| axum::http::StatusCode::INTERNAL_SERVER_ERROR)
}
