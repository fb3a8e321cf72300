//! What a handler's arguments tell the document: parameters, bodies, who may ask, and what is refused before the handler
//! begins.

use axum::extract::Request;
use axum::http::HeaderMap;
use std::sync::Arc;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{
    Content, KnownFormat, ObjectBuilder, Ref, RefOr, Required, Schema, SchemaFormat,
    SecurityRequirement, Type,
};
use utoipa::{IntoParams, IntoResponses, ToSchema};

use super::{Schemas, refused};
use crate::http::Edge;
use crate::http::admin::Admin;
use crate::http::error::ApiResult;
use crate::http::extract::{
    Asked, Body, Head, Id, IdAndText, Ids, Leaving, Paging, Segment, SignedIn, Writing,
};

/// How a token is called in the document.
pub const TOKEN: &str = "token";
/// The other form of it.
pub const BEARER: &str = "bearer";

/// An operation while its arguments tell of themselves.
pub struct Telling<'a> {
    operation: &'a mut Operation,
    schemas: &'a mut Schemas,
    /// Names of the path's variable parts that nobody has told of, in their order.
    segments: std::vec::IntoIter<String>,
}

impl<'a> Telling<'a> {
    pub fn of(path: &str, operation: &'a mut Operation, schemas: &'a mut Schemas) -> Self {
        let names = path.split('/').filter_map(|part| {
            let name = part.strip_prefix('{')?.strip_suffix('}')?;
            Some(name.to_owned())
        });
        let segments = names.collect::<Vec<_>>().into_iter();
        Telling {
            operation,
            schemas,
            segments,
        }
    }

    /// What this argument refuses.
    pub fn refuses<T: IntoResponses>(&mut self) {
        self.operation.responses.responses.extend(T::responses());
    }

    /// A token is needed, unless the handler says otherwise.
    pub fn needs_token(&mut self) {
        let schemes =
            [TOKEN, BEARER].map(|scheme| SecurityRequirement::new::<_, [&str; 0], _>(scheme, []));
        self.operation.security.get_or_insert(schemes.to_vec());
        self.refuses::<refused::AuthenticationRequired>();
    }

    fn segment(&mut self, schema: Schema) {
        let name = self.segments.next().expect("a variable part of the path");
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .schema(Some(schema));
        self.parameter(parameter.build());
        self.refuses::<refused::NotFound>();
    }

    /// What the handler itself says of a parameter stands.
    fn parameter(&mut self, mut parameter: Parameter) {
        // What is not there is left out; it is never null.
        if let Some(RefOr::T(Schema::Object(schema))) = &mut parameter.schema
            && let SchemaType::Array(types) = &mut schema.schema_type
            && let [only, Type::Null] = types.as_slice()
        {
            schema.schema_type = SchemaType::Type(only.clone());
        }
        let known = self.operation.parameters.get_or_insert_default();
        let same = |other: &RefOr<Parameter>| matches!(other, RefOr::T(other) if other.name == parameter.name);
        if !known.iter().any(same) {
            known.push(parameter.into());
        }
    }

    fn reference<T: ToSchema>(&mut self) -> Ref {
        let name = T::name().into_owned();
        self.schemas.push((name.clone(), T::schema()));
        T::schemas(self.schemas);
        Ref::from_schema_name(name)
    }
}

