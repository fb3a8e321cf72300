//! `/api/search/`: what is said where one takes part.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::error::ApiResult;
use super::extract::{Asked, SignedIn};
use super::messages::number;
use super::openapi::refused;
use super::{Routes, State, routes};
use crate::app::{Error, Sought};
use crate::wire::FoundJson;

const DEFAULT_SIZE: i64 = 20;
const MAX_SIZE: i64 = 100;

pub fn routes() -> Routes {
    vec![routes![search]]
}

#[derive(Deserialize, IntoParams)]
pub struct Query {
    /// Words in any of their forms, and between quotation marks phrases; the last word need not be whole.
    #[serde(default)]
    #[param(required = true, min_length = 1, max_length = 200)]
    q: String,
    #[param(value_type = Option<i64>, minimum = 1)]
    room: Option<String>,
    #[param(value_type = Option<i64>, minimum = 1)]
    author: Option<String>,
    /// The `next_before` of the answer before.
    #[param(value_type = Option<i64>, minimum = 1)]
    before: Option<String>,
    /// 20 by default; more than 100 are not given.
    #[param(value_type = Option<i64>, minimum = 1)]
    page_size: Option<String>,
}

/// Messages that have the words, newest first, in rooms that one takes part in.
#[utoipa::path(get, path = "/api/search/", responses(
    (status = 200, body = FoundJson),
    refused::InRoom, refused::Fields,
))]
pub async fn search(edge: State, by: SignedIn, Asked(query): Asked<Query>) -> ApiResult<Response> {
    edge.limits.write(by.user.id)?;
    let given = |field: &'static str, value: Option<String>| -> Result<Option<i64>, Error> {
        value.map(|value| number(field, &value)).transpose()
    };
    let size = given("page_size", query.page_size)?.unwrap_or(DEFAULT_SIZE);
    let sought = Sought {
        text: query.q,
        room: given("room", query.room)?,
        author: given("author", query.author)?,
        before: given("before", query.before)?,
        limit: usize::try_from(size.min(MAX_SIZE)).unwrap_or_default(),
    };
    let found = edge.app.search(&by.user, sought).await?;
    Ok(Json(FoundJson::from(&found)).into_response())
}
