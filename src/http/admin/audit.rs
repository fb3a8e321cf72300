//! `/api/admin/audit/`: what was done over others.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::Admin;
use crate::app::{Error, Problem, WantedAudit};
use crate::http::error::ApiResult;
use crate::http::extract::Asked;
use crate::http::openapi::{Route, positive, refused};
use crate::http::{State, routes};
use crate::wire::{AuditLogJson, Moment};

pub fn route() -> Route {
    routes![audit_log]
}

/// Of the log of what was done over others; all of it is left out that says nothing.
#[derive(Deserialize, IntoParams)]
pub struct OfLog {
    /// A user's id, name or mail address, or `command-line`.
    actor: Option<String>,
    action: Option<String>,
    /// RFC 3339.
    since: Option<String>,
    /// RFC 3339.
    until: Option<String>,
    /// The id of an entry.
    #[param(value_type = Option<i64>, minimum = 1)]
    before: Option<String>,
    /// 50 by default; more than 500 are not given.
    #[param(schema_with = positive)]
    limit: Option<String>,
}

/// What was done over others, newest first.
#[utoipa::path(get, path = "/api/admin/audit/", responses(
    (status = 200, body = AuditLogJson),
    refused::Fields,
))]
pub async fn audit_log(edge: State, _: Admin, Asked(of): Asked<OfLog>) -> ApiResult<Response> {
    const DEFAULT_LIMIT: i64 = 50;
    const MAX_LIMIT: i64 = 500;
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let number = |field, text: Option<String>| {
        let number = given(text).map(|text| text.parse::<i64>().ok().filter(|number| *number > 0));
        number.map_or(Ok(None), |number| match number {
            Some(number) => Ok(Some(number)),
            None => Err(Error::field(field, Problem::Number)),
        })
    };
    let time = |field, text: Option<String>| {
        let time = given(text).map(|text| text.parse()).transpose();
        let time = time.map_err(|_| Error::field(field, Problem::NotATime))?;
        Ok::<_, Error>(time.map(|Moment(time)| time))
    };
    let limit = number("limit", of.limit)?;
    let wanted = WantedAudit {
        actor: given(of.actor),
        action: given(of.action),
        since: time("since", of.since)?,
        until: time("until", of.until)?,
        before: number("before", of.before)?,
    };
    let limit = limit.map_or(DEFAULT_LIMIT, |limit| limit.min(MAX_LIMIT));
    let (entries, more) = edge.app.audit_log(wanted, limit).await?;
    Ok(Json(AuditLogJson::new(&entries, more)).into_response())
}
