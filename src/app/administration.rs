//! What administrators see and change of all users and rooms, and see of the server's settings, here, by the command line or
//! by the API.

use moznods_storage::{
    Account, AccountChange, AuditTarget, LastAdmin, Listing, Page, RoomAccount, RoomId, User,
    UserId,
};
use serde_json::json;
use std::sync::PoisonError;

use super::audit::{Action, Actor};
use super::bots::person;
use super::directory::checked_search;
use super::{App, Refusal, Result};
use crate::config::Settings;

impl App {
    /// As they were written; none, where no server runs.
    pub fn settings_in_force(&self) -> Settings {
        let settings = self.settings.lock();
        settings.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// To be told of the settings that the server began with, and of what it has taken over since.
    pub fn put_in_force(&self, settings: Settings) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    pub async fn users(&self) -> Result<Vec<User>> {
        Ok(self.store.users().await?)
    }

    pub async fn accounts(&self, search: &str, page: Page) -> Result<Listing<Account>> {
        Ok(self.store.accounts(checked_search(search)?, page).await?)
    }

    pub async fn account(&self, user: UserId) -> Result<Account> {
        let found = self.store.account(user).await?;
        Ok(found.ok_or(Refusal::NotFound)?)
    }

    /// Blocking ends all sign-ins, sockets and relay allocations of the user, at once.
    pub async fn change_account(
        &self,
        by: Actor<'_>,
        user: &User,
        change: AccountChange,
    ) -> Result<()> {
        if change.is_admin == Some(true) {
            person(user, "is_admin")?;
        }
        let blocking = change.blocked.filter(|wanted| *wanted != user.blocked);
        let granting = change.is_admin.filter(|wanted| *wanted != user.is_admin);
        let block = blocking.map(|blocked| match blocked {
            true => Action::UserBlock,
            false => Action::UserUnblock,
        });
        let grant = granting.map(|granted| match granted {
            true => Action::UserMakeAdmin,
            false => Action::UserUnmakeAdmin,
        });
        let mut actions = [block, grant].into_iter().flatten();
        let target = || AuditTarget::User(user.id);
        let Some(first) = actions.next() else {
            // All is as it is wanted.
            return Ok(());
        };
        let mut store = self.noting(by, first, target(), json!({}));
        for action in actions {
            store = store.noting(by.note(action, target(), json!({})));
        }
        let change = AccountChange {
            blocked: blocking,
            is_admin: granting,
        };
        store
            .change_account(user.id, change, last_admin(by))
            .await?;
        self.refresh_access().await
    }

    /// What the user wrote stays.
    pub async fn delete_user(&self, by: Actor<'_>, user: &User) -> Result<()> {
        let target = AuditTarget::User(user.id);
        let store = self.noting(by, Action::UserDelete, target, json!({}));
        store.delete_user(user.id, last_admin(by)).await?;
        self.refresh_access().await
    }

    /// Nothing of what is said there.
    pub async fn all_rooms(&self, search: &str, page: Page) -> Result<Listing<RoomAccount>> {
        Ok(self.store.all_rooms(checked_search(search)?, page).await?)
    }

    /// Of which the administrator need not be.
    pub async fn delete_any_room(&self, by: Actor<'_>, room: RoomId) -> Result<()> {
        let details = json!({"as": "administrator"});
        let target = AuditTarget::Room(room);
        let store = self.noting(by, Action::RoomDelete, target, details);
        Ok(store.delete_any_room(room).await?)
    }
}

/// Whoever runs the server can make another administrator at any time.
fn last_admin(by: Actor<'_>) -> LastAdmin {
    match by {
        Actor::CommandLine => LastAdmin::MayGo,
        Actor::Person(_) => LastAdmin::Stays,
    }
}
