//! `/api/auth/`: accounts and sign-in.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;

use super::error::{ApiError, ApiResult};
use super::extract::{Body, Head, SignedIn, Writing};
use super::{State, client};
use crate::app::{Error, NewAccount, Problem, Refusal};
use crate::wire::{LoginJson, OwnUserJson};

#[derive(Deserialize)]
pub struct Register {
    username: Option<String>,
    email: Option<String>,
    password: Option<String>,
    display_name: Option<String>,
    invite_code: Option<String>,
    setup_token: Option<String>,
}

pub async fn register(
    edge: State,
    Head(head): Head,
    Body(body): Body<Register>,
) -> ApiResult<Response> {
    edge.limits.registration(client::address(&edge, &head))?;
    let account = NewAccount {
        username: body.username.unwrap_or_default(),
        email: body.email.unwrap_or_default(),
        password: body.password.unwrap_or_default(),
        display_name: body.display_name.unwrap_or_default(),
        invite_code: body.invite_code.unwrap_or_default(),
        setup_token: body.setup_token.unwrap_or_default(),
    };
    let login = edge.app.register(account).await?;
    Ok((StatusCode::CREATED, Json(LoginJson::from(&login))).into_response())
}

#[derive(Deserialize)]
pub struct Login {
    username: Option<String>,
    email: Option<String>,
    password: Option<String>,
}

pub async fn login(edge: State, Head(head): Head, Body(body): Body<Login>) -> ApiResult<Response> {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    // Keyboards of phones add a space.
    let trimmed = |text: Option<String>| given(text.map(|text| text.trim().to_owned()));
    let required = |field| Error::field(field, Problem::Required);
    let name = trimmed(body.username)
        .or_else(|| trimmed(body.email))
        .ok_or_else(|| required("username"))?;
    let password = given(body.password).ok_or_else(|| required("password"))?;
    let (limits, address) = (&edge.limits, client::address(&edge, &head));
    limits.sign_in_from(address)?;
    let account = limits.account(&name, edge.app.user_id_named(&name).await?);
    limits.sign_in(address, account)?;
    let login = edge.app.log_in(&name, password).await;
    if let Err(Error::Refused(Refusal::InvalidCredentials)) = login {
        limits.sign_in_failed(account);
    }
    Ok(Json(LoginJson::from(&login?)).into_response())
}

pub async fn logout(edge: State, by: SignedIn) -> ApiResult<StatusCode> {
    edge.app.log_out(by.sign_in).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn me(by: SignedIn) -> Response {
    Json(OwnUserJson::from(&by.user)).into_response()
}

#[derive(Deserialize)]
pub struct Profile {
    display_name: Option<String>,
    avatar: Option<Value>,
}

pub async fn profile(
    edge: State,
    Writing(by): Writing,
    Body(body): Body<Profile>,
) -> ApiResult<Response> {
    if body.avatar.is_some_and(|avatar| avatar != "") {
        return Err(ApiError::from(Error::field("avatar", Problem::NoFiles)));
    }
    let user = match body.display_name {
        Some(name) => edge.app.set_display_name(&by.user, &name).await?,
        None => by.user,
    };
    Ok(Json(OwnUserJson::from(&user)).into_response())
}
