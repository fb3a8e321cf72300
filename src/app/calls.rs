//! Calls: who may do what in one, and what the rest of the room sees of it.
//!
//! The topology is chosen here and nowhere else: a mesh, in which the server passes descriptions and candidates
//! from peer to peer. The hub knows seats and frames, the client what it is told.

use std::sync::Arc;

use moznods_signaling::{CallState, Connection, SignalError};
use moznods_storage::{RoomId, User, UserId};

use super::roles::Act;
use super::{App, RETRY, Refusal, Result};
use crate::wire::{self, Signal};

impl App {
    pub async fn call_state(&self, user: &User, room: RoomId) -> Result<CallState> {
        self.taking_part(user, room).await?;
        Ok(self.hub.call_state(room))
    }

    /// Tells those who are in the call, and the user's other devices, which ring, that he does not come.
    pub async fn decline_call(&self, user: &User, room: RoomId) -> Result<()> {
        self.taking_part(user, room).await?;
        let call = self.hub.call_state(room);
        let mut told: Vec<UserId> = call.active().map(|member| member.user_id).collect();
        // Nobody calls any more, or he has come with another device.
        if told.is_empty() || told.contains(&user.id) {
            return Ok(());
        }
        told.push(user.id);
        let declined = wire::call_declined(room, user.id, &user.username);
        self.hub.notify_everywhere(told, declined.anywhere());
        Ok(())
    }

    /// Passes a description or a candidate to its target. Who sent it is what the server knows, not what it says.
    pub fn pass_signal(
        &self,
        connection: &Connection,
        room: RoomId,
        signal: &Signal,
    ) -> Result<()> {
        let from = connection.identity();
        let frame = wire::signal(signal, from.user_id, &from.username);
        Ok(connection.signal(room, signal.target, frame.in_room(room))?)
    }

    /// Asks a member to speak.
    pub async fn request_mic(
        &self,
        user: &User,
        connection: &Connection,
        room: RoomId,
        target: UserId,
    ) -> Result<()> {
        self.may(user, room, Act::AskToSpeak).await?;
        let from = connection.identity();
        let frame = wire::request_mic(from.user_id, &from.username);
        Ok(connection.signal(room, target, frame.in_room(room))?)
    }

    /// Asks somebody to mute himself, which his client does or does not.
    pub async fn ask_to_mute(
        &self,
        user: &User,
        connection: &Connection,
        room: RoomId,
        target: UserId,
    ) -> Result<()> {
        self.may(user, room, Act::AskToMute).await?;
        let from = connection.identity();
        let frame = wire::mute(from.user_id, &from.username);
        Ok(connection.signal(room, target, frame.in_room(room))?)
    }

    /// Tells the participants of a room, wherever they are, who is in its call.
    pub(super) async fn announce_calls(self: Arc<Self>) {
        loop {
            let mut rooms = self.hub.changed_calls().await;
            while let Some(room) = rooms.pop_first() {
                match self.store.participant_ids(room).await {
                    Ok(participants) => {
                        let state = self.hub.call_state(room);
                        self.push.call(room, &state, self.hub.is_call_ours(room));
                        let active = state.active_names();
                        self.hub
                            .notify(participants, wire::room_presence(room, &active).anywhere());
                    }
                    Err(error) => {
                        tracing::error!(%error, room, "cannot announce a call");
                        // It is not forgotten, and tells then what is true then.
                        rooms.insert(room);
                        tokio::time::sleep(RETRY).await;
                    }
                }
            }
        }
    }
}

impl From<SignalError> for super::Error {
    fn from(error: SignalError) -> Self {
        match error {
            SignalError::NoRight => Refusal::NotParticipant.into(),
            SignalError::NotInCall => Refusal::NotInCall.into(),
            SignalError::TargetNotInCall => Refusal::TargetNotInCall.into(),
        }
    }
}
