//! One bidirectional stream: what is written is pulled from a [`Source`] when the transport
//! can take it, so what arrives while a write is under way makes the next frame.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::Frame;
use tokio::time::Sleep;
use tonic::transport::Channel;
use tonic::Status;
use tower_service::Service;

use crate::error::{Error, ErrorKind};
use crate::frames::{Messages, Spare};
use crate::{pb, registry, types::Credit};

/// Wakes the writer, and counts what the transport has not written yet.
#[derive(Debug, Default)]
pub(crate) struct Pen {
    waker: AtomicWaker,
    outstanding: AtomicUsize,
}

impl Pen {
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    #[cfg(test)]
    pub(crate) fn register(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }
}

/// What the writer does next.
pub(crate) enum Next {
    Write(Bytes),
    Idle,
    /// Ask again then, or when woken.
    At(Instant),
    End,
}

/// Where frames come from.
pub(crate) trait Source: Send + Sync + 'static {
    /// `outstanding`: frames that the transport still holds.
    fn next_frame(&self, attempt: u64, outstanding: usize) -> Next;
}

/// Dropped by the transport once the frame is written.
struct Outstanding {
    bytes: Bytes,
    pen: Arc<Pen>,
}

impl AsRef<[u8]> for Outstanding {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        self.pen.outstanding.fetch_sub(1, Ordering::AcqRel);
        self.pen.wake();
    }
}

