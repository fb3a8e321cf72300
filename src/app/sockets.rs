//! Who may open a socket, and what for.

use moznods_signaling::{Connection, Frame, Identity, Scope};
use moznods_storage::{Audience, Event, EventId, User};

use super::{App, Error, Refusal, Result};
use crate::i18n::Lang;
use crate::wire;

/// Events that are told to one who was away; whoever has missed more fetches all again.
const MAX_MISSED: usize = 1000;

/// An open socket of a user.
#[derive(Debug)]
pub struct Socket {
    pub user: User,
    pub connection: Connection,
}

#[derive(Debug)]
pub enum SocketRefusal {
    BadToken,
    NoRight,
    TooMany,
    /// The database did not answer.
    Failed(Error),
}

/// What somebody has missed.
pub struct Missing {
    /// The newest event of all.
    pub last: EventId,
    /// `None`: not known any more, or too many.
    pub events: Option<Vec<Event>>,
}

impl App {
    /// Opens a socket for the user behind `token`; the call of a [`Scope::Call`] shows him as connecting. Without a
    /// scope it listens to everything of his.
    pub async fn open_socket(
        &self,
        token: &str,
        scope: Option<Scope>,
        lang: Lang,
    ) -> std::result::Result<Socket, SocketRefusal> {
        let (user, sign_in) = self.authenticate(token).await.map_err(bad_token)?;
        let identity = Identity {
            user_id: user.id,
            username: user.username.clone(),
            sign_in: sign_in.0,
            taken_over: wire::taken_over(lang),
        };
        let connecting = match scope {
            Some(scope) => {
                self.have_told().await.map_err(SocketRefusal::Failed)?;
                self.hub.connect(identity, scope)
            }
            None => self.hub.connect_to_everything(identity),
        };
        let connection = connecting.map_err(|_| SocketRefusal::TooMany)?;
        // Again, and the rooms: what is taken away from now on closes the connection, or it is told; what was before
        // is seen here.
        self.authenticate(token).await.map_err(bad_token)?;
        match scope {
            Some(Scope::Chat(room)) => {
                self.taking_part(&user, room).await.map_err(no_right)?;
            }
            Some(Scope::Call(room)) => {
                self.taking_part(&user, room).await.map_err(no_right)?;
                let opened = connection.open_call(room);
                opened.map_err(|_| SocketRefusal::NoRight)?;
            }
            Some(Scope::Notifications) => {}
            None => {
                let rooms = self.store.room_ids(user.id).await;
                connection.follow(&rooms.map_err(|error| SocketRefusal::Failed(error.into()))?);
            }
        }
        Ok(Socket { user, connection })
    }

    /// The newest event; a socket that was opened before is sent all that come after.
    pub async fn last_event(&self) -> Result<EventId> {
        Ok(self.store.last_event().await?)
    }

    /// What the user, whose socket is open, has missed since `after`.
    pub async fn missing(&self, user: &User, after: EventId) -> Result<Missing> {
        let missed = self.store.missed(user.id, after, MAX_MISSED).await?;
        Ok(Missing {
            last: missed.last,
            events: missed.events,
        })
    }

    /// How an event is told to a connection that listens to everything, unless that may not hear of it any more.
    pub async fn frame_for(&self, connection: &Connection, event: &Event) -> Result<Option<Frame>> {
        match event.audience {
            Audience::Room(room) if !connection.follows(room) => Ok(None),
            _ => self.frame_of(event).await,
        }
    }
}

fn bad_token(error: Error) -> SocketRefusal {
    match error {
        Error::Refused(Refusal::AuthenticationRequired) => SocketRefusal::BadToken,
        error => SocketRefusal::Failed(error),
    }
}

fn no_right(error: Error) -> SocketRefusal {
    match error {
        Error::Refused(Refusal::NotFound | Refusal::NotParticipant) => SocketRefusal::NoRight,
        error => SocketRefusal::Failed(error),
    }
}
