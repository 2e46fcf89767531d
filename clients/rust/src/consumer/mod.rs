//! Receiving as a member of a group, within the consumer's own credit.

pub(crate) mod core;
mod delivery;
mod run;
mod slab;
pub(crate) mod task;
mod unanswered;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_core::Stream;

use self::core::{Options, Ready, Target};
pub use self::delivery::{Delivery, Nack};
use self::delivery::{Lot, Ticket};
use self::task::Shared;
use crate::admin::Tuning;
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::registry;
use crate::types::{Credit, Mode, Position};

/// Options of a [`Consumer`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ConsumerBuilder {
    client: Client,
    queue: String,
    group: String,
    mode: Option<Mode>,
    start: Option<Position>,
    max: Credit,
    auto_extend: bool,
    max_processing: Duration,
    ack_linger: Duration,
    concurrency: usize,
}

impl ConsumerBuilder {
    pub(crate) fn new(client: Client, queue: String, group: String) -> Self {
        ConsumerBuilder {
            client,
            queue,
            group,
            mode: None,
            start: None,
            max: Credit::new(
                registry::DEFAULT_MAX_IN_FLIGHT_MESSAGES,
                registry::DEFAULT_MAX_IN_FLIGHT_BYTES,
            ),
            auto_extend: true,
            max_processing: registry::DEFAULT_MAX_PROCESSING,
            ack_linger: registry::DEFAULT_ACK_LINGER,
            concurrency: registry::DEFAULT_CONCURRENCY as usize,
        }
    }

    /// Bounds the deliveries that are with this consumer, unsettled. Default 1,000; an
    /// operator may clamp it.
    pub fn max_in_flight(mut self, messages: u64) -> Self {
        self.max.messages = messages.max(registry::MIN_MAX_IN_FLIGHT_MESSAGES);
        self
    }

    /// Bounds the same in bytes (lengths of encoded records). It is raised to the queue's
    /// largest message where it is less. Default 16 MiB.
    pub fn max_in_flight_bytes(mut self, bytes: u64) -> Self {
        self.max.bytes = bytes.max(registry::MIN_MAX_IN_FLIGHT_BYTES);
        self
    }

    /// The mode of a group that does not exist yet, and required of one that has members.
    /// Default: the group as it is, or [`Mode::Shared`].
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Where a group that does not exist yet begins. Default: [`Position::Earliest`].
    pub fn start(mut self, position: Position) -> Self {
        self.start = Some(position);
        self
    }

    /// For how many deliveries at a time [`Consumer::run`] calls its handler. Default 1: in
    /// order of arrival.
    pub fn concurrency(mut self, handlers: usize) -> Self {
        self.concurrency = handlers.max(registry::MIN_CONCURRENCY as usize);
        self
    }

    /// Switches the automatic extension of deliveries on or off; see [`Consumer`]. Default:
    /// on.
    pub fn auto_extend(mut self, on: bool) -> Self {
        self.auto_extend = on;
        self
    }

    /// Bounds how long a delivery is extended automatically after the application took it.
    /// Default 5 minutes.
    pub fn max_processing(mut self, time: Duration) -> Self {
        self.max_processing = time.max(registry::MIN_MAX_PROCESSING);
        self
    }

    /// Lets acknowledgements gather for this long while credit is left and other deliveries
    /// are in work. Default 1 ms; 0 sends each at once.
    pub fn ack_linger(mut self, linger: Duration) -> Self {
        self.ack_linger = linger.clamp(registry::MIN_ACK_LINGER, registry::MAX_ACK_LINGER);
        self
    }

    /// Opens the consumer; returns once the broker has, or with the first failure.
    ///
    /// Cancel-safe: nothing is left of it.
    pub async fn open(self) -> Result<Consumer> {
        let options = Options {
            target: Target::Group {
                group: self.group,
                mode: self.mode,
                start: self.start,
            },
            max: self.max,
            auto_extend: self.auto_extend,
            max_processing: self.max_processing,
            ack_linger: self.ack_linger,
        };
        let receiver = Receiver::open(self.client, self.queue, options).await?;
        Ok(Consumer {
            receiver,
            current: None,
            concurrency: self.concurrency,
        })
    }
}

/// The owner of a stream of deliveries; the stream ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) shared: Arc<Shared>,
    /// The end was told.
    finished: bool,
}

impl Receiver {
    pub(crate) async fn open(client: Client, queue: String, options: Options) -> Result<Receiver> {
        let (shared, opened) = task::start(client, queue, options);
        // Made first: dropping it, also while it waits here, ends the stream.
        let receiver = Receiver {
            shared,
            finished: false,
        };
        opened
            .await
            .unwrap_or_else(|_| Err(Error::closed("consumer")))?;
        Ok(receiver)
    }

