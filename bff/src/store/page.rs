//! Pages by keyset: the place of the last row, not a count of rows.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

use super::UserId;

const FORMAT: u8 = 1;

/// The place of one row in an order by (`key`, `id`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Microseconds or days, as the list has it.
    pub key: i64,
    pub id: Uuid,
}

/// Which list of whom a cursor belongs to; a cursor of another list or another user is refused.
#[derive(Debug, Clone, Copy)]
pub struct List([u8; 8]);

impl List {
    pub fn of(user: UserId, filter: &str) -> Self {
        let digest = Sha256::new()
            .chain_update(user.uuid())
            .chain_update(filter)
            .finalize();
        let mut tag = [0; 8];
        tag.copy_from_slice(&digest[..8]);
        Self(tag)
    }

    pub fn cursor(&self, place: Place) -> String {
        let mut bytes = vec![FORMAT];
        bytes.extend(place.key.to_be_bytes());
        bytes.extend(place.id.as_bytes());
        bytes.extend(self.0);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The place in a cursor that this list gave out.
    pub fn place(&self, cursor: &str) -> Option<Place> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let bytes: &[u8; 33] = bytes.as_slice().try_into().ok()?;
        let (key, id, tag) = (&bytes[1..9], &bytes[9..25], &bytes[25..]);
        if bytes[0] != FORMAT || tag != self.0 {
            return None;
        }
        Some(Place {
            key: i64::from_be_bytes(key.try_into().ok()?),
            id: Uuid::from_slice(id).ok()?,
        })
    }
}

/// One page of a list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Null at the end.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// From up to `limit + 1` rows.
    pub fn cut(mut rows: Vec<T>, limit: u32, list: &List, place: impl Fn(&T) -> Place) -> Self {
        let limit = limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows.last().filter(|_| more).map(|last| list.cursor(place(last)));
        Self {
            items: rows,
            next_cursor,
        }
    }
}
