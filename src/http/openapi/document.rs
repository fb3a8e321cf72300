//! The document itself: all routes, what all of them share, and how it is sent.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response as Answer;
use utoipa::openapi::path::{HttpMethod, Operation, PathItem, PathsBuilder};
use utoipa::openapi::schema::{AdditionalProperties, ArrayItems};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    AllOfBuilder, ArrayBuilder, ComponentsBuilder, Content, Header, Info, License, ObjectBuilder,
    OneOfBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Required, Response, ResponseBuilder, Schema,
    Server, Type,
};

use super::parts::{BEARER, TOKEN};
use super::refused::{self, BETWEEN, answer};
use crate::http::web::File;

const ABOUT: &str = "Rooms, chat, calls and relay credentials of a MOznoDS server.\n\n\
    Every path is answered without the slash at its end as well. Bodies are JSON; those without lists and objects may come \
    as a form, urlencoded or multipart, too. Times are RFC 3339, in UTC. An error says what is wrong in the language of \
    `Accept-Language` (en, ru), and by a `code` that does not change.\n\n\
    Sockets (`/ws/` and its kin) are not part of this document.";

/// The name of the schema of an error that concerns no field.
const ERROR: &str = "Error";
const FIELD_ERRORS: &str = "FieldErrors";
const CODE: &str = "ErrorCode";
const FIELDS_CODE: &str = "validation_error";

/// As it is sent.
static DOCUMENT: LazyLock<Option<File>> = LazyLock::new(|| {
    let text = document().to_json().ok()?;
    Some(File::new(text.into(), "application/json"))
});

pub fn serve(headers: &HeaderMap) -> Answer {
    use axum::response::IntoResponse;
    match &*DOCUMENT {
        Some(file) => file.clone().answer("openapi.json", headers),
        None => crate::http::error::ApiError::Internal.into_response(),
    }
}

/// Whether the document names this answer of an operation; debug builds ask it of each, so that no test can see one
/// which the document does not know.
pub fn is_named(method: &Method, path: &str, status: StatusCode, code: Option<&str>) -> bool {
    static NAMED: LazyLock<OpenApi> = LazyLock::new(document);
    let path = format!("{}/", path.trim_end_matches('/'));
    let Some(item) = NAMED.paths.paths.get(&path) else {
        // Not of the API.
        return true;
    };
    let operation = match method.as_str() {
        "GET" | "HEAD" => &item.get,
        "POST" => &item.post,
        "PUT" => &item.put,
        "PATCH" => &item.patch,
        "DELETE" => &item.delete,
        _ => &None,
    };
    let Some(operation) = operation else {
        return status == StatusCode::METHOD_NOT_ALLOWED;
    };
    match (operation.responses.responses.get(status.as_str()), code) {
        (Some(RefOr::Ref(to)), Some(code)) => to.ref_location.split('.').any(|named| named == code),
        (Some(RefOr::T(_)), None) => true,
        _ => false,
    }
}

fn document() -> OpenApi {
    let mut paths = PathsBuilder::new();
    let mut components = shared();
    let mut tags = Vec::new();
    let mut errors = BTreeMap::new();
    for (tag, about, routes) in crate::http::parts() {
        tags.push(TagBuilder::new().name(tag).description(Some(about)).build());
        for route in routes {
            let said = (route.said)();
            let may_be_empty = |content: &Content| match &content.schema {
                Some(RefOr::Ref(to)) => said.schemas.iter().any(|(name, schema)| {
                    *to == Ref::from_schema_name(name)
                        && matches!(schema, RefOr::T(Schema::Object(it)) if it.required.is_empty())
                }),
                _ => false,
            };
            for path in route.other_path.into_iter().chain([route.path.as_str()]) {
                let mut item = said.item.clone();
                for (method, operation) in operations(&mut item) {
                    operation.tags = Some(vec![tag.to_owned()]);
                    operation.operation_id = Some(id(method, path));
                    if let Some(RefOr::T(body)) = &mut operation.request_body {
                        let content = body.content.values();
                        let optional = content.into_iter().all(|content| match content {
                            RefOr::T(content) => may_be_empty(content),
                            RefOr::Ref(_) => false,
                        });
                        body.required = Some(if optional {
                            Required::False
                        } else {
                            Required::True
                        });
                    }
                    finish(operation, &mut errors);
                }
                paths = paths.path(path, item);
            }
            for (name, schema) in said.schemas {
                let schema = page_by_name(&name, schema);
                components = components.schema(name, schema);
            }
        }
    }
    for (name, response) in errors {
        components = components.response(name, response);
    }
    let mut license = License::new(env!("CARGO_PKG_LICENSE"));
    license.identifier = Some(env!("CARGO_PKG_LICENSE").to_owned());
    let mut info = Info::new("MOznoDS", env!("CARGO_PKG_VERSION"));
    info.description = Some(ABOUT.to_owned());
    info.license = Some(license);
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([Server::new("/")]))
        .paths(paths)
        .components(Some(components.build()))
        .tags(Some(tags))
        .build()
}

