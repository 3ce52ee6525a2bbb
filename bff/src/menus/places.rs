//! Google Places (New), for the id of a place and nothing else: the field mask `places.id` is the cheapest tier, and the id
//! is the one thing that its terms allow to be stored without limit.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::NoMenu;
use crate::domain::menu::name::NameKey;
use crate::outgoing;
use crate::store::restaurant_cache::Place;

const PATIENCE: Duration = Duration::from_secs(5);
const BODY: usize = 64 << 10;
/// Google asks for ids to be refreshed after a year.
const REFRESH: SignedDuration = SignedDuration::from_hours(365 * 24);

/// A client with its key.
#[derive(Debug)]
pub struct Places {
    http: reqwest::Client,
    base: Url,
    key: SecretString,
}

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    places: Vec<FoundPlace>,
}

#[derive(Deserialize)]
struct FoundPlace {
    id: String,
}

impl Places {
    /// # Errors
    /// The TLS library cannot be set up.
    pub fn new(base: Url, key: SecretString) -> Result<Self, reqwest::Error> {
        let http = outgoing::client(PATIENCE)?;
        Ok(Self { http, base, key })
    }

    /// The place of this name: the known one while it is young or still good, else the first that a search finds.
    pub(super) async fn find(
        &self,
        name: &NameKey,
        known: Option<&Place>,
        now: Timestamp,
    ) -> Result<Place, NoMenu> {
        let place = |id| Place { id, seen_at: now };
        match known {
            Some(known) if known.seen_at + REFRESH > now => return Ok(known.clone()),
            Some(known) if self.is_there(&known.id).await? => return Ok(place(known.id.clone())),
            _ => {}
        }
        let request = self
            .http
            .post(outgoing::below(&self.base, "v1/places:searchText"))
            .header("x-goog-fieldmask", "places.id")
            .json(&json!({"textQuery": name.as_str(), "pageSize": 1}));
        let (status, body) = self.send(request).await?;
        if status != StatusCode::OK {
            return Err(NoMenu::Refused);
        }
        let found: Found = serde_json::from_slice(&body).map_err(|_| NoMenu::Away(None))?;
        let id = found.places.into_iter().next().map(|p| p.id);
        id.filter(|id| is_an_id(id)).map(place).ok_or(NoMenu::NoSuchPlace)
    }

    async fn is_there(&self, id: &str) -> Result<bool, NoMenu> {
        let request = self
            .http
            .get(outgoing::below(&self.base, &format!("v1/places/{id}")))
            .header("x-goog-fieldmask", "id");
        match self.send(request).await?.0 {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(NoMenu::Refused),
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<(StatusCode, Vec<u8>), NoMenu> {
        let request = request.header("x-goog-api-key", self.key.expose_secret());
        let response = request.send().await.map_err(|_| NoMenu::Away(None))?;
        let status = response.status();
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            return Err(NoMenu::Away(outgoing::retry_after(&response)));
        }
        let body = outgoing::body(response, BODY).await.ok_or(NoMenu::Away(None))?;
        Ok((status, body))
    }
}

/// It becomes part of a path and of a row.
fn is_an_id(id: &str) -> bool {
    (1..=300).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}
