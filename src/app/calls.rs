//! Calls: who may do what in one, and what the rest of the room sees of it.
//!
//! The topology is chosen here and nowhere else: a mesh, in which the server passes descriptions and candidates
//! from peer to peer. The hub knows seats and frames, the client what it is told.

use std::sync::Arc;

use moznods_signaling::{CallState, Connection, SignalError};
use moznods_storage::{RoomId, User, UserId};

use super::{App, RETRY, Refusal, Result};
use crate::wire::{self, Signal};

impl App {
    pub async fn call_state(&self, user: &User, room: RoomId) -> Result<CallState> {
        self.taking_part(user, room).await?;
        Ok(self.hub.call_state(room))
    }

    /// Passes a description or a candidate to its target. Who sent it is what the server knows, not what it says.
    pub fn pass_signal(&self, connection: &Connection, signal: &Signal) -> Result<()> {
        let from = connection.identity();
        let frame = wire::signal(signal, from.user_id, &from.username);
        Ok(connection.signal(signal.target, frame)?)
    }

    /// Asks a member to speak; the owner of the room may.
    pub async fn request_mic(
        &self,
        connection: &Connection,
        room: RoomId,
        target: UserId,
    ) -> Result<()> {
        let from = connection.identity();
        if self.existing(room).await?.owner_id != from.user_id {
            return Err(Refusal::OwnerOnly.into());
        }
        let frame = wire::request_mic(from.user_id, &from.username);
        Ok(connection.signal(target, frame)?)
    }

    /// Tells the participants of a room, wherever they are, who is in its call.
    pub(super) async fn announce_calls(self: Arc<Self>) {
        loop {
            let mut rooms = self.hub.changed_calls().await;
            while let Some(room) = rooms.pop_first() {
                match self.store.participant_ids(room).await {
                    Ok(participants) => {
                        let active = self.hub.call_state(room).active_names();
                        self.hub
                            .notify(participants, wire::room_presence(room, &active));
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
            SignalError::NotInCall => Refusal::NotInCall.into(),
            SignalError::TargetNotInCall => Refusal::TargetNotInCall.into(),
        }
    }
}
