//! Where a picture's bytes are, and how that is written in JSON.

use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::quote;

/// Where the photo's bytes are. In JSON an object with one key, or a bare string whose beginning tells which it is.
#[derive(Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageSource {
    /// `s3://bucket/key`
    S3(String),
    /// `https://...`
    Url(String),
    /// The file's bytes, standard base64, optionally as a `data:` URL.
    Base64(String),
    /// Bytes already in memory (multipart upload, file of the CLI); never serialised.
    #[serde(skip)]
    Bytes(Vec<u8>),
}

impl ImageSource {
    /// It has to be fetched from somewhere.
    pub fn is_remote(&self) -> bool {
        matches!(self, Self::S3(_) | Self::Url(_))
    }
}

/// The form with a key.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Keyed {
    /// `s3://bucket/key`
    S3(String),
    /// `https://...`
    Url(String),
    /// The file's bytes, standard base64, optionally as a `data:` URL.
    Base64(String),
}

impl ImageSource {
    /// Tells the forms of a bare string apart: `s3://`, `https://`, a `data:` URL, else base64; none of them is none.
    pub fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        let after = |scheme: &str| {
            let start = text.get(..scheme.len())?;
            start
                .eq_ignore_ascii_case(scheme)
                .then(|| text.get(scheme.len()..))?
        };
        if let Some(rest) = after("s3://") {
            return Some(Self::S3(format!("s3://{rest}")));
        }
        if after("https://").is_some() || after("http://").is_some() {
            return Some(Self::Url(text.to_owned()));
        }
        let base64 = |b: u8| b.is_ascii_alphanumeric() || b.is_ascii_whitespace() || b"+/=".contains(&b);
        if after("data:").is_some() || !text.is_empty() && text.bytes().take(256).all(base64) {
            return Some(Self::Base64(text.to_owned()));
        }
        None
    }
}

impl<'de> Deserialize<'de> for ImageSource {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> de::Visitor<'de> for Either {
            type Value = ImageSource;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the image as base64, a data: URL, https://..., s3://bucket/key, or an object with one of base64, url, s3")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ImageSource, E> {
                ImageSource::from_text(text)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(&quote::said(text)), &self))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<ImageSource, A::Error> {
                let keyed = Keyed::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(match keyed {
                    Keyed::S3(uri) => ImageSource::S3(uri),
                    Keyed::Url(url) => ImageSource::Url(url),
                    Keyed::Base64(text) => ImageSource::Base64(text),
                })
            }
        }
        from.deserialize_any(Either)
    }
}

impl PartialSchema for ImageSource {
    fn schema() -> RefOr<Schema> {
        let one = |key: &str, title: &str, pattern: Option<&str>, about: &str| {
            let text = ObjectBuilder::new()
                .schema_type(Type::String)
                .pattern(pattern)
                .description(Some(about));
            ObjectBuilder::new()
                .title(Some(title))
                .property(key, text)
                .required(key)
                .additional_properties(Some(AdditionalProperties::FreeForm(false)))
        };
        OneOfBuilder::new()
            .item(one("s3", "ImageS3", Some("^s3://"), "`s3://bucket/key`"))
            .item(one("url", "ImageUrl", Some("^https?://"), "`https://...`"))
            .item(one(
                "base64",
                "ImageBase64",
                None,
                "the file's bytes in standard base64, optionally as a `data:` URL",
            ))
            .item(
                ObjectBuilder::new()
                    .title(Some("ImageText"))
                    .schema_type(Type::String)
                    .description(Some("base64, a data: URL, https://... or s3://bucket/key")),
            )
            .description(Some(
                "Where the photo's bytes are: JPEG, PNG, WebP, HEIC or AVIF.",
            ))
            .into()
    }
}

impl ToSchema for ImageSource {}

impl std::fmt::Debug for ImageSource {
    /// Never prints image bytes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::S3(uri) => write!(f, "S3({uri:?})"),
            Self::Url(url) => write!(f, "Url({:?})", url.split('?').next().unwrap_or_default()),
            Self::Base64(text) => write!(f, "Base64({} chars)", text.len()),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
        }
    }
}
