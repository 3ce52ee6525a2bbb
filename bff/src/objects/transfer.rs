//! Objects in and out of this process.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;

use super::{Objects, ObjectsError, error};

/// What storage says of an object, and its first bytes.
#[derive(Debug, Clone)]
pub struct Found {
    pub bytes: u64,
    pub head: Vec<u8>,
}

fn is_absent<E: ProvideErrorMetadata>(e: &SdkError<E, aws_sdk_s3::config::http::HttpResponse>) -> bool {
    matches!(e.code(), Some("NoSuchKey" | "NotFound" | "NoSuchBucket"))
        || e.raw_response().is_some_and(|r| r.status().as_u16() == 404)
}

impl Objects {
    /// Size and first bytes; `None` if there is no such object.
    ///
    /// # Errors
    /// [`ObjectsError`].
    pub async fn find(&self, key: &str, first: u64) -> Result<Option<Found>, ObjectsError> {
        let head = self
            .client
            .head_object()
            .bucket(&self.bucket)
            .key(key)
            .send()
            .await;
        let bytes = match head {
            Ok(head) => u64::try_from(head.content_length().unwrap_or_default()).unwrap_or_default(),
            Err(e) if is_absent(&e) => return Ok(None),
            Err(e) => return Err(error(&e)),
        };
        if bytes == 0 || first == 0 {
            return Ok(Some(Found {
                bytes,
                head: Vec::new(),
            }));
        }
        let range = format!("bytes=0-{}", first.min(bytes) - 1);
        let got = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key)
            .range(range)
            .send()
            .await;
        let got = match got {
            Ok(got) => got,
            Err(e) if is_absent(&e) => return Ok(None),
            Err(e) => return Err(error(&e)),
        };
        let mut head = read(got.body, bytes).await?;
        head.truncate(usize::try_from(first).unwrap_or(usize::MAX));
        Ok(Some(Found { bytes, head }))
    }

    /// `None` if there is no such object.
    ///
    /// # Errors
    /// [`ObjectsError`]; also for an object of more than `most` bytes.
    pub async fn get(&self, key: &str, most: u64) -> Result<Option<Vec<u8>>, ObjectsError> {
        match self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key)
            .send()
            .await
        {
            Ok(got) => read(got.body, most).await.map(Some),
            Err(e) if is_absent(&e) => Ok(None),
            Err(e) => Err(error(&e)),
        }
    }

    /// # Errors
    /// [`ObjectsError`].
    pub async fn put(&self, key: &str, content_type: &str, bytes: Vec<u8>) -> Result<(), ObjectsError> {
        let put = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .content_type(content_type)
            .body(ByteStream::from(bytes));
        put.send().await.map(|_| ()).map_err(|e| error(&e))
    }

    /// Within storage; `false` if there is no such object.
    ///
    /// # Errors
    /// [`ObjectsError`].
    pub async fn copy_to(&self, key: &str, to: &Self) -> Result<bool, ObjectsError> {
        // Keys of ours need no encoding.
        let source = format!("{}/{key}", self.bucket);
        let copy = to
            .client
            .copy_object()
            .copy_source(source)
            .bucket(&to.bucket)
            .key(key);
        match copy.send().await {
            Ok(_) => Ok(true),
            Err(e) if is_absent(&e) => Ok(false),
            Err(e) => Err(error(&e)),
        }
    }

    /// What is not there is gone, too.
    ///
    /// # Errors
    /// [`ObjectsError`].
    pub async fn remove(&self, key: &str) -> Result<(), ObjectsError> {
        match self
            .client
            .delete_object()
            .bucket(&self.bucket)
            .key(key)
            .send()
            .await
        {
            Ok(_) => Ok(()),
            Err(e) if is_absent(&e) => Ok(()),
            Err(e) => Err(error(&e)),
        }
    }
}

async fn read(mut body: ByteStream, most: u64) -> Result<Vec<u8>, ObjectsError> {
    let mut out = Vec::new();
    while let Some(part) = body
        .try_next()
        .await
        .map_err(|_| ObjectsError("the connection broke".into()))?
    {
        if out.len() as u64 + part.len() as u64 > most {
            return Err(ObjectsError("larger than expected".into()));
        }
        out.extend_from_slice(&part);
    }
    Ok(out)
}
