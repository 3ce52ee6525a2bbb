//! The refusals of a route, for its description: one response a status, with the codes that go with it.

use std::collections::BTreeMap;

use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{Schema, SchemaType, Type};
use utoipa::openapi::{ContentBuilder, ObjectBuilder, Ref, RefOr};
use utoipa::{IntoResponses, ToSchema};

use super::problem::ProblemBody;
use crate::contract::ErrorCode;

/// A problem with this status.
pub(super) fn refusal(status: u16) -> Response {
    let codes: Vec<String> = ErrorCode::ALL
        .iter()
        .filter(|code| code.http_status() == status)
        .map(|code| format!("`{code}`"))
        .collect();
    let text = match status {
        405 => "this path does not take this method: `bad_request`".to_owned(),
        408 => "the body did not arrive in time: `bad_request`".to_owned(),
        415 => format!("{}, or a compressed body: `bad_request`", codes.join(", ")),
        _ => codes.join(", "),
    };
    let problem = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(ProblemBody::name())))
        .build();
    let response = ResponseBuilder::new()
        .description(text)
        .content("application/problem+json", problem);
    let integer = || ObjectBuilder::new().schema_type(Type::Integer).into();
    let text = || {
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .into()
    };
    let header = |about: &str, schema: RefOr<Schema>| {
        HeaderBuilder::new()
            .description(Some(about))
            .schema(Some(schema))
            .build()
    };
    match status {
        401 => response.header("WWW-Authenticate", header("`Bearer`", text())),
        405 => response.header("Allow", header("the methods that it takes", text())),
        429 => response.header(
            "Retry-After",
            header("seconds until there may be room", integer()),
        ),
        _ => response,
    }
    .build()
}

macro_rules! refusals {
    ($($(#[$meta:meta])* $name:ident: $($status:literal)*;)*) => {$(
        $(#[$meta])*
        #[derive(Debug)]
        pub(super) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                [$($status),*].map(|status: u16| (status.to_string(), refusal(status).into())).into()
            }
        }
    )*};
}

refusals! {
    /// Of routes that read a body.
    OfBody: 400 408 413 415;
    /// Of routes that name a job.
    OfJob: 400 404;
    /// Of routes that queue a job.
    OfQueue: 422 429 503;
    /// Of routes that run a job while the caller waits.
    OfScan: 400 404 408 409 413 415 422 429 500 501 502 503 504;
    /// Of routes that look something up.
    OfQuery: 422;
    /// Of routes that may be switched off.
    OfSwitch: 404;
    /// Of routes that work only while the service is ready and can write its jobs.
    OfReadiness: 503;
}
