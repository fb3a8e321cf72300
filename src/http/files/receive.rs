//! Files as they arrive: multipart, piece by piece to the disk, at a rate below which nobody is waited for.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use moznods_storage::UserId;
use multer::{Field, Multipart};
use tokio::time::{Instant, timeout_at};

use crate::app::{Claim, Incoming, Refusal};
use crate::http::error::{ApiError, ApiResult};

/// For the next piece.
const IDLE: Duration = Duration::from_secs(20);
/// After so long the whole must have come at [`LEAST_RATE`].
const GRACE: Duration = Duration::from_secs(30);
/// Bytes per second.
const LEAST_RATE: u64 = 4096;
/// Bytes that are no file: heads of parts, what stands between them, and what has not been taken yet.
const MAX_BESIDE: usize = 128 * 1024;
/// Bytes of all parts that are texts.
const MAX_TEXTS: usize = 16 * 1024;
/// Parts of a form.
const MAX_PARTS: usize = 32;
/// What is still taken of a refused body, so that its sender comes to read why.
const MAX_DRAINED: usize = 64 * 1024 * 1024;
const DRAIN_WAIT: Duration = Duration::from_secs(10);

/// Of one user at once.
const PER_USER: usize = 4;
/// Of all at once.
const IN_ALL: usize = 64;

/// Uploads that are going on.
#[derive(Default)]
pub struct Uploads {
    by_user: Mutex<HashMap<UserId, usize>>,
}

/// The place of one upload, up to the end of this value.
pub struct Place {
    uploads: Arc<Uploads>,
    user: UserId,
}

impl Uploads {
    pub fn begin(self: &Arc<Self>, user: UserId) -> ApiResult<Place> {
        let mut by_user = self.by_user();
        let all: usize = by_user.values().sum();
        if all >= IN_ALL {
            return Err(Refusal::Overloaded.into());
        }
        let own = by_user.entry(user).or_default();
        if *own >= PER_USER {
            return Err(ApiError::RateLimited(Duration::from_secs(1)));
        }
        *own += 1;
        Ok(Place {
            uploads: Arc::clone(self),
            user,
        })
    }

    fn by_user(&self) -> MutexGuard<'_, HashMap<UserId, usize>> {
        self.by_user.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_user = self.uploads.by_user();
        if let Some(own) = by_user.get_mut(&self.user) {
            *own -= 1;
            if *own == 0 {
                by_user.remove(&self.user);
            }
        }
    }
}

/// What a form had: texts by name, and the file.
#[derive(Default)]
pub struct Received {
    pub texts: HashMap<String, String>,
    pub file: Option<(Incoming, Claim)>,
}

/// The body of a form with a file in it.
pub struct Form {
    body: Arc<Mutex<BodyDataStream>>,
    headers: HeaderMap,
}

impl Form {
    pub fn of(request: Request) -> Self {
        let (parts, body) = request.into_parts();
        Form::new(parts.headers, body)
    }

    fn new(headers: HeaderMap, body: Body) -> Self {
        Form {
            body: Arc::new(Mutex::new(body.into_data_stream())),
            headers,
        }
    }

    /// Bytes of the body, if they were announced; the file has no more.
    pub fn announced(&self) -> Option<u64> {
        let length = self.headers.get(header::CONTENT_LENGTH)?;
        length.to_str().ok()?.parse().ok()
    }

    /// Takes the whole form; the part `name` is the file, which `begin` makes a place for.
    pub async fn receive(
        &self,
        name: &str,
        begin: impl AsyncFnOnce() -> ApiResult<Incoming>,
    ) -> ApiResult<Received> {
        let boundary = self
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| multer::parse_boundary(value.to_str().ok()?).ok())
            .ok_or(ApiError::UnsupportedMediaType)?;
        let waiting = Arc::new(AtomicUsize::new(0));
        let pieces = Pieces {
            body: Arc::clone(&self.body),
            waiting: Arc::clone(&waiting),
            pause: false,
        };
        let mut form = Multipart::new(pieces, boundary);
        let mut pace = Pace::start();
        let mut received = Received::default();
        let mut begin = Some(begin);
        let mut text_bytes = 0;
        for _ in 0..MAX_PARTS {
            let Some(mut part) = pace.wait(form.next_field()).await? else {
                return Ok(received);
            };
            let named = part.name().unwrap_or_default().to_owned();
            let is_file = part.file_name().is_some();
            match begin.take_if(|_| is_file && named == name) {
                Some(begin) => {
                    let claim = Claim {
                        name: part.file_name().unwrap_or_default().to_owned(),
                        content_type: part.content_type().map(ToString::to_string),
                    };
                    let mut incoming = begin().await?;
                    while let Some(piece) = next_piece(&mut part, &mut pace, &waiting).await? {
                        incoming.write(&piece).await?;
                    }
                    received.file = Some((incoming, claim));
                }
                None => {
                    let mut text = Vec::new();
                    while let Some(piece) = next_piece(&mut part, &mut pace, &waiting).await? {
                        text_bytes += piece.len();
                        if text_bytes > MAX_TEXTS {
                            return Err(ApiError::TooLarge);
                        }
                        text.extend_from_slice(&piece);
                    }
                    // Other files are none of ours.
                    if !is_file {
                        let text = String::from_utf8(text).map_err(|_| ApiError::Malformed)?;
                        received.texts.insert(named, text);
                    }
                }
            }
        }
        Err(ApiError::Malformed)
    }

    /// Takes what still comes of a refused body and drops it: who only writes would find the connection broken, and
    /// never learn why.
    pub async fn drain(&self) {
        let waiting = Arc::new(AtomicUsize::new(0));
        let mut pieces = Pieces {
            body: Arc::clone(&self.body),
            waiting: Arc::clone(&waiting),
            pause: false,
        };
        let draining = async {
            let mut drained = 0;
            while let Some(Ok(piece)) = pieces.next().await {
                waiting.store(0, Ordering::Relaxed);
                drained += piece.len();
                if drained > MAX_DRAINED {
                    return;
                }
            }
        };
        // Who is slower than that learns it from the broken connection.
        let _ = tokio::time::timeout(DRAIN_WAIT, draining).await;
    }
}

