//! `/api/auth/totp/`: the second factor.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;

use super::{judge, may_prove};
use crate::config::host_of;
use crate::http::error::ApiResult;
use crate::http::extract::{Body, Head, SignedIn, Writing};
use crate::http::{Routes, State, client};
use crate::wire::{RecoveryCodesJson, TotpSetupJson};

pub fn routes() -> Routes {
    vec![
        ("/api/auth/totp/", post(begin).delete(end)),
        ("/api/auth/totp/confirm/", post(confirm)),
    ]
}

#[derive(Deserialize)]
pub struct Begin {
    password: Option<String>,
}

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

#[derive(Deserialize)]
pub struct Confirm {
    code: Option<String>,
}

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

#[derive(Deserialize)]
pub struct End {
    password: Option<String>,
    code: Option<String>,
}

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
