//! The tables of the Django program, with Django's own names for them.

use super::Row;
use super::values::Values;
use crate::{SecretText, Timestamp};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Needed,
    /// Without it there is nothing of the kind.
    IfThere,
    /// Nothing comes of it, as it says nothing that others do not.
    Known,
}

#[derive(Debug)]
pub(super) struct Column {
    pub name: &'static str,
    /// Other names that it may have.
    others: &'static [&'static str],
    pub wanted: Wanted,
}

impl Column {
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.others.iter().copied())
    }
}

const fn needed(name: &'static str) -> Column {
    also(name, &[])
}

const fn also(name: &'static str, others: &'static [&'static str]) -> Column {
    Column {
        name,
        others,
        wanted: Wanted::Needed,
    }
}

const fn if_there(name: &'static str, others: &'static [&'static str]) -> Column {
    Column {
        name,
        others,
        wanted: Wanted::IfThere,
    }
}

const fn known(name: &'static str) -> Column {
    Column {
        name,
        others: &[],
        wanted: Wanted::Known,
    }
}

/// Those of each table; those that are known alone stand last.
pub(super) const COLUMNS: &[(&str, &[Column])] = &[
    (
        User::NAME,
        &[
            needed("username"),
            needed("email"),
            needed("password"),
            needed("is_active"),
            needed("is_staff"),
            needed("is_superuser"),
            needed("date_joined"),
            needed("last_login"),
            known("id"),
            known("first_name"),
            known("last_name"),
        ],
    ),
    (
        Token::NAME,
        &[needed("key"), needed("user_id"), needed("created")],
    ),
    (
        Profile::NAME,
        &[
            needed("user_id"),
            needed("display_name"),
            needed("avatar"),
            known("id"),
            known("created_at"),
            known("updated_at"),
        ],
    ),
    (
        Room::NAME,
        &[
            needed("name"),
            needed("owner_id"),
            needed("is_direct"),
            needed("created_at"),
            needed("updated_at"),
            known("id"),
        ],
    ),
    (
        Participant::NAME,
        &[
            needed("room_id"),
            needed("user_id"),
            needed("joined_at"),
            if_there("is_pinned", &["pinned"]),
            known("id"),
            // Whoever owns the room.
            known("is_admin"),
        ],
    ),
    (
        Invitation::NAME,
        &[
            needed("room_id"),
            needed("token"),
            needed("expires_at"),
            if_there("created_by_id", &["invited_by_id", "inviter_id"]),
            if_there("created_at", &[]),
            known("id"),
        ],
    ),
    (
        Message::NAME,
        &[
            needed("room_id"),
            needed("author_id"),
            needed("content"),
            needed("created_at"),
            known("id"),
        ],
    ),
    (
        ReadMark::NAME,
        &[needed("message_id"), needed("user_id"), known("id")],
    ),
    (
        File::NAME,
        &[
            needed("file"),
            needed("name"),
            needed("content_type"),
            also("uploader_id", &["uploaded_by_id", "owner_id", "user_id"]),
            needed("created_at"),
            known("id"),
            // The bytes say it.
            known("size"),
        ],
    ),
    (
        Attachment::NAME,
        &[needed("message_id"), needed("file_id"), known("id")],
    ),
];

/// Those that Django brings along, of which nothing is needed here.
pub(super) const TABLES_OF_DJANGO: &[&str] = &[
    "auth_group",
    "auth_group_permissions",
    "auth_permission",
    "auth_user_groups",
    "auth_user_user_permissions",
    "django_admin_log",
    "django_content_type",
    "django_migrations",
    "django_session",
];

pub(super) fn columns_of(table: &str) -> &'static [Column] {
    let found = COLUMNS.iter().find(|(name, _)| *name == table);
    found.map_or(&[], |(_, columns)| columns)
}

/// A row of a table; `read` takes its columns in the order of `COLUMNS`.
pub trait Table: Sized {
    const NAME: &'static str;
    /// The column by which rows are told apart.
    const KEY: &'static str = "id";

    #[doc(hidden)]
    fn read(values: &Values<'_>) -> Row<Self>;
}

#[derive(Debug)]
pub struct User {
    pub username: String,
    pub email: String,
    /// As Django keeps it: an algorithm and what that needs.
    pub password: SecretText,
    pub is_active: bool,
    pub is_staff: bool,
    pub is_superuser: bool,
    /// `None`: no time.
    pub date_joined: Option<Timestamp>,
    pub last_login: Option<Timestamp>,
}

impl Table for User {
    const NAME: &'static str = "auth_user";

    fn read(values: &Values<'_>) -> Row<Self> {
        Ok(User {
            username: values.text(0)?,
            email: values.text(1)?,
            password: SecretText(values.text(2)?),
            is_active: values.flag(3)?,
            is_staff: values.flag(4)?,
            is_superuser: values.flag(5)?,
            date_joined: values.time(6).unwrap_or(None),
            last_login: values.time(7).unwrap_or(None),
        })
    }
}

/// Its key is a secret, so it is told apart by its user.
#[derive(Debug)]
pub struct Token {
    pub key: SecretText,
    pub created: Option<Timestamp>,
}

impl Table for Token {
    const NAME: &'static str = "authtoken_token";
    const KEY: &'static str = "user_id";

    fn read(values: &Values<'_>) -> Row<Self> {
        Ok(Token {
            key: SecretText(values.text(0)?),
            created: values.time(2).unwrap_or(None),
        })
    }
}

#[derive(Debug)]
pub struct Profile {
    pub user: i64,
    pub display_name: String,
    /// A path in the media directory; empty: none.
    pub avatar: String,
}

impl Table for Profile {
    const NAME: &'static str = "accounts_profile";

    fn read(values: &Values<'_>) -> Row<Self> {
        Ok(Profile {
            user: values.number(0)?,
            display_name: values.text(1)?,
            avatar: values.text(2)?,
        })
    }
}

#[derive(Debug)]
pub struct Room {
    pub name: String,
    pub owner: Option<i64>,
    pub is_direct: bool,
    pub created_at: Option<Timestamp>,
    pub updated_at: Option<Timestamp>,
}

impl Table for Room {
    const NAME: &'static str = "rooms_room";

    fn read(values: &Values<'_>) -> Row<Self> {
        Ok(Room {
            name: values.text(0)?,
            owner: values.link(1)?,
            is_direct: values.flag(2)?,
            created_at: values.time(3).unwrap_or(None),
            updated_at: values.time(4).unwrap_or(None),
        })
    }
}

#[derive(Debug)]
pub struct Participant {
    pub room: i64,
    pub user: i64,
    pub joined_at: Option<Timestamp>,
    pub pinned: bool,
}

impl Table for Participant {
    const NAME: &'static str = "rooms_roomparticipant";

    fn read(values: &Values<'_>) -> Row<Self> {
        Ok(Participant {
            room: values.number(0)?,
            user: values.number(1)?,
            joined_at: values.time(2).unwrap_or(None),
            pinned: values.flag(3)?,
        })
    }
}

#[derive(Debug)]
pub struct Invitation {
    pub room: i64,
    pub token: SecretText,
    /// A time that cannot be read refuses the row: none would be longer than was meant.
    pub expires_at: Option<Timestamp>,
    pub created_by: Option<i64>,
    pub created_at: Option<Timestamp>,
}

impl Table for Invitation {
    const NAME: &'static str = "rooms_roominvitation";

    fn read(values: &Values<'_>) -> Row<Self> {
        Ok(Invitation {
            room: values.number(0)?,
            token: SecretText(values.text(1)?),
            expires_at: values.time(2)?,
            created_by: values.link(3)?,
            created_at: values.time(4).unwrap_or(None),
        })
    }
}

#[derive(Debug)]
pub struct Message {
    pub room: i64,
    /// `None`: his account is gone.
    pub author: Option<i64>,
    pub content: String,
    pub created_at: Option<Timestamp>,
}

impl Table for Message {
    const NAME: &'static str = "chat_message";

    fn read(values: &Values<'_>) -> Row<Self> {
        Ok(Message {
            room: values.number(0)?,
            author: values.link(1)?,
            content: values.text(2)?,
            created_at: values.time(3).unwrap_or(None),
        })
    }
}

#[derive(Debug)]
pub struct ReadMark {
    pub message: i64,
    pub user: i64,
}

impl Table for ReadMark {
    const NAME: &'static str = "chat_message_read_by";

    fn read(values: &Values<'_>) -> Row<Self> {
        Ok(ReadMark {
            message: values.number(0)?,
            user: values.number(1)?,
        })
    }
}

#[derive(Debug)]
pub struct File {
    /// A path in the media directory.
    pub file: String,
    pub name: String,
    pub content_type: String,
    pub uploader: Option<i64>,
    pub created_at: Option<Timestamp>,
}

impl Table for File {
    const NAME: &'static str = "files_file";

    fn read(values: &Values<'_>) -> Row<Self> {
        Ok(File {
            file: values.text(0)?,
            name: values.text(1)?,
            content_type: values.text(2)?,
            uploader: values.link(3)?,
            created_at: values.time(4).unwrap_or(None),
        })
    }
}

#[derive(Debug)]
pub struct Attachment {
    pub message: i64,
    pub file: i64,
}

impl Table for Attachment {
    const NAME: &'static str = "chat_messageattachment";

    fn read(values: &Values<'_>) -> Row<Self> {
        Ok(Attachment {
            message: values.number(0)?,
            file: values.number(1)?,
        })
    }
}
