//! The demo client at `/app`: plain files of `bff/web`, and a sign-in as the sample user.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use serde_json::json;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

const FILES: [(&str, &str, &str); 12] = [
    ("/app", HTML, include_str!("../../web/index.html")),
    ("/app/app.css", CSS, include_str!("../../web/app.css")),
    ("/app/icon.svg", SVG, include_str!("../../web/icon.svg")),
    ("/app/main.js", JS, include_str!("../../web/main.js")),
    ("/app/api.js", JS, include_str!("../../web/api.js")),
    ("/app/dom.js", JS, include_str!("../../web/dom.js")),
    ("/app/live.js", JS, include_str!("../../web/live.js")),
    ("/app/today.js", JS, include_str!("../../web/today.js")),
    ("/app/scan.js", JS, include_str!("../../web/scan.js")),
    ("/app/review.js", JS, include_str!("../../web/review.js")),
    ("/app/kitchen.js", JS, include_str!("../../web/kitchen.js")),
    ("/app/out.js", JS, include_str!("../../web/out.js")),
];

/// Whose page it is, and where it reaches out to.
#[derive(Debug, Clone)]
pub struct Page {
    /// Base of the identity provider.
    pub idp: String,
    pub subject: &'static str,
    /// Origin of the object storage that photos go to and come from.
    pub storage: Option<String>,
}

impl Page {
    /// Everything from this service or the storage, and nothing inline.
    fn policy(&self) -> String {
        let storage = self.storage.as_deref().unwrap_or_default();
        format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' {storage}; \
             img-src 'self' blob: {storage}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    }

    /// Paths under `/app`.
    ///
    /// # Errors
    /// The storage's origin cannot stand in a header; no HTTP client.
    pub fn router(self) -> anyhow::Result<Router> {
        let policy = HeaderValue::from_str(&self.policy())?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        let state = Arc::new((self, http));
        let mut router = Router::new()
            .route("/app/", get(|| async { Redirect::permanent("/app") }))
            .route("/app/sign-in", post(sign_in));
        for (path, kind, text) in FILES {
            let headers = [
                (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
                (header::CONTENT_SECURITY_POLICY, policy.clone()),
                (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            ];
            router = router.route(path, get(move || async move { (headers, text) }));
        }
        Ok(router.with_state(state))
    }
}

async fn sign_in(State(state): State<Arc<(Page, reqwest::Client)>>) -> Response {
    let (page, http) = &*state;
    let wish = json!({ "sub": page.subject });
    let token = async {
        let answer = http
            .post(format!("{}/token", page.idp))
            .json(&wish)
            .send()
            .await?;
        answer.error_for_status()?.text().await
    };
    match token.await {
        Ok(token) => token.into_response(),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::FILES;

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/web");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .expect("the folder")
            .map(|e| e.expect("an entry").file_name().into_string().expect("a name"))
            .collect();
        files.sort();
        let mut served: Vec<String> = FILES
            .iter()
            .map(|(path, _, _)| path.strip_prefix("/app/").unwrap_or("index.html").to_owned())
            .collect();
        served.sort();
        assert_eq!(served, files);
    }

    /// The policy forbids what a browser would refuse silently.
    #[test]
    fn nothing_stands_inline() {
        for (path, _, text) in FILES {
            for inline in [
                "<style",
                "style=\"",
                "onclick=\"",
                "onload=",
                "javascript:",
                "innerHTML",
                "eval(",
            ] {
                assert!(!text.contains(inline), "{path} has {inline}");
            }
            assert_eq!(
                text.matches("<script").count(),
                usize::from(path == "/app"),
                "{path}"
            );
        }
    }
}
