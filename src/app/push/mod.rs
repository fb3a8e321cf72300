//! Web push: telling people who have no page open what they miss. This file holds what the rest of the program uses: subscriptions, settings, and
//! the news that may be pushed. Whom it is pushed to is decided in `courier`, sending is `delivery`'s.

mod courier;
mod delivery;
mod seal;
mod vapid;

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use hyper::Uri;
use moznods_signaling::CallState;
use moznods_storage::{
    Message, MessageId, NewPushSubscription, PushMessages, PushSettings, PushSubscription, RoomId,
    SecretText, StorageError, Timestamp, TokenHash, User, UserId,
};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use ring::error::Unspecified;
use tokio::sync::Notify;

use super::{App, Error, FieldError, Metrics, Problem, Refusal, Result, limits, now};
use crate::config::Config;
use crate::outbound::{Outbound, Reach, is_refused_address, names_a_server};
use vapid::Vapid;

/// News that may wait to be looked at; when there are more, the oldest are forgotten.
const MAX_NEWS: usize = 1024;

/// Browsers write base64url without padding, some libraries with it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A subscription as a browser writes it.
pub struct AskedSubscription {
    pub endpoint: String,
    pub p256dh: String,
    pub auth: String,
    /// Milliseconds since 1970.
    pub expiration_time: Option<f64>,
}

/// Something that happened in a room, of which somebody may have to be told.
enum News {
    Message(MessageNews),
    /// Somebody has begun a call.
    Call {
        room: RoomId,
        by: UserId,
    },
}

impl News {
    fn room(&self) -> RoomId {
        match self {
            News::Message(message) => message.room,
            News::Call { room, .. } => *room,
        }
    }
}

struct MessageNews {
    id: MessageId,
    room: RoomId,
    author: UserId,
    from: String,
    /// Its beginning.
    text: String,
    mentions: Mentioned,
}

/// Whom a message names.
#[derive(Debug, Default)]
struct Mentioned {
    users: Vec<UserId>,
    all: bool,
}

impl Mentioned {
    fn names(&self, user: UserId) -> bool {
        self.all || self.users.contains(&user)
    }
}

/// What is shared between those who have news, those who subscribe and the task that sends.
pub struct Push {
    enabled: bool,
    vapid: Vapid,
    outbound: Arc<Outbound>,
    news: Mutex<VecDeque<News>>,
    has_news: Notify,
    /// Other nodes may know of subscriptions that are not counted here yet.
    is_shared: bool,
    /// Rooms in whose call somebody was active when it was looked at last.
    calls: Mutex<HashSet<RoomId>>,
    subscriptions: Gauge<i64, AtomicI64>,
    sent: Counter,
    failed: Counter,
    dropped: Counter,
}

impl fmt::Debug for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push").finish_non_exhaustive()
    }
}

impl Push {
    /// A fresh key, as it is kept.
    pub(super) fn fresh_key() -> Result<String> {
        Ok(Vapid::fresh().map_err(|Unspecified| Refusal::Overloaded)?)
    }

    pub(super) fn new(
        config: &Config,
        key: &str,
        outbound: Arc<Outbound>,
        metrics: &Metrics,
    ) -> Result<Arc<Self>> {
        let vapid = Vapid::new(key, config.push.contact.clone()).map_err(|Unspecified| {
            Error::Storage(StorageError::Open {
                path: config.data_dir.clone(),
                why: "the key for push messages in it is none".to_owned(),
            })
        })?;
        let push = Push {
            enabled: config.push.enabled,
            is_shared: config.storage.database.is_some(),
            vapid,
            outbound,
            news: Mutex::default(),
            has_news: Notify::new(),
            calls: Mutex::default(),
            subscriptions: Gauge::default(),
            sent: Counter::default(),
            failed: Counter::default(),
            dropped: Counter::default(),
        };
        metrics.register(|registry| {
            registry.register(
                "push_subscriptions",
                "Browsers that are told of what their users miss",
                push.subscriptions.clone(),
            );
            registry.register(
                "push_sent",
                "Push messages that a push service has taken",
                push.sent.clone(),
            );
            registry.register(
                "push_failed",
                "Push messages that no push service would take",
                push.failed.clone(),
            );
            registry.register(
                "push_dropped",
                "Push messages given up because too many waited",
                push.dropped.clone(),
            );
        });
        Ok(Arc::new(push))
    }

    /// To be called for every message that is stored. Does not block.
    pub(super) fn message(&self, message: &Message) {
        if !self.has_listeners() {
            return;
        }
        self.tell(News::Message(MessageNews {
            id: message.id,
            room: message.room_id,
            author: message.author.id,
            from: message.author.shown_name().to_owned(),
            text: courier::excerpt(&message.content),
            mentions: Mentioned {
                users: message.mentions.clone(),
                all: message.mentions_all,
            },
        }));
    }

    /// To be called after every change of who is active in a call; `is_ours`: by this node, and by no other, those are told
    /// who are to hear of it. Does not block.
    pub(super) fn call(&self, room: RoomId, state: &CallState, is_ours: bool) {
        let Some(first) = state.active().next() else {
            lock(&self.calls).remove(&room);
            return;
        };
        if lock(&self.calls).insert(room) && is_ours && self.has_listeners() {
            self.tell(News::Call {
                room,
                by: first.user_id,
            });
        }
    }

    /// Whether there may be anybody to tell.
    fn has_listeners(&self) -> bool {
        self.enabled && (self.is_shared || self.subscriptions.get() > 0)
    }

    fn tell(&self, news: News) {
        let mut waiting = lock(&self.news);
        if waiting.len() >= MAX_NEWS {
            waiting.pop_front();
            self.dropped.inc();
        }
        waiting.push_back(news);
        drop(waiting);
        self.has_news.notify_one();
    }

