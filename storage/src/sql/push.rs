//! SQL of web push.

use async_trait::async_trait;

use super::{Result, SqlStore, found};
use crate::sql::{Connection, OptionalExtension, Row, SqlResult, params};
use crate::{
    MAX_PUSH_SUBSCRIPTIONS, NewPushSubscription, PushMessages, PushRecipient, PushRoom,
    PushSettings, PushStore, PushSubscription, RoomId, SecretText, StorageError, Timestamp,
    TokenHash, UserId,
};

#[async_trait]
impl PushStore for SqlStore {
    async fn add_push_subscription(
        &self,
        user: UserId,
        sign_in: TokenHash,
        new: NewPushSubscription,
        now: Timestamp,
    ) -> Result<(PushSubscription, bool)> {
        self.write(move |c| add(c, user, sign_in, &new, now)).await
    }

    async fn push_subscriptions(
        &self,
        user: UserId,
        now: Timestamp,
    ) -> Result<Vec<PushSubscription>> {
        self.read(move |c| of_user(c, user, now)).await
    }

    async fn push_subscription(&self, id: i64) -> Result<Option<PushSubscription>> {
        self.read(move |c| get(c, id)).await
    }

    async fn remove_push_subscription(&self, user: UserId, id: i64) -> Result<()> {
        self.write(move |c| remove(c, user, id)).await
    }

    async fn remove_push_endpoint(&self, user: UserId, endpoint: String) -> Result<()> {
        self.write(move |c| remove_endpoint(c, user, &endpoint))
            .await
    }

    async fn count_push_subscriptions(&self) -> Result<i64> {
        self.read(count).await
    }

    async fn push_settings(&self, user: UserId) -> Result<PushSettings> {
        self.read(move |c| settings(c, user)).await
    }

    async fn set_push_settings(
        &self,
        user: UserId,
        messages: Option<PushMessages>,
        calls: Option<bool>,
    ) -> Result<PushSettings> {
        self.write(move |c| set_settings(c, user, messages, calls))
            .await
    }

    async fn push_room(&self, room: RoomId, now: Timestamp) -> Result<Option<PushRoom>> {
        self.read(move |c| push_room(c, room, now)).await
    }
}

const SUBSCRIPTION: &str = "id, user_id, endpoint, p256dh, auth, expires_at, created_at";

fn read_subscription(row: &Row<'_>) -> SqlResult<PushSubscription> {
    Ok(PushSubscription {
        id: row.get(0)?,
        user_id: row.get(1)?,
        endpoint: SecretText(row.get(2)?),
        p256dh: row.get(3)?,
        auth: row.get(4)?,
        expires_at: row.get(5)?,
        created_at: row.get(6)?,
    })
}

fn add(
    c: &Connection,
    user: UserId,
    sign_in: TokenHash,
    new: &NewPushSubscription,
    now: Timestamp,
) -> Result<(PushSubscription, bool)> {
    let SecretText(endpoint) = &new.endpoint;
    c.prepare_cached("DELETE FROM push_subscriptions WHERE user_id = ? AND expires_at <= ?")?
        .execute([user, now])?;
    let is_new = !c
        .prepare_cached("SELECT 1 FROM push_subscriptions WHERE endpoint = ?")?
        .exists([endpoint])?;
    let others: i64 = c
        .prepare_cached(
            "SELECT count(*) FROM push_subscriptions WHERE user_id = ? AND endpoint <> ?",
        )?
        .query_row(params![user, endpoint], |row| row.get(0))?;
    if others >= MAX_PUSH_SUBSCRIPTIONS as i64 {
        return Err(StorageError::TooManyPushSubscriptions);
    }
    found(
        c.prepare_cached(
            "INSERT INTO push_subscriptions (user_id, token_hash, endpoint, p256dh, auth, expires_at, created_at)
             SELECT user_id, hash, ?3, ?4, ?5, ?6, ?7 FROM tokens WHERE user_id = ?1 AND hash = ?2
             ON CONFLICT (endpoint) DO UPDATE SET
                 user_id = excluded.user_id, token_hash = excluded.token_hash,
                 p256dh = excluded.p256dh, auth = excluded.auth, expires_at = excluded.expires_at",
        )?
        .execute(params![
            user,
            sign_in.0,
            endpoint,
            new.p256dh,
            new.auth,
            new.expires_at,
            now
        ])?,
    )?;
    let subscription = c
        .prepare_cached(&format!(
            "SELECT {SUBSCRIPTION} FROM push_subscriptions WHERE endpoint = ?"
        ))?
        .query_row([endpoint], read_subscription)?;
    Ok((subscription, is_new))
}

fn of_user(c: &Connection, user: UserId, now: Timestamp) -> Result<Vec<PushSubscription>> {
    let subscriptions = c
        .prepare_cached(&format!(
            "SELECT {SUBSCRIPTION} FROM push_subscriptions
             WHERE user_id = ? AND (expires_at IS NULL OR expires_at > ?) ORDER BY id"
        ))?
        .query_map([user, now], read_subscription)?
        .collect::<SqlResult<_>>()?;
    Ok(subscriptions)
}

fn get(c: &Connection, id: i64) -> Result<Option<PushSubscription>> {
    Ok(c.prepare_cached(&format!(
        "SELECT {SUBSCRIPTION} FROM push_subscriptions WHERE id = ?"
    ))?
    .query_row([id], read_subscription)
    .optional()?)
}

fn remove(c: &Connection, user: UserId, id: i64) -> Result<()> {
    found(
        c.prepare_cached("DELETE FROM push_subscriptions WHERE user_id = ? AND id = ?")?
            .execute([user, id])?,
    )
}

