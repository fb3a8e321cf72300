//! Calls.

use moznods_signaling::{CallState, MemberState};
use moznods_storage::UserId;
use serde::Serialize;

#[derive(Serialize)]
pub struct CallStateJson<'a> {
    participants: Vec<CallMemberJson<'a>>,
    room_state: &'static str,
}

#[derive(Serialize)]
struct CallMemberJson<'a> {
    user_id: UserId,
    username: &'a str,
    state: &'static str,
}

impl<'a> From<&'a CallState> for CallStateJson<'a> {
    fn from(call: &'a CallState) -> Self {
        let member = |member: &'a moznods_signaling::CallMember| CallMemberJson {
            user_id: member.user_id,
            username: &member.username,
            state: match member.state {
                MemberState::Connecting => "connecting",
                MemberState::Active => "active",
            },
        };
        CallStateJson {
            participants: call.members.iter().map(member).collect(),
            room_state: if call.is_active() { "active" } else { "idle" },
        }
    }
}
