//! Rooms, and who takes part in them.

use async_trait::async_trait;

use super::Result;
use crate::{
    Acquaintance, Admission, Listing, Mute, NewRoom, Page, Participant, Right, Role, Room,
    RoomChange, RoomId, RoomLimits, RoomView, Timestamp, UserId,
};

#[async_trait]
pub trait RoomStore {
    /// The owner takes part at once. `TooManyRooms` when he is in as many as he may be.
    async fn create_room(&self, room: NewRoom, limits: RoomLimits) -> Result<RoomId>;
    /// The room of these two, made with `name` and owned by `asking` if there is none, and those of them that were
    /// not in it: both take part now. `TooManyRooms` as above, for the one who asks.
    async fn direct_room(
        &self,
        asking: UserId,
        other: UserId,
        name: String,
        limits: RoomLimits,
        now: Timestamp,
    ) -> Result<(RoomId, Vec<UserId>)>;
    async fn room(&self, room: RoomId) -> Result<Option<Room>>;
    /// The room, and what `user` is in it (`None`: does not take part).
    async fn room_and_role(
        &self,
        room: RoomId,
        user: UserId,
    ) -> Result<Option<(Room, Option<Role>)>>;
    /// `None` also when `viewer` does not take part.
    async fn room_view(&self, room: RoomId, viewer: UserId) -> Result<Option<RoomView>>;
    /// Rooms that `viewer` takes part in, newest first.
    async fn rooms_of(&self, viewer: UserId, page: Page) -> Result<Listing<RoomView>>;
    /// `NotFound` when the right does not hold.
    async fn change_room(
        &self,
        room: RoomId,
        right: Right,
        change: RoomChange,
        now: Timestamp,
    ) -> Result<()>;
    /// `NotFound` when the right does not hold.
    async fn delete_room(&self, room: RoomId, right: Right) -> Result<()>;
    /// By who administers the server; also a direct room.
    async fn delete_any_room(&self, room: RoomId) -> Result<()>;

    /// In order of joining.
    async fn participants(&self, room: RoomId) -> Result<Vec<Participant>>;
    async fn participant_ids(&self, room: RoomId) -> Result<Vec<UserId>>;
    /// Also a user who has been deleted.
    async fn acquaintance(&self, room: RoomId, user: UserId) -> Result<Option<Acquaintance>>;
    async fn is_participant(&self, room: RoomId, user: UserId) -> Result<bool>;
    /// `None`: took part already. `NotFound` when `admission` does not hold, `Banned`, `RoomFull` and `TooManyRooms`
    /// whatever it is. What was said before is not unread. An invitation has been used once more.
    async fn add_participant(
        &self,
        room: RoomId,
        user: UserId,
        admission: Admission,
        limits: RoomLimits,
        now: Timestamp,
    ) -> Result<Option<Participant>>;
    /// Whether the user took part; the invitations that he made go with him. An owner's room passes to its longest
    /// moderator, or else its longest member; without any it goes, unless it is a direct one.
    async fn leave(&self, room: RoomId, user: UserId) -> Result<bool>;
    /// As [`RoomStore::leave`](crate::RoomStore::leave), by somebody else (`NotFound` when the right does not hold, or `user` is not less in the
    /// room than he): all invitations of the room go, as the one who is removed may know any of them.
    async fn remove_participant(&self, room: RoomId, right: Right, user: UserId) -> Result<bool>;
    /// Whether the user takes part.
    async fn set_pinned(&self, room: RoomId, user: UserId, pinned: bool) -> Result<bool>;
    /// Whether the user takes part.
    async fn set_mute(&self, room: RoomId, user: UserId, mute: Mute) -> Result<bool>;
}
