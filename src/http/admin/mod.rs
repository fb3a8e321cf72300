//! `/api/admin/`: what administrators see and do. The same answers the command line at the control socket.

mod accounts;
mod audit;
mod bans;
mod relay_devices;
mod secrets;
mod state;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use moznods_storage::{RelayOwner, UserId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

use super::error::{ApiError, ApiResult};
use super::extract::{Asked, Head, Id, Segment, SignedIn};
use super::openapi::refused;
use super::{Edge, Routes, State, client, routes, to_the_end};
use crate::app::{Actor, Error, Killed, Problem, Refusal};
use crate::wire::{AllocationJson, RelayNodeJson, ResetLinkJson, UsageJson};

/// Here and at the control socket.
pub fn routes() -> Routes {
    vec![
        routes![allocations, kill_allocations],
        routes![kill_allocation],
        routes![relays],
        routes![usage],
        routes![reset_link],
        audit::route(),
    ]
    .into_iter()
    .chain(accounts::routes())
    .chain(bans::routes())
    .chain(relay_devices::routes())
    .chain(secrets::routes())
    .chain(state::routes())
    .collect()
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
#[derive(Deserialize, IntoParams)]
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

/// Relays: that of this process, and those of other nodes.
///
/// `silent` is who has not been heard of for some seconds, or has not answered what it was asked last.
#[utoipa::path(get, path = "/api/admin/relay/nodes/", responses(
    (status = 200, body = Vec<RelayNodeJson>),
))]
pub async fn relays(edge: State, _: Admin) -> ApiResult<Response> {
    let found = edge.app.relay_nodes();
    let shown: Vec<_> = found.iter().map(RelayNodeJson::from).collect();
    Ok(Json(shown).into_response())
}

/// Live allocations of all relays.
///
/// Those of relays that are then `silent` (`/api/admin/relay/nodes/`) are missing.
#[utoipa::path(get, path = "/api/admin/relay/allocations/", responses(
    (status = 200, body = Vec<AllocationJson>),
    refused::Relay, refused::Fields,
))]
pub async fn allocations(edge: State, _: Admin, Asked(of): Asked<Of>) -> ApiResult<Response> {
    let owner = of.user(&edge).await?.map(RelayOwner::User);
    let found = edge.app.allocations(owner).await?;
    let shown: Vec<_> = found.iter().map(AllocationJson::new).collect();
    Ok(Json(shown).into_response())
}

/// Ends an allocation.
#[utoipa::path(delete, path = "/api/admin/relay/allocations/{name}/", responses(
    (status = 204),
    refused::Relay, refused::RelaySilent,
))]
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
#[derive(Deserialize, IntoParams)]
pub struct In {
    #[param(pattern = "^[0-9]{4}-[0-9]{2}$")]
    month: Option<String>,
}

/// What was relayed for whom in a month, this one by default.
#[utoipa::path(get, path = "/api/admin/relay/usage/", responses(
    (status = 200, body = Vec<UsageJson>),
    refused::Fields,
))]
pub async fn usage(edge: State, _: Admin, Asked(asked): Asked<In>) -> ApiResult<Response> {
    let month = asked.month.map(|text| text.parse()).transpose();
    let month = month.map_err(|_| Error::field("month", Problem::NotAMonth))?;
    let app = Arc::clone(&edge.app);
    // What has been taken from the relay must reach the book.
    let used = to_the_end(async move { app.relay_usage(month).await }).await?;
    let shown: Vec<_> = used.iter().map(UsageJson::new).collect();
    Ok(Json(shown).into_response())
}

/// What came of it.
#[derive(Serialize, ToSchema)]
struct Ended {
    /// How many there were.
    ended: usize,
    /// Relays that have not answered, and may have others.
    silent: Vec<String>,
}

/// Ends all allocations of a user.
///
/// Who is meant must be said.
#[utoipa::path(delete, path = "/api/admin/relay/allocations/", responses(
    (status = 200, body = Ended),
    refused::Relay, refused::Fields,
))]
pub async fn kill_allocations(edge: State, by: Admin, Asked(of): Asked<Of>) -> ApiResult<Response> {
    let user = of.user(&edge).await?;
    let user = user.ok_or_else(|| Error::field("user", Problem::Required))?;
    let Killed { ended, silent } = edge.app.kill_allocations_of(by.actor(), user).await?;
    Ok(Json(Ended { ended, silent }).into_response())
}

/// A link for a new password, which the administrator passes on.
#[utoipa::path(post, path = "/api/admin/users/{id}/reset-link/", responses(
    (status = 200, body = ResetLinkJson),
    refused::StorageFull, refused::Overloaded, refused::Fields,
))]
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
