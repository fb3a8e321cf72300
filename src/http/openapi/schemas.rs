//! Schemas that several operations share.

use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{KnownFormat, Object, ObjectBuilder, RefOr, Schema, SchemaFormat, Type};
use utoipa::{IntoParams, PartialSchema, ToSchema};

/// A list that is had page by page.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is written by `Paging::answer`")]
pub struct Page<T> {
    /// Of all pages.
    #[schema(minimum = 0)]
    count: i64,
    /// Absolute.
    #[schema(required = true, format = "uri")]
    next: Option<String>,
    #[schema(required = true, format = "uri")]
    previous: Option<String>,
    #[schema(max_items = 100)]
    results: Vec<T>,
}

#[derive(IntoParams)]
#[expect(dead_code, reason = "it is read by `Paging`")]
pub struct PageParams {
    /// The first one is 1.
    #[param(minimum = 1, maximum = 1_099_511_627_776_i64)]
    page: Option<i64>,
    /// 1 to 100. More is 100, and what is no such number, or not there, is 20.
    #[param(schema_with = anything)]
    page_size: Option<i64>,
}

/// What is not understood is not refused either.
fn anything() -> Object {
    let types = SchemaType::from_iter([Type::Integer, Type::String]);
    ObjectBuilder::new().schema_type(types).build()
}

/// A number of things that are wanted, however large: what is more than may be is as many as may be.
pub fn positive() -> Object {
    let number = ObjectBuilder::new().schema_type(Type::Integer);
    number.minimum(Some(1)).build()
}

/// A text of at most so many characters, or none.
pub fn text<const MAX: usize>() -> Object {
    let types = SchemaType::from_iter([Type::String, Type::Null]);
    let text = ObjectBuilder::new().schema_type(types);
    text.max_length(Some(MAX)).build()
}

/// A text that is not empty, of at most so many characters.
pub fn some_text<const MAX: usize>() -> Object {
    let text = ObjectBuilder::new().schema_type(Type::String);
    text.min_length(Some(1)).max_length(Some(MAX)).build()
}

/// Bytes that are no text.
pub struct Binary;

impl PartialSchema for Binary {
    fn schema() -> RefOr<Schema> {
        let bytes = ObjectBuilder::new().schema_type(Type::String);
        let binary = SchemaFormat::KnownFormat(KnownFormat::Binary);
        Schema::from(bytes.format(Some(binary)).build()).into()
    }
}

impl ToSchema for Binary {}
