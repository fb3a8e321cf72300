//! Webhooks: `/api/rooms/{room}/hooks/` for those who keep them, `/api/hooks/{id}/{secret}/` for the programs that write. No
//! path with a secret in it is logged, which [`super::middleware::observe`] sees to for all paths.

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::auth::profile::{given, is_form, picture_form, picture_json};
use super::error::{ApiError, ApiResult};
use super::extract::{Body, Head, Id, IdAndText, Ids, SignedIn, Writing};
use super::files::Form;
use super::openapi::{refused, some_text};
use super::{Routes, State, client, routes, slack};
use crate::app::{HookPost, Refusal, limits};
use crate::wire::{
    HookJson, HookUrlJson, MAX_DEPTH, MessageJson, NewHookJson, hook_url, nests_deeper,
};

pub fn routes() -> Routes {
    vec![
        routes![list, create],
        routes![change, remove],
        routes![renew],
        routes![say],
    ]
}

/// Webhooks of a room.
#[utoipa::path(get, path = "/api/rooms/{room}/hooks/", responses(
    (status = 200, body = Vec<HookJson>),
    refused::InRoom,
))]
pub async fn list(edge: State, by: SignedIn, Id(room): Id) -> ApiResult<Response> {
    let hooks = edge.app.hooks(&by.user, room).await?;
    let written: Vec<_> = hooks.iter().map(HookJson::from).collect();
    Ok(Json(written).into_response())
}

#[derive(Deserialize, ToSchema)]
pub struct HookBody {
    #[schema(required = true, schema_with = some_text::<{ limits::HOOK_NAME }>)]
    name: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = HookChange)]
pub struct Change {
    #[schema(schema_with = some_text::<{ limits::HOOK_NAME }>)]
    name: Option<String>,
    /// Only to take it away, as that of an account.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 0)]
    avatar: Option<Value>,
}

/// The same as a form, with a picture.
#[derive(ToSchema)]
#[schema(as = HookChangeForm)]
#[expect(dead_code, reason = "it is read part by part, by `Form::receive`")]
struct ChangeForm {
    #[schema(schema_with = some_text::<{ limits::HOOK_NAME }>)]
    name: Option<String>,
    #[schema(format = Binary)]
    avatar: Option<String>,
}

/// Makes a webhook; its URL is shown this once.
#[utoipa::path(post, path = "/api/rooms/{room}/hooks/", responses(
    (status = 201, body = NewHookJson),
    refused::InRoom, refused::TooManyHooks,
))]
pub async fn create(
    edge: State,
    Writing(by): Writing,
    Id(room): Id,
    Head(head): Head,
    Body(body): Body<HookBody>,
) -> ApiResult<Response> {
    let name = body.name.unwrap_or_default();
    let (hook, secret) = edge.app.add_hook(by.person(), room, &name).await?;
    let server = client::base_url(&edge, &head);
    let written = NewHookJson {
        url: hook_url(&server, hook.author.id, &secret),
        hook: HookJson::from(&hook),
    };
    Ok((StatusCode::CREATED, Json(written)).into_response())
}

/// Gives a webhook another name or picture.
#[utoipa::path(patch, path = "/api/rooms/{room}/hooks/{hook}/", responses(
    (status = 200, body = HookJson),
    refused::InRoom, refused::Upload, refused::Malformed, refused::UnsupportedMediaType, refused::TooLarge,
), request_body(content((Change = "application/json"), (Change = "application/x-www-form-urlencoded"), (ChangeForm = "multipart/form-data"))))]
pub async fn change(
    edge: State,
    Writing(by): Writing,
    Ids([room, hook]): Ids,
    request: Request,
) -> ApiResult<Response> {
    let person = by.person();
    let changed = if is_form(&request) {
        let form = Form::of(request);
        let changed = async {
            let (name, avatar) = picture_form(&edge, &by.user, "name", &form).await?;
            let name = name.as_deref();
            let changed = edge.app.change_hook(person, room, hook, name, avatar);
            Ok::<_, ApiError>(changed.await?)
        }
        .await;
        if changed.is_err() {
            form.drain().await;
        }
        changed?
    } else {
        let Body(body) = Body::<Change>::from_request(request, &edge).await?;
        let avatar = picture_json(body.avatar)?;
        let name = body.name.as_deref();
        let changed = edge.app.change_hook(person, room, hook, name, avatar);
        changed.await?
    };
    Ok(Json(HookJson::from(&changed)).into_response())
}

