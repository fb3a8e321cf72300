//! `/api/auth/totp/`: the second factor.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{judge, may_prove};
use crate::config::host_of;
use crate::http::error::ApiResult;
use crate::http::extract::{Body, Head, SignedIn, Writing};
use crate::http::openapi::refused;
use crate::http::{Routes, State, client, routes};
use crate::wire::{RecoveryCodesJson, TotpSetupJson};

pub fn routes() -> Routes {
    vec![routes![begin, end], routes![confirm]]
}

#[derive(Deserialize, ToSchema)]
#[schema(as = TotpBegin)]
pub struct Begin {
    password: Option<String>,
}

/// Begins to set up a second factor.
#[utoipa::path(post, path = "/api/auth/totp/", responses(
    (status = 200, body = TotpSetupJson),
    refused::Proof, refused::PersonsOnly, refused::SecondFactorOn,
))]
pub async fn begin(
    edge: State,
    by: SignedIn,
    Head(head): Head,
    Body(body): Body<Begin>,
) -> ApiResult<Response> {
    let trial = may_prove(&edge, &head, by.user.id)?;
    let url = client::base_url(&edge, &head);
    let password = body.password.unwrap_or_default();
    let setup = edge
        .app
        .begin_totp(by.sign_in, password, host_of(&url))
        .await;
    judge(trial, &setup);
    Ok(Json(TotpSetupJson::from(&setup?)).into_response())
}

#[derive(Deserialize, ToSchema)]
#[schema(as = TotpConfirm)]
pub struct Confirm {
    #[schema(value_type = String)]
    code: Option<String>,
}

/// Switches the second factor on, by a code of it.
#[utoipa::path(post, path = "/api/auth/totp/confirm/", responses(
    (status = 200, body = RecoveryCodesJson),
    refused::SecondFactorOn, refused::SecondFactorOff,
))]
pub async fn confirm(
    edge: State,
    Writing(by): Writing,
    Head(head): Head,
    Body(body): Body<Confirm>,
) -> ApiResult<Response> {
    let mut trial = edge.limits.trial(client::address(&edge, &head));
    trial.with_code(by.user.id)?;
    let code = body.code.unwrap_or_default();
    let codes = edge.app.confirm_totp(by.user.id, &code).await;
    judge(trial, &codes);
    Ok(Json(RecoveryCodesJson {
        recovery_codes: codes?,
    })
    .into_response())
}

#[derive(Deserialize, ToSchema)]
#[schema(as = TotpEnd)]
pub struct End {
    password: Option<String>,
    code: Option<String>,
}

/// Switches the second factor off.
#[utoipa::path(delete, path = "/api/auth/totp/", responses(
    (status = 204),
    refused::Proof, refused::PersonsOnly, refused::SecondFactorOff,
))]
pub async fn end(
    edge: State,
    by: SignedIn,
    Head(head): Head,
    Body(body): Body<End>,
) -> ApiResult<StatusCode> {
    let mut trial = may_prove(&edge, &head, by.user.id)?;
    trial.with_code(by.user.id)?;
    let (password, code) = (body.password, body.code);
    let ended = edge
        .app
        .end_totp(
            by.sign_in,
            password.unwrap_or_default(),
            &code.unwrap_or_default(),
        )
        .await;
    judge(trial, &ended);
    ended?;
    Ok(StatusCode::NO_CONTENT)
}
