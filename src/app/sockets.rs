//! Who may open a socket, and what for.

use moznods_signaling::{Connection, Identity, Scope};
use moznods_storage::User;

use super::{App, Error, Refusal};
use crate::i18n::Lang;
use crate::wire;

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

impl App {
    /// Opens a socket for the user behind `token`; the call of a [`Scope::Call`] shows him as connecting.
    pub async fn open_socket(
        &self,
        token: &str,
        scope: Scope,
        lang: Lang,
    ) -> std::result::Result<Socket, SocketRefusal> {
        let (user, sign_in) = self.authenticate(token).await.map_err(bad_token)?;
        let identity = Identity {
            user_id: user.id,
            username: user.username.clone(),
            sign_in: sign_in.0,
            taken_over: wire::taken_over(lang),
        };
        let connection = self
            .hub
            .connect(identity, scope)
            .map_err(|_| SocketRefusal::TooMany)?;
        // Again, and the room: what is taken away from now on closes the connection, what was before is seen here.
        self.authenticate(token).await.map_err(bad_token)?;
        if let Some(room) = scope.room() {
            self.taking_part(&user, room).await.map_err(no_right)?;
        }
        connection.open_call();
        Ok(Socket { user, connection })
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
