//! The API's document (OpenAPI 3.1), made of the same values as the routes: a path that is served is in it, and what is
//! in it is served. A handler's `#[utoipa::path]` says its method, path and answers; what it takes is read off its
//! signature ([`parts`]), and what it refuses it lists by name ([`refused`]).

mod document;
mod parts;
pub mod refused;
mod schemas;

use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::MethodRouter;
use std::sync::Arc;
use utoipa::openapi::path::{Operation, Paths};
use utoipa::openapi::{PathItem, RefOr, Schema};

use super::Edge;
pub use document::is_named;
use parts::{Signature, Telling};
pub use schemas::{Binary, Page, positive, some_text, text};

/// Schemas that an operation refers to, by name.
pub type Schemas = Vec<(String, RefOr<Schema>)>;

/// What a part of the API answers to.
pub type Routes = Vec<Route>;

/// What [`utoipa_axum::routes!`] makes.
type Made = (Schemas, Paths, MethodRouter<Arc<Edge>>);

/// A path, with the slash at its end: what it answers, and what the document says of that.
#[derive(Clone)]
pub struct Route {
    pub path: String,
    /// At which it answers as well.
    pub other_path: Option<&'static str>,
    pub methods: MethodRouter<Arc<Edge>>,
    said: fn() -> Said,
}

/// What the document says of a path. It is made only when it is asked for: all of it takes megabytes.
pub struct Said {
    path: String,
    item: PathItem,
    schemas: Schemas,
}

/// One [`Route`] of handlers with the same path, each with a method of its own.
macro_rules! routes {
    ($($handler:ident),+ $(,)?) => {{
        fn made() -> (
            $crate::http::openapi::Schemas,
            utoipa::openapi::path::Paths,
            axum::routing::MethodRouter<std::sync::Arc<$crate::http::Edge>>,
        ) {
            utoipa_axum::routes!($($handler),+)
        }
        $crate::http::openapi::Route::new(made(), || {
            let mut said = $crate::http::openapi::Said::new(made());
            $(said.describe(stringify!($handler), $handler);)+
            said
        })
    }};
}
pub(super) use routes;

/// # Panics
///
/// At the start of every server, if the handlers have several paths.
fn only_path(paths: Paths) -> (String, PathItem) {
    let mut paths = paths.paths.into_iter();
    let (Some(only), None) = (paths.next(), paths.next()) else {
        panic!("a route has one path");
    };
    only
}

impl Route {
    pub fn new((_, paths, methods): Made, said: fn() -> Said) -> Self {
        Route {
            path: only_path(paths).0,
            other_path: None,
            methods,
            said,
        }
    }

    /// The same at another path.
    pub fn also_at(mut self, path: &'static str) -> Self {
        self.other_path = Some(path);
        self
    }
}

impl Said {
    pub fn new((schemas, paths, _): Made) -> Self {
        let (path, item) = only_path(paths);
        Said {
            path,
            item,
            schemas,
        }
    }

    /// Adds to the operation of this handler, by its name, what its signature says.
    pub fn describe<Arguments, Handler>(&mut self, name: &str, _: Handler)
    where
        Handler: Signature<Arguments>,
    {
        let named = |operation: &Operation| operation.operation_id.as_deref() == Some(name);
        for (_, operation) in document::operations(&mut self.item) {
            if named(operation) {
                Handler::tell(&mut Telling::of(&self.path, operation, &mut self.schemas));
            }
        }
    }
}

/// `GET /api/openapi.json`.
pub async fn serve(headers: HeaderMap) -> Response {
    document::serve(&headers)
}
