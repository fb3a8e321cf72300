//! The API's document from outside: how it is served, and that each operation refuses as it says.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::admin::admin;
use crate::support::{Server, User};

const DOCUMENT: &str = "/api/openapi.json";
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

async fn document(server: &Server) -> Value {
    let answer = server.request(Method::GET, DOCUMENT).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/json");
    answer.json().await.unwrap()
}

/// What a reference within the document leads to.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => {
            let path = reference.strip_prefix('#').unwrap();
            document.pointer(path).expect("what is referred to")
        }
        None => value,
    }
}

struct Operation<'a> {
    document: &'a Value,
    path: &'a str,
    method: Method,
    says: &'a Value,
}

impl<'a> Operation<'a> {
    fn all(document: &'a Value) -> Vec<Self> {
        let paths = document["paths"].as_object().unwrap();
        let mut all = Vec::new();
        for (path, item) in paths {
            for (method, says) in item.as_object().unwrap() {
                let method = method.to_uppercase().parse().unwrap();
                all.push(Operation {
                    document,
                    path,
                    method,
                    says,
                });
            }
        }
        all
    }

    /// With ids of nothing that there is.
    fn path(&self) -> String {
        let parameters = self.says["parameters"].as_array();
        let mut path = self.path.to_owned();
        for parameter in parameters.into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            let value = match (name, parameter["schema"]["type"].as_str()) {
                (_, Some("integer")) => "987654321",
                ("emoji", _) => "%F0%9F%91%8D",
                _ => "nothing",
            };
            path = path.replace(&format!("{{{name}}}"), value);
        }
        path
    }

    fn takes(&self, kind: &str) -> Option<&'a Value> {
        self.says["requestBody"]["content"].get(kind)
    }

    fn needs_token(&self) -> bool {
        let security = self.says["security"].as_array();
        security.is_some_and(|schemes| schemes.iter().all(|scheme| *scheme != json!({})))
    }

    /// Asks, and holds the answer against the document.
    async fn refused(&self, request: reqwest::RequestBuilder) -> (u16, String) {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let about = format!("{} {}: {status}", self.method, self.path);
        let body: Value = answer.json().await.expect(&about);
        let named = self.says["responses"].get(status.to_string());
        let named = resolved(self.document, named.expect(&about));
        let schema = &named["content"]["application/json"]["schema"];
        let code = self.shaped(schema, &body, &about);
        (status, code)
    }

    /// That an error has one of the shapes and codes of this schema; its code.
    fn shaped(&self, schema: &Value, body: &Value, about: &str) -> String {
        let either = schema["oneOf"].as_array();
        let shapes = either.map_or(vec![schema], |shapes| shapes.iter().collect());
        let body: &Map<_, _> = body.as_object().expect(about);
        let code = body["code"].as_str().expect(about);
        let is_text = |text: &Value| text.as_str().is_some_and(|text| !text.is_empty());
        let fits = shapes.iter().any(|shape| match shape["allOf"].as_array() {
            // A plain error, of these codes.
            Some(parts) => {
                let codes = parts[1]["properties"]["code"]["enum"].as_array().unwrap();
                codes.iter().any(|named| named == code)
                    && body.len() == 2
                    && is_text(&body["detail"])
            }
            // Of fields.
            None => {
                let mut fields = body.iter().filter(|(name, _)| *name != "code");
                let texts = |value: &Value| {
                    let texts = value.as_array();
                    texts.is_some_and(|texts| !texts.is_empty() && texts.iter().all(is_text))
                };
                code == "validation_error"
                    && body.len() > 1
                    && fields.all(|(_, value)| texts(value))
            }
        });
        assert!(fits, "{about}: {body:?} is none of {schema}");
        code.to_owned()
    }
}

/// A value that a schema allows.
fn example(document: &Value, schema: &Value) -> Value {
    let schema = resolved(document, schema);
    if let Some([first, ..]) = schema["enum"].as_array().map(Vec::as_slice) {
        return first.clone();
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => &kinds[0],
        kind => kind,
    };
    match kind.as_str() {
        Some("object") => {
            let fields = schema["properties"].as_object().unwrap().iter();
            let fields = fields.map(|(name, field)| (name.clone(), example(document, field)));
            Value::Object(fields.collect())
        }
        Some("array") => json!([]),
        Some("integer" | "number") => json!(1),
        Some("boolean") => json!(true),
        _ if schema["format"] == "date-time" => json!("2099-01-01T00:00:00Z"),
        _ => {
            let least = schema["minLength"].as_u64().unwrap_or(1).max(1);
            let most = schema["maxLength"].as_u64().unwrap_or(u64::MAX);
            json!("x".repeat(usize::try_from(least.min(most)).unwrap()))
        }
    }
}