    fn take_news(&self) -> VecDeque<News> {
        std::mem::take(&mut *lock(&self.news))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl App {
    /// What a browser subscribes with; `None`: nothing is pushed here.
    pub fn push_public_key(&self) -> Option<&str> {
        let enabled = self.config.push.enabled;
        enabled.then(|| self.push.vapid.public_key())
    }

    fn pushing(&self) -> Result<()> {
        match self.config.push.enabled {
            true => Ok(()),
            false => Err(Refusal::PushOff.into()),
        }
    }

    /// Where users' push services may be.
    fn push_reach(&self) -> Reach<'_> {
        Reach::Public {
            and: &self.config.push.allow_private,
        }
    }

    /// Whether the subscription is a new one, too. It lives as long as the sign-in.
    pub async fn subscribe(
        &self,
        user: &User,
        sign_in: TokenHash,
        asked: AskedSubscription,
    ) -> Result<(PushSubscription, bool)> {
        self.pushing()?;
        let new = checked(asked, self.push_reach(), now())?;
        let added = self
            .store
            .add_push_subscription(user.id, sign_in, new, now())
            .await?;
        self.count_push_subscriptions().await?;
        Ok(added)
    }

    pub async fn push_subscriptions(&self, user: &User) -> Result<Vec<PushSubscription>> {
        self.pushing()?;
        Ok(self.store.push_subscriptions(user.id, now()).await?)
    }

    pub async fn unsubscribe(&self, user: &User, id: i64) -> Result<()> {
        self.store.remove_push_subscription(user.id, id).await?;
        self.count_push_subscriptions().await
    }

    pub async fn unsubscribe_endpoint(&self, user: &User, endpoint: String) -> Result<()> {
        self.store.remove_push_endpoint(user.id, endpoint).await?;
        self.count_push_subscriptions().await
    }

    pub async fn push_settings(&self, user: &User) -> Result<PushSettings> {
        self.pushing()?;
        Ok(self.store.push_settings(user.id).await?)
    }

    /// `None` leaves as is; `messages` is the word of a [`PushMessages`].
    pub async fn set_push_settings(
        &self,
        user: &User,
        messages: Option<&str>,
        calls: Option<bool>,
    ) -> Result<PushSettings> {
        self.pushing()?;
        let messages = messages
            .map(|word| {
                PushMessages::named(word)
                    .ok_or_else(|| Error::field("messages", Problem::NotPushMessages))
            })
            .transpose()?;
        Ok(self
            .store
            .set_push_settings(user.id, messages, calls)
            .await?)
    }

    /// To be called after every change of subscriptions or of the sign-ins that they go with.
    pub(super) async fn count_push_subscriptions(&self) -> Result<()> {
        let count = self.store.count_push_subscriptions().await?;
        self.push.subscriptions.set(count);
        Ok(())
    }
}

fn checked(
    asked: AskedSubscription,
    reach: Reach<'_>,
    now: Timestamp,
) -> Result<NewPushSubscription> {
    let mut wrong = Vec::new();
    let mut problem = |field, problem| wrong.push(FieldError { field, problem });
    if asked.endpoint.len() > limits::PUSH_ENDPOINT {
        problem("endpoint", Problem::TooLong(limits::PUSH_ENDPOINT));
    } else if !is_endpoint(&asked.endpoint) {
        problem("endpoint", Problem::NotPushEndpoint);
    } else if let Ok(url) = asked.endpoint.parse()
        && is_refused_address(&url, reach)
    {
        problem("endpoint", Problem::PrivateAddress);
    }
    // Nothing longer can be right, and needs no decoding.
    let decode = |text: &str| match text.len() {
        0..=128 => BASE64.decode(text).unwrap_or_default(),
        _ => Vec::new(),
    };
    let (p256dh, auth) = (decode(&asked.p256dh), decode(&asked.auth));
    if !seal::is_point(&p256dh) {
        problem("keys", Problem::NotPushKey("p256dh"));
    }
    if auth.len() != seal::AUTH {
        problem("keys", Problem::NotPushKey("auth"));
    }
    let expires_at = asked
        .expiration_time
        .map(|milliseconds| (milliseconds * 1000.0) as Timestamp);
    if expires_at.is_some_and(|end| end <= now) {
        problem("expirationTime", Problem::InThePast);
    }
    if !wrong.is_empty() {
        return Err(Error::Invalid(wrong));
    }
    Ok(NewPushSubscription {
        endpoint: SecretText(asked.endpoint),
        p256dh,
        auth,
        expires_at,
    })
}

/// An `https` URL of printable ASCII, without a user in it.
fn is_endpoint(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
        && text.starts_with("https://")
        && text.parse::<Uri>().is_ok_and(|url| names_a_server(&url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_url_over_tls() {
        for right in [
            "https://push.example/a-b_c?d=e",
            "https://push.example:8443/",
            "https://[2001:db8::1]/x",
        ] {
            assert!(is_endpoint(right), "{right}");
        }
        for wrong in [
            "",
            "http://push.example/x",
            "https://",
            "https:///x",
            "https://user@push.example/x",
            "https://user:pw@push.example/x",
            "https://push.example/ü",
            "https://push.example/a b",
            "https://push.example/a\r\nX: y",
            "push.example/x",
            "file:///etc/passwd",
            "https://push.example:99999/",
        ] {
            assert!(!is_endpoint(wrong), "{wrong}");
        }
    }

    #[test]
    fn keys_are_taken_with_and_without_padding() {
        assert_eq!(BASE64.decode("_-8").unwrap(), [0xff, 0xef]);
        assert_eq!(BASE64.decode("_-8=").unwrap(), [0xff, 0xef]);
        assert!(BASE64.decode("/+8").is_err());
    }
}
