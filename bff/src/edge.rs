//! What leaves the service: request ids, the common shape of refusals, and what is counted.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use metrics::{Counter, Histogram, counter, histogram};

use crate::problem::{Code, Problem};

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The client's id of a request if it is short and plain, else a new one: a UUID of version 7.
pub fn request_id(request: &Request) -> String {
    given_id(request).unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let ms = since.map_or(0, |t| u64::try_from(t.as_millis()).unwrap_or(0));
        // From this thread's generator: the crate's own version asks the kernel each time.
        let id = uuid::Builder::from_unix_timestamp_millis(ms, &rand::random());
        id.into_uuid().to_string()
    })
}

fn given_id(request: &Request) -> Option<String> {
    let id = request.headers().get(&REQUEST_ID)?.to_str().ok()?;
    let plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (plain && (1..=64).contains(&id.len())).then(|| id.to_owned())
}

pub async fn no_such_path() -> Problem {
    Problem::new(Code::NotFound, "no such path")
}

pub async fn wrong_method() -> Problem {
    Problem::new(Code::MethodNotAllowed, "this method is not allowed here")
}

/// An answer that a library wrote in plain text gets the common shape.
pub fn in_common_shape(response: Response) -> Response {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error())
        || response.extensions().get::<Problem>().is_some()
    {
        return response;
    }
    let problem = match status.as_u16() {
        413 => Problem::new(Code::BodyTooLarge, "the body is larger than allowed"),
        415 => Problem::new(
            Code::UnsupportedMediaType,
            "this media type or encoding is not supported",
        ),
        408 | 503 | 504 => Problem::new(Code::Timeout, "the request took too long"),
        404 => Problem::not_found(),
        405 => {
            let allow = response.headers().get(header::ALLOW).cloned();
            let mut answer =
                Problem::new(Code::MethodNotAllowed, "this method is not allowed here").into_response();
            if let Some(allow) = allow {
                answer.headers_mut().insert(header::ALLOW, allow);
            }
            return answer;
        }
        400..=499 => Problem::new(Code::BadRequest, "the request cannot be read"),
        _ => Problem::new(Code::Internal, "the service failed in an unforeseen way"),
    };
    problem.into_response()
}

/// What every answer has: the body of a refusal, which tells the request's id, and the headers.
pub fn finish(response: &mut Response, problem: Option<&Problem>, id: &str) {
    if let Some(problem) = problem {
        let body = serde_json::to_vec(&problem.body(id)).unwrap_or_default();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.remove(header::CONTENT_LENGTH);
        *response.body_mut() = body.into();
    }
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
}

/// The standard methods by name; a client may make up others, and each label that is counted stays for good.
pub fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Counts requests by route, method and status; what counts each is looked up once.
#[derive(Default)]
pub struct Meters(RwLock<HashMap<String, Vec<Meter>>>);

struct Meter {
    method: &'static str,
    status: u16,
    requests: Counter,
    took: Histogram,
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meters")
    }
}

impl Meter {
    fn note(&self, took: Duration) {
        self.requests.increment(1);
        self.took.record(took.as_secs_f64());
    }
}

impl Meters {
    /// `route` is a template, never a path: those hold ids.
    pub fn note(&self, route: &str, method: &'static str, status: u16, took: Duration) {
        let is_it = |meter: &&Meter| meter.method == method && meter.status == status;
        {
            let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(meter) = known.get(route).and_then(|of| of.iter().find(is_it)) {
                return meter.note(took);
            }
        }
        let labels = [
            ("route", route.to_owned()),
            ("method", method.to_owned()),
            ("status", status.to_string()),
        ];
        let meter = Meter {
            method,
            status,
            requests: counter!("bff_requests_total", &labels),
            took: histogram!("bff_request_duration_seconds", &labels[..2]),
        };
        meter.note(took);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let of = known.entry(route.to_owned()).or_default();
        // Another request of the kind may have been faster.
        if !of.iter().any(|m| is_it(&m)) {
            of.push(meter);
        }
    }
}