/// The request's body.
pub(crate) struct FrameBody<S> {
    source: Arc<S>,
    attempt: u64,
    pen: Arc<Pen>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S: Source> FrameBody<S> {
    pub(crate) fn body(source: Arc<S>, attempt: u64, pen: Arc<Pen>) -> tonic::body::Body {
        tonic::body::Body::new(FrameBody {
            source,
            attempt,
            pen,
            timer: None,
        })
    }
}

impl<S: Source> http_body::Body for FrameBody<S> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.pen.waker.register(cx.waker());
        loop {
            let outstanding = self.pen.outstanding.load(Ordering::Acquire);
            match self.source.next_frame(self.attempt, outstanding) {
                Next::Write(bytes) => {
                    self.pen.outstanding.fetch_add(1, Ordering::AcqRel);
                    let pen = self.pen.clone();
                    let bytes = Bytes::from_owner(Outstanding { bytes, pen });
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Next::Idle => return Poll::Pending,
                Next::End => return Poll::Ready(None),
                Next::At(when) => {
                    let when = when.into();
                    match &mut self.timer {
                        Some(timer) if timer.deadline() == when => {}
                        Some(timer) => timer.as_mut().reset(when),
                        none => *none = Some(Box::pin(tokio::time::sleep_until(when))),
                    }
                    let timer = self.timer.as_mut().expect("set above");
                    if timer.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

/// The largest frame that is read: one record as large as a queue may allow, or a batch.
pub(crate) fn max_frame_bytes() -> usize {
    let record = registry::TUNABLES
        .iter()
        .find(|t| t.name == "max_message_bytes")
        .map_or(0, |t| t.max);
    usize::try_from(2 * (record + registry::LIMIT_MAX_BATCH_BYTES)).unwrap_or(usize::MAX)
}

/// Starts a call; returns once the broker has answered anything.
pub(crate) async fn start(
    mut channel: Channel,
    path: &'static str,
    body: tonic::body::Body,
    spare: Arc<Spare>,
) -> Result<Messages, Error> {
    let transport = |e: tonic::transport::Error| {
        let mut message = e.to_string();
        let mut source = std::error::Error::source(&e);
        while let Some(below) = source {
            message = format!("{message}: {below}");
            source = below.source();
        }
        Error::new(ErrorKind::Unavailable, message).caused_by(e)
    };
    std::future::poll_fn(|cx| channel.poll_ready(cx))
        .await
        .map_err(transport)?;
    let request = http::Request::post(path)
        .version(http::Version::HTTP_2)
        .header(http::header::TE, "trailers")
        .header(http::header::CONTENT_TYPE, "application/grpc")
        .body(body)
        .map_err(|e| Error::new(ErrorKind::InvalidArgument, e.to_string()))?;
    let response = channel.call(request).await.map_err(transport)?;
    let (parts, body) = response.into_parts();
    if let Some(status) = Status::from_header_map(&parts.headers) {
        if status.code() != tonic::Code::Ok {
            return Err(Error::from_status(status));
        }
    }
    Ok(Messages::new(body, parts.status, max_frame_bytes(), spare))
}

/// Bounds the opening of a stream: the time to connect, and as long as the broker gives a
/// client to say Open.
pub(crate) async fn in_time<T>(
    connect_timeout: Duration,
    open: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let timeout = connect_timeout + Duration::from_millis(registry::LIMIT_OPEN_TIMEOUT_MS);
    tokio::time::timeout(timeout, open)
        .await
        .unwrap_or_else(|_| {
            let text = "the broker did not open the stream";
            Err(Error::new(ErrorKind::TimedOut, text).numbers(timeout.as_millis() as u64, 0))
        })
}

/// Pings, and what they are checked against.
#[derive(Debug)]
pub(crate) struct Heart {
    pub every: Duration,
    pub dead_after: Duration,
    pub last_received: Instant,
    /// A ping is to be written.
    pub due: bool,
    last_due: Instant,
    id: u64,
    waiting: Option<(u64, Credit, Credit)>,
}

impl Heart {
    pub(crate) fn new(every: Duration, dead_after: Duration, now: Instant) -> Self {
        Heart {
            every,
            dead_after,
            last_received: now,
            due: false,
            last_due: now,
            id: 0,
            waiting: None,
        }
    }

    /// What the broker told in Opened holds from then on.
    pub(crate) fn told(&mut self, heartbeat_ms: u64, dead_after_ms: u64) {
        if heartbeat_ms > 0 {
            self.every = Duration::from_millis(heartbeat_ms);
        }
        if dead_after_ms > 0 {
            self.dead_after = Duration::from_millis(dead_after_ms);
        }
    }

    pub(crate) fn reset(&mut self, now: Instant) {
        *self = Heart::new(self.every, self.dead_after, now);
    }

    /// How often `tick` is to be called.
    pub(crate) fn interval(&self) -> Duration {
        (self.every.min(self.dead_after) / 4)
            .clamp(Duration::from_millis(5), Duration::from_secs(1))
    }

    /// True if a ping became due.
    pub(crate) fn tick(&mut self, now: Instant) -> Result<bool, Error> {
        let silence = now.saturating_duration_since(self.last_received);
        if silence >= self.dead_after {
            let e = Error::new(ErrorKind::TimedOut, "the broker fell silent");
            return Err(e.numbers(
                self.dead_after.as_millis() as u64,
                silence.as_millis() as u64,
            ));
        }
        // Also while other frames flow: it compares the counters under load.
        if now.saturating_duration_since(self.last_due) < self.every {
            return Ok(false);
        }
        self.last_due = now;
        self.due = true;
        Ok(true)
    }

    /// The ping to write now.
    pub(crate) fn ping(&mut self, epoch: u64, sent: Credit, limit_seen: Credit) -> pb::Ping {
        self.due = false;
        self.id += 1;
        self.waiting = Some((self.id, sent, limit_seen));
        pb::Ping {
            id: self.id,
            epoch,
            sent: Some(sent.to_pb()),
            limit_seen: Some(limit_seen.to_pb()),
        }
    }

    /// A ping waits for its pong.
    pub(crate) fn asking(&self) -> bool {
        self.waiting.is_some()
    }

    /// True if it answers the last ping.
    pub(crate) fn pong(&mut self, pong: &pb::Pong, epoch: u64) -> Result<bool, Error> {
        let Some((_, sent, limit)) = self.waiting.take_if(|w| w.0 == pong.id) else {
            return Ok(false);
        };
        if pong.epoch != epoch {
            let e = Error::protocol("a pong of another epoch");
            return Err(e.on_field("pong.epoch").numbers(epoch, pong.epoch));
        }
        let received = Credit::from_pb(pong.received);
        if received != sent {
            return Err(mismatch("pong.received", sent, received));
        }
        let granted = Credit::from_pb(pong.limit);
        if !limit.within(granted) {
            return Err(mismatch("pong.limit", limit, granted));
        }
        Ok(true)
    }
}

pub(crate) fn mismatch(field: &str, ours: Credit, theirs: Credit) -> Error {
    let (limit, actual) = if ours.messages == theirs.messages {
        (ours.bytes, theirs.bytes)
    } else {
        (ours.messages, theirs.messages)
    };
    Error::new(
        ErrorKind::CounterMismatch,
        format!("the counters differ: {ours} here, {theirs} there"),
    )
    .on_field(field)
    .numbers(limit, actual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pongs_are_compared() {
        let now = Instant::now();
        let mut heart = Heart::new(Duration::from_secs(5), Duration::from_secs(15), now);
        let (sent, limit) = (Credit::new(3, 30), Credit::new(10, 100));
        let pong = |id, received: Credit, limit: Credit| pb::Pong {
            id,
            epoch: 7,
            received: Some(received.to_pb()),
            limit: Some(limit.to_pb()),
        };
        let ping = heart.ping(7, sent, limit);
        heart
            .pong(&pong(ping.id, sent, Credit::new(11, 100)), 7)
            .unwrap();
        let ping = heart.ping(7, sent, limit);
        let e = heart
            .pong(&pong(ping.id, Credit::new(2, 30), limit), 7)
            .unwrap_err();
        assert_eq!(e.kind(), ErrorKind::CounterMismatch);
        assert_eq!((e.field(), e.limit(), e.actual()), ("pong.received", 3, 2));
        let ping = heart.ping(7, sent, limit);
        let e = heart
            .pong(&pong(ping.id, sent, Credit::new(10, 99)), 7)
            .unwrap_err();
        assert_eq!((e.field(), e.limit(), e.actual()), ("pong.limit", 100, 99));
        // An answer to nothing that was asked.
        heart
            .pong(&pong(99, Credit::default(), Credit::default()), 7)
            .unwrap();
    }

    #[test]
    fn pings_when_quiet_and_dies_of_silence() {
        let start = Instant::now();
        let mut heart = Heart::new(Duration::from_secs(5), Duration::from_secs(15), start);
        let at = |s| start + Duration::from_secs(s);
        assert!(!heart.tick(at(4)).unwrap());
        assert!(heart.tick(at(5)).unwrap());
        assert!(!heart.tick(at(6)).unwrap(), "once in a heartbeat");
        assert_eq!(heart.tick(at(15)).unwrap_err().kind(), ErrorKind::TimedOut);
    }
}
