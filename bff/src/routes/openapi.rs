//! What is common to all paths of the description.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use crate::problem::{Code, FieldError, ProblemBody};

#[derive(Debug, OpenApi)]
#[openapi(
    info(title = "bio-bff", description = "Backend of a diet app: what the phone measured in; rings, plan, \
        leftovers and meals out. Errors are RFC 9457 with a stable `code`. Scores, diary days and targets are \
        this service's own proposals, not physiology, and no diagnosis."),
    components(schemas(ProblemBody, FieldError, Code)),
    modifiers(&Token)
)]
pub struct ApiDoc;

struct Token;

impl Modify for Token {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .bearer_format("JWT")
                .build(),
        );
        api.components
            .get_or_insert_default()
            .add_security_scheme("token", scheme);
        api.security = Some(vec![SecurityRequirement::new("token", Vec::<String>::new())]);
    }
}

/// What every path behind the token may answer, and every path at all.
const OF_TOKENS: [(&str, &str); 10] = [
    ("400", "the request cannot be read"),
    ("401", "no token, or not an acceptable one"),
    ("404", "no such thing of yours, or the account was erased"),
    ("405", "wrong method"),
    ("413", "larger than allowed"),
    ("415", "not JSON"),
    ("422", "some fields are not acceptable"),
    ("429", "too many requests of this user"),
    ("500", "the service failed in an unforeseen way"),
    (
        "503",
        "overloaded, draining, or something needed is away; retry after a while",
    ),
];

/// Adds the common answers to operations that do not name them themselves, and names that a generated client can use.
pub fn with_common_answers(mut api: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    let problem = || {
        ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("Problem")))
            .build()
    };
    for (path, item) in &mut api.paths.paths {
        let operations = [
            ("get", &mut item.get),
            ("post", &mut item.post),
            ("put", &mut item.put),
            ("patch", &mut item.patch),
            ("delete", &mut item.delete),
        ];
        for (method, operation) in operations {
            let Some(operation) = operation else { continue };
            let words = path.split(|c: char| !c.is_ascii_alphanumeric());
            let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
            operation.operation_id = Some(format!("{method}_{}", words.join("_")));
            let open = operation.security.is_some();
            for (status, what) in OF_TOKENS {
                if open && !matches!(status, "405" | "500" | "503") {
                    continue;
                }
                operation
                    .responses
                    .responses
                    .entry(status.to_owned())
                    .or_insert_with(|| {
                        RefOr::T(
                            ResponseBuilder::new()
                                .description(what)
                                .content("application/problem+json", problem())
                                .build(),
                        )
                    });
            }
        }
    }
    api
}