pub(super) fn operations(
    item: &mut PathItem,
) -> impl Iterator<Item = (HttpMethod, &mut Operation)> {
    [
        (HttpMethod::Get, &mut item.get),
        (HttpMethod::Post, &mut item.post),
        (HttpMethod::Put, &mut item.put),
        (HttpMethod::Patch, &mut item.patch),
        (HttpMethod::Delete, &mut item.delete),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// A page lists its things by the name of their schema; the derive writes them out once more.
fn page_by_name(name: &str, mut schema: RefOr<Schema>) -> RefOr<Schema> {
    if let Some(listed) = name.strip_prefix("Page_")
        && let RefOr::T(Schema::Object(page)) = &mut schema
        && let Some(RefOr::T(Schema::Array(results))) = page.properties.get_mut("results")
    {
        results.items = ArrayItems::RefOrSchema(Box::new(Ref::from_schema_name(listed).into()));
    }
    schema
}

/// As `post_rooms_room_pin`: no other operation can have it.
fn id(method: HttpMethod, path: &str) -> String {
    let method = match method {
        HttpMethod::Get => "get",
        HttpMethod::Post => "post",
        HttpMethod::Put => "put",
        HttpMethod::Patch => "patch",
        _ => "delete",
    };
    let words = path.split(['/', '{', '}', '-']);
    let words = words.filter(|word| !word.is_empty() && *word != "api");
    [method]
        .into_iter()
        .chain(words)
        .collect::<Vec<_>>()
        .join("_")
}

/// Gathers what is refused by status, and adds what any operation may answer.
fn finish(operation: &mut Operation, errors: &mut BTreeMap<String, Response>) {
    use utoipa::IntoResponses;
    let mut responses = std::mem::take(&mut operation.responses.responses);
    responses.extend(refused::RateLimited::responses());
    responses.extend(refused::Internal::responses());
    responses.extend(refused::DatabaseUnavailable::responses());
    let mut refusals: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, mut response) in responses {
        if let Some((status, code)) = key.split_once(BETWEEN) {
            let codes = refusals.entry(status.to_owned()).or_default();
            codes.push(code.to_owned());
            continue;
        }
        if let RefOr::T(response) = &mut response
            && response.description.is_empty()
        {
            let status = key
                .parse()
                .ok()
                .and_then(|code| StatusCode::from_u16(code).ok());
            let reason = status.and_then(|status| status.canonical_reason());
            response.description = reason.unwrap_or_default().to_owned();
        }
        operation.responses.responses.insert(key, response);
    }
    for (status, codes) in refusals {
        let name = format!("{status}.{}", codes.join("."));
        let to = Ref::from_response_name(name.clone());
        errors.entry(name).or_insert_with(|| error(&status, &codes));
        operation.responses.responses.insert(status, to.into());
    }
}

/// An answer with one of these codes.
fn error(status: &str, codes: &[String]) -> Response {
    let plain = codes.iter().map(String::as_str);
    let plain: Vec<_> = plain.filter(|code| *code != FIELDS_CODE).collect();
    let mut shapes: Vec<RefOr<Schema>> = Vec::new();
    if !plain.is_empty() {
        let code = ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(plain));
        let narrowed = ObjectBuilder::new()
            .schema_type(Type::Object)
            .property("code", code);
        let shape = AllOfBuilder::new()
            .item(Ref::from_schema_name(ERROR))
            .item(narrowed);
        shapes.push(Schema::from(shape.build()).into());
    }
    if codes.iter().any(|code| code == FIELDS_CODE) {
        shapes.push(Ref::from_schema_name(FIELD_ERRORS).into());
    }
    let schema = match <[_; 1]>::try_from(shapes) {
        Ok([only]) => only,
        Err(several) => {
            let either = several
                .into_iter()
                .fold(OneOfBuilder::new(), OneOfBuilder::item);
            Schema::from(either.build()).into()
        }
    };
    let mut response = ResponseBuilder::new()
        .description(codes.join(", "))
        .content("application/json", Content::new(Some(schema)));
    if status == "429" {
        let mut header = Header::new(
            ObjectBuilder::new()
                .schema_type(Type::Integer)
                .minimum(Some(1)),
        );
        header.description = Some("Seconds after which another try may succeed.".to_owned());
        response = response.header("Retry-After", header);
    }
    if status == "401" {
        let mut header = Header::new(ObjectBuilder::new().schema_type(Type::String));
        header.description = Some("Where no token, or none that is good, was sent.".to_owned());
        response = response.header("WWW-Authenticate", header);
    }
    response.build()
}

