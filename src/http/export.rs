//! `/api/rooms/{room}/export/`: all that was said in a room as one file, read no faster than the client takes it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::TryStreamExt;
use moznods_storage::UserId;

use super::error::ApiResult;
use super::extract::{Head, Id, Writing};
use super::openapi::refused;
use super::{Routes, State, client, routes};
use crate::app::Limited;
use crate::wire::{ExportJson, export, urls};

/// When who has one going on may ask again.
const LATER: Duration = Duration::from_secs(5);

pub fn routes() -> Routes {
    vec![routes![send]]
}

/// Who has an export going on: one each, as it reads all that there is.
#[derive(Default)]
pub struct Exports(Mutex<HashSet<UserId>>);

/// The place of one export, up to the end of this value.
struct Place {
    exports: Arc<Exports>,
    user: UserId,
}

impl Exports {
    /// `None`: he has one.
    fn begin(self: &Arc<Self>, user: UserId) -> Option<Place> {
        self.users().insert(user).then(|| Place {
            exports: Arc::clone(self),
            user,
        })
    }

    fn users(&self) -> std::sync::MutexGuard<'_, HashSet<UserId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.exports.users().remove(&self.user);
    }
}

/// All that was said in a room as a file, oldest first; one that is cut off is no JSON.
#[utoipa::path(get, path = "/api/rooms/{room}/export/", responses(
    (status = 200, body = ExportJson),
    refused::InRoom,
))]
pub async fn send(
    edge: State,
    Writing(by): Writing,
    Id(room): Id,
    Head(head): Head,
) -> ApiResult<Response> {
    let user = by.user.id;
    let export = edge.app.export(by.user, room).await?;
    let place = edge.exports.begin(user);
    let place = place.ok_or_else(|| edge.limits.refuse(Limited::Api, LATER))?;
    let base = client::base_url(&edge, &head);
    let name = format!("attachment; filename=\"room-{room}.json\"");
    // Whoever hangs up ends it; an error cuts it off, which the client sees.
    let pieces = export::pieces(export).map_ok(move |piece| {
        let _until_the_end = &place;
        urls::localized(piece, &base)
    });
    let mut response = Body::from_stream(pieces).into_response();
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}