/// An argument of a handler, or a part of one.
pub trait Part {
    fn tell(telling: &mut Telling<'_>);
}

/// A handler, by its arguments.
#[diagnostic::on_unimplemented(
    note = "each argument of a handler must be a `Part` (src/http/openapi/parts.rs)"
)]
pub trait Signature<Arguments> {
    fn tell(telling: &mut Telling<'_>);
}

macro_rules! signature {
    ($($part:ident),*) => {
        impl<Handler, Answer, $($part: Part),*> Signature<($($part,)*)> for Handler
        where
            Handler: Fn($($part),*) -> Answer,
        {
            fn tell(_telling: &mut Telling<'_>) {
                $($part::tell(_telling);)*
            }
        }
    };
}

signature!();
signature!(A);
signature!(A, B);
signature!(A, B, C);
signature!(A, B, C, D);
signature!(A, B, C, D, E);
signature!(A, B, C, D, E, F);
signature!(A, B, C, D, E, F, G);

/// Of which the document has nothing to say.
macro_rules! silent {
    ($($part:ty),+) => {
        $(
            impl Part for $part {
                fn tell(_: &mut Telling<'_>) {}
            }
        )+
    };
}

silent!(axum::extract::State<Arc<Edge>>, Head, HeaderMap, Request);

/// The handler itself says whether it refuses what could not be had.
impl<T: Part> Part for ApiResult<T> {
    fn tell(telling: &mut Telling<'_>) {
        let before = telling.operation.responses.clone();
        T::tell(telling);
        telling.operation.responses = before;
    }
}

impl Part for SignedIn {
    fn tell(telling: &mut Telling<'_>) {
        telling.needs_token();
    }
}

impl Part for Leaving {
    fn tell(telling: &mut Telling<'_>) {
        telling.needs_token();
    }
}

impl Part for Writing {
    fn tell(telling: &mut Telling<'_>) {
        telling.needs_token();
        telling.refuses::<refused::StorageFull>();
    }
}

impl Part for Admin {
    fn tell(telling: &mut Telling<'_>) {
        telling.needs_token();
        telling.refuses::<refused::AdminOnly>();
    }
}

fn id() -> Schema {
    let id = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(1));
    id.build().into()
}

fn text() -> Schema {
    let text = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1));
    text.build().into()
}

impl Part for Id {
    fn tell(telling: &mut Telling<'_>) {
        telling.segment(id());
    }
}

impl<const N: usize> Part for Ids<N> {
    fn tell(telling: &mut Telling<'_>) {
        for _ in 0..N {
            telling.segment(id());
        }
    }
}

impl Part for Segment {
    fn tell(telling: &mut Telling<'_>) {
        telling.segment(text());
    }
}

impl Part for IdAndText {
    fn tell(telling: &mut Telling<'_>) {
        telling.segment(id());
        telling.segment(text());
    }
}

impl<T: IntoParams> Part for Asked<T> {
    fn tell(telling: &mut Telling<'_>) {
        for parameter in T::into_params(|| Some(ParameterIn::Query)) {
            telling.parameter(parameter);
        }
        telling.refuses::<refused::Malformed>();
    }
}

impl Part for Paging {
    fn tell(telling: &mut Telling<'_>) {
        for parameter in super::schemas::PageParams::into_params(|| Some(ParameterIn::Query)) {
            telling.parameter(parameter);
        }
        telling.refuses::<refused::NoSuchPage>();
    }
}

/// In which a body may come, but for the last two where a form could not say what is in it.
const KINDS: [&str; 3] = [
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
];

impl<T: ToSchema> Part for Body<T> {
    fn tell(telling: &mut Telling<'_>) {
        let is_text = |schema: &RefOr<Schema>| matches!(schema, RefOr::T(Schema::Object(object)) if object.properties.is_empty());
        let kinds = match T::schema() {
            RefOr::T(Schema::Object(object)) if object.properties.values().all(is_text) => 3,
            _ => 1,
        };
        let schema = telling.reference::<T>();
        let body = KINDS
            .iter()
            .take(kinds)
            .fold(RequestBodyBuilder::new(), |body, kind| {
                body.content(*kind, Content::new(Some(schema.clone())))
            });
        telling.operation.request_body = Some(body.build().into());
        telling.refuses::<refused::Fields>();
        telling.refuses::<refused::Malformed>();
        telling.refuses::<refused::UnsupportedMediaType>();
        telling.refuses::<refused::TooLarge>();
    }
}
