//! One record on its way through the application.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::slab::{Slab, State};
use super::task::Shared;
use crate::error::Result;
use crate::types::{from_unix_ms, Action, Header};
use crate::wire::{DeliveryFrame, Records, Run};
use crate::{pb, registry};

/// How a delivery is settled when it is not acknowledged.
///
/// Whatever can be displayed becomes a [`retry`](Nack::retry) with its text as the reason,
/// so `?` works in the handler of [`Consumer::run`](super::Consumer::run).
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Nack {
    action: Action,
    delay: Duration,
    reason: String,
}

impl Nack {
    fn new(action: Action, reason: impl Into<String>) -> Nack {
        let mut reason = reason.into();
        let mut end = reason.len().min(registry::LIMIT_MAX_REASON_BYTES as usize);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        reason.truncate(end);
        Nack {
            action,
            delay: Duration::ZERO,
            reason,
        }
    }

    /// Deliver it again, after the queue's backoff; once its attempts are used up it is
    /// parked. The reason is for people: at most 1,024 bytes are kept.
    pub fn retry(reason: impl Into<String>) -> Nack {
        Nack::new(Action::Retry, reason)
    }

    /// Deliver it again, no sooner than this.
    pub fn retry_after(delay: Duration, reason: impl Into<String>) -> Nack {
        Nack {
            delay,
            ..Nack::retry(reason)
        }
    }

    /// Keep it aside for the group, until it is released.
    pub fn park(reason: impl Into<String>) -> Nack {
        Nack::new(Action::Park, reason)
    }

    /// Don't deliver it to this group again.
    pub fn skip(reason: impl Into<String>) -> Nack {
        Nack::new(Action::Skip, reason)
    }

    /// What becomes of the delivery.
    pub fn action(&self) -> Action {
        self.action
    }

    /// With [`Action::Retry`]: the least time until it is delivered again; 0 is the queue's
    /// own backoff.
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// Why, for people.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    pub(crate) fn to_settle(&self, ranges: Vec<pb::OffsetRange>) -> pb::Settle {
        pb::Settle {
            ranges,
            action: self.action.to_pb(),
            // Rounded up: never sooner.
            delay_ms: self.delay.as_micros().div_ceil(1000) as u64,
            reason: self.reason.clone(),
            partition: 0,
            grant: None,
        }
    }
}

// Nack itself is not Display, or this would overlap with `From<T> for T`.
impl<E: fmt::Display> From<E> for Nack {
    fn from(e: E) -> Nack {
        Nack::retry(e.to_string())
    }
}

/// The deliveries of one frame, and whose they are: one reference for a delivery to count,
/// and little to move.
#[derive(Debug)]
pub(super) struct Lot {
    pub shared: Arc<Shared>,
    pub slab: Arc<Slab>,
    records: Records,
}

impl Lot {
    pub(super) fn new(shared: Arc<Shared>, slab: Arc<Slab>, frame: DeliveryFrame) -> Lot {
        Lot {
            shared,
            slab,
            records: frame.into_records(),
        }
    }
}

impl Drop for Lot {
    fn drop(&mut self) {
        self.records.give_back(&self.shared.spare);
    }
}

/// The duty to settle one delivery.
#[derive(Debug)]
pub(super) struct Ticket {
    pub lot: Arc<Lot>,
    pub index: u32,
}

impl Ticket {
    #[inline]
    pub(super) fn ack(&self) -> Result<()> {
        let Lot { shared, slab, .. } = &*self.lot;
        shared.clock.active_now();
        match slab.ack(self.index as usize, &shared.slack) {
            true => Ok(()),
            false => self.settle(None),
        }
    }

    pub(super) fn settle(&self, how: Option<Nack>) -> Result<()> {
        let Lot { shared, slab, .. } = &*self.lot;
        let mut core = shared.core.lock().unwrap();
        core.settle(slab, self.index as usize, how, Instant::now)
    }

    fn place(&self) -> (u64, &Run) {
        self.lot.slab.place(self.index as usize)
    }

    pub(super) fn state(&self) -> State {
        self.lot.slab.state(self.index as usize)
    }