fn remove_endpoint(c: &Connection, user: UserId, endpoint: &str) -> Result<()> {
    found(
        c.prepare_cached("DELETE FROM push_subscriptions WHERE user_id = ? AND endpoint = ?")?
            .execute(params![user, endpoint])?,
    )
}

fn count(c: &Connection) -> Result<i64> {
    Ok(c.prepare_cached("SELECT count(*) FROM push_subscriptions")?
        .query_row((), |row| row.get(0))?)
}

/// `None` and `None`: the user has set nothing.
fn read_settings(row: &Row<'_>, at: usize) -> SqlResult<PushSettings> {
    let (messages, calls): (Option<String>, Option<bool>) = (row.get(at)?, row.get(at + 1)?);
    let default = PushSettings::default();
    Ok(PushSettings {
        messages: messages
            .and_then(|word| PushMessages::named(&word))
            .unwrap_or(default.messages),
        calls: calls.unwrap_or(default.calls),
    })
}

fn settings(c: &Connection, user: UserId) -> Result<PushSettings> {
    let settings = c
        .prepare_cached("SELECT messages, calls FROM push_settings WHERE user_id = ?")?
        .query_row([user], |row| read_settings(row, 0))
        .optional()?;
    Ok(settings.unwrap_or_default())
}

fn set_settings(
    c: &Connection,
    user: UserId,
    messages: Option<PushMessages>,
    calls: Option<bool>,
) -> Result<PushSettings> {
    let before = settings(c, user)?;
    let after = PushSettings {
        messages: messages.unwrap_or(before.messages),
        calls: calls.unwrap_or(before.calls),
    };
    c.prepare_cached(
        "INSERT INTO push_settings (user_id, messages, calls) VALUES (?, ?, ?)
         ON CONFLICT (user_id) DO UPDATE SET messages = excluded.messages, calls = excluded.calls",
    )?
    .execute(params![user, after.messages.as_str(), after.calls])?;
    Ok(after)
}

fn push_room(c: &Connection, room: RoomId, now: Timestamp) -> Result<Option<PushRoom>> {
    let found = c
        .prepare_cached("SELECT name, direct_low IS NOT NULL FROM rooms WHERE id = ?")?
        .query_row([room], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((name, is_direct)) = found else {
        return Ok(None);
    };
    let recipients = c
        .prepare_cached(
            "SELECT p.user_id, p.last_read_id, s.messages, s.calls
             FROM participants p LEFT JOIN push_settings s ON s.user_id = p.user_id
             WHERE p.room_id = ?1 AND NOT (p.muted AND (p.muted_until IS NULL OR p.muted_until > ?2))
                 AND EXISTS (
                     SELECT 1 FROM push_subscriptions x
                     WHERE x.user_id = p.user_id AND (x.expires_at IS NULL OR x.expires_at > ?2))",
        )?
        .query_map([room, now], |row| {
            Ok(PushRecipient {
                user_id: row.get(0)?,
                last_read_id: row.get(1)?,
                settings: read_settings(row, 2)?,
            })
        })?
        .collect::<SqlResult<_>>()?;
    Ok(Some(PushRoom {
        name,
        is_direct,
        recipients,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AdminGrant, Missing, NewRoom, NewUser, RoomLimits, RoomStore, UserStore};

    #[tokio::test]
    async fn who_has_muted_a_room_is_no_recipient_until_the_mute_ends() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqlStore::open(directory.path(), Missing::Create).unwrap();
        let new = NewUser {
            username: "bob".to_owned(),
            email: "bob@example.org".to_owned(),
            display_name: String::new(),
            password_hash: "hash".to_owned(),
            admin: AdminGrant::No,
            now: 1,
        };
        let bob = store.create_user(new).await.unwrap().id;
        let new = NewRoom {
            owner: bob,
            name: "room".to_owned(),
            topic: String::new(),
            is_public: false,
            now: 1,
        };
        let limits = RoomLimits {
            participants: 10,
            rooms: 10,
        };
        let room = store.create_room(new, limits);
        let room = room.await.unwrap();
        let sql = |text: &'static str| {
            store.write(move |c| {
                let statements = text.split(';').filter(|sql| !sql.trim().is_empty());
                statements.for_each(|sql| {
                    c.execute(sql, ()).unwrap();
                });
                Ok(())
            })
        };
        sql("INSERT INTO tokens (hash, user_id, name, created_at, last_used_at) VALUES (x'01', 1, '', 1, 1);
             INSERT INTO push_subscriptions (user_id, token_hash, endpoint, p256dh, auth, expires_at, created_at)
             VALUES (1, x'01', 'https://push.example/1', x'04', x'00', 100, 1);")
        .await
        .unwrap();
        let recipients = async |now| {
            let found = store.push_room(room, now).await.unwrap().unwrap();
            found.recipients.len()
        };
        assert_eq!(recipients(50).await, 1);
        assert_eq!(recipients(100).await, 0, "the subscription has expired");
        sql("UPDATE participants SET muted = 1, muted_until = 60")
            .await
            .unwrap();
        assert_eq!((recipients(59).await, recipients(60).await), (0, 1));
        sql("UPDATE participants SET muted_until = NULL")
            .await
            .unwrap();
        assert_eq!(recipients(99).await, 0);
        sql("UPDATE participants SET muted = 0; DELETE FROM tokens")
            .await
            .unwrap();
        assert_eq!(recipients(50).await, 0, "the sign-in has ended");
    }
}
