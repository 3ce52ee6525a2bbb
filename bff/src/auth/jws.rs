//! Compact tokens signed with RS256 (RFC 7515, 7518): taken apart once, and checked with a key that was parsed once.
//!
//! The algorithm stands here and is never chosen by a token. A header that brings a key of its own, points at one, or wants
//! an extension understood is refused.

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::verify::Refused;

const TOKEN_BYTES: usize = 8 << 10;
const KID_BYTES: usize = 256;

/// A public key of 2048 to 8192 bits.
#[derive(Debug)]
pub(super) struct Key(ParsedPublicKey);

impl Key {
    /// From a JWK's modulus and exponent; `None` if they are none.
    pub(super) fn of(n: &str, e: &str) -> Option<Self> {
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let parts = RsaPublicKeyComponents {
            n: decode(n)?,
            e: decode(e)?,
        };
        let parsed = parts.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256);
        parsed.ok().map(Self)
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    jku: Option<IgnoredAny>,
    x5u: Option<IgnoredAny>,
    x5c: Option<IgnoredAny>,
    jwk: Option<IgnoredAny>,
    crit: Option<IgnoredAny>,
    zip: Option<IgnoredAny>,
    b64: Option<IgnoredAny>,
}

/// A token taken apart; nothing of it is believed before [`Token::check`].
pub(super) struct Token<'a> {
    signed: &'a str,
    signature: Vec<u8>,
    pub(super) kid: String,
    /// JSON, by the token's word.
    pub(super) claims: Vec<u8>,
}

impl<'a> Token<'a> {
    /// # Errors
    /// [`Refused`].
    pub(super) fn parse(text: &'a str) -> Result<Self, Refused> {
        if text.len() > TOKEN_BYTES {
            return Err(Refused::Malformed);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Refused::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Refused::Malformed)?;
        if claims.contains('.') {
            return Err(Refused::Malformed);
        }
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Refused::Malformed);
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| Refused::Header)?;
        let unusual = [
            header.jku,
            header.x5u,
            header.x5c,
            header.jwk,
            header.crit,
            header.zip,
            header.b64,
        ];
        if header.alg != "RS256" || unusual.iter().any(Option::is_some) {
            return Err(Refused::Header);
        }
        let kid = header.kid.filter(|k| !k.is_empty() && k.len() <= KID_BYTES);
        Ok(Self {
            signed,
            signature: decode(signature)?,
            kid: kid.ok_or(Refused::Header)?,
            claims: decode(claims)?,
        })
    }

    /// # Errors
    /// The key did not sign this.
    pub(super) fn check(&self, key: &Key) -> Result<(), Refused> {
        let checked = key.0.verify_sig(self.signed.as_bytes(), &self.signature);
        checked.map_err(|_| Refused::Signature)
    }
}