    /// The same duty, for who calls the handler.
    pub(super) fn share(&self) -> Ticket {
        Ticket {
            lot: self.lot.clone(),
            index: self.index,
        }
    }
}

/// One record on its way through the application.
///
/// It is settled once, by [`ack`](Self::ack) or [`nack`](Self::nack). If it is dropped
/// without, it is delivered again, as with [`Nack::retry`]; only one that
/// [`Consumer::run`](super::Consumer::run) handed to its handler is settled by the handler's
/// result instead.
///
/// Its bytes alias the frame that they came in, which stays in memory while any of them is
/// held: copy what is kept for long.
#[must_use = "dropped without ack(), it is delivered again"]
pub struct Delivery {
    pub(super) ticket: Ticket,
    /// Dropping it does nothing: it is settled, or somebody else settles it.
    pub(super) lent: bool,
}

impl Delivery {
    /// The application's data.
    #[inline]
    pub fn payload(&self) -> &Bytes {
        self.ticket.lot.records.payload(self.ticket.index)
    }

    /// Groups related records; empty means none.
    pub fn key(&self) -> &Bytes {
        self.ticket.lot.records.key(self.ticket.index)
    }

    /// In the producer's order.
    pub fn headers(&self) -> &[Header] {
        self.ticket.lot.records.headers(self.ticket.index)
    }

    /// The value of the first header of this name.
    pub fn header(&self, name: &str) -> Option<&Bytes> {
        let found = self.headers().iter().find(|h| h.name == name);
        found.map(|h| &h.value)
    }

    /// The record's place in the queue.
    pub fn offset(&self) -> u64 {
        self.ticket.place().0
    }

    /// 1 for the first delivery to the group.
    pub fn attempt(&self) -> u32 {
        self.ticket.place().1.attempt
    }

    /// When the record was appended, by the broker's clock.
    pub fn appended_at(&self) -> SystemTime {
        from_unix_ms(self.ticket.place().1.appended_at_unix_ms)
    }

    /// The record's cost in bytes of credit.
    pub fn size(&self) -> usize {
        self.ticket.lot.slab.size(self.ticket.index as usize) as usize
    }

    /// It is done. Does not wait: acknowledgements are sent together, in ranges. Fails only
    /// if the consumer has ended; after a revocation it does nothing.
    #[inline]
    pub fn ack(mut self) -> Result<()> {
        self.lent = true; // it is settled, or cannot be any more
        self.ticket.ack()
    }

    /// Settles it otherwise: [`Nack::retry`], [`Nack::retry_after`], [`Nack::park`] or
    /// [`Nack::skip`]. Like [`ack`](Self::ack), it does not wait.
    pub fn nack(mut self, how: impl Into<Nack>) -> Result<()> {
        let how = how.into();
        self.lent = true;
        self.ticket.settle(Some(how))
    }

    /// Makes the record's deadline start anew. Automatic extension makes it unnecessary in
    /// most programs.
    pub fn extend(&self) -> Result<()> {
        let t = &self.ticket;
        let Lot { shared, slab, .. } = &*t.lot;
        let mut core = shared.core.lock().unwrap();
        core.extend(slab, t.index as usize, Instant::now())
    }

    /// Whether the record was taken from this consumer, because its deadline passed or an
    /// operator moved the group: work on it may be done again elsewhere.
    pub fn is_revoked(&self) -> bool {
        self.ticket.state() == State::Revoked
    }

    /// Returns once the record is [revoked](Self::is_revoked), which may be never: to be
    /// used in a `select!` beside the work.
    ///
    /// Cancel-safe.
    pub async fn revoked(&self) {
        let notify = &self.ticket.lot.shared.revoked;
        loop {
            let mut next = std::pin::pin!(notify.notified());
            next.as_mut().enable(); // before looking: what comes in between counts
            if self.is_revoked() {
                return;
            }
            next.await;
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.lent && self.ticket.state() == State::Taken {
            // It fails only where the consumer has ended, and the record is not held any more.
            let _ = self.ticket.settle(Some(Nack::retry("dropped")));
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("offset", &self.offset())
            .field("attempt", &self.attempt())
            .field("payload_bytes", &self.payload().len())
            .field("state", &self.ticket.state())
            .finish()
    }
}
