//! Calls.

use moznods_signaling::{CallState, MemberState};
use moznods_storage::UserId;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::Object;

use super::one_of;

#[derive(Serialize, ToSchema)]
#[schema(as = CallState)]
pub struct CallStateJson<'a> {
    participants: Vec<CallMemberJson<'a>>,
    #[schema(schema_with = room_states)]
    room_state: &'static str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CallMember)]
struct CallMemberJson<'a> {
    #[schema(value_type = i64)]
    user_id: UserId,
    username: &'a str,
    #[schema(schema_with = states)]
    state: &'static str,
}

fn state(state: MemberState) -> &'static str {
    match state {
        MemberState::Connecting => "connecting",
        MemberState::Active => "active",
    }
}

fn states() -> Object {
    one_of([MemberState::Connecting, MemberState::Active].map(state))
}

const ACTIVE: &str = "active";
const IDLE: &str = "idle";

fn room_states() -> Object {
    one_of([ACTIVE, IDLE])
}

impl<'a> From<&'a CallState> for CallStateJson<'a> {
    fn from(call: &'a CallState) -> Self {
        let member = |member: &'a moznods_signaling::CallMember| CallMemberJson {
            user_id: member.user_id,
            username: &member.username,
            state: state(member.state),
        };
        CallStateJson {
            participants: call.members.iter().map(member).collect(),
            room_state: if call.is_active() { ACTIVE } else { IDLE },
        }
    }
}
