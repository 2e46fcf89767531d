//! A producer's state: pure but for wakers; the time is passed in.
//!
//! Invariants: `batches` are in order of sequence without holes; the first `written` of them
//! are on the wire in this epoch and `sent` is their cost plus that of confirmed ones;
//! `admitted` is `sent` and all that is queued; nothing is admitted beyond `limit`, though
//! what an earlier epoch left may exceed it and then waits for grants.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::ack::{Ack, Completion, Outcome};
use crate::error::{Error, ErrorKind, Result};
use crate::pb::{self, publish_request::Frame};
use crate::registry;
use crate::stream::{Heart, Next, Pen};
use crate::types::{Credit, CreditReason, Durability, Message};
use crate::wire::{grpc_frame, BatchBuffer, SealedBatch};

/// With frames still in the transport's hands, a batch of this size goes all the same.
const EAGER_BATCH_BYTES: usize = 128 << 10;
/// Frames that the transport may hold.
const MAX_OUTSTANDING: usize = 4;
const SPARE_BUFFERS: usize = 4;

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
}

#[derive(Debug)]
struct OpenBatch {
    buffer: BatchBuffer,
    first_sequence: u64,
    since: Instant,
    completion: Arc<Completion>,
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
    pub up: bool,
    pub granted: bool,
    pub draining: Option<(Instant, Duration)>,
    pub closing: bool,
    pub close_sent: bool,
    pub ended: Option<Error>,
    pub heart: Heart,

    pub queue: String,
    pub producer_id: String,
    pub session: String,
    pub tuning: pb::QueueTuning,
    pub revision: u64,
    pub epoch: u64,
    options: Limits,
    limits: Limits,
    max_message_bytes: u64,

    limit: Credit,
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
    next_waiter: u64,
    demanded: Demanded,
    control: VecDeque<Bytes>,
}

pub(super) fn frame(frame: Frame) -> Bytes {
    grpc_frame(&pb::PublishRequest { frame: Some(frame) })
}

impl Core {
    pub(super) fn new(queue: String, producer_id: String, options: Limits, heart: Heart) -> Self {
        let now = heart.last_received;
        Core {
            pen: Arc::default(),
            attempt: 0,
            up: false,
            granted: false,
            draining: None,
            closing: false,
            close_sent: false,
            ended: None,
            heart,
            queue,
            producer_id,
            session: String::new(),
            tuning: pb::QueueTuning::default(),
            revision: 0,
            epoch: 0,
            options,
            limits: options,
            max_message_bytes: u64::MAX,
            limit: Credit::default(),
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
            next_waiter: 0,
            demanded: Demanded::default(),
            control: VecDeque::new(),
        }
    }

    // ---- Admission.

    /// REQUIRES: `size` is the message's. `waiter`: who asks again.
    pub(super) fn admit(
        &mut self,
        m: &Message,
        size: usize,
        waiter: Option<u64>,
        now: Instant,
    ) -> Admit {
        if let Some(e) = &self.ended {
            return Admit::Refused(e.clone());
        }
        if self.closing {
            return Admit::Refused(Error::closed("producer").on_queue(&self.queue));
        }
        if let Err(e) = m.check(size, self.max_message_bytes) {
            return Admit::Refused(e.on_queue(&self.queue));
        }
        let cost = Credit::new(1, size as u64);
        let first = self.waiters.keys().next().copied();
        let fits = self.up && self.admitted.plus(cost).within(self.limit);
        if fits && (first.is_none() || first == waiter) {
            return Admit::Sent(self.push(m, size, cost, now));
        }
        if self.up && !fits && self.reason == Some(CreditReason::FullReject) {
            let left = self.limit.minus(self.admitted);
            let e = Error::new(
                ErrorKind::QueueFull,
                "the queue is full and its policy is to refuse",
            );
            return Admit::Refused(e.on_queue(&self.queue).numbers(left.bytes, size as u64));
        }
        Admit::Wait
    }