/// What operations refer to: the shapes of errors, and tokens.
fn shared() -> ComponentsBuilder {
    let mut codes: Vec<_> = refused::all().iter().map(|error| answer(error).1).collect();
    codes.sort_unstable();
    codes.dedup();
    let code = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("What is wrong, for programs."))
        .enum_values(Some(codes));
    let string = || ObjectBuilder::new().schema_type(Type::String);
    let error = ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("What is wrong."))
        .property("detail", string().description(Some("For people.")))
        .required("detail")
        .property("code", Ref::from_schema_name(CODE))
        .required("code");
    let texts = ArrayBuilder::new().items(string()).min_items(Some(1));
    let fields = ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some(
            "What is wrong with which fields: texts for people, by the name of the field.",
        ))
        .property("code", string().enum_values(Some([FIELDS_CODE])))
        .required("code")
        .additional_properties(Some(AdditionalProperties::from(texts)));
    let key = ApiKeyValue::with_description(
        "Authorization",
        "`Token`, a space, and the token that a sign-in gave.",
    );
    ComponentsBuilder::new()
        .schema(CODE, code)
        .schema(ERROR, error)
        .schema(FIELD_ERRORS, fields)
        .security_scheme(TOKEN, SecurityScheme::ApiKey(ApiKey::Header(key)))
        .security_scheme(
            BEARER,
            SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
        )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_name_stands_for_one_schema() {
        let mut known = BTreeMap::new();
        let routes = crate::http::parts()
            .into_iter()
            .flat_map(|(.., routes)| routes);
        for (name, schema) in routes.flat_map(|route| (route.said)().schemas) {
            let json = serde_json::to_string(&schema).unwrap();
            let other = known.entry(name.clone()).or_insert_with(|| json.clone());
            assert_eq!(
                *other, json,
                "`#[schema(as = …)]` gives one {name} another name"
            );
        }
    }

    #[test]
    fn every_operation_says_what_it_does_and_what_it_takes() {
        let mut document = document();
        for (path, item) in &mut document.paths.paths {
            assert!(path.starts_with("/api/") && path.ends_with('/'), "{path}");
            for (_, operation) in operations(item) {
                let id = operation.operation_id.clone().unwrap();
                assert!(
                    operation
                        .summary
                        .as_ref()
                        .is_some_and(|text| !text.is_empty()),
                    "{id}"
                );
                let parameters = operation.parameters.clone().unwrap_or_default();
                let in_path = parameters.iter().filter(|parameter| {
                    matches!(parameter, RefOr::T(parameter) if path.contains(&format!("{{{}}}", parameter.name)))
                });
                assert_eq!(in_path.count(), path.matches('{').count(), "{id}");
                let succeeds = |status: &String| status.starts_with('2') || status.starts_with('3');
                assert!(operation.responses.responses.keys().any(succeeds), "{id}");
            }
        }
    }
}