    /// The next frame; none at the end.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Ready>>> {
        self.shared.arrived.register(cx.waker());
        let mut core = self.shared.core.lock().unwrap();
        if let Some(ready) = core.next_ready() {
            core.clock.tick(Instant::now());
            return Poll::Ready(Some(Ok(ready)));
        }
        match &core.ended {
            None => Poll::Pending,
            Some(Err(e)) if !self.finished => {
                self.finished = true;
                Poll::Ready(Some(Err(e.clone())))
            }
            Some(_) => Poll::Ready(None),
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// A frame that the application is taking deliveries from.
#[derive(Debug)]
struct Current {
    lot: Arc<Lot>,
    /// The next to be taken.
    index: u32,
}

impl Current {
    /// The next delivery that was not revoked meanwhile.
    #[inline]
    fn next(&mut self) -> Option<Delivery> {
        let Lot { shared, slab, .. } = &*self.lot;
        while (self.index as usize) < slab.len() {
            let index = self.index;
            self.index += 1;
            if slab.claim(index as usize, shared.clock.active_now()) {
                let lot = self.lot.clone();
                return Some(Delivery {
                    ticket: Ticket { lot, index },
                    lent: false,
                });
            }
        }
        None
    }
}

/// Receives a queue's records as a member of a group: a [`Stream`] of deliveries, each of
/// which the application settles, in any order.
///
/// It grants the broker what it has settled plus its maximum in flight, and more whenever
/// half of that is used. When its stream breaks it is opened again and states which
/// deliveries it still holds, so these are not delivered again. An error ends it.
///
/// Deliveries are extended automatically, half an acknowledgement deadline at a time: those
/// that the application took, until [`max_processing`](ConsumerBuilder::max_processing)
/// after it took them; those that wait in the client, as long as the application took or
/// settled anything within that time. So liveness comes from the stream, not from the
/// handler's speed, and a handler that hangs for ever loses its deliveries.
///
/// When it is dropped, what was settled is still sent, in the background; what is not
/// settled by then goes to other members at once.
#[derive(Debug)]
pub struct Consumer {
    receiver: Receiver,
    current: Option<Current>,
    concurrency: usize,
}

impl Consumer {
    /// The next delivery; `None` once the consumer has ended, after its error if it had one.
    ///
    /// Cancel-safe: dropped before it is ready, nothing was taken.
    #[inline]
    pub async fn try_next(&mut self) -> Result<Option<Delivery>> {
        if let Some(delivery) = self.current.as_mut().and_then(Current::next) {
            return Ok(Some(delivery));
        }
        std::future::poll_fn(|cx| self.poll_delivery(cx))
            .await
            .transpose()
    }

    fn poll_delivery(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Delivery>>> {
        loop {
            if let Some(delivery) = self.current.as_mut().and_then(Current::next) {
                return Poll::Ready(Some(Ok(delivery)));
            }
            self.current = None; // its buffer is used for what comes next
            match std::task::ready!(self.receiver.poll_ready(cx)) {
                Some(Ok(Ready { frame, slab })) => {
                    let shared = self.receiver.shared.clone();
                    self.current = slab.map(|slab| Current {
                        lot: Arc::new(Lot::new(shared, slab, frame)),
                        index: 0,
                    });
                }
                Some(Err(e)) => return Poll::Ready(Some(Err(e))),
                None => return Poll::Ready(None),
            }
        }
    }

    /// The broker's name for the current stream, as in Admin and Explain.
    pub fn session(&self) -> String {
        self.core().session.clone()
    }

    /// The mode of the group; `None` if unknown to this version.
    pub fn mode(&self) -> Option<Mode> {
        self.core().mode
    }

    /// Where deliveries began when the consumer was opened: the group's cursor.
    pub fn start_offset(&self) -> u64 {
        self.core().start_offset
    }

    /// What this consumer holds unsettled, with what waits in the client.
    pub fn in_flight(&self) -> Credit {
        let mut core = self.core();
        core.gather(Instant::now());
        core.in_flight()
    }

    /// The queue's tuning as the broker last told it.
    pub fn tuning(&self) -> Tuning {
        Tuning::from_pb(self.core().tuning)
    }

    fn core(&self) -> std::sync::MutexGuard<'_, core::Core> {
        self.receiver.shared.core.lock().unwrap()
    }

    /// Stops receiving, sends the settlements that are pending, and ends the stream; what is
    /// not settled by then goes to other members at once. Waits at most for the close
    /// timeout, and fails if something that was settled was not sent by then.
    ///
    /// Cancel-safe: closing goes on without it.
    pub async fn close(self) -> Result<()> {
        let shared = self.receiver.shared.clone();
        drop(self); // closes
        let _ = shared.done.subscribe().wait_for(|done| *done).await;
        let core = shared.core.lock().unwrap();
        match core.unsent() {
            0 => Ok(()),
            left => {
                let e = Error::new(ErrorKind::Closed, "closed before all settles were sent");
                Err(e.on_queue(&core.queue).numbers(0, left))
            }
        }
    }
}

impl Stream for Consumer {
    type Item = Result<Delivery>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_delivery(cx)
    }
}