    fn push(&mut self, m: &Message, size: usize, cost: Credit, now: Instant) -> Ack {
        if let Some(open) = &self.open {
            if open.buffer.frame_len_with(size) > self.limits.batch_bytes
                || open.buffer.records() >= self.limits.batch_records
            {
                self.seal();
            }
        }
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let room = (size + 16).max(self.last_batch_len).max(256);
                none.insert(OpenBatch {
                    buffer: BatchBuffer::new(self.spare.pop().unwrap_or_default(), room),
                    first_sequence: self.next_sequence,
                    since: now,
                    completion: Arc::default(),
                })
            }
        };
        open.buffer.push(m, size);
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.admitted = self.admitted.plus(cost);
        let completion = open.completion.clone();
        self.pen.wake();
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
            });
        }
    }

    /// Enters the line, or updates the waker. True if it is the first one to wait.
    pub(super) fn wait(
        &mut self,
        id: &mut Option<u64>,
        size: usize,
        waker: &Waker,
        now: Instant,
    ) -> bool {
        if let Some(id) = *id {
            if let Some(w) = self.waiters.get_mut(&id) {
                w.1 = Some(waker.clone());
            }
            return false;
        }
        let first = self.waiters.is_empty();
        if first {
            self.waiting_since = now;
        }
        *id = Some(self.next_waiter);
        self.waiters
            .insert(self.next_waiter, (size as u64, Some(waker.clone())));
        self.next_waiter += 1;
        self.waiting = self.waiting.plus(Credit::new(1, size as u64));
        self.pen.wake();
        first
    }

    /// Leaves the line; how long somebody had waited, if nobody waits any more.
    pub(super) fn leave(&mut self, id: u64, now: Instant) -> Option<Duration> {
        let (size, _) = self.waiters.remove(&id)?;
        self.waiting = self.waiting.minus(Credit::new(1, size));
        self.wake_waiters();
        self.pen.wake();
        self.waiters
            .is_empty()
            .then(|| now.saturating_duration_since(self.waiting_since))
    }

    /// Wakes the first in line if it may go; all, if all are to fail.
    pub(super) fn wake_waiters(&mut self) {
        let fail = self.ended.is_some()
            || self.closing
            || (self.up && self.reason == Some(CreditReason::FullReject));
        for (size, waker) in self.waiters.values_mut() {
            let cost = Credit::new(1, *size);
            let fits = self.up && self.admitted.plus(cost).within(self.limit);
            if fits || fail {
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
        if self.up && self.ended.is_none() {
            self.limit.minus(self.admitted).minus(self.waiting)
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

    // ---- What goes out.

    pub(super) fn next_frame(&mut self, attempt: u64, outstanding: usize, now: Instant) -> Next {
        if attempt != self.attempt {
            return Next::End;
        }
        if let Some(bytes) = self.control.pop_front() {
            return Next::Write(bytes);
        }
        if !self.up || self.close_sent {
            return Next::Idle;
        }
        if self.heart.due {
            let ping = self.heart.ping(self.epoch, self.sent, self.limit);
            return Next::Write(frame(Frame::Ping(ping)));
        }
        let mut later = None;
        let mut stuck = 0;
        if self.draining.is_none() && outstanding < MAX_OUTSTANDING {
            if self.written == self.batches.len() {
                if let Some(open) = &self.open {
                    let due = open.since + self.limits.linger;
                    let full = open.buffer.len() >= self.limits.batch_bytes
                        || open.buffer.records() >= self.limits.batch_records;
                    let company = outstanding == 0 || open.buffer.len() >= EAGER_BATCH_BYTES;
                    if full || self.closing || (company && due <= now) {
                        self.seal();
                    } else if due > now {
                        later = Some(due);
                    }
                }
            }
            if self.written < self.batches.len() {
                match self.write_batch() {
                    Ok(bytes) => return Next::Write(bytes),
                    Err(first_record) => stuck = first_record,
                }
            }
        }
        if let Some(demand) = self.demand(stuck) {
            return Next::Write(frame(Frame::Demand(demand)));
        }
        if self.closing && self.batches.is_empty() && self.open.is_none() && self.draining.is_none()
        {
            self.close_sent = true;
            return Next::Write(frame(Frame::Close(pb::Close {})));
        }
        later.map_or(Next::Idle, Next::At)
    }

    /// The next batch, or as much of it as the epoch's credit allows; else the cost of its
    /// first record. Only what an earlier epoch left can be beyond the credit.
    fn write_batch(&mut self) -> Result<Bytes, u64> {
        let i = self.written;
        let left = self.limit.minus(self.sent);
        let batch = &self.batches[i].sealed;
        let cost = Credit::new(u64::from(batch.records), batch.cost);
        if !cost.within(left) {
            let (n, first_record) = batch.fitting(left.messages, left.bytes);
            if n == 0 {
                return Err(first_record);
            }
            self.split(i, n);
        }
        let batch = &self.batches[i].sealed;
        self.sent = self
            .sent
            .plus(Credit::new(u64::from(batch.records), batch.cost));
        self.written += 1;
        Ok(batch.frame())
    }

    fn split(&mut self, i: usize, n: u32) {
        let batch = &self.batches[i];
        // What is confirmed of a batch is so on the wire; it is never split after that.
        let (a, b) = batch.sealed.split(n);
        let completion = batch.completion.clone();
        let part = |sealed: SealedBatch| Batch {
            remaining: u64::from(sealed.records),
            sealed,
            completion: completion.clone(),
        };
        let (a, b) = (part(a), part(b));
        self.batches[i] = a;
        self.batches.insert(i + 1, b);
    }

    fn demand(&mut self, stuck: u64) -> Option<pb::Demand> {
        let mut waiting = self.waiting;
        let mut next = stuck;
        if stuck > 0 {
            waiting = waiting.plus(self.admitted.minus(self.sent));
        } else if let Some((_, (size, _))) = self.waiters.first_key_value() {
            next = *size;
        }
        let was = self.demanded;
        if waiting.is_zero() {
            if was.waiting.is_zero() {
                return None;
            }
        } else if was.fresh
            && next <= was.next
            && waiting.messages < 2 * was.waiting.messages
            && waiting.bytes < 2 * was.waiting.bytes
        {
            return None;
        }
        self.demanded = Demanded {
            waiting,
            next,
            fresh: true,
        };
        Some(pb::Demand {
            waiting: Some(waiting.to_pb()),
            next_record_bytes: next,
            returned: None,
        })
    }

    // ---- What comes in.

    pub(super) fn begin_attempt(
        &mut self,
        open: impl FnOnce(&Core) -> pb::PublishOpen,
        now: Instant,
    ) {
        self.attempt += 1;
        self.pen = Arc::default();
        self.up = false;
        self.close_sent = false;
        self.draining = None;
        self.heart.reset(now);
        self.control.clear();
        let mut request = open(self);
        request.resume_sequence = match self.batches.front() {
            Some(b) => b.sealed.first_sequence,
            None => self
                .open
                .as_ref()
                .map_or(self.next_sequence, |o| o.first_sequence),
        };
        self.control.push_back(frame(Frame::Open(request)));
    }

    /// A new epoch: its totals start from 0, and all that is unconfirmed is sent again.
    pub(super) fn opened(&mut self, o: pb::PublishOpened) -> Result<()> {
        if o.protocol != registry::LIMIT_PROTOCOL_VERSION as u32 {
            let e = Error::new(ErrorKind::Unsupported, "the broker speaks another protocol");
            return Err(e.numbers(registry::LIMIT_PROTOCOL_VERSION, u64::from(o.protocol)));
        }
        if self.next_sequence == 0 {
            self.next_sequence = o.next_sequence.max(1);
        } else if o.next_sequence > self.next_sequence {
            // Sequences that this producer never used: somebody else did.
            let e = Error::new(ErrorKind::Fenced, "another producer used this producer id");
            return Err(e.numbers(self.next_sequence, o.next_sequence));
        }
        self.seal();
        if let Some(i) = self.batches.iter().position(|b| {
            b.sealed.first_sequence < o.next_sequence && o.next_sequence < b.sealed.end_sequence()
        }) {
            let n = (o.next_sequence - self.batches[i].sealed.first_sequence) as u32;
            if self.batches[i].remaining == u64::from(self.batches[i].sealed.records) {
                self.split(i, n);
            }
        }
        self.written = 0;
        self.sent = Credit::default();
        self.limit = Credit::default();
        self.admitted = self.batches.iter().fold(Credit::default(), |sum, b| {
            sum.plus(Credit::new(u64::from(b.sealed.records), b.sealed.cost))
        });
        self.reason = None;
        self.granted = false;
        self.demanded = Demanded::default();
        self.epoch = o.epoch;
        self.producer_id = o.producer_id;
        self.session = o.session;
        self.tuned(o.revision, o.tuning.unwrap_or_default());
        let at_most = |ours: u64, theirs: u64| if theirs == 0 { ours } else { ours.min(theirs) };
        self.limits.batch_bytes =
            at_most(self.options.batch_bytes as u64, o.max_batch_bytes) as usize;
        self.limits.batch_records = at_most(
            u64::from(self.options.batch_records),
            u64::from(o.max_batch_records),
        ) as u32;
        self.heart.told(o.heartbeat_ms, o.dead_after_ms);
        self.up = true;
        self.pen.wake();
        Ok(())
    }

    pub(super) fn tuned(&mut self, revision: u64, tuning: pb::QueueTuning) {
        self.max_message_bytes = tuning.max_message_bytes.unwrap_or(u64::MAX);
        self.revision = revision;
        self.tuning = tuning;
    }

    /// True if waiters are to be told.
    pub(super) fn grant(&mut self, g: &pb::Grant, now: Instant) -> Result<()> {
        if g.epoch != self.epoch {
            return Ok(()); // late, of an earlier epoch: worth nothing
        }
        let limit = Credit::from_pb(g.limit);
        if !self.limit.within(limit) {
            let e = Error::new(ErrorKind::CreditRegressed, "a total of credit fell");
            let (was, is) = if limit.messages < self.limit.messages {
                (self.limit.messages, limit.messages)
            } else {
                (self.limit.bytes, limit.bytes)
            };
            return Err(e.on_field("grant.limit").numbers(was, is));
        }
        self.limit = limit;
        self.granted = true;
        self.reason = CreditReason::from_pb(g.reason);
        self.reason_since = now
            .checked_sub(Duration::from_millis(g.reason_age_ms))
            .unwrap_or(now);
        self.window = (g.window_used_bytes, g.window_bytes);
        self.demanded.fresh = false; // what still waits is said again
        self.wake_waiters();
        self.pen.wake();
        Ok(())
    }

    pub(super) fn confirm(&mut self, c: &pb::Confirm) -> Result<()> {
        let durability = Durability::from_pb(c.durability).unwrap_or(Durability::Memory);
        for run in &c.runs {
            let known = !run.offset_unknown;
            self.complete(run.first_sequence, run.count, |skipped| Outcome::Kept {
                first_offset: known.then(|| run.first_offset + skipped),
                durability,
                duplicate: run.duplicate,
            })?;
        }
        Ok(())
    }

    pub(super) fn refuse(&mut self, r: pb::Refuse) -> Result<()> {
        let e = Error::from_pb(r.error.unwrap_or_default()).on_queue(&self.queue);
        self.complete(r.first_sequence, r.count, |_| Outcome::Failed(e.clone()))
    }

    /// `outcome` is told how many of the run's first sequences it does not apply to.
    fn complete(&mut self, first: u64, count: u64, outcome: impl Fn(u64) -> Outcome) -> Result<()> {
        let end = first.saturating_add(count);
        let mut i = self
            .batches
            .partition_point(|b| b.sealed.end_sequence() <= first);
        while let Some(b) = self.batches.get_mut(i) {
            let from = b.sealed.first_sequence.max(first);
            let to = b.sealed.end_sequence().min(end);
            if from >= to {
                break;
            }
            if i >= self.written {
                let e = Error::protocol("a confirmation of what was not sent");
                return Err(e
                    .on_field("confirm.runs")
                    .numbers(b.sealed.first_sequence, end));
            }
            b.completion
                .complete(from, to - from, outcome(from - first));
            b.remaining = b.remaining.saturating_sub(to - from);
            i += 1;
        }
        while self.written > 0 && self.batches.front().is_some_and(|b| b.remaining == 0) {
            self.written -= 1;
            if let Some(b) = self.batches.pop_front() {
                if self.spare.len() < SPARE_BUFFERS {
                    self.spare.extend(b.sealed.reclaim());
                }
            }
        }
        if self.closing {
            self.pen.wake();
        }
        Ok(())
    }

    pub(super) fn pong_for(&mut self, ping: &pb::Ping) -> Result<()> {
        if !Credit::from_pb(ping.sent).is_zero() {
            return Err(
                Error::protocol("a broker sends no credit to a producer").on_field("ping.sent")
            );
        }
        let pong = pb::Pong {
            id: ping.id,
            epoch: self.epoch,
            received: Some(pb::Credit::default()),
            limit: Some(pb::Credit::default()),
        };
        self.control.push_back(frame(Frame::Pong(pong)));
        self.pen.wake();
        Ok(())
    }

    /// All that was written is confirmed.
    pub(super) fn quiet(&self) -> bool {
        self.written == 0
    }

    pub(super) fn empty(&self) -> bool {
        self.batches.is_empty() && self.open.is_none()
    }

    pub(super) fn broken(&mut self) {
        self.up = false;
        self.attempt += 1; // the writer of the old stream ends
        self.pen.wake();
    }

    pub(super) fn end(&mut self, e: Error) {
        self.broken();
        let e = e.on_queue(&self.queue);
        self.seal();
        for b in self.batches.drain(..) {
            // Sequences that were confirmed before keep their result: it is found first.
            let (first, count) = (b.sealed.first_sequence, u64::from(b.sealed.records));
            b.completion
                .complete(first, count, Outcome::Failed(e.clone()));
        }
        self.written = 0;
        self.ended = Some(e);
        self.wake_waiters();
    }
}
