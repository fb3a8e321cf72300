//! `/api/auth/profile/`: name and picture of the account.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use moznods_storage::User;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use utoipa::ToSchema;

use crate::app::{AvatarChange, Error, Problem, limits};
use crate::http::error::ApiResult;
use crate::http::extract::{Body, Writing};
use crate::http::files::{self, Form, Received};
use crate::http::openapi::{refused, text};
use crate::http::{Edge, Routes, State, routes};
use crate::wire::OwnUserJson;

pub fn routes() -> Routes {
    vec![routes![profile]]
}

#[derive(Deserialize, ToSchema)]
pub struct Profile {
    #[schema(schema_with = text::<{ limits::DISPLAY_NAME }>)]
    display_name: Option<String>,
    /// Only to take it away, by a text without letters or by null: a picture comes as a part of a form.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 0)]
    avatar: Option<Value>,
}

/// The same as a form, with a picture.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is read part by part, by `Form::receive`")]
struct ProfileForm {
    #[schema(schema_with = text::<{ limits::DISPLAY_NAME }>)]
    display_name: Option<String>,
    #[schema(format = Binary)]
    avatar: Option<String>,
}

/// What is there, be it null.
pub(in crate::http) fn given<'de, D: Deserializer<'de>>(
    value: D,
) -> Result<Option<Value>, D::Error> {
    Value::deserialize(value).map(Some)
}

/// Changes one's name and picture.
#[utoipa::path(patch, path = "/api/auth/profile/", responses(
    (status = 200, body = OwnUserJson),
    refused::Upload, refused::Malformed, refused::UnsupportedMediaType, refused::TooLarge,
), request_body(content((Profile = "application/json"), (Profile = "application/x-www-form-urlencoded"), (ProfileForm = "multipart/form-data"))))]
pub async fn profile(edge: State, Writing(by): Writing, request: Request) -> ApiResult<Response> {
    let user = if is_form(&request) {
        let form = Form::of(request);
        let changed = profile_form(&edge, by.user, &form).await;
        if changed.is_err() {
            form.drain().await;
        }
        changed?
    } else {
        let Body(body) = Body::<Profile>::from_request(request, &edge).await?;
        let avatar = picture_json(body.avatar)?;
        let name = body.display_name.as_deref();
        edge.app.change_profile(by.user, name, avatar).await?
    };
    Ok(Json(OwnUserJson::from(&user)).into_response())
}

/// A name (its field is called so) and a picture, as a form has them.
pub(in crate::http) async fn picture_form(
    edge: &Arc<Edge>,
    user: &User,
    name: &str,
    form: &Form,
) -> ApiResult<(Option<String>, AvatarChange)> {
    let _place = files::begin(edge, user)?;
    let begin = async || {
        edge.limits.upload(user.id)?;
        Ok(edge.app.begin_avatar().await?)
    };
    let Received { mut texts, file } = form.receive("avatar", begin).await?;
    let avatar = match (file, texts.get("avatar").map(String::as_str)) {
        // As browsers send a field of a form where no file was chosen.
        (Some((incoming, claim)), _) if incoming.is_empty() && claim.name.is_empty() => {
            AvatarChange::Keep
        }
        (Some((incoming, _)), _) => AvatarChange::Replace(Box::new(incoming)),
        (None, None) => AvatarChange::Keep,
        (None, Some("" | "null")) => AvatarChange::Remove,
        (None, Some(_)) => return Err(Error::field("avatar", Problem::NotAPicture).into()),
    };
    Ok((texts.remove(name), avatar))
}

/// What a JSON body says of a picture: it can but take it away.
pub(in crate::http) fn picture_json(avatar: Option<Value>) -> ApiResult<AvatarChange> {
    match avatar {
        None => Ok(AvatarChange::Keep),
        Some(avatar) if avatar == "" || avatar.is_null() => Ok(AvatarChange::Remove),
        Some(_) => Err(Error::field("avatar", Problem::NotAPicture).into()),
    }
}

pub(in crate::http) fn is_form(request: &Request) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"multipart/form-data"))
}

async fn profile_form(edge: &Arc<Edge>, user: User, form: &Form) -> ApiResult<User> {
    let (name, avatar) = picture_form(edge, &user, "display_name", form).await?;
    let name = name.as_deref();
    Ok(edge.app.change_profile(user, name, avatar).await?)
}
