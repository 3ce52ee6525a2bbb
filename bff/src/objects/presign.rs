//! What a phone may do for a few minutes without being us: upload one photo of a stated kind and size, or see one.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::config::ProvideCredentials;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{Objects, ObjectsError, error};

/// What may be uploaded.
#[derive(Debug, Clone)]
pub struct Upload<'a> {
    pub key: &'a str,
    pub content_type: &'a str,
    /// Exactly so many with PUT; with the form up to `most`.
    pub bytes: u64,
    pub most: u64,
    /// User metadata, which the client cannot change.
    pub metadata: &'a [(&'a str, String)],
    pub expires: Duration,
}

/// Send the file with PUT to `url`, with exactly these headers.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PutUpload {
    pub url: String,
    pub headers: BTreeMap<String, String>,
}

/// Send the file as the last field, `file`, of a multipart form to `url`, behind these fields.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FormUpload {
    pub url: String,
    pub fields: BTreeMap<String, String>,
}

fn expires_in(life: Duration) -> Result<PresigningConfig, ObjectsError> {
    PresigningConfig::expires_in(life).map_err(|_| ObjectsError("life of a presigned address".into()))
}

impl Objects {
    /// # Errors
    /// No keys to sign with.
    pub async fn presign_get(&self, key: &str, life: Duration) -> Result<String, ObjectsError> {
        let request = self.client.get_object().bucket(&self.bucket).key(key);
        let signed = request
            .presigned(expires_in(life)?)
            .await
            .map_err(|e| error(&e))?;
        Ok(signed.uri().to_owned())
    }

    /// Once: a second PUT finds the object there and is refused.
    ///
    /// # Errors
    /// No keys to sign with.
    pub async fn presign_put(&self, upload: &Upload<'_>) -> Result<PutUpload, ObjectsError> {
        let mut request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(upload.key)
            .content_type(upload.content_type)
            .content_length(i64::try_from(upload.bytes).unwrap_or(i64::MAX))
            .if_none_match("*");
        for (name, value) in upload.metadata {
            request = request.metadata(*name, value);
        }
        let signed = request
            .presigned(expires_in(upload.expires)?)
            .await
            .map_err(|e| error(&e))?;
        Ok(PutUpload {
            url: signed.uri().to_owned(),
            headers: signed
                .headers()
                .filter(|(name, _)| !name.eq_ignore_ascii_case("host"))
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect(),
        })
    }

    /// A form whose policy fixes key, kind, metadata and size.
    ///
    /// # Errors
    /// No keys to sign with.
    pub async fn presign_post(
        &self,
        upload: &Upload<'_>,
        now: Timestamp,
    ) -> Result<FormUpload, ObjectsError> {
        let no_keys = || ObjectsError("no keys to sign with".into());
        let keys = self.keys.as_ref().ok_or_else(no_keys)?;
        let keys = keys.provide_credentials().await.map_err(|_| no_keys())?;
        let region = self.region();
        let (day, instant) = (
            now.strftime("%Y%m%d").to_string(),
            now.strftime("%Y%m%dT%H%M%SZ").to_string(),
        );
        let mut fields = BTreeMap::from([
            ("key".to_owned(), upload.key.to_owned()),
            ("content-type".to_owned(), upload.content_type.to_owned()),
            ("x-amz-algorithm".to_owned(), "AWS4-HMAC-SHA256".to_owned()),
            (
                "x-amz-credential".to_owned(),
                format!("{}/{day}/{region}/s3/aws4_request", keys.access_key_id()),
            ),
            ("x-amz-date".to_owned(), instant),
        ]);
        if let Some(token) = keys.session_token() {
            fields.insert("x-amz-security-token".into(), token.into());
        }
        for (name, value) in upload.metadata {
            fields.insert(format!("x-amz-meta-{name}"), value.clone());
        }
        let mut conditions: Vec<_> = fields.iter().map(|(k, v)| json!({ k: v })).collect();
        conditions.push(json!({"bucket": self.bucket}));
        conditions.push(json!(["content-length-range", 1, upload.most]));
        let life = SignedDuration::try_from(upload.expires).unwrap_or(SignedDuration::from_mins(5));
        let until = (now + life).strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string();
        let policy = STANDARD.encode(json!({"expiration": until, "conditions": conditions}).to_string());
        let time = SystemTime::from(now);
        let key = generate_signing_key(keys.secret_access_key(), time, &region, "s3");
        fields.insert(
            "x-amz-signature".into(),
            calculate_signature(key, policy.as_bytes()),
        );
        fields.insert("policy".into(), policy);
        Ok(FormUpload {
            url: self.bucket_address().await?,
            fields,
        })
    }

    /// Where the bucket answers, as the SDK resolves it.
    async fn bucket_address(&self) -> Result<String, ObjectsError> {
        let probe = self.presign_get("x", Duration::from_secs(60)).await?;
        let address = probe.split('?').next().unwrap_or_default();
        Ok(address.trim_end_matches('x').to_owned())
    }
}
