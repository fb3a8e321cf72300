//! Schemas that several operations share.

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
    /// 20 by default; more than 100 are not given.
    #[param(minimum = 1)]
    page_size: Option<i64>,
}

/// A text of at most so many characters.
pub fn text<const MAX: usize>() -> Object {
    let text = ObjectBuilder::new().schema_type(Type::String);
    text.max_length(Some(MAX)).build()
}

/// As [`text`], and not empty.
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
