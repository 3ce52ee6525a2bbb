//! A scan as a browser's form.

use axum::body::{Body, Bytes};
use axum::extract::multipart::Field;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::{HeaderMap, header};

use utoipa::ToSchema;

use super::fields;
use super::openapi::ScanFieldsDoc;
use super::problem::Problem;
use crate::contract::photos::MealPhoto;
use crate::contract::quote::{parsed, said};
use crate::contract::request::ImageSource;
use crate::contract::{ErrorCode, ScanRequest, bounds};

/// Plain fields of a form.
const MAX_FIELDS: usize = 32;

/// The parts of a form, for the API's description.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ScanForm)]
pub struct ScanFormDoc {
    /// The photo's file: JPEG, PNG, WebP, HEIC or AVIF. Up to six such parts are photos of one meal; all but the first tell of
    /// their camera only by their EXIF data.
    #[schema(value_type = String, format = Binary)]
    pub image: Vec<u8>,
    /// A scan request as JSON, its image left out.
    #[schema(nullable = false)]
    pub request: Option<ScanFieldsDoc>,
    #[schema(nullable = false)]
    pub pitch_deg: Option<f64>,
    #[schema(nullable = false)]
    pub roll_deg: Option<f64>,
    /// Diameter of the largest plate.
    #[schema(nullable = false)]
    pub plate_cm: Option<f64>,
    /// Height of the lens above the table.
    #[schema(nullable = false)]
    pub height_cm: Option<f64>,
    /// Field of view of the photo's long side.
    #[schema(nullable = false)]
    pub fov_long_deg: Option<f64>,
    #[schema(nullable = false)]
    pub scan_id: Option<String>,
    #[schema(nullable = false)]
    pub user_id: Option<String>,
    /// What the person wrote of the meal.
    #[schema(nullable = false)]
    pub note: Option<String>,
}

/// Parts: the photo (`image`, `photo`, `file`, or any other that is a file), several of them for several photos of one meal, and either `request` (a scan request as JSON, its image left out) or the plain fields
/// `pitch_deg`, `roll_deg`, `plate_cm`, `height_cm`, `fov_long_deg`, `scan_id`, `user_id`, `note`.
///
/// # Errors
/// 400 that names the part, 413.
pub async fn scan(headers: &HeaderMap, bytes: Bytes) -> Result<ScanRequest, Problem> {
    let mut request = Request::new(Body::from(bytes));
    if let Some(kind) = headers.get(header::CONTENT_TYPE) {
        request.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
    }
    // The size was checked while reading.
    axum::extract::DefaultBodyLimit::disable().apply(&mut request);
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|e| bad(said(&e.body_text())))?;
    let (mut images, mut json, mut given) = (Vec::new(), None, Vec::new());
    while let Some(part) = form.next_field().await.map_err(|e| bad(said(&e.body_text())))? {
        if given.len() > MAX_FIELDS {
            return Err(bad(format!("the form has over {MAX_FIELDS} fields")));
        }
        let name = part.name().unwrap_or_default().to_owned();
        let is_file = part.file_name().is_some_and(|name| !name.is_empty());
        match name.as_str() {
            "image" | "images" | "photo" | "file" => images.push(file(part).await?),
            "request" => json = Some(part.text().await.map_err(|e| bad(said(&e.body_text())))?),
            _ if is_file => images.push(file(part).await?),
            _ => given.push((name, part.text().await.map_err(|e| bad(said(&e.body_text())))?)),
        }
    }
    if images.len() > bounds::PHOTOS {
        return Err(bad(format!(
            "the form has {} photos; the most are {}",
            images.len(),
            bounds::PHOTOS
        )));
    }
    let mut images = images.into_iter();
    let image = images.next().ok_or_else(|| bad("the form has no part `image`"))?;
    let mut scan = match json {
        None => ScanRequest::new(ImageSource::Bytes(Vec::new())),
        Some(text) => from_json(&text)?,
    };
    scan.image = ImageSource::Bytes(image);
    scan.more = images
        .map(|image| MealPhoto::new(ImageSource::Bytes(image)))
        .collect();
    for (name, value) in given {
        if !fields::set(&mut scan, &name, &value)? {
            return Err(bad(format!("unknown field {:?}", said(&name))));
        }
    }
    Ok(scan)
}

async fn file(part: Field<'_>) -> Result<Vec<u8>, Problem> {
    let bytes = part.bytes().await.map_err(|e| bad(said(&e.body_text())))?;
    Ok(bytes.to_vec())
}

/// A scan request whose image comes apart.
fn from_json(text: &str) -> Result<ScanRequest, Problem> {
    let mut value =
        crate::runtime::json::parse(text.as_bytes()).map_err(|e| bad(format!("part `request`: {e}")))?;
    let fields = value
        .as_object_mut()
        .ok_or_else(|| bad("part `request` is not a JSON object"))?;
    fields.insert("image".into(), serde_json::json!({"base64": ""}));
    serde_json::from_value(value).map_err(|e| bad(format!("part `request`: {}", parsed(e))))
}

fn bad(text: impl Into<String>) -> Problem {
    Problem::new(ErrorCode::BadRequest, text)
}