async fn next_piece(
    part: &mut Field<'_>,
    pace: &mut Pace,
    waiting: &AtomicUsize,
) -> ApiResult<Option<Bytes>> {
    let piece = pace.wait(part.chunk()).await?;
    if let Some(piece) = &piece {
        pace.arrived += piece.len() as u64;
        let taken = |waiting: usize| Some(waiting.saturating_sub(piece.len()));
        let _ = waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken);
    }
    Ok(piece)
}

/// How long is waited for what comes next.
struct Pace {
    started: Instant,
    arrived: u64,
}

impl Pace {
    fn start() -> Self {
        Pace {
            started: Instant::now(),
            arrived: 0,
        }
    }

    async fn wait<T>(&self, next: impl Future<Output = multer::Result<T>>) -> ApiResult<T> {
        let due = self.started + GRACE + Duration::from_secs(self.arrived / LEAST_RATE);
        let idle = Instant::now() + IDLE;
        match timeout_at(due.min(idle), next).await {
            Ok(next) => next.map_err(|_| ApiError::Malformed),
            Err(_) => Err(ApiError::TooSlow),
        }
    }
}

/// The body for a reader that would keep in memory whatever is there, and so is given a piece at a time.
struct Pieces {
    body: Arc<Mutex<BodyDataStream>>,
    /// Bytes that were given and are not known to be dealt with.
    waiting: Arc<AtomicUsize>,
    pause: bool,
}

impl Stream for Pieces {
    type Item = Result<Bytes, std::io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.pause) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = {
            let mut body = self.body.lock().unwrap_or_else(PoisonError::into_inner);
            std::task::ready!(body.poll_next_unpin(cx))
        };
        self.pause = true;
        Poll::Ready(next.map(|piece| {
            let piece = piece.map_err(std::io::Error::other)?;
            let waiting = self.waiting.fetch_add(piece.len(), Ordering::Relaxed);
            if waiting > MAX_BESIDE {
                return Err(std::io::Error::other("too much beside the file"));
            }
            Ok(piece)
        }))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn form(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Form {
        let mut headers = HeaderMap::new();
        let kind = "multipart/form-data; boundary=X".parse().unwrap();
        headers.insert(header::CONTENT_TYPE, kind);
        let pieces = pieces.map(Ok::<_, std::io::Error>);
        Form::new(headers, Body::from_stream(pieces))
    }

    async fn no_file() -> ApiResult<Incoming> {
        panic!("there is none")
    }

    #[tokio::test]
    async fn texts_are_taken_by_name() {
        let body = "--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nб\r\n--X--\r\n";
        let single = body.as_bytes().chunks(1).map(Bytes::copy_from_slice);
        let single: Vec<Bytes> = single.collect();
        let received = form(stream::iter(single)).receive("file", no_file).await;
        assert_eq!(received.ok().unwrap().texts["a"], "б");
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_too_slowly_or_nothing_is_not_waited_for() {
        let head = Bytes::from_static(
            b"--X\r\nContent-Disposition: form-data; name=\"a\"; filename=\"a\"\r\n\r\n",
        );
        let begun = Instant::now();
        let silent = stream::iter([head.clone()]).chain(stream::pending());
        let refused = form(silent).receive("file", no_file).await;
        assert!(matches!(refused, Err(ApiError::TooSlow)));
        assert!(begun.elapsed() <= IDLE + Duration::from_secs(1));

        let drop_by_drop = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            Some((Bytes::from_static(b"x"), ()))
        });
        let begun = Instant::now();
        let slow = stream::iter([head]).chain(drop_by_drop);
        let refused = form(slow).receive("file", no_file).await;
        assert!(matches!(refused, Err(ApiError::TooSlow)));
        assert!(begun.elapsed() >= GRACE && begun.elapsed() < GRACE + IDLE);
    }

    #[tokio::test]
    async fn a_head_without_end_is_not_kept() {
        let taken = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&taken);
        let endless = stream::repeat_with(move || {
            counted.fetch_add(1024, Ordering::Relaxed);
            Bytes::from(vec![b'x'; 1024])
        });
        let start = stream::iter([Bytes::from_static(b"--X\r\nA: ")]);
        let refused = form(start.chain(endless)).receive("file", no_file).await;
        assert!(matches!(refused, Err(ApiError::Malformed)));
        assert!(taken.load(Ordering::Relaxed) <= MAX_BESIDE + 4096);
    }

    #[test]
    fn a_user_has_so_many_uploads_and_all_have() {
        let uploads = Arc::new(Uploads::default());
        let own: Vec<Place> = (0..PER_USER)
            .map(|_| uploads.begin(1).ok().unwrap())
            .collect();
        assert!(matches!(uploads.begin(1), Err(ApiError::RateLimited(_))));
        let others: Vec<Place> = (PER_USER..IN_ALL)
            .map(|user| uploads.begin(user as i64 + 100).ok().unwrap())
            .collect();
        assert!(uploads.begin(2).is_err());
        drop(own);
        assert!(uploads.begin(1).is_ok());
        drop(others);
        assert!(uploads.by_user().is_empty());
    }
}
