//! `/api/bots/`: the bots that one has made.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::error::ApiResult;
use super::extract::{Body, Id, SignedIn, Writing};
use super::openapi::{refused, some_text, text};
use super::{Routes, State, routes};
use crate::app::{WantedBot, limits};
use crate::wire::{BotJson, NewBotJson, TokenJson};

pub fn routes() -> Routes {
    vec![
        routes![list, create],
        routes![rename, delete],
        routes![renew, revoke],
    ]
}

/// Bots that one has made.
#[utoipa::path(get, path = "/api/bots/", responses(
    (status = 200, body = Vec<BotJson>),
))]
pub async fn list(edge: State, by: SignedIn) -> ApiResult<Response> {
    let bots = edge.app.bots(&by.user).await?;
    let written: Vec<_> = bots.iter().map(BotJson::from).collect();
    Ok(Json(written).into_response())
}

#[derive(Deserialize, ToSchema)]
pub struct BotBody {
    #[schema(required = true, schema_with = some_text::<{ limits::USERNAME }>)]
    username: Option<String>,
    #[schema(schema_with = text::<{ limits::DISPLAY_NAME }>)]
    display_name: Option<String>,
}

/// Makes a bot; its token is shown this once.
#[utoipa::path(post, path = "/api/bots/", responses(
    (status = 201, body = NewBotJson),
    refused::PersonsOnly, refused::TooManyBots,
))]
pub async fn create(
    edge: State,
    Writing(by): Writing,
    Body(body): Body<BotBody>,
) -> ApiResult<Response> {
    let wanted = WantedBot {
        username: body.username.unwrap_or_default(),
        display_name: body.display_name.unwrap_or_default(),
    };
    let (bot, token) = edge.app.add_bot(by.person(), wanted).await?;
    let bot = BotJson::from(&bot);
    Ok((StatusCode::CREATED, Json(NewBotJson { bot, token })).into_response())
}

#[derive(Deserialize, ToSchema)]
#[schema(as = BotRename)]
pub struct Rename {
    #[schema(schema_with = text::<{ limits::DISPLAY_NAME }>)]
    display_name: Option<String>,
}

/// Says what a bot is shown as.
#[utoipa::path(patch, path = "/api/bots/{id}/", responses(
    (status = 200, body = BotJson),
))]
pub async fn rename(
    edge: State,
    Writing(by): Writing,
    Id(bot): Id,
    Body(body): Body<Rename>,
) -> ApiResult<Response> {
    let name = body.display_name.unwrap_or_default();
    let bot = edge.app.rename_bot(&by.user, bot, &name).await?;
    Ok(Json(BotJson::from(&bot)).into_response())
}

/// Deletes a bot; what it wrote stays.
#[utoipa::path(delete, path = "/api/bots/{id}/", responses(
    (status = 204),
))]
pub async fn delete(edge: State, Writing(by): Writing, Id(bot): Id) -> ApiResult<StatusCode> {
    edge.app.delete_bot(by.person(), bot).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a bot another token, which is shown this once.
#[utoipa::path(post, path = "/api/bots/{id}/token/", responses(
    (status = 200, body = TokenJson),
    refused::AccountBlocked,
))]
pub async fn renew(edge: State, Writing(by): Writing, Id(bot): Id) -> ApiResult<Response> {
    let token = edge.app.renew_bot_token(by.person(), bot).await?;
    Ok(Json(TokenJson { token }).into_response())
}

/// Takes the token of a bot away.
#[utoipa::path(delete, path = "/api/bots/{id}/token/", responses(
    (status = 204),
))]
pub async fn revoke(edge: State, Writing(by): Writing, Id(bot): Id) -> ApiResult<StatusCode> {
    edge.app.revoke_bot_token(by.person(), bot).await?;
    Ok(StatusCode::NO_CONTENT)
}
