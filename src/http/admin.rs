//! `/api/admin/`: what administrators see and do. The same answers the command line at the control socket.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use moznods_storage::{RelayOwner, UserId};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

use super::error::{ApiError, ApiResult};
use super::extract::{Asked, Head, Id, Segment, SignedIn};
use super::{Edge, Routes, State, client, to_the_end};
use crate::app::{Actor, Error, Problem, Refusal, WantedAudit};
use crate::wire::{AllocationJson, AuditLogJson, Moment, ResetLinkJson, UsageJson};

/// Here and at the control socket.
pub fn routes() -> Routes {
    vec![
        (
            "/api/admin/relay/allocations/",
            get(allocations).delete(kill_allocations),
        ),
        (
            "/api/admin/relay/allocations/{name}/",
            delete(kill_allocation),
        ),
        ("/api/admin/relay/usage/", get(usage)),
        ("/api/admin/users/{id}/reset-link/", post(reset_link)),
        ("/api/admin/audit/", get(audit_log)),
    ]
}

/// Marks requests that came by the control socket, which nobody but the one who runs the server can open.
#[derive(Clone)]
pub struct Console;

/// Somebody who may administer.
pub struct Admin(Option<SignedIn>);

impl Admin {
    fn actor(&self) -> Actor<'_> {
        match &self.0 {
            Some(by) => by.person().into(),
            None => Actor::CommandLine,
        }
    }
}

impl FromRequestParts<Arc<Edge>> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, edge: &Arc<Edge>) -> ApiResult<Self> {
        if parts.extensions.get::<Console>().is_some() {
            return Ok(Admin(None));
        }
        let by = SignedIn::from_request_parts(parts, edge).await?;
        if !by.user.is_admin {
            return Err(Refusal::AdminOnly.into());
        }
        Ok(Admin(Some(by)))
    }
}

/// Of which owner; without it, of all.
#[derive(Deserialize)]
pub struct Of {
    user: Option<String>,
}

impl Of {
    async fn user(&self, edge: &Edge) -> ApiResult<Option<UserId>> {
        match &self.user {
            Some(name) => Ok(Some(edge.app.user_named(name).await?.id)),
            None => Ok(None),
        }
    }
}

pub async fn allocations(edge: State, _: Admin, Asked(of): Asked<Of>) -> ApiResult<Response> {
    let owner = of.user(&edge).await?.map(RelayOwner::User);
    let found = edge.app.allocations(owner).await?;
    let shown: Vec<_> = found.iter().map(AllocationJson::new).collect();
    Ok(Json(shown).into_response())
}

pub async fn kill_allocation(
    edge: State,
    by: Admin,
    Segment(name): Segment,
) -> ApiResult<StatusCode> {
    let name = name.parse().map_err(|_| Refusal::NotFound)?;
    edge.app.kill_allocation(by.actor(), name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Of which month; of this one otherwise.
#[derive(Deserialize)]
pub struct In {
    month: Option<String>,
}

pub async fn usage(edge: State, _: Admin, Asked(asked): Asked<In>) -> ApiResult<Response> {
    let month = asked.month.map(|text| text.parse()).transpose();
    let month = month.map_err(|_| Error::field("month", Problem::NotAMonth))?;
    let app = Arc::clone(&edge.app);
    // What has been taken from the relay must reach the book.
    let used = to_the_end(async move { app.relay_usage(month).await }).await?;
    let shown: Vec<_> = used.iter().map(UsageJson::new).collect();
    Ok(Json(shown).into_response())
}

/// All of one owner; who is meant must be said.
pub async fn kill_allocations(edge: State, by: Admin, Asked(of): Asked<Of>) -> ApiResult<Response> {
    let user = of.user(&edge).await?;
    let user = user.ok_or_else(|| Error::field("user", Problem::Required))?;
    let ended = edge.app.kill_allocations_of(by.actor(), user).await?;
    Ok(Json(json!({"ended": ended})).into_response())
}

/// A link for a new password, which the administrator passes on.
pub async fn reset_link(
    edge: State,
    by: Admin,
    Head(head): Head,
    Id(id): Id,
) -> ApiResult<Response> {
    let (token, expires_at) = edge.app.make_reset_link(by.actor(), id).await?;
    let server = client::base_url(&edge, &head);
    Ok(Json(ResetLinkJson::new(&server, &token, expires_at)).into_response())
}

/// Of the log of what was done over others; all of it is left out that says nothing.
#[derive(Deserialize)]
pub struct OfLog {
    actor: Option<String>,
    action: Option<String>,
    since: Option<String>,
    until: Option<String>,
    before: Option<String>,
    limit: Option<String>,
}

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
