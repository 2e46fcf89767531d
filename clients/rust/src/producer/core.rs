//! A producer's state: pure but for wakers; the time is passed in.
//!
//! Invariants: `batches` are in order of sequence without holes; the first `written` of them
//! are on the wire in this epoch and `sent` is their cost plus that of confirmed ones;
//! `admitted` is `sent` and all that is queued; nothing is admitted beyond `allowed`, though
//! what an earlier epoch left may exceed it and then waits for grants.

mod receive;
mod send;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::ack::{Ack, Completion, Outcome};
use crate::error::{Error, ErrorKind, Result};
use crate::events::Event;
use crate::pb;
use crate::stream::{Heart, Pen};
use crate::types::{Credit, CreditReason, Durability, Message};
use crate::wire::{BatchBuffer, SealedBatch};

const SPARE_BUFFERS: usize = 4;
/// See `send`.
const WORTH_SENDING: usize = 128 << 10;

/// Why a producer's credit does not rise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Blocked {
    /// The broker's reason; `None` if it has given none yet.
    pub reason: Option<CreditReason>,
    /// Since when the reason holds, or the oldest publish waits.
    pub since: Instant,
    /// What waits here.
    pub waiting: Credit,
    /// Of the queue's window, bytes held or promised.
    pub window_used_bytes: u64,
    /// The queue's window.
    pub window_bytes: u64,
}

#[derive(Debug)]
struct Batch {
    sealed: SealedBatch,
    remaining: u64,
    completion: Arc<Completion>,
    /// What is to be added to a sequence to have that of its ack; not 0 once renumbered.
    renumbered: u64,
}

impl Batch {
    fn cost(&self) -> Credit {
        Credit::new(u64::from(self.sealed.records), self.sealed.cost)
    }
}

#[derive(Debug)]
struct OpenBatch {
    buffer: BatchBuffer,
    first_sequence: u64,
    since: Instant,
    completion: Arc<Completion>,
}

