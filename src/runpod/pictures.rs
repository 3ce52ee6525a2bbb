//! A scan's pictures into a bucket, so that they need not travel inside the answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::contract::{Warning, WarningCode};
use crate::s3::Bucket;

/// Uploads `overlay` and `depth` of a scan's result and leaves links in their places. A picture that cannot be stored
/// stays where it is, with a warning in the result.
pub async fn store(result: &mut Value, bucket: &Bucket, job: &str) {
    for name in ["overlay", "depth"] {
        let Some(png) = result
            .get(name)
            .and_then(Value::as_str)
            .and_then(|text| STANDARD.decode(text).ok())
            .filter(|bytes| bytes.starts_with(b"\x89PNG"))
        else {
            continue;
        };
        match bucket.put(job, "png", "image/png", png).await {
            Ok(link) => result[name] = link.into(),
            Err(error) => {
                tracing::warn!(job, "{name}: {}", error.causes());
                let text = format!("{name} is in the answer: {}", error.message);
                let warning = json!(Warning::new(WarningCode::PictureNotStored, text));
                if let Some(warnings) = result.get_mut("warnings").and_then(Value::as_array_mut) {
                    warnings.push(warning);
                }
            }
        }
    }
}
