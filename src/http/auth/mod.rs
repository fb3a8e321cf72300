//! `/api/auth/`: accounts and sign-in.

mod devices;
mod oidc;
mod passwords;
pub(super) mod profile;
mod second_factor;

use std::sync::Arc;

use axum::Json;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use moznods_storage::UserId;
use serde::Deserialize;
use utoipa::ToSchema;

use super::error::ApiResult;
use super::extract::{Body, Head, Leaving, SignedIn};
use super::limit::{Account, Trial};
use super::openapi::{refused, some_text, text};
use super::{Edge, Routes, State, client, routes, to_the_end};
use crate::app::{Attempt, Error, NewAccount, Problem, Refusal, Result, device_name, limits};
use crate::wire::{LoginJson, MeJson};

pub fn routes() -> Routes {
    let own = vec![
        routes![register],
        routes![login],
        routes![logout],
        routes![logout_all],
        routes![me, delete_account],
    ];
    [
        own,
        devices::routes(),
        oidc::routes(),
        passwords::routes(),
        second_factor::routes(),
        profile::routes(),
    ]
    .concat()
}

#[derive(Deserialize, ToSchema)]
pub struct Register {
    #[schema(required = true, schema_with = some_text::<{ limits::USERNAME }>)]
    username: Option<String>,
    #[schema(required = true, schema_with = some_text::<{ limits::EMAIL }>)]
    email: Option<String>,
    #[schema(value_type = String, min_length = 8)]
    password: Option<String>,
    #[schema(schema_with = text::<{ limits::DISPLAY_NAME }>)]
    display_name: Option<String>,
    invite_code: Option<String>,
    setup_token: Option<String>,
    #[schema(schema_with = text::<{ limits::DEVICE_NAME }>)]
    device_name: Option<String>,
}

/// Makes an account and signs in.
#[utoipa::path(post, path = "/api/auth/register/", responses(
    (status = 201, body = LoginJson),
    refused::RegistrationClosed, refused::Overloaded, refused::StorageFull,
))]
pub async fn register(
    edge: State,
    Head(head): Head,
    Body(body): Body<Register>,
) -> ApiResult<Response> {
    let address = client::address(&edge, &head);
    let registering = edge.limits.registration(address)?;
    let device = device(body.device_name.as_deref(), &head)?;
    let account = NewAccount {
        username: body.username.unwrap_or_default(),
        email: body.email.unwrap_or_default(),
        password: body.password.unwrap_or_default(),
        display_name: body.display_name.unwrap_or_default(),
        invite_code: body.invite_code.unwrap_or_default(),
        setup_token: body.setup_token.unwrap_or_default(),
    };
    let login = edge.app.register(account, device).await;
    if let Err(error) = &login
        && (names(error, Problem::WrongInviteCode) || names(error, Problem::WrongSetupToken))
    {
        registering.wrong();
    }
    let login = login?;
    edge.limits.saw(login.user.id, address);
    Ok((StatusCode::CREATED, Json(LoginJson::from(&login))).into_response())
}

#[derive(Deserialize, ToSchema)]
#[schema(as = SignIn)]
pub struct Login {
    username: Option<String>,
    email: Option<String>,
    #[schema(value_type = String)]
    password: Option<String>,
    code: Option<String>,
    #[schema(schema_with = text::<{ limits::DEVICE_NAME }>)]
    device_name: Option<String>,
}

/// Signs in, by username or email.
#[utoipa::path(post, path = "/api/auth/login/", responses(
    (status = 200, body = LoginJson),
    refused::SignIn,
))]
pub async fn login(edge: State, Head(head): Head, Body(body): Body<Login>) -> ApiResult<Response> {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    // Keyboards of phones add a space.
    let trimmed = |text: Option<String>| given(text.map(|text| text.trim().to_owned()));
    let required = |field| Error::field(field, Problem::Required);
    let name = trimmed(body.username)
        .or_else(|| trimmed(body.email))
        .ok_or_else(|| required("username"))?;
    let attempt = Attempt {
        password: given(body.password).ok_or_else(|| required("password"))?,
        code: body.code.unwrap_or_default(),
        device: device(body.device_name.as_deref(), &head)?,
        name,
    };
    let address = client::address(&edge, &head);
    let known = edge.app.user_id_named(&attempt.name).await?;
    let account = edge.limits.account(&attempt.name, known);
    let mut trial = edge.limits.sign_in(address, account)?;
    with_code(&mut trial, known, &attempt.code)?;
    let login = edge.app.log_in(attempt).await;
    judge(trial, &login);
    Ok(Json(LoginJson::from(&login?)).into_response())
}

