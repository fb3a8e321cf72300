//! SQL of bots.

use async_trait::async_trait;

use super::sign_ins::end_tokens;
use super::users::{self, USER, USER_COLUMNS, read_user};
use super::{Result, SqlStore, found};
use crate::sql::{Connection, SqlResult, params};
use crate::{
    AdminGrant, Bot, BotStore, BotToken, NewBot, NewUser, StorageError, Timestamp, TokenHash, User,
    UserId, UserKind,
};

#[async_trait]
impl BotStore for SqlStore {
    async fn add_bot(&self, new: NewBot, most: i64) -> Result<User> {
        self.write(move |c| add(c, new, most)).await
    }

    async fn bots(&self, owner: UserId) -> Result<Vec<Bot>> {
        self.read(move |c| of_owner(c, owner)).await
    }

    async fn rename_bot(&self, owner: UserId, bot: UserId, display_name: String) -> Result<()> {
        self.write(move |c| {
            require(c, owner, bot)?;
            users::set_display_name(c, bot, &display_name).map(|_| ())
        })
        .await
    }

    async fn set_bot_token(
        &self,
        owner: UserId,
        bot: UserId,
        token: Option<TokenHash>,
        now: Timestamp,
    ) -> Result<()> {
        self.write(move |c| {
            require(c, owner, bot)?;
            end_tokens(c, bot)?;
            match token {
                Some(token) => give(c, bot, token, now),
                None => Ok(()),
            }
        })
        .await
    }

    async fn delete_bot(&self, owner: UserId, bot: UserId) -> Result<()> {
        self.write(move |c| {
            require(c, owner, bot)?;
            users::delete(c, bot)
        })
        .await
    }
}

fn require(c: &Connection, owner: UserId, bot: UserId) -> Result<()> {
    let own = "SELECT 1 FROM users WHERE id = ? AND owner_id = ? AND NOT deleted";
    found(usize::from(c.prepare_cached(own)?.exists([bot, owner])?))
}

fn add(c: &Connection, new: NewBot, most: i64) -> Result<User> {
    let may = "SELECT 1 FROM users WHERE id = ? AND kind = 0 AND NOT blocked AND NOT deleted";
    found(usize::from(c.prepare_cached(may)?.exists([new.owner])?))?;
    let bots: i64 = c
        .prepare_cached("SELECT count(*) FROM users WHERE owner_id = ? AND NOT deleted")?
        .query_row([new.owner], |row| row.get(0))?;
    if bots >= most {
        return Err(StorageError::TooManyBots);
    }
    let user = NewUser {
        username: new.username,
        email: String::new(),
        display_name: new.display_name,
        password_hash: String::new(),
        admin: AdminGrant::No,
        now: new.now,
    };
    let bot = users::create_as(c, &user, UserKind::Bot, Some(new.owner))?;
    give(c, bot.id, new.token, new.now)?;
    Ok(bot)
}

/// It is asked for by nobody who is blocked.
fn give(c: &Connection, bot: UserId, token: TokenHash, now: Timestamp) -> Result<()> {
    found(
        c.prepare_cached(
            "INSERT INTO tokens (hash, user_id, name, created_at, last_used_at)
             SELECT ?1, id, '', ?3, ?3 FROM users WHERE id = ?2 AND NOT blocked",
        )?
        .execute(params![token.0, bot, now])?,
    )
}

fn of_owner(c: &Connection, owner: UserId) -> Result<Vec<Bot>> {
    let bots = c
        .prepare_cached(&format!(
            "SELECT {USER}, t.created_at, t.last_used_at
             FROM users u LEFT JOIN tokens t ON t.user_id = u.id
             WHERE u.owner_id = ? AND NOT u.deleted ORDER BY u.id"
        ))?
        .query_map([owner], |row| {
            let (created_at, last_used_at): (Option<_>, Option<_>) =
                (row.get(USER_COLUMNS)?, row.get(USER_COLUMNS + 1)?);
            let times = created_at.zip(last_used_at);
            Ok(Bot {
                user: read_user(row, 0)?,
                token: times.map(|(created_at, last_used_at)| BotToken {
                    created_at,
                    last_used_at,
                }),
            })
        })?
        .collect::<SqlResult<_>>()?;
    Ok(bots)
}