impl OpenBatch {
    /// However many frames are under way.
    #[inline]
    fn worth_sending(&self, limits: &Limits) -> bool {
        let len = self.buffer.len();
        len >= WORTH_SENDING.min(limits.batch_bytes)
            || self.buffer.records() >= limits.batch_records
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Demanded {
    waiting: Credit,
    next: u64,
    fresh: bool,
}

/// What happens to a message that wants to be sent.
pub(super) enum Admit {
    Sent(Ack),
    Wait,
    Refused(Error),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub batch_bytes: usize,
    pub batch_records: u32,
    pub linger: Duration,
}

#[derive(Debug)]
pub(super) struct Core {
    pub pen: Arc<Pen>,
    pub attempt: u64,
    pub heart: Heart,
    /// The broker asked the stream to move: until when, and how long to wait then.
    pub draining: Option<(Instant, Duration)>,
    /// The application is done; the stream ends by then.
    pub closing: Option<Instant>,
    pub close_sent: bool,
    pub ended: Option<Error>,
    /// What was unconfirmed at the end.
    pub lost: u64,
    /// Hooks to be called once the lock is free.
    pub events: Vec<Event>,

    pub queue: String,
    pub producer_id: String,
    pub session: String,
    pub tuning: pb::QueueTuning,
    pub epoch: u64,
    up: bool,
    least: Option<Durability>,
    options: Limits,
    limits: Limits,
    max_message_bytes: u64,

    limit: Credit,
    returned: Credit,
    sent: Credit,
    admitted: Credit,
    reason: Option<CreditReason>,
    reason_since: Instant,
    window: (u64, u64),

    next_sequence: u64,
    open: Option<OpenBatch>,
    batches: VecDeque<Batch>,
    written: usize,
    spare: Vec<BytesMut>,
    last_batch_len: usize,

    waiters: BTreeMap<u64, (u64, Option<Waker>)>,
    waiting: Credit,
    waiting_since: Instant,
    told_blocked: bool,
    next_waiter: u64,
    demanded: Demanded,
    control: VecDeque<Bytes>,

    /// Records whose fate is known, and who waits for more of them.
    completed: u64,
    flushes: Vec<Waker>,
    flushing: u32,
}

impl Core {
    pub(super) fn new(
        queue: String,
        producer_id: String,
        least: Option<Durability>,
        options: Limits,
        heart: Heart,
    ) -> Self {
        let now = heart.last_received;
        Core {
            pen: Arc::default(),
            attempt: 0,
            heart,
            draining: None,
            closing: None,
            close_sent: false,
            ended: None,
            lost: 0,
            events: Vec::new(),
            queue,
            producer_id,
            session: String::new(),
            tuning: pb::QueueTuning::default(),
            epoch: 0,
            up: false,
            least,
            options,
            limits: options,
            max_message_bytes: u64::MAX,
            limit: Credit::default(),
            returned: Credit::default(),
            sent: Credit::default(),
            admitted: Credit::default(),
            reason: None,
            reason_since: now,
            window: (0, 0),
            next_sequence: 0,
            open: None,
            batches: VecDeque::new(),
            written: 0,
            spare: Vec::new(),
            last_batch_len: 0,
            waiters: BTreeMap::new(),
            waiting: Credit::default(),
            waiting_since: now,
            told_blocked: false,
            next_waiter: 0,
            demanded: Demanded::default(),
            control: VecDeque::new(),
            completed: 0,
            flushes: Vec::new(),
            flushing: 0,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.up
    }

    /// What may have been sent in this epoch.
    fn allowed(&self) -> Credit {
        self.limit.minus(self.returned)
    }

    /// New records are taken.
    fn admits(&self) -> bool {
        self.up && self.draining.is_none()
    }

    // ---- Admission.

    /// REQUIRES: `size` is the message's. `waiter`: who asks again.
    pub(super) fn admit(
        &mut self,
        m: &Message,
        size: usize,
        waiter: Option<u64>,
        now: impl FnOnce() -> Instant,
    ) -> Admit {
        if let Some(e) = &self.ended {
            return Admit::Refused(e.clone());
        }
        if self.closing.is_some() {
            return Admit::Refused(Error::closed("producer").on_queue(&self.queue));
        }
        if let Err(e) = m.check(size, self.max_message_bytes) {
            return Admit::Refused(e.on_queue(&self.queue));
        }
        let cost = Credit::new(1, size as u64);
        let fits = self.admits() && self.admitted.plus(cost).within(self.allowed());
        let first = || self.waiters.keys().next().copied() == waiter;
        if fits && (self.waiters.is_empty() || first()) {
            return Admit::Sent(self.push(m, size, cost, now));
        }
        if self.admits() && !fits && self.reason == Some(CreditReason::FullReject) {
            let e = Error::new(
                ErrorKind::QueueFull,
                "the queue is full and its policy is to refuse",
            );
            let (used, window) = self.window;
            return Admit::Refused(e.on_queue(&self.queue).numbers(window, used));
        }
        Admit::Wait
    }

    #[inline]
    fn push(
        &mut self,
        m: &Message,
        size: usize,
        cost: Credit,
        now: impl FnOnce() -> Instant,
    ) -> Ack {
        if let Some(open) = &self.open {
            if open.buffer.frame_len_with(size) > self.limits.batch_bytes
                || open.buffer.records() >= self.limits.batch_records
            {
                self.seal();
            }
        }
        let mut news = false;
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                news = true;
                let room = (size + 16).max(self.last_batch_len).max(256);
                none.insert(OpenBatch {
                    buffer: BatchBuffer::new(self.spare.pop().unwrap_or_default(), room),
                    first_sequence: self.next_sequence,
                    since: now(),
                    completion: Arc::default(),
                })
            }
        };
        // The writer has looked at the batch when it began, and once more when it is worth
        // a frame; what else lets it go wakes the writer by itself.
        let was_worth = open.worth_sending(&self.limits);
        open.buffer.push(m, size);
        news |= !was_worth && open.worth_sending(&self.limits);
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.admitted = self.admitted.plus(cost);
        let completion = open.completion.clone();
        if news {
            self.pen.wake();
        }
        Ack {
            completion,
            sequence,
        }
    }

    fn seal(&mut self) {
        if let Some(open) = self.open.take() {
            self.last_batch_len = open.buffer.len().min(self.limits.batch_bytes);
            let sealed = open.buffer.seal(open.first_sequence);
            self.batches.push_back(Batch {
                remaining: u64::from(sealed.records),
                sealed,
                completion: open.completion,
                renumbered: 0,
            });
        }
    }

    /// Enters the line, or updates the waker.
    pub(super) fn wait(&mut self, id: &mut Option<u64>, size: usize, waker: &Waker, now: Instant) {
        if let Some(id) = *id {
            if let Some(w) = self.waiters.get_mut(&id) {
                w.1 = Some(waker.clone());
            }
            return;
        }
        if self.waiters.is_empty() {
            self.waiting_since = now;
        }
        *id = Some(self.next_waiter);
        self.waiters
            .insert(self.next_waiter, (size as u64, Some(waker.clone())));
        self.next_waiter += 1;
        self.waiting = self.waiting.plus(Credit::new(1, size as u64));
        self.tell_blocked();
        self.pen.wake();
    }

    /// Leaves the line.
    pub(super) fn leave(&mut self, id: u64, now: Instant) {
        let Some((size, _)) = self.waiters.remove(&id) else {
            return;
        };
        self.waiting = self.waiting.minus(Credit::new(1, size));
        if self.waiters.is_empty() && std::mem::take(&mut self.told_blocked) {
            let waited = now.saturating_duration_since(self.waiting_since);
            self.events.push(Event::Unblocked { waited });
        }
        self.tell_blocked();
        self.wake_waiters();
        self.pen.wake();
    }

    /// Once for each time of waiting; not while the first in line is about to go, nor for the
    /// moment between a stream's opening and its first grant.
    fn tell_blocked(&mut self) {
        let Some((size, _)) = self.waiters.values().next() else {
            return;
        };
        let fresh = self.up && self.limit.is_zero() && self.reason.is_none();
        let cost = Credit::new(1, *size);
        let fits = self.admits() && self.admitted.plus(cost).within(self.allowed());
        if self.told_blocked || fresh || fits {
            return;
        }
        self.told_blocked = true;
        self.events.extend(self.blocked().map(Event::Blocked));
    }

    /// Wakes the first in line if it may go; all, if all are to fail.
    pub(super) fn wake_waiters(&mut self) {
        let fail = self.ended.is_some()
            || self.closing.is_some()
            || (self.admits() && self.reason == Some(CreditReason::FullReject));
        let (admits, allowed) = (self.admits(), self.allowed());
        for (size, waker) in self.waiters.values_mut() {
            let cost = Credit::new(1, *size);
            let fits = admits && self.admitted.plus(cost).within(allowed);
            if fits || fail || *size > self.max_message_bytes {
                if let Some(w) = waker.take() {
                    w.wake();
                }
            }
            if !fail {
                break;
            }
        }
    }

    pub(super) fn credit(&self) -> Credit {
        if self.admits() && self.waiters.is_empty() {
            self.allowed().minus(self.admitted)
        } else {
            Credit::default()
        }
    }

    pub(super) fn blocked(&self) -> Option<Blocked> {
        if self.waiters.is_empty() && self.reason.is_none() {
            return None;
        }
        Some(Blocked {
            reason: self.reason,
            since: match self.reason {
                Some(_) => self.reason_since,
                None => self.waiting_since,
            },
            waiting: self.waiting,
            window_used_bytes: self.window.0,
            window_bytes: self.window.1,
        })
    }

    pub(super) fn unconfirmed(&self) -> u64 {
        let queued: u64 = self.batches.iter().map(|b| b.remaining).sum();
        queued
            + self
                .open
                .as_ref()
                .map_or(0, |o| u64::from(o.buffer.records()))
    }

    pub(super) fn empty(&self) -> bool {
        self.batches.is_empty() && self.open.is_none()
    }

    pub(super) fn broken(&mut self) {
        self.up = false;
        self.attempt += 1; // the writer of the old stream ends
        self.pen.wake();
    }

    /// Ends for good: what is unconfirmed fails, its fate unknown.
    pub(super) fn end(&mut self, e: Error) {
        self.broken();
        let e = e.on_queue(&self.queue);
        self.lost = self.unconfirmed();
        self.seal();
        for b in self.batches.drain(..) {
            // Sequences that were confirmed before keep their result: it is found first.
            let first = b.sealed.first_sequence + b.renumbered;
            let count = u64::from(b.sealed.records);
            let failed = Outcome::Failed(e.clone());
            b.completion.complete(first, count, failed);
        }
        self.written = 0;
        self.ended = Some(e);
        self.wake_waiters();
        self.wake_flushes();
    }

    // ---- Flushing.

    /// Which records a flush of now waits for.
    pub(super) fn flush_begins(&mut self) -> u64 {
        self.flushing += 1;
        self.pen.wake();
        let queued: u64 = self
            .batches
            .iter()
            .map(|b| u64::from(b.sealed.records))
            .sum();
        let open = self.open.as_ref().map_or(0, |o| o.buffer.records());
        self.completed + queued + u64::from(open)
    }

    pub(super) fn flush_ends(&mut self) {
        self.flushing -= 1;
    }

    /// Whether all before `target` are confirmed or refused; else the waker is called then.
    pub(super) fn flushed(&mut self, target: u64, waker: &Waker) -> Option<Result<()>> {
        if self.completed >= target {
            return Some(Ok(()));
        }
        if let Some(e) = &self.ended {
            return Some(Err(e.clone()));
        }
        self.flushes.push(waker.clone());
        None
    }

    fn wake_flushes(&mut self) {
        for waker in self.flushes.drain(..) {
            waker.wake();
        }
    }
}
