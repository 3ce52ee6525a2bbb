//! The page at `/`: one file, compiled in.

use std::sync::LazyLock;

use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine as _;
use sha2::{Digest, Sha256};

const PAGE: &str = include_str!("../../web/index.html");

/// Only the page's own script and style run, and they talk to this origin only. Photos are shown from memory.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src 'self' blob: data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash_of("script"),
        hash_of("style"),
    )
});

/// The page that scans a photo in the browser.
#[utoipa::path(get, path = "/", tag = "pages",
    responses((status = 200, description = "the page", body = String, content_type = "text/html")))]
pub async fn page() -> Response {
    let mut response = Html(PAGE).into_response();
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(&POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Base64 of the SHA-256 of the one element's text, as the policy wants it.
fn hash_of(element: &str) -> String {
    let text = PAGE
        .split_once(&format!("<{element}>"))
        .and_then(|(_, rest)| rest.split_once(&format!("</{element}>")))
        .map_or("", |(text, _)| text);
    base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use super::PAGE;
    use crate::contract::Stage;

    #[test]
    fn the_page_shows_every_stage_by_its_name() {
        let quoted: Vec<String> = Stage::texts().iter().map(|s| format!("\"{s}\"")).collect();
        assert!(PAGE.contains(&format!("const STAGES = [{}];", quoted.join(", "))));
        let words = PAGE
            .lines()
            .find(|l| l.starts_with("const WORDS = "))
            .unwrap_or_default();
        for stage in Stage::ALL {
            assert!(words.contains(&format!("{stage}: ")), "{stage}");
        }
    }
}