/// What the new sign-in is called.
fn device(given: Option<&str>, head: &Parts) -> Result<String> {
    let agent = head.headers.get(header::USER_AGENT);
    let agent = agent.and_then(|agent| agent.to_str().ok());
    device_name(given, agent.unwrap_or_default())
}

/// Before somebody who is signed in shows his password once more: guesses count as those at sign-in do.
fn may_prove<'a>(edge: &'a Edge, head: &Parts, user: UserId) -> ApiResult<Trial<'a>> {
    let address = client::address(edge, head);
    edge.limits.sign_in(address, Account::User(user))
}

/// Before a code of a second factor is looked at, if one is given.
fn with_code(trial: &mut Trial<'_>, user: Option<UserId>, code: &str) -> ApiResult<()> {
    match user {
        Some(user) if !code.is_empty() => trial.with_code(user),
        _ => Ok(()),
    }
}

/// After an attempt to prove who one is. Of what has failed for another reason nothing is to be held against anybody.
fn judge<T>(trial: Trial<'_>, outcome: &Result<T>) {
    let error = match outcome {
        Ok(_) => return trial.right(),
        Err(error) => error,
    };
    let says = |refusal, problem| match error {
        Error::Refused(refused) => *refused == refusal,
        _ => names(error, problem),
    };
    if says(Refusal::WrongCode, Problem::WrongCode) {
        trial.wrong_code();
    } else if says(Refusal::InvalidCredentials, Problem::WrongPassword) {
        trial.wrong();
    }
}

/// Whether a field is refused for this.
fn names(error: &Error, problem: Problem) -> bool {
    matches!(error, Error::Invalid(fields) if fields.iter().any(|field| field.problem == problem))
}

/// Signs out: the token that was used is void at once.
#[utoipa::path(post, path = "/api/auth/logout/", responses((status = 204)))]
pub async fn logout(edge: State, Leaving(by): Leaving) -> ApiResult<StatusCode> {
    let app = Arc::clone(&edge.app);
    to_the_end(async move { app.log_out(by.sign_in).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Signs out everywhere.
#[utoipa::path(post, path = "/api/auth/logout-all/", responses((status = 204)))]
pub async fn logout_all(edge: State, Leaving(by): Leaving) -> ApiResult<StatusCode> {
    let app = Arc::clone(&edge.app);
    // Half of it done would leave sockets open and calls going.
    to_the_end(async move { app.log_out_everywhere(by.user.id).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Oneself.
#[utoipa::path(get, path = "/api/auth/me/", responses((status = 200, body = MeJson)))]
pub async fn me(edge: State, by: SignedIn) -> ApiResult<Response> {
    let credentials = edge.app.credentials(by.user.id).await?;
    Ok(Json(MeJson::new(&by.user, credentials)).into_response())
}

#[derive(Deserialize, ToSchema)]
#[schema(as = Proof)]
pub struct Delete {
    password: Option<String>,
}

/// Deletes one's own account.
#[utoipa::path(delete, path = "/api/auth/me/", responses(
    (status = 204),
    refused::Proof, refused::PersonsOnly, refused::LastAdmin,
))]
pub async fn delete_account(
    edge: State,
    by: SignedIn,
    Head(head): Head,
    Body(body): Body<Delete>,
) -> ApiResult<StatusCode> {
    let trial = may_prove(&edge, &head, by.user.id)?;
    let password = body.password.unwrap_or_default();
    let deleted = edge.app.delete_own_account(by.sign_in, password).await;
    judge(trial, &deleted);
    deleted?;
    Ok(StatusCode::NO_CONTENT)
}
