//! What clients must know of a server.

use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::Object;

use super::one_of;
use crate::app::limits;
use crate::config::{Config, Registration};
use crate::i18n::Lang;

#[derive(Serialize, ToSchema)]
#[schema(as = Config)]
pub struct ConfigJson<'a> {
    /// By which this client reaches the server, without a slash at the end.
    public_url: String,
    version: &'static str,
    #[schema(schema_with = registrations)]
    registration: &'static str,
    /// `null`: nobody signs in by a provider.
    #[schema(required = true)]
    oidc: Option<ProviderJson<'a>>,
    #[schema(value_type = Vec<String>)]
    languages: [&'static str; 2],
    /// The key of which browsers take messages; `null`: nothing is pushed here.
    #[schema(required = true)]
    push_public_key: Option<&'a str>,
    limits: LimitsJson,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Provider)]
struct ProviderJson<'a> {
    name: &'a str,
}

/// In characters, a password's in bytes.
#[derive(Serialize, ToSchema)]
#[schema(as = Limits)]
struct LimitsJson {
    message_length: usize,
    username_length: usize,
    password_min_length: usize,
    room_name_length: usize,
}

fn registrations() -> Object {
    let all = [Registration::Code, Registration::Open, Registration::Closed];
    one_of(all.map(Registration::as_str))
}

impl<'a> ConfigJson<'a> {
    pub fn new(config: &'a Config, public_url: String, push_public_key: Option<&'a str>) -> Self {
        let accounts = &config.accounts;
        ConfigJson {
            public_url,
            version: env!("CARGO_PKG_VERSION"),
            registration: accounts.registration.as_str(),
            oidc: accounts
                .oidc
                .as_ref()
                .map(|oidc| ProviderJson { name: &oidc.name }),
            languages: Lang::CODES,
            push_public_key,
            limits: LimitsJson {
                message_length: limits::MESSAGE,
                username_length: limits::USERNAME,
                password_min_length: limits::PASSWORD_MIN,
                room_name_length: limits::ROOM_NAME,
            },
        }
    }
}
