//! New passwords.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;

use super::{Account, device, may_give_code, may_prove, note_failure};
use crate::app::{Error, Problem, Reset};
use crate::http::error::ApiResult;
use crate::http::extract::{Body, Head, SignedIn};
use crate::http::{Routes, State, client};
use crate::wire::LoginJson;

pub fn routes() -> Routes {
    vec![
        ("/api/auth/password/", post(change)),
        ("/api/auth/reset/", post(reset)),
    ]
}

#[derive(Deserialize)]
pub struct Change {
    current_password: Option<String>,
    new_password: Option<String>,
}

pub async fn change(
    edge: State,
    by: SignedIn,
    Head(head): Head,
    Body(body): Body<Change>,
) -> ApiResult<StatusCode> {
    let account = may_prove(&edge, client::address(&edge, &head), by.user.id)?;
    let (current, new) = (body.current_password, body.new_password);
    let changed = edge
        .app
        .change_password(
            by.sign_in,
            current.unwrap_or_default(),
            new.unwrap_or_default(),
        )
        .await;
    note_failure(&edge, account, &changed);
    changed?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
pub struct ByLink {
    token: Option<String>,
    password: Option<String>,
    code: Option<String>,
    device_name: Option<String>,
}

/// By a link that the administrator has made; signs in.
pub async fn reset(edge: State, Head(head): Head, Body(body): Body<ByLink>) -> ApiResult<Response> {
    let required = |field| Error::field(field, Problem::Required);
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let reset = Reset {
        token: given(body.token).ok_or_else(|| required("token"))?,
        password: given(body.password).ok_or_else(|| required("password"))?,
        code: body.code.unwrap_or_default(),
        device: device(body.device_name.as_deref(), &head)?,
    };
    let address = client::address(&edge, &head);
    edge.limits.sign_in_from(address)?;
    let owner = edge.app.reset_link_owner(&reset.token).await?;
    if let Some(user) = owner {
        edge.limits.sign_in(address, Account::Known(user))?;
    }
    may_give_code(&edge, owner, &reset.code)?;
    let login = edge.app.reset_password(reset).await;
    if let Some(user) = owner {
        note_failure(&edge, Account::Known(user), &login);
    }
    Ok(Json(LoginJson::from(&login?)).into_response())
}
