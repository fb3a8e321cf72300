//! Users.

use std::fmt;

use crate::{BlobHash, FileUsage, Timestamp, UserId};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub username: String,
    /// Empty where there is none.
    pub email: String,
    /// Empty: the username is shown.
    pub display_name: String,
    pub avatar: Option<BlobHash>,
    pub kind: UserKind,
    pub is_admin: bool,
    pub blocked: bool,
    /// How often all of the user's sign-ins were ended at once; what was made under an earlier one is void.
    pub epoch: i64,
    pub created_at: Timestamp,
}

impl User {
    /// The name that people read.
    pub fn shown_name(&self) -> &str {
        first_that_says(&self.display_name, &self.username)
    }
}

pub(super) fn first_that_says<'a>(display_name: &'a str, username: &'a str) -> &'a str {
    if display_name.is_empty() {
        username
    } else {
        display_name
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserKind {
    Person,
    /// A program, made by a person.
    Bot,
    /// Who writes what comes by a webhook. Nobody finds him, and he is in no room.
    Hook,
}

/// How a user is looked up. Names and mails are compared without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserKey {
    Id(UserId),
    Username(String),
    Email(String),
}

/// Whether a new account is that of an administrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminGrant {
    No,
    Yes,
    /// Administrator, and only if there is none yet: [`crate::StorageError::AdminExists`] otherwise.
    First,
}

impl AdminGrant {
    /// Whether the account becomes an administrator's.
    pub fn grants(self) -> bool {
        self != AdminGrant::No
    }
}

/// What is changed of an account; `None` leaves as is.
#[derive(Debug, Clone, Copy, Default)]
pub struct AccountChange {
    pub blocked: Option<bool>,
    pub is_admin: Option<bool>,
}

/// Whether a change may leave nobody who administers: [`crate::StorageError::LastAdmin`] otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastAdmin {
    Stays,
    MayGo,
}

/// A user as administrators see him.
#[derive(Debug, Clone)]
pub struct Account {
    pub user: User,
    /// When he last used one of his sign-ins, to the hour.
    pub last_seen: Option<Timestamp>,
    pub has_second_factor: bool,
    pub files: FileUsage,
}

#[derive(Clone)]
pub struct NewUser {
    pub username: String,
    pub email: String,
    pub display_name: String,
    /// PHC string; empty where there is no password.
    pub password_hash: String,
    pub admin: AdminGrant,
    pub now: Timestamp,
}

impl fmt::Debug for NewUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUser")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}
