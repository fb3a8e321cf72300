//! `/api/auth/oidc/`: sign-in by a provider of OpenID Connect. A browser goes through `start/` to the provider and comes
//! back to `callback/`, which leads it to the web client; that fetches the token at `finish/`.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{device, judge, may_prove, with_code};
use crate::app::{
    Error, OidcEnd, OidcFinish, OidcReturn, OidcStart, Problem, Refusal, Result, limits,
};
use crate::http::error::{ApiError, ApiResult};
use crate::http::extract::{Asked, Body, Head, SignedIn, Writing};
use crate::http::openapi::{refused, text};
use crate::http::{Routes, State, client, routes};
use crate::wire::{LoginJson, OidcLinkJson};

pub fn routes() -> Routes {
    vec![
        routes![start],
        routes![callback],
        routes![finish],
        routes![link, unlink],
    ]
}

/// What ties the way back to the browser that went.
const COOKIE: &str = "moznods_oidc";
const PATH: &str = "/api/auth/oidc/";
/// Seconds: the provider's page, and then the code of a second factor.
const KEPT: u32 = 900;

/// Leads a browser to the provider.
#[utoipa::path(get, path = "/api/auth/oidc/start/", responses(
    (status = 303, headers(("Location" = String))),
    refused::NotFound,
))]
pub async fn start(edge: State, Head(head): Head) -> ApiResult<Response> {
    edge.limits.beginning(client::address(&edge, &head))?;
    let server = client::base_url(&edge, &head);
    match edge.app.begin_oidc(&server).await {
        Ok(start) => {
            let cookie = cookie(&start.browser, KEPT, &server)?;
            let to = location(&start.url)?;
            Ok((StatusCode::SEE_OTHER, [to, cookie]).into_response())
        }
        Err(Error::Refused(Refusal::NotFound)) => Err(Refusal::NotFound.into()),
        // A browser is here, not a program.
        Err(error) => to_client(&server, &trouble(error)),
    }
}

#[derive(Deserialize, IntoParams)]
pub struct Back {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
}

/// Where the provider leads a browser back to; it goes on to the web client.
#[utoipa::path(get, path = "/api/auth/oidc/callback/", responses(
    (status = 303, headers(("Location" = String))),
    refused::NotFound,
))]
pub async fn callback(
    edge: State,
    Head(head): Head,
    asked: ApiResult<Asked<Back>>,
) -> ApiResult<Response> {
    edge.limits.stranger(client::address(&edge, &head))?;
    let server = client::base_url(&edge, &head);
    let back = match asked {
        Ok(Asked(back)) => OidcReturn {
            state: back.state.unwrap_or_default(),
            code: back.code.unwrap_or_default(),
            error: back.error.unwrap_or_default(),
            browser: kept(&head.headers),
        },
        Err(_) => OidcReturn::default(),
    };
    match edge.app.end_oidc(back).await {
        Ok(OidcEnd::SignedIn { code }) => to_client(&server, &format!("oidc/{code}")),
        Ok(OidcEnd::Linked) => to_client(&server, "oidc-linked"),
        Err(Error::Refused(Refusal::NotFound)) => Err(Refusal::NotFound.into()),
        Err(error) => to_client(&server, &trouble(error)),
    }
}

#[derive(Deserialize, ToSchema)]
#[schema(as = OidcFinish)]
pub struct Finish {
    #[schema(value_type = String)]
    code: Option<String>,
    totp_code: Option<String>,
    #[schema(schema_with = text::<{ limits::DEVICE_NAME }>)]
    device_name: Option<String>,
}

