//! Sending what is to be pushed: a few at once, a few to one push service and for one user, and again where that helps.
//! What waits is bounded, so that a push service that does not answer costs nothing but its own messages.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER,
};
use hyper::{Request, StatusCode, Uri};
use moznods_storage::{StorageError, UserId};
use ring::error::Unspecified;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;

use super::seal;
use crate::app::{App, now};
use crate::outbound::{Bounds, OutboundError};

/// Push messages that may wait; when there are more, the oldest are given up.
const MAX_WAITING: usize = 4096;
const MAX_AT_ONCE: usize = 8;
const MAX_AT_ONCE_PER_HOST: usize = 2;
/// So that nobody takes all places with push services that he has made up.
const MAX_AT_ONCE_PER_USER: usize = 2;
/// For a push service to answer; nothing in its answer's body is of interest.
const BOUNDS: Bounds = Bounds {
    within: Duration::from_secs(10),
    body: 4096,
};
const MAX_RETRIES: u32 = 3;
/// Before the first retry; each further one takes four times as long.
const RETRY: Duration = Duration::from_secs(2);
/// Push services and statuses that have been complained of; beyond that nobody reads on.
const MAX_COMPLAINTS: usize = 256;

/// RFC 8030 §5.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    Normal,
    High,
}

/// One push message to one browser.
#[derive(Clone)]
pub struct Delivery {
    pub subscription: i64,
    pub user: UserId,
    /// Of the push service.
    pub host: Arc<str>,
    pub payload: Arc<[u8]>,
    /// What it replaces, as [`super::vapid::Vapid::topic`] names it.
    pub topic: String,
    pub urgency: Urgency,
    /// When it is of no use any more.
    pub until: Instant,
    /// Attempts that failed so far.
    pub failures: u32,
}

/// How an attempt ended.
enum Outcome {
    Sent,
    /// The subscription has gone.
    Void,
    /// The push service says that the subscription has gone.
    Gone,
    /// It may help to try again, not before this long.
    Later(Why, Duration),
    Refused(Why),
}

/// What an administrator may have to know.
enum Why {
    Status(StatusCode),
    Unreachable(OutboundError),
    Ours,
}

/// All that waits and all that is being sent.
pub struct Deliveries {
    app: Arc<App>,
    waiting: VecDeque<Delivery>,
    /// To be tried again at these times.
    later: Vec<(Instant, Delivery)>,
    running: JoinSet<Outcome>,
    sending: HashMap<Id, Delivery>,
    complaints: HashSet<(Arc<str>, u16)>,
}

impl Deliveries {
    pub fn new(app: Arc<App>) -> Self {
        Deliveries {
            app,
            waiting: VecDeque::new(),
            later: Vec::new(),
            running: JoinSet::new(),
            sending: HashMap::new(),
            complaints: HashSet::new(),
        }
    }

    /// Whether there is one to be tried again later.
    pub fn waits(&self) -> bool {
        !self.later.is_empty()
    }

    pub fn add(&mut self, delivery: Delivery) {
        if self.waiting.len() + self.later.len() >= MAX_WAITING {
            self.app.push.dropped.inc();
            if self.waiting.pop_front().is_none() {
                self.later.swap_remove(0);
            }
        }
        self.waiting.push_back(delivery);
    }

    /// Begins to send what there is place for, the oldest first.
    pub fn start_those_that_may(&mut self) {
        while self.sending.len() < MAX_AT_ONCE {
            let may = |delivery: &Delivery| {
                let sending = || self.sending.values();
                let to_host = sending().filter(|other| other.host == delivery.host);
                let for_user = sending().filter(|other| other.user == delivery.user);
                to_host.count() < MAX_AT_ONCE_PER_HOST && for_user.count() < MAX_AT_ONCE_PER_USER
            };
            let next = self.waiting.iter().position(may);
            let Some(delivery) = next.and_then(|place| self.waiting.remove(place)) else {
                return;
            };
            let attempt = attempt(Arc::clone(&self.app), delivery.clone());
            let task = self.running.spawn(attempt);
            self.sending.insert(task.id(), delivery);
        }
    }

    /// Puts those in line whose time has come.
    pub fn try_again(&mut self) {
        let now = Instant::now();
        let due = self.later.extract_if(.., |(at, _)| *at <= now);
        self.waiting.extend(due.map(|(_, delivery)| delivery));
    }

    /// Ends when an attempt has ended; never, while there is none. Cancel safe.
    pub async fn one_ended(&mut self) {
        let (id, outcome) = match self.running.join_next_with_id().await {
            Some(Ok(ended)) => ended,
            // A panic: it would be one again.
            Some(Err(error)) => (error.id(), Outcome::Refused(Why::Ours)),
            None => std::future::pending().await,
        };
        let Some(mut delivery) = self.sending.remove(&id) else {
            return;
        };
        let push = &self.app.push;
        match outcome {
            Outcome::Void => {}
            Outcome::Sent => {
                push.sent.inc();
            }
            Outcome::Gone => {
                push.failed.inc();
            }
            Outcome::Refused(why) => {
                push.failed.inc();
                self.complain(&delivery, &why);
            }
            Outcome::Later(why, wait) => {
                let backoff = RETRY * 4_u32.pow(delivery.failures);
                let at = Instant::now() + wait.max(backoff);
                delivery.failures += 1;
                if delivery.failures > MAX_RETRIES || at >= delivery.until {
                    push.failed.inc();
                    self.complain(&delivery, &why);
                } else {
                    self.later.push((at, delivery));
                }
            }
        }
    }