#[tokio::test]
async fn the_document_says_what_it_is_of_and_is_sent_once() {
    let server = Server::start(&[]);
    let ask = || server.request(Method::GET, DOCUMENT);
    let first = ask().send().await.unwrap();
    let tag = first.headers()[header::ETAG].clone();
    let again = ask()
        .header(header::IF_NONE_MATCH, &tag)
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    let packed = ask()
        .header(header::ACCEPT_ENCODING, "gzip")
        .send()
        .await
        .unwrap();
    assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
    assert!(packed.bytes().await.unwrap().len() < 20_000);

    let document: Value = first.json().await.unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        document["info"]["license"]["identifier"],
        env!("CARGO_PKG_LICENSE")
    );
    let codes = document["components"]["schemas"]["ErrorCode"]["enum"].as_array();
    let codes: BTreeSet<_> = codes.unwrap().iter().filter_map(Value::as_str).collect();
    for code in [
        "not_found",
        "permission_denied",
        "rate_limited",
        "validation_error",
    ] {
        assert!(codes.contains(code), "{code}");
    }
    let ids: Vec<_> = Operation::all(&document)
        .iter()
        .map(|operation| operation.says["operationId"].to_string())
        .collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    assert!(ids.len() > 70, "{}", ids.len());
}

#[tokio::test]
async fn who_has_no_token_is_told_so_at_both_forms_of_each_path() {
    let server = Server::start(&[]);
    let document = document(&server).await;
    let mut asked = 0;
    for operation in Operation::all(&document) {
        if !operation.needs_token() {
            continue;
        }
        let path = operation.path();
        for path in [path.as_str(), path.trim_end_matches('/')] {
            for token in [
                None,
                Some("Token wrong"),
                Some("Bearer wrong"),
                Some("Basic eA=="),
            ] {
                let request = server.request(operation.method.clone(), path);
                let request = match token {
                    Some(token) => request.header(header::AUTHORIZATION, token),
                    None => request,
                };
                let told = operation.refused(request).await;
                assert_eq!(told, (401, "authentication_required".to_owned()), "{path}");
                asked += 1;
            }
        }
    }
    assert!(asked > 500, "{asked}");
}

#[tokio::test]
async fn a_method_that_a_path_has_not_is_refused_with_those_that_it_has() {
    let server = Server::start(&[]);
    let document = document(&server).await;
    for operation in Operation::all(&document) {
        let item = document["paths"][operation.path].as_object().unwrap();
        let has = |method: &str| item.contains_key(&method.to_lowercase());
        for method in METHODS.into_iter().filter(|method| !has(method)) {
            let request = server.request(method.parse().unwrap(), &operation.path());
            let answer = request.send().await.unwrap();
            let about = format!("{method} {}", operation.path);
            assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{about}");
            let allowed = answer.headers()[header::ALLOW].to_str().unwrap().to_owned();
            let allowed: BTreeSet<_> = allowed.split(',').map(str::trim).collect();
            let mut expected: BTreeSet<_> = METHODS.into_iter().filter(|one| has(one)).collect();
            if has("GET") {
                expected.insert("HEAD");
            }
            assert_eq!(allowed, expected, "{about}");
            let body: Value = answer.json().await.unwrap();
            assert_eq!(body["code"], "method_not_allowed", "{about}");
            assert!(body["detail"].is_string(), "{about}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_none_is_refused() {
    let server = Server::start(&[]);
    let (ann, admin) = (server.user("ann").await, admin(&server, "root").await);
    let document = document(&server).await;
    let mut asked = 0;
    for operation in Operation::all(&document) {
        // Of what programs send to a webhook nothing is read before their secret is known to be right.
        let is_hook = operation.path == "/api/hooks/{hook}/{secret}/";
        if is_hook || operation.takes("application/json").is_none() {
            continue;
        }
        let user = match operation.path.starts_with("/api/admin/") {
            true => &admin,
            false => &ann,
        };
        for (body, code) in [
            ("{", "parse_error"),
            ("[]", "parse_error"),
            ("\u{feff}{}", "parse_error"),
        ] {
            let request = user.request(operation.method.clone(), &operation.path());
            let request = request
                .header(header::CONTENT_TYPE, "application/json")
                .body(body);
            let told = operation.refused(request).await;
            assert_eq!(told, (400, code.to_owned()), "{} {body}", operation.path);
        }
        let request = user.request(operation.method.clone(), &operation.path());
        let request = request.header(header::CONTENT_TYPE, "text/x").body("{}");
        let told = operation.refused(request).await;
        assert_eq!(
            told,
            (415, "unsupported_media_type".to_owned()),
            "{}",
            operation.path
        );
        asked += 1;
    }
    assert!(asked > 25, "{asked}");
}

async fn with_nothing_there(user: &User<'_>, operation: &Operation<'_>) -> (u16, String) {
    let request = user.request(operation.method.clone(), &operation.path());
    let request = match operation.takes("application/json") {
        Some(content) => request.json(&example(operation.document, &content["schema"])),
        None => request,
    };
    operation.refused(request).await
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let document = document(&server).await;
    let mut asked = 0;
    for operation in Operation::all(&document) {
        if !operation.path.contains('{') {
            continue;
        }
        let about = format!("{} {}", operation.method, operation.path);
        let (status, code) = with_nothing_there(&ann, &operation).await;
        let expected = match operation.path {
            // As clients of the Django program know it: a field error.
            "/api/rooms/join/{token}/" => (400, "validation_error"),
            path if path.starts_with("/api/admin/") => (403, "permission_denied"),
            _ => (404, "not_found"),
        };
        assert_eq!((status, code.as_str()), expected, "{about}");
        asked += 1;
    }
    assert!(asked > 40, "{asked}");
}
