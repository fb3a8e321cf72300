//! `/api/admin/`: what administrators see and do. The same answers the command line at the control socket.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use moznods_storage::RelayOwner;
use moznods_turn::server::Which;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

use super::error::{ApiError, ApiResult};
use super::extract::{Asked, Head, Id, Segment, SignedIn};
use super::{Edge, Routes, State, client, to_the_end};
use crate::app::{Error, Problem, Refusal};
use crate::wire::{AllocationJson, ResetLinkJson, UsageJson};

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
    ]
}

/// Marks requests that came by the control socket, which nobody but the one who runs the server can open.
#[derive(Clone)]
pub struct Console;

/// Somebody who may administer.
pub struct Admin;

impl FromRequestParts<Arc<Edge>> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, edge: &Arc<Edge>) -> ApiResult<Self> {
        if parts.extensions.get::<Console>().is_some() {
            return Ok(Admin);
        }
        let by = SignedIn::from_request_parts(parts, edge).await?;
        if !by.user.is_admin {
            return Err(Refusal::AdminOnly.into());
        }
        Ok(Admin)
    }
}

/// Of which owner; without it, of all.
#[derive(Deserialize)]
pub struct Of {
    user: Option<String>,
}

impl Of {
    async fn owner(&self, edge: &Edge) -> ApiResult<Option<RelayOwner>> {
        match &self.user {
            Some(name) => Ok(Some(RelayOwner::User(edge.app.user_named(name).await?.id))),
            None => Ok(None),
        }
    }
}

pub async fn allocations(edge: State, _: Admin, Asked(of): Asked<Of>) -> ApiResult<Response> {
    let found = edge.app.allocations(of.owner(&edge).await?).await?;
    let shown: Vec<_> = found.iter().map(AllocationJson::new).collect();
    Ok(Json(shown).into_response())
}

pub async fn kill_allocation(
    edge: State,
    _: Admin,
    Segment(name): Segment,
) -> ApiResult<StatusCode> {
    let name = name.parse().map_err(|_| Refusal::NotFound)?;
    match edge.app.kill_allocations(Which::One(name)).await? {
        0 => Err(Refusal::NotFound.into()),
        _ => Ok(StatusCode::NO_CONTENT),
    }
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
pub async fn kill_allocations(edge: State, _: Admin, Asked(of): Asked<Of>) -> ApiResult<Response> {
    let owner = of.owner(&edge).await?;
    let owner = owner.ok_or_else(|| Error::field("user", Problem::Required))?;
    let ended = edge.app.kill_owner(owner).await?;
    Ok(Json(json!({"ended": ended})).into_response())
}

/// A link for a new password, which the administrator passes on.
pub async fn reset_link(
    edge: State,
    _: Admin,
    Head(head): Head,
    Id(id): Id,
) -> ApiResult<Response> {
    let (token, expires_at) = edge.app.make_reset_link(id).await?;
    let server = client::base_url(&edge, &head);
    Ok(Json(ResetLinkJson::new(&server, &token, expires_at)).into_response())
}