    /// Once for each push service and kind of trouble. What stands behind the host of an endpoint is as good as a secret.
    fn complain(&mut self, delivery: &Delivery, why: &Why) {
        let status = match why {
            Why::Status(status) => status.as_u16(),
            Why::Unreachable(_) | Why::Ours => 0,
        };
        let is_new = self.complaints.len() < MAX_COMPLAINTS
            && self.complaints.insert((Arc::clone(&delivery.host), status));
        if !is_new {
            return;
        }
        let host = &delivery.host;
        match why {
            Why::Status(status) if matches!(status.as_u16(), 401 | 403) => tracing::warn!(
                %host, %status,
                "a push service does not take messages from here; some want push.contact to be an address that exists"
            ),
            Why::Status(status) => {
                tracing::warn!(%host, %status, "a push service refuses messages");
            }
            Why::Unreachable(error) => {
                tracing::warn!(%host, %error, "a push service cannot be used");
            }
            Why::Ours => tracing::error!(%host, "a push message could not be made"),
        }
    }
}

async fn attempt(app: Arc<App>, delivery: Delivery) -> Outcome {
    // Anew each time: whoever has signed out is told nothing more.
    let subscription = match app.store.push_subscription(delivery.subscription).await {
        Ok(Some(subscription)) if subscription.user_id == delivery.user => subscription,
        Ok(_) => return Outcome::Void,
        Err(error) => {
            tracing::error!(%error, "a push subscription cannot be read");
            return Outcome::Refused(Why::Ours);
        }
    };
    let sealed = seal::seal(&subscription.p256dh, &subscription.auth, &delivery.payload);
    let request = sealed.map_err(|Unspecified| ()).and_then(|body| {
        let url = subscription.endpoint.0.parse::<Uri>().map_err(|_| ())?;
        request(&app, &delivery, url, body).ok_or(())
    });
    let Ok(request) = request else {
        return Outcome::Refused(Why::Ours);
    };
    let fetched = app
        .push
        .outbound
        .fetch(request, app.push_reach(), BOUNDS)
        .await;
    match fetched {
        Ok(response) => match response.status() {
            status if status.is_success() => Outcome::Sent,
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                forget(&app, &delivery).await;
                Outcome::Gone
            }
            status if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() => {
                let wait = retry_after(response.headers(), SystemTime::now());
                Outcome::Later(Why::Status(status), wait.unwrap_or_default())
            }
            status => Outcome::Refused(Why::Status(status)),
        },
        Err(
            error @ (OutboundError::NotPublic | OutboundError::BadUrl | OutboundError::TooLong),
        ) => Outcome::Refused(Why::Unreachable(error)),
        Err(error) => Outcome::Later(Why::Unreachable(error), Duration::ZERO),
    }
}

/// RFC 8030 §5, RFC 8291 §4, RFC 8292 §2.
fn request(app: &App, delivery: &Delivery, url: Uri, body: Vec<u8>) -> Option<Request<Vec<u8>>> {
    let audience = format!("https://{}", url.authority()?);
    let token = app.push.vapid.authorization(&audience, now() / 1_000_000);
    let mut token = HeaderValue::try_from(token.ok()?).ok()?;
    token.set_sensitive(true);
    let ttl = delivery.until.saturating_duration_since(Instant::now());
    let urgency = match delivery.urgency {
        Urgency::Normal => "normal",
        Urgency::High => "high",
    };
    Request::post(url)
        .header(AUTHORIZATION, token)
        .header(CONTENT_ENCODING, "aes128gcm")
        .header(CONTENT_TYPE, "application/octet-stream")
        .header("ttl", ttl.as_secs_f64().round() as u64)
        .header("urgency", urgency)
        .header("topic", &delivery.topic)
        .body(body)
        .ok()
}

async fn forget(app: &App, delivery: &Delivery) {
    let (user, id) = (delivery.user, delivery.subscription);
    let forgotten = match app.store.remove_push_subscription(user, id).await {
        Ok(()) | Err(StorageError::NotFound) => app.count_push_subscriptions().await,
        Err(error) => Err(error.into()),
    };
    if let Err(error) = forgotten {
        tracing::error!(%error, "a push subscription that is no more cannot be removed");
    }
}

/// RFC 9110 §10.2.3: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        // More than any message lives; further additions do not overflow.
        Ok(seconds) => Some(Duration::from_secs(u64::min(seconds, 1 << 32))),
        Err(_) => httpdate::parse_http_date(text)
            .ok()?
            .duration_since(now)
            .ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let after = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
            retry_after(&headers, now)
        };
        assert_eq!(after("120"), Some(Duration::from_secs(120)));
        let date = after("Sun, 06 Nov 1994 08:50:37 GMT");
        assert_eq!(date, Some(Duration::from_secs(60)));
        assert_eq!(after("Sun, 06 Nov 1994 08:40:37 GMT"), None);
        assert_eq!(after("soon"), None);
        assert!(after("18446744073709551615").is_some_and(|wait| wait.as_secs() == 1 << 32));
    }
}