/// Signs in who came back from the provider, by the code in the address of the web client.
#[utoipa::path(post, path = "/api/auth/oidc/finish/", responses(
    (status = 200, body = LoginJson),
    refused::SignIn, refused::OidcState, refused::NotFound,
))]
pub async fn finish(
    edge: State,
    Head(head): Head,
    Body(body): Body<Finish>,
) -> ApiResult<Response> {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let required = || Error::field("code", Problem::Required);
    let finish = OidcFinish {
        code: given(body.code).ok_or_else(required)?,
        browser: kept(&head.headers),
        totp_code: body.totp_code.unwrap_or_default(),
        device: device(body.device_name.as_deref(), &head)?,
    };
    let mut trial = edge.limits.link(client::address(&edge, &head))?;
    let owner = edge.app.oidc_code_owner(&finish);
    with_code(&mut trial, owner, &finish.totp_code)?;
    let login = edge.app.finish_oidc(finish).await;
    match (owner, &login) {
        (None, Err(_)) => trial.wrong(),
        _ => judge(trial, &login),
    }
    let login = login?;
    let server = client::base_url(&edge, &head);
    let forgotten = cookie("", 0, &server)?;
    Ok(([forgotten], Json(LoginJson::from(&login))).into_response())
}

#[derive(Deserialize, ToSchema)]
#[schema(as = OidcLinkBegin)]
pub struct Link {
    password: Option<String>,
}

/// For the page that has asked: its browser keeps what is needed on the way back.
#[utoipa::path(post, path = "/api/auth/oidc/link/", responses(
    (status = 200, body = OidcLinkJson),
    refused::Proof, refused::PersonsOnly, refused::NotFound, refused::OidcUnavailable, refused::OidcFailed,
))]
pub async fn link(
    edge: State,
    by: SignedIn,
    Head(head): Head,
    Body(body): Body<Link>,
) -> ApiResult<Response> {
    let trial = may_prove(&edge, &head, by.user.id)?;
    let server = client::base_url(&edge, &head);
    let password = body.password.unwrap_or_default();
    let started: Result<OidcStart> = edge
        .app
        .begin_oidc_link(&server, by.sign_in, password)
        .await;
    judge(trial, &started);
    let start = started?;
    let cookie = cookie(&start.browser, KEPT, &server)?;
    Ok(([cookie], Json(OidcLinkJson { url: start.url })).into_response())
}

/// Takes the account of the provider away.
#[utoipa::path(delete, path = "/api/auth/oidc/link/", responses(
    (status = 204),
    refused::NotFound, refused::OnlyWayIn,
))]
pub async fn unlink(edge: State, Writing(by): Writing) -> ApiResult<StatusCode> {
    edge.app.unlink_oidc(by.user.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A page of the web client.
fn to_client(server: &str, page: &str) -> ApiResult<Response> {
    let to = location(&format!("{server}/#/{page}"))?;
    Ok((StatusCode::SEE_OTHER, [to]).into_response())
}

/// The page that says what is wrong, by its code.
fn trouble(error: Error) -> String {
    let code = match error {
        Error::Refused(refusal) => refusal.code(),
        Error::Invalid(_) => "validation_error",
        Error::Storage(error) => {
            tracing::error!(%error, "a request failed");
            "internal_error"
        }
    };
    format!("oidc-error/{code}")
}

type Header = (header::HeaderName, HeaderValue);

fn location(url: &str) -> ApiResult<Header> {
    let value = HeaderValue::from_str(url).map_err(|_| ApiError::Internal)?;
    Ok((header::LOCATION, value))
}

fn cookie(value: &str, seconds: u32, server: &str) -> ApiResult<Header> {
    let secure = match server.starts_with("https://") {
        true => "; Secure",
        false => "",
    };
    let text =
        format!("{COOKIE}={value}; Max-Age={seconds}; Path={PATH}; HttpOnly; SameSite=Lax{secure}");
    let mut value = HeaderValue::from_str(&text).map_err(|_| ApiError::Internal)?;
    value.set_sensitive(true);
    Ok((header::SET_COOKIE, value))
}

/// What the browser keeps; empty where it keeps nothing.
fn kept(headers: &HeaderMap) -> String {
    let cookies = headers.get_all(header::COOKIE).iter();
    let mut pairs = cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let found = pairs.find(|(name, _)| *name == COOKIE);
    found.map_or_else(String::new, |(_, value)| value.to_owned())
}
