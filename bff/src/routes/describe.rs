//! Descriptions of operations that are not written with an attribute, because their types are generic.

use std::borrow::Cow;

use utoipa::openapi::path::{Operation, OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{
    ArrayBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Required, ResponseBuilder};
use utoipa::{IntoParams, ToSchema};

/// Named schemas that a description refers to.
pub(super) type Schemas = Vec<(String, RefOr<Schema>)>;

/// One operation while it is described.
pub(super) struct Described {
    operation: OperationBuilder,
    schemas: Schemas,
}

impl Described {
    pub(super) fn new(tag: &str, summary: String) -> Self {
        Self {
            operation: OperationBuilder::new().tag(tag).summary(Some(summary)),
            schemas: Vec::new(),
        }
    }

    /// The path's `{id}`.
    pub(super) fn id(mut self) -> Self {
        let uuid = ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)));
        let id = ParameterBuilder::new()
            .name("id")
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .schema(Some(uuid));
        self.operation = self.operation.parameter(id);
        self
    }

    pub(super) fn header(mut self, name: &str, required: bool, what: &str) -> Self {
        let header = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Header)
            .required(if required { Required::True } else { Required::False })
            .description(Some(what))
            .schema(Some(ObjectBuilder::new().schema_type(Type::String)));
        self.operation = self.operation.parameter(header);
        self
    }

    /// `If-Match`, and how its refusals look.
    pub(super) fn if_match(self) -> Self {
        self.header("if-match", true, "ETag of the last read")
            .refusal("412", "changed in between; with it as it is now")
            .refusal("428", "no If-Match")
    }

    pub(super) fn query<Q: IntoParams>(mut self) -> Self {
        for parameter in Q::into_params(|| Some(ParameterIn::Query)) {
            self.operation = self.operation.parameter(parameter);
        }
        self
    }

    pub(super) fn body<T: ToSchema>(mut self) -> Self {
        let reference = self.refer::<T>();
        let body = RequestBodyBuilder::new()
            .content("application/json", content(reference))
            .required(Some(Required::True));
        self.operation = self.operation.request_body(Some(body.build()));
        self
    }

    pub(super) fn answer<T: ToSchema>(mut self, status: &str, what: &str) -> Self {
        let reference = self.refer::<T>();
        let response = ResponseBuilder::new()
            .description(what)
            .content("application/json", content(reference));
        self.operation = self.operation.response(status, response.build());
        self
    }

    /// A [`crate::store::page::Page`] of these.
    pub(super) fn page_of<T: ToSchema>(mut self) -> Self {
        let items = ArrayBuilder::new().items(self.refer::<T>());
        let cursor = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .description(Some("Null at the end."));
        let page = ObjectBuilder::new()
            .property("items", items)
            .required("items")
            .property("next_cursor", cursor)
            .required("next_cursor");
        let name = format!("Page_{}", T::name());
        let response = ResponseBuilder::new()
            .description("one page")
            .content("application/json", content(Ref::from_schema_name(&name)));
        self.schemas.push((name, page.into()));
        self.operation = self.operation.response("200", response.build());
        self
    }

    pub(super) fn empty(mut self, status: &str, what: &str) -> Self {
        let response = ResponseBuilder::new().description(what).build();
        self.operation = self.operation.response(status, response);
        self
    }

    pub(super) fn refusal(mut self, status: &str, what: &str) -> Self {
        let response = ResponseBuilder::new().description(what).content(
            "application/problem+json",
            content(Ref::from_schema_name("Problem")),
        );
        self.operation = self.operation.response(status, response.build());
        self
    }

    pub(super) fn finish(self) -> (Operation, Schemas) {
        (self.operation.build(), self.schemas)
    }

    fn refer<T: ToSchema>(&mut self) -> Ref {
        let name: Cow<'_, str> = T::name();
        T::schemas(&mut self.schemas);
        self.schemas.push((name.to_string(), T::schema()));
        Ref::from_schema_name(name)
    }
}

fn content(reference: Ref) -> utoipa::openapi::Content {
    ContentBuilder::new().schema(Some(reference)).build()
}
