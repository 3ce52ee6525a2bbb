//! `s3://bucket/key` addresses.

use std::fmt;

use unicode_normalization::is_nfc;

use crate::contract::quote::said;
use crate::contract::{ErrorCode, ScanError};

/// `s3://bucket/key`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Uri {
    pub(super) bucket: String,
    pub(super) key: String,
}

/// For messages: a long key is only begun.
impl fmt::Display for S3Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, said(&self.key))
    }
}

impl S3Uri {
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    /// Refuses what no server of ours writes: `..`, empty segments, a leading slash, backslashes, control
    /// characters, text that is not NFC, more than 512 bytes.
    ///
    /// # Errors
    /// `invalid_field`.
    pub fn parse(text: &str) -> Result<Self, ScanError> {
        let bad = |why: &str| {
            ScanError::new(ErrorCode::InvalidField, format!("image.s3: {why}"))
                .next_step("send s3://bucket/key with the key that the upload used")
        };
        let (bucket, key) = text
            .strip_prefix("s3://")
            .ok_or_else(|| bad("does not start with s3://"))?
            .split_once('/')
            .ok_or_else(|| bad("has no key"))?;
        let bucket_ok = (3..=63).contains(&bucket.len())
            && bucket
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'))
            && !bucket.contains("..");
        if !bucket_ok {
            return Err(bad("the bucket's name is not one that S3 allows"));
        }
        let why = if key.is_empty() {
            "has no key"
        } else if key.len() > 512 {
            "the key is over 512 bytes"
        } else if key.contains('\\') || key.chars().any(char::is_control) {
            "the key holds a backslash or control character"
        } else if key.split('/').any(|s| s.is_empty() || s == "." || s == "..") {
            "the key holds an empty, '.' or '..' segment"
        } else if !is_nfc(key) {
            "the key is not in Unicode normal form C"
        } else {
            return Ok(Self {
                bucket: bucket.into(),
                key: key.into(),
            });
        };
        Err(bad(why))
    }
}
