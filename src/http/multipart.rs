//! A scan as a browser's form or as a bare image.

use axum::body::Body;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::{HeaderMap, header};

use utoipa::ToSchema;

use super::SharedApp;
use super::openapi::ScanFieldsDoc;
use super::problem::Problem;
use crate::contract::request::{ImageSource, Reference};
use crate::contract::{ErrorCode, ReferenceKind, ScanRequest};
use crate::runtime::JobInput;

/// The parts of a form, for the API's description.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ScanForm)]
pub struct ScanFormDoc {
    /// The photo's file: JPEG, PNG or WebP.
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
}

/// Parts: `image` (the file), and either `request` (a scan request as JSON, its image left out) or the plain fields
/// `pitch_deg`, `roll_deg`, `plate_cm`, `height_cm`, `fov_long_deg`, `scan_id`, `user_id`.
///
/// # Errors
/// 400 that names the part, 413.
pub async fn scan(app: &SharedApp, headers: &HeaderMap, body: Body) -> Result<JobInput, Problem> {
    let bytes = super::body::read(headers, body, app.options.direct_body, app.options.body_time).await?;
    let mut request = Request::new(Body::from(bytes));
    if let Some(kind) = headers.get(header::CONTENT_TYPE) {
        request.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
    }
    // The size was checked while reading.
    axum::extract::DefaultBodyLimit::disable().apply(&mut request);
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|e| bad(e.body_text()))?;
    let (mut image, mut json, mut fields) = (None, None, Vec::new());
    while let Some(part) = form.next_field().await.map_err(|e| bad(e.body_text()))? {
        let name = part.name().unwrap_or_default().to_owned();
        match name.as_str() {
            "image" | "photo" => image = Some(part.bytes().await.map_err(|e| bad(e.body_text()))?.to_vec()),
            "request" => json = Some(part.text().await.map_err(|e| bad(e.body_text()))?),
            _ => fields.push((name, part.text().await.map_err(|e| bad(e.body_text()))?)),
        }
    }
    let image = image.ok_or_else(|| bad("the form has no part `image`"))?;
    let mut scan = match json {
        None => ScanRequest::new(ImageSource::Bytes(Vec::new())),
        Some(text) => from_json(&text)?,
    };
    scan.image = ImageSource::Bytes(image);
    for (name, value) in fields {
        set(&mut scan, &name, &value)?;
    }
    Ok(JobInput::Scan(Box::new(scan)))
}

/// An image as the whole body; fields come as `X-Amzn-SageMaker-Custom-Attributes: pitch_deg=40,plate_cm=26`.
///
/// # Errors
/// 400 that names the field.
pub fn scan_of_image(bytes: Vec<u8>, headers: &HeaderMap) -> Result<JobInput, Problem> {
    let mut scan = ScanRequest::new(ImageSource::Bytes(bytes));
    let given = headers
        .get("x-amzn-sagemaker-custom-attributes")
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    for pair in given.split(',').filter(|p| !p.trim().is_empty()) {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| bad(format!("custom attribute {pair:?} is not name=value")))?;
        set(&mut scan, name.trim(), value)?;
    }
    Ok(JobInput::Scan(Box::new(scan)))
}

/// A scan request whose image comes apart.
fn from_json(text: &str) -> Result<ScanRequest, Problem> {
    let mut value: serde_json::Value =
        serde_json::from_str(text).map_err(|e| bad(format!("part `request` is not JSON: {e}")))?;
    if let Some(fields) = value.as_object_mut() {
        fields.insert("image".into(), serde_json::json!({"base64": ""}));
    }
    serde_json::from_value(value).map_err(|e| bad(format!("part `request`: {e}")))
}

fn set(scan: &mut ScanRequest, name: &str, value: &str) -> Result<(), Problem> {
    let value = value.trim();
    if value.is_empty() {
        return Ok(());
    }
    let number = || {
        value
            .parse::<f64>()
            .ok()
            .filter(|n| n.is_finite())
            .ok_or_else(|| bad(format!("{name} is not a number: {value:?}")))
    };
    match name {
        "pitch_deg" => scan.pitch_deg = Some(number()?),
        "roll_deg" => scan.roll_deg = Some(number()?),
        "height_cm" => scan.camera.height_cm = Some(number()?),
        "fov_long_deg" => scan.camera.fov_long_deg = Some(number()?),
        "plate_cm" => {
            scan.reference = Some(Reference {
                kind: ReferenceKind::Plate,
                diameter_cm: Some(number()?),
            });
        }
        "scan_id" => scan.scan_id = Some(value.to_owned()),
        "user_id" => scan.user_id = Some(value.to_owned()),
        _ => return Err(bad(format!("unknown field {name:?}"))),
    }
    Ok(())
}

fn bad(text: impl Into<String>) -> Problem {
    Problem::new(ErrorCode::BadRequest, text)
}
