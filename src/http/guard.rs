//! A service without keys trusts whoever can reach it, and a browser on the same machine reaches it for every page it
//! shows. So what browsers say of the page is asked for: its site, and the name it believes to be talking to.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::SharedApp;
use super::problem::Problem;
use crate::contract::ErrorCode;

/// What is asked of callers where no key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Guard {
    /// Nothing: keys are asked for, or somebody else stands in front.
    #[default]
    Off,
    /// Pages of other sites may not call.
    OwnPages,
    /// Also, the name that is called must be this machine's: another one was made to point here.
    OwnPagesByOwnName,
}

/// Lets a request through unless a page of another site sent it.
pub async fn own_pages(State(app): State<SharedApp>, request: Request, next: Next) -> Response {
    let guard = app.options.guard;
    if guard == Guard::Off {
        return next.run(request).await;
    }
    let called = called_name(request.headers(), request.uri());
    if guard == Guard::OwnPagesByOwnName && !called.as_deref().is_some_and(is_this_machine) {
        return refused("this service is called by the name of its own machine only").into_response();
    }
    let origins = &app.options.cors_origins;
    let allowed = request
        .headers()
        .get(header::ORIGIN)
        .is_some_and(|o| origins.contains(o));
    if !allowed && from_another_site(request.headers(), called.as_deref()) {
        return refused("pages of other sites may not call this service").into_response();
    }
    next.run(request).await
}

fn refused(why: &str) -> Problem {
    Problem {
        status: StatusCode::FORBIDDEN,
        next_step: Some(
            "call http://127.0.0.1 or localhost, allow the page with --cors-origin, or set an API key".into(),
        ),
        ..Problem::new(ErrorCode::Unauthorized, why)
    }
}

/// Host and port, lower case.
fn called_name(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let host = headers.get(header::HOST).and_then(|v| v.to_str().ok());
    let name = host.or_else(|| uri.authority().map(|a| a.as_str()))?;
    Some(name.to_ascii_lowercase())
}

/// `localhost` and addresses of the loopback, with or without a port.
fn is_this_machine(called: &str) -> bool {
    let Ok(url) = url::Url::parse(&format!("http://{called}/")) else {
        return false;
    };
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

fn from_another_site(headers: &HeaderMap, called: Option<&str>) -> bool {
    let text = |name| headers.get(name).map(|v| v.to_str().unwrap_or("null"));
    if text("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return true;
    }
    let Some(origin) = text("origin") else {
        return false;
    };
    let host = origin
        .split_once("://")
        .map(|(_, host)| host.to_ascii_lowercase());
    host.as_deref() != called
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine() {
        for name in [
            "localhost",
            "localhost:8000",
            "127.0.0.1:80",
            "127.1.2.3",
            "[::1]:8000",
            "a.localhost",
        ] {
            assert!(is_this_machine(name), "{name}");
        }
        for name in [
            "evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "[::2]",
            "127.0.0.1.evil.example",
            "",
            "a b",
        ] {
            assert!(!is_this_machine(name), "{name}");
        }
    }
}
