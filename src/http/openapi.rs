//! The API's own description, and a page to try it. Paths come from the routes; what all of them share is added here.

use std::collections::HashSet;

use axum::Json;
use axum::extract::State;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{AnyOfBuilder, Object, OneOfBuilder, Schema};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{KnownFormat, ObjectBuilder, Ref, RefOr, SchemaFormat, Type};
use utoipa::{OpenApi, PartialSchema, ToSchema};

use super::SharedApp;
use super::problem::ProblemBody;
use super::refusals::refusal;
use crate::contract::model_answer::{DepthAnswer, IdentifyAnswer, SegmentAnswer};
use crate::contract::request::ModelCall;
use crate::contract::{ScanRequest, ScanResult, StageUpdate};
use crate::runtime::ModelTask;

/// The `input` of a job.
#[derive(Debug)]
pub struct JobInputDoc;

/// A scan request, with `task: scan` if the caller likes.
#[derive(Debug)]
pub struct ScanInputDoc;

/// A call of one model, which `task` names.
#[derive(Debug)]
pub struct ModelInputDoc;

/// A scan request without its image, which comes beside it.
#[derive(Debug)]
pub struct ScanFieldsDoc;

/// A photo as the whole body.
#[derive(Debug)]
pub struct PhotoBodyDoc;

/// What `/invocations` answers, by `task`.
#[derive(Debug)]
pub struct InvocationAnswerDoc;

type Schemas = Vec<(String, RefOr<Schema>)>;

/// The object that describes `T`, changed.
fn changed<T: PartialSchema>(change: impl FnOnce(&mut Object)) -> RefOr<Schema> {
    let mut schema = T::schema();
    if let RefOr::T(Schema::Object(object)) = &mut schema {
        change(object);
    }
    schema
}

fn one_of(words: &[&str]) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(words.iter().copied()))
        .into()
}

macro_rules! documented {
    ($name:ident as $text:literal with $($inner:ty)*: $schema:expr) => {
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $schema
            }
        }

        impl ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                $text.into()
            }

            fn schemas(_schemas: &mut Schemas) {
                $(
                    _schemas.push((<$inner>::name().into_owned(), <$inner>::schema()));
                    <$inner>::schemas(_schemas);
                )*
            }
        }
    };
}

documented!(ScanInputDoc as "ScanInput" with ScanRequest: changed::<ScanRequest>(|object| {
    object.properties.insert("task".into(), one_of(&["scan"]));
}));
documented!(ModelInputDoc as "ModelInput" with ModelCall: changed::<ModelCall>(|object| {
    object.properties.insert("task".into(), one_of(&ModelTask::texts()));
    object.required.push("task".into());
}));
documented!(ScanFieldsDoc as "ScanFields" with ScanRequest: changed::<ScanRequest>(|object| {
    object.properties.remove("image");
    object.required.retain(|name| name != "image");
}));
documented!(PhotoBodyDoc as "PhotoBody" with: ObjectBuilder::new()
    .schema_type(Type::String)
    .format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)))
    .into());
documented!(JobInputDoc as "JobInput" with ScanInputDoc ModelInputDoc: OneOfBuilder::new()
    .item(Ref::from_schema_name(ScanInputDoc::name()))
    .item(Ref::from_schema_name(ModelInputDoc::name()))
    .into());

documented!(InvocationAnswerDoc as "InvocationAnswer" with ScanResult SegmentAnswer DepthAnswer IdentifyAnswer:
    AnyOfBuilder::new()
        .item(Ref::from_schema_name(ScanResult::name()))
        .item(Ref::from_schema_name(SegmentAnswer::name()))
        .item(Ref::from_schema_name(DepthAnswer::name()))
        .item(Ref::from_schema_name(IdentifyAnswer::name()))
        .into());

#[derive(OpenApi)]
#[openapi(
    info(title = "dragunov", description = "Meal photo in; volume, grams, kcal and macros out, with intervals. \
        The job API is also served under /v2/{endpoint}/ and /{endpoint}/. What every value means: docs/api.md."),
    components(schemas(ProblemBody<'_>, StageUpdate)),
)]
struct Frame;

/// The routes' descriptions as one document. `open` need no key; `keyed` need one if the service has any.
pub(super) fn describe(
    open: utoipa::openapi::OpenApi,
    mut keyed: utoipa::openapi::OpenApi,
    has_keys: bool,
) -> utoipa::openapi::OpenApi {
    let mut schemes = vec![
        SecurityRequirement::new("bearer", Vec::<String>::new()),
        SecurityRequirement::new("x_api_key", Vec::<String>::new()),
    ];
    if !has_keys {
        schemes.push(SecurityRequirement::default());
    }
    for operation in operations(&mut keyed) {
        operation.security = Some(schemes.clone());
        refuse(operation, 401);
    }
    let mut api = Frame::openapi();
    api.merge(open);
    api.merge(keyed);
    let mut ids = HashSet::new();
    for operation in operations(&mut api) {
        refuse(operation, 405);
        refuse(operation, 500);
        // A route of two methods has one id, which must be the operation's own.
        if let Some(id) = &mut operation.operation_id
            && !ids.insert(id.clone())
        {
            id.push_str("_post");
        }
    }
    let components = api.components.get_or_insert_default();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    let header = ApiKey::Header(ApiKeyValue::new("X-API-Key"));
    components.add_security_scheme("x_api_key", SecurityScheme::ApiKey(header));
    api
}

fn refuse(operation: &mut Operation, status: u16) {
    let responses = &mut operation.responses.responses;
    responses
        .entry(status.to_string())
        .or_insert_with(|| refusal(status).into());
}

fn operations(api: &mut utoipa::openapi::OpenApi) -> impl Iterator<Item = &mut Operation> {
    api.paths.paths.values_mut().flat_map(|item: &mut PathItem| {
        let PathItem {
            get,
            put,
            post,
            delete,
            options,
            head,
            patch,
            trace,
            ..
        } = item;
        [get, put, post, delete, options, head, patch, trace]
            .into_iter()
            .flatten()
    })
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "pages",
    responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub(super) async fn document(State(app): State<SharedApp>) -> Json<utoipa::openapi::OpenApi> {
    Json(super::description(!app.options.api_keys.is_empty()))
}

/// Swagger UI.
pub(super) fn pages() -> axum::Router<SharedApp> {
    let pages = utoipa_swagger_ui::SwaggerUi::new("/docs")
        .config(utoipa_swagger_ui::Config::from("/openapi.json").validator_url("none"));
    axum::Router::from(pages)
}
