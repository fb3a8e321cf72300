//! Bans of addresses and accounts, as administrators see them.

use moznods_storage::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::Object;

use super::objects::{one_of, rfc3339};
use super::relay::OwnerJson;
use crate::app::abuse::{BanSeen, Door, Whom, network};

/// Of an address or of an account.
#[derive(Serialize, ToSchema)]
#[schema(as = AbuseBan)]
pub struct AbuseBanJson<'a> {
    id: u64,
    /// What is refused.
    #[schema(schema_with = doors)]
    what: &'static str,
    /// One of IPv4, or a /64 of IPv6; `null`: it is of an account.
    #[schema(required = true)]
    address: Option<String>,
    #[schema(required = true)]
    account: Option<OwnerJson<'a>>,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    until: Timestamp,
    /// Which one in a row it is, from 1.
    times: u32,
}

fn doors() -> Object {
    one_of(Door::ALL.map(Door::word))
}

impl<'a> From<&'a BanSeen> for AbuseBanJson<'a> {
    fn from(seen: &'a BanSeen) -> Self {
        let ban = &seen.ban;
        let account = seen.account.as_ref();
        AbuseBanJson {
            id: ban.id,
            what: ban.door.word(),
            address: match ban.whom {
                Whom::Address(host) => Some(network(host)),
                Whom::Account(_) => None,
            },
            account: account.map(|(owner, name)| OwnerJson::new(*owner, name.as_deref())),
            since: ban.since,
            until: ban.until,
            times: ban.times,
        }
    }
}