/// Ends a webhook; what came by it stays.
#[utoipa::path(delete, path = "/api/rooms/{room}/hooks/{hook}/", responses(
    (status = 204),
    refused::InRoom,
))]
pub async fn remove(
    edge: State,
    Writing(by): Writing,
    Ids([room, hook]): Ids,
) -> ApiResult<StatusCode> {
    edge.app.remove_hook(by.person(), room, hook).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a webhook another URL, which is shown this once.
#[utoipa::path(post, path = "/api/rooms/{room}/hooks/{hook}/secret/", responses(
    (status = 200, body = HookUrlJson),
    refused::InRoom,
))]
pub async fn renew(
    edge: State,
    Writing(by): Writing,
    Ids([room, hook]): Ids,
    Head(head): Head,
) -> ApiResult<Response> {
    let secret = edge.app.renew_hook(by.person(), room, hook).await?;
    let url = hook_url(&client::base_url(&edge, &head), hook, &secret);
    Ok(Json(HookUrlJson { url }).into_response())
}

/// Ours, or what is sent to Slack and Mattermost: `text`, perhaps as JSON in the field `payload` of a form.
#[derive(Deserialize, ToSchema)]
#[schema(as = HookPost)]
pub struct Said {
    content: Option<String>,
    text: Option<String>,
    username: Option<String>,
    #[schema(value_type = Option<Vec<Object>>)]
    attachments: Option<Value>,
    payload: Option<String>,
}

/// Writes to the room of a webhook.
///
/// Also as programs write to Slack and Mattermost: `text`, which is answered by `ok`.
#[utoipa::path(post, path = "/api/hooks/{hook}/{secret}/", responses(
    (status = 201, body = MessageJson),
    (status = 200, body = String, content_type = "text/plain"),
    refused::Fields, refused::Malformed, refused::UnsupportedMediaType, refused::TooLarge, refused::StorageFull,
    refused::RateLimited,
), request_body(content((Said = "application/json"), (Said = "application/x-www-form-urlencoded"))))]
pub async fn say(
    edge: State,
    Head(head): Head,
    IdAndText(hook, secret): IdAndText,
    request: Request,
) -> ApiResult<Response> {
    // Before anything of the body is read.
    if !edge.app.is_hook(hook, &secret).await? {
        edge.limits.stranger(client::address(&edge, &head))?;
        return Err(Refusal::NotFound.into());
    }
    edge.limits.hook(hook)?;
    let Body(mut said) = Body::<Said>::from_request(request, &edge).await?;
    if let Some(payload) = said.payload.take() {
        if nests_deeper(payload.as_bytes(), MAX_DEPTH) {
            return Err(ApiError::Malformed);
        }
        said = serde_json::from_str(&payload)
            .map_err(|_| ApiError::WrongType("payload".to_owned()))?;
    }
    let is_ours = said.content.is_some();
    let content = match said.content {
        Some(content) => content,
        None => slack::text(said.text.as_deref(), said.attachments.as_ref()),
    };
    let post = HookPost {
        content,
        username: said.username,
    };
    let message = edge.app.post_by_hook(hook, &secret, post).await?;
    Ok(match is_ours {
        true => (StatusCode::CREATED, Json(MessageJson::from(&message))).into_response(),
        // What Slack answers, and some programs wait for.
        false => "ok".into_response(),
    })
}
