//! S3-compatible stores: objects read with the service's own keys, and buckets that bring theirs.

pub mod bucket;
pub mod keys;
pub mod object;
pub mod uri;

pub use bucket::{Bucket, Buckets};
pub use keys::S3Keys;
pub use object::{ObjectReader, S3Config};
pub use uri::S3Uri;

use std::collections::BTreeMap;

/// An object as read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Object {
    pub bytes: Vec<u8>,
    /// User metadata: names in lower case, without `x-amz-meta-`.
    pub meta: BTreeMap<String, String>,
}

impl Object {
    /// The metadata as pairs.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.meta
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// The user metadata among an answer's headers, whatever kind of address it came from.
pub fn user_metadata(headers: &reqwest::header::HeaderMap) -> BTreeMap<String, String> {
    (headers.iter())
        .filter_map(|(name, value)| {
            let name = name.as_str().strip_prefix("x-amz-meta-")?;
            Some((name.to_owned(), value.to_str().ok()?.to_owned()))
        })
        .collect()
}
