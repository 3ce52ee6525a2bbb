//! Objects of users in S3: everything of a user is under `user_<id>/`.

mod presign;
mod transfer;

pub use presign::{FormUpload, PutUpload, Upload};
pub use transfer::Found;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Region, SharedCredentialsProvider};
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use uuid::Uuid;

/// A bucket that may hold something of users.
#[derive(Debug, Clone)]
pub struct Objects {
    client: Client,
    keys: Option<SharedCredentialsProvider>,
    bucket: String,
}

/// The buckets of this service.
#[derive(Debug, Clone)]
pub struct Buckets {
    /// Where phones upload; nothing stays there for longer than a day.
    pub uploads: Objects,
    /// Photos and pictures of meals, for as long as the user wants them.
    pub media: Objects,
    /// Copies without their owner, if anybody trains on them.
    pub training: Option<Objects>,
}

/// Not the key: it names a user.
#[derive(Debug, thiserror::Error)]
#[error("S3: {0}")]
pub struct ObjectsError(String);

fn error<E: aws_sdk_s3::error::ProvideErrorMetadata, R>(
    e: &aws_sdk_s3::error::SdkError<E, R>,
) -> ObjectsError {
    use aws_sdk_s3::error::ProvideErrorMetadata;
    ObjectsError(e.code().unwrap_or("no answer").to_owned())
}

impl Objects {
    /// `AWS_ENDPOINT_URL_S3` and the usual AWS variables say where; path style for anything but AWS.
    pub async fn new(bucket: impl Into<String>, path_style: bool) -> Self {
        let shared = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
        let config = aws_sdk_s3::config::Builder::from(&shared)
            .force_path_style(path_style)
            .build();
        Self::over(config, shared.credentials_provider(), bucket)
    }

    /// Over a configuration of the SDK; the keys also sign upload forms.
    pub fn over(
        config: aws_sdk_s3::Config,
        keys: Option<SharedCredentialsProvider>,
        bucket: impl Into<String>,
    ) -> Self {
        Self {
            client: Client::from_conf(config),
            keys,
            bucket: bucket.into(),
        }
    }

    /// Another bucket under the same keys.
    pub fn of_bucket(&self, bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            ..self.clone()
        }
    }

    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    fn region(&self) -> String {
        let region = self.client.config().region();
        region.map_or("us-east-1", Region::as_ref).to_owned()
    }

    /// Where everything of a user is.
    pub fn prefix(user: Uuid) -> String {
        format!("user_{user}/")
    }

    /// Removes all objects of a user, in all versions, and uploads that were never finished. May be run again.
    ///
    /// # Errors
    /// [`ObjectsError`]; some may be gone already.
    pub async fn erase(&self, user: Uuid) -> Result<u64, ObjectsError> {
        let prefix = Self::prefix(user);
        self.abort_uploads(&prefix).await?;
        let mut removed = 0;
        loop {
            let page = self
                .client
                .list_object_versions()
                .bucket(&self.bucket)
                .prefix(&prefix)
                .send()
                .await;
            let page = match page {
                Ok(page) => page,
                // Servers without versions.
                Err(e) if is_unknown(&e) => return Ok(removed + self.erase_unversioned(&prefix).await?),
                Err(e) => return Err(error(&e)),
            };
            let versions = page.versions().iter().map(|v| (v.key(), v.version_id()));
            let markers = page.delete_markers().iter().map(|v| (v.key(), v.version_id()));
            let found: Vec<_> = versions
                .chain(markers)
                .filter_map(|(k, v)| Some((k?.to_owned(), v.map(str::to_owned))))
                .collect();
            if found.is_empty() {
                return Ok(removed);
            }
            removed += self.delete(found).await?;
        }
    }

    async fn erase_unversioned(&self, prefix: &str) -> Result<u64, ObjectsError> {
        let mut removed = 0;
        loop {
            let page = self
                .client
                .list_objects_v2()
                .bucket(&self.bucket)
                .prefix(prefix)
                .send()
                .await;
            let page = page.map_err(|e| error(&e))?;
            let found: Vec<_> = page
                .contents()
                .iter()
                .filter_map(|o| Some((o.key()?.to_owned(), None)))
                .collect();
            if found.is_empty() {
                return Ok(removed);
            }
            removed += self.delete(found).await?;
        }
    }

    async fn delete(&self, found: Vec<(String, Option<String>)>) -> Result<u64, ObjectsError> {
        let n = found.len() as u64;
        let ids = found
            .into_iter()
            .map(|(k, v)| ObjectIdentifier::builder().key(k).set_version_id(v).build());
        let ids = ids
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| ObjectsError("key".into()))?;
        let delete = Delete::builder().set_objects(Some(ids)).quiet(true).build();
        let delete = delete.map_err(|_| ObjectsError("delete".into()))?;
        let done = self
            .client
            .delete_objects()
            .bucket(&self.bucket)
            .delete(delete)
            .send()
            .await
            .map_err(|e| error(&e))?;
        match done.errors().first() {
            Some(failed) => Err(ObjectsError(failed.code().unwrap_or("unknown").to_owned())),
            None => Ok(n),
        }
    }

    async fn abort_uploads(&self, prefix: &str) -> Result<(), ObjectsError> {
        let open = self
            .client
            .list_multipart_uploads()
            .bucket(&self.bucket)
            .prefix(prefix)
            .send()
            .await;
        let open = match open {
            Ok(open) => open,
            Err(e) if is_unknown(&e) => return Ok(()),
            Err(e) => return Err(error(&e)),
        };
        for upload in open.uploads() {
            if let (Some(key), Some(id)) = (upload.key(), upload.upload_id()) {
                let abort = self
                    .client
                    .abort_multipart_upload()
                    .bucket(&self.bucket)
                    .key(key)
                    .upload_id(id);
                abort.send().await.map_err(|e| error(&e))?;
            }
        }
        Ok(())
    }
}

fn is_unknown<E: aws_sdk_s3::error::ProvideErrorMetadata, R>(e: &aws_sdk_s3::error::SdkError<E, R>) -> bool {
    use aws_sdk_s3::error::ProvideErrorMetadata;
    matches!(e.code(), Some("NotImplemented"))
}
