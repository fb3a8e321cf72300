//! New passwords.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{device, judge, may_prove, with_code};
use crate::app::{Error, Problem, Reset, limits};
use crate::http::error::ApiResult;
use crate::http::extract::{Body, Head, Leaving};
use crate::http::openapi::{refused, text};
use crate::http::{Routes, State, client, routes};
use crate::wire::LoginJson;

pub fn routes() -> Routes {
    vec![routes![change], routes![reset]]
}

#[derive(Deserialize, ToSchema)]
#[schema(as = PasswordChange)]
pub struct Change {
    current_password: Option<String>,
    #[schema(value_type = String, min_length = 8)]
    new_password: Option<String>,
}

/// Sets another password, which ends all other sign-ins.
#[utoipa::path(post, path = "/api/auth/password/", responses((status = 204), refused::Proof, refused::PersonsOnly))]
pub async fn change(
    edge: State,
    Leaving(by): Leaving,
    Head(head): Head,
    Body(body): Body<Change>,
) -> ApiResult<StatusCode> {
    let trial = may_prove(&edge, &head, by.user.id)?;
    let (current, new) = (body.current_password, body.new_password);
    let changed = edge
        .app
        .change_password(
            by.sign_in,
            current.unwrap_or_default(),
            new.unwrap_or_default(),
        )
        .await;
    judge(trial, &changed);
    changed?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
#[schema(as = PasswordReset)]
pub struct ByLink {
    #[schema(value_type = String)]
    token: Option<String>,
    #[schema(value_type = String, min_length = 8)]
    password: Option<String>,
    code: Option<String>,
    #[schema(schema_with = text::<{ limits::DEVICE_NAME }>)]
    device_name: Option<String>,
}

/// By a link that the administrator has made; signs in.
#[utoipa::path(post, path = "/api/auth/reset/", responses(
    (status = 200, body = LoginJson),
    refused::SignIn,
))]
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
    let mut trial = edge.limits.link(address)?;
    let owner = edge.app.reset_link_owner(&reset.token).await?;
    with_code(&mut trial, owner, &reset.code)?;
    let login = edge.app.reset_password(reset).await;
    match (owner, &login) {
        (None, Err(_)) => trial.wrong(),
        _ => judge(trial, &login),
    }
    Ok(Json(LoginJson::from(&login?)).into_response())
}
