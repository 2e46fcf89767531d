//! Reading the kept records of a queue without a cursor.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_core::Stream;

use crate::client::Client;
use crate::consumer::core::{Options, Target};
use crate::consumer::Receiver;
use crate::error::Result;
use crate::pb;
use crate::registry;
use crate::types::{from_unix_ms, unix_ms, Credit, Header, Position};
use crate::wire::{DeliveryFrame, RecordView};

/// Options of a [`Replay`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ReplayBuilder {
    client: Client,
    queue: String,
    start: Position,
    stop: Option<pb::stop::Position>,
    rate: u64,
    window: Credit,
}

impl ReplayBuilder {
    pub(crate) fn new(client: Client, queue: String) -> Self {
        ReplayBuilder {
            client,
            queue,
            start: Position::Earliest,
            stop: None,
            rate: 0,
            window: Credit::new(
                registry::DEFAULT_REPLAY_MESSAGES,
                registry::DEFAULT_MAX_IN_FLIGHT_BYTES,
            ),
        }
    }

    /// Where to begin. Default: [`Position::Earliest`].
    pub fn from(mut self, position: Position) -> Self {
        self.start = position;
        self
    }

    /// Begins at this offset. Below the head or above the tail it is
    /// [`OutOfRange`](crate::ErrorKind::OutOfRange), which says where those are.
    pub fn from_offset(self, offset: u64) -> Self {
        self.from(Position::Offset(offset))
    }

    /// Begins at the first record appended at or after this time, by the broker's clock.
    pub fn from_time(self, time: SystemTime) -> Self {
        self.from(Position::Time(time))
    }

    /// Begins at the lowest kept record.
    pub fn earliest(self) -> Self {
        self.from(Position::Earliest)
    }

    /// Begins at the next record to be appended.
    pub fn latest(self) -> Self {
        self.from(Position::Latest)
    }

    /// Begins at the last n records (fewer, if fewer are kept).
    pub fn last(self, n: u64) -> Self {
        self.from(Position::Last(n))
    }

    fn until(mut self, stop: pb::stop::Position) -> Self {
        self.stop = Some(stop);
        self
    }

    /// Ends before this offset. Default: never.
    pub fn until_offset(self, offset: u64) -> Self {
        self.until(pb::stop::Position::Offset(offset))
    }

    /// Ends before the first record appended at or after this time.
    pub fn until_time(self, time: SystemTime) -> Self {
        self.until(pb::stop::Position::TimeUnixMs(unix_ms(time)))
    }

    /// Ends where the tail was when the replay began.
    pub fn until_tail(self) -> Self {
        self.until(pb::stop::Position::Tail(true))
    }

    /// At most so many messages per second. Default 0: as fast as it is read.
    pub fn rate(mut self, messages_per_second: u64) -> Self {
        self.rate = messages_per_second;
        self
    }

    /// Bounds what the replay holds that the application has not seen yet. Default 100,000
    /// messages and 16 MiB.
    pub fn window(mut self, messages: u64, bytes: u64) -> Self {
        self.window = Credit {
            messages: messages.max(registry::MIN_REPLAY_MESSAGES),
            bytes: bytes.max(registry::MIN_MAX_IN_FLIGHT_BYTES),
        };
        self
    }

    /// Opens the replay; returns once the broker has, or with the first failure.
    ///
    /// Cancel-safe: nothing is left of it.
    pub async fn open(self) -> Result<Replay> {
        let options = Options {
            target: Target::Reader {
                start: self.start.to_pb(),
                stop: self.stop.map(|stop| pb::Stop {
                    position: Some(stop),
                }),
                rate: self.rate,
            },
            max: self.window,
            auto_extend: false,
            max_processing: Duration::ZERO,
            ack_linger: Duration::ZERO,
        };
        Ok(Replay {
            receiver: Receiver::open(self.client, self.queue, options).await?,
            current: None,
        })
    }
}

/// One record of a [`Replay`]. Its bytes alias the frame that they came in, which stays in
/// memory while any of them is held: copy what is kept for long.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayedRecord {
    /// The record's place in the queue.
    pub offset: u64,
    /// When it was appended, by the broker's clock.
    pub appended_at: SystemTime,
    /// The application's data.
    pub payload: Bytes,
    /// Groups related records; empty means none.
    pub key: Bytes,
    /// In the producer's order.
    pub headers: Vec<Header>,
}

impl From<RecordView> for ReplayedRecord {
    fn from(record: RecordView) -> Self {
        let (offset, appended_at) = (record.offset, from_unix_ms(record.appended_at_unix_ms));
        let (payload, key, headers) = record.into_parts();
        ReplayedRecord {
            offset,
            appended_at,
            payload,
            key,
            headers,
        }
    }
}

/// Reads the kept records of a queue, up to its stop: a [`Stream`] of records, without any
/// effect on groups.
///
/// It ends at the stop; an error is its last item. When its stream breaks it goes on with the
/// next offset. Dropping it ends it.
#[derive(Debug)]
pub struct Replay {
    receiver: Receiver,
    current: Option<DeliveryFrame>,
}

impl Replay {
    /// The next record; `None` at the stop, or after an error.
    ///
    /// Cancel-safe: dropped before it is ready, nothing was taken.
    #[inline]
    pub async fn try_next(&mut self) -> Result<Option<ReplayedRecord>> {
        if let Some(record) = self.current.as_mut().and_then(DeliveryFrame::next) {
            return Ok(Some(record.into()));
        }
        std::future::poll_fn(|cx| self.poll_record(cx))
            .await
            .transpose()
    }

    fn poll_record(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<ReplayedRecord>>> {
        loop {
            if let Some(frame) = &mut self.current {
                if let Some(r) = frame.next() {
                    return Poll::Ready(Some(Ok(r.into())));
                }
                let cost = Credit::new(frame.messages, frame.cost);
                let shared = &self.receiver.shared;
                shared.core.lock().unwrap().consumed(cost);
            }
            if let Some(done) = self.current.take() {
                done.give_back(&self.receiver.shared.spare);
            }
            match std::task::ready!(self.receiver.poll_ready(cx)) {
                Some(Ok(ready)) => self.current = Some(ready.frame),
                Some(Err(e)) => return Poll::Ready(Some(Err(e))),
                None => return Poll::Ready(None),
            }
        }
    }

    /// Where the records began when the replay was opened.
    pub fn start_offset(&self) -> u64 {
        self.receiver.shared.core.lock().unwrap().start_offset
    }

    /// The broker's name for the current stream, as in Admin and Explain.
    pub fn session(&self) -> String {
        self.receiver.shared.core.lock().unwrap().session.clone()
    }
}

impl Stream for Replay {
    type Item = Result<ReplayedRecord>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_record(cx)
    }
}
