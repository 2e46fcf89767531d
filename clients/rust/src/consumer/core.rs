//! The state of a consumer or reader: pure but for wakers; the time is passed in.
//!
//! Invariants: `in_flight` is the sum of the open deliveries of `slabs` (of a reader: of the
//! frames that are not consumed), of whatever epoch; `received` never exceeds `granted`;
//! `granted` never exceeds what `wanted` was when it was sent, which is
//! `received - in_flight + max`. So what is delivered and unsettled never exceeds `max`.
//!
//! What the application has marked as acknowledged counts as in flight until it is gathered,
//! which is done before anything is decided by these numbers. `slack` is given only while
//! there are acknowledgements that the writer is about to come for.

mod receive;
mod send;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::delivery::Nack;
use super::slab::{Clock, Slab, Slack, State};
use super::unanswered::{Nacks, Unanswered};
use crate::error::{Error, Result};
use crate::events::Event;
use crate::pb;
use crate::ranges::{Gathered, OffsetRange};
use crate::registry;
use crate::stream::{Heart, Pen};
use crate::types::{Credit, Mode, Position};

/// Whom a stream receives for.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Group {
        group: String,
        mode: Option<Mode>,
        start: Option<Position>,
    },
    Reader {
        start: pb::Start,
        stop: Option<pb::Stop>,
        rate: u64,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub target: Target,
    pub max: Credit,
    pub auto_extend: bool,
    pub max_processing: Duration,
    pub ack_linger: Duration,
}

/// A frame that the application has not begun with; readers have no slab.
#[derive(Debug)]
pub(crate) struct Ready {
    pub frame: crate::wire::DeliveryFrame,
    pub slab: Option<Arc<Slab>>,
}

/// The broker asked the stream to move.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draining {
    pub deadline: Instant,
    /// Until then what is held may be settled on the old stream.
    move_at: Instant,
    pub reconnect_after: Duration,
}

#[derive(Debug)]
pub(crate) struct Core {
    pub pen: Arc<Pen>,
    pub attempt: u64,
    pub heart: Heart,
    pub clock: Arc<Clock>,
    pub slack: Arc<Slack>,
    pub draining: Option<Draining>,
    /// The application is done; the stream ends by then.
    pub closing: Option<Instant>,
    pub close_sent: bool,
    /// A reader's stop was reached.
    pub at_stop: bool,
    /// How the consumer ended: as it should, or why not.
    pub ended: Option<Result<()>>,
    /// Hooks to be called once the lock is free.
    pub events: Vec<Event>,

    pub queue: String,
    pub session: String,
    pub tuning: pb::QueueTuning,
    pub mode: Option<Mode>,
    pub start_offset: u64,
    options: Options,
    epoch: u64,
    up: bool,
    begun: bool,
    next_offset: u64,

    received: Credit,
    granted: Credit,
    in_flight: Credit,
    max_bytes: u64,

    /// Of the slack, when it was given last.
    given: i64,
    slabs: BTreeMap<u64, Arc<Slab>>,
    /// No delivery of the slabs costs more.
    largest: u32,
    next_slab: u64,
    ready: VecDeque<Ready>,

    acks: Gathered,
    ack_since: Instant,
    nacks: VecDeque<Nacks>,
    pub(super) unanswered: Unanswered,
    extends: Gathered,
    extend_at: Instant,
    control: VecDeque<Bytes>,
}

impl Core {
    pub(crate) fn new(queue: String, options: Options, heart: Heart) -> Core {
        let now = heart.last_received;
        Core {
            pen: Arc::default(),
            attempt: 0,
            heart,
            clock: Arc::new(Clock::new(now)),
            slack: Arc::default(),
            given: 0,
            largest: 0,
            draining: None,
            closing: None,
            close_sent: false,
            at_stop: false,
            ended: None,
            events: Vec::new(),
            queue,
            session: String::new(),
            tuning: pb::QueueTuning::default(),
            mode: None,
            start_offset: 0,
            max_bytes: options.max.bytes,
            options,
            epoch: 0,
            up: false,
            begun: false,
            next_offset: 0,
            received: Credit::default(),
            granted: Credit::default(),
            in_flight: Credit::default(),
            slabs: BTreeMap::new(),
            next_slab: 0,
            ready: VecDeque::new(),
            acks: Gathered::default(),
            ack_since: now,
            nacks: VecDeque::new(),
            unanswered: Unanswered::default(),
            extends: Gathered::default(),
            extend_at: now,
            control: VecDeque::new(),
        }
    }

    pub(crate) fn is_reader(&self) -> bool {
        matches!(self.options.target, Target::Reader { .. })
    }

    pub(crate) fn group(&self) -> &str {
        match &self.options.target {
            Target::Group { group, .. } => group,
            Target::Reader { .. } => "",
        }
    }

    pub(crate) fn in_flight(&self) -> Credit {
        self.in_flight
    }

    pub(crate) fn is_up(&self) -> bool {
        self.up
    }

    /// What was settled and is not sent.
    pub(crate) fn unsent(&self) -> u64 {
        self.acks.count + self.nacks.iter().map(|n| n.offsets.count).sum::<u64>()
    }

    pub(crate) fn next_ready(&mut self) -> Option<Ready> {
        self.ready.pop_front()
    }

    // ---- Settling.

    fn check_open(&self) -> Result<()> {
        match &self.ended {
            None => Ok(()),
            Some(Ok(())) => Err(Error::closed("consumer").on_queue(&self.queue)),
            Some(Err(e)) => Err(e.clone()),
        }
    }

    /// Settles a delivery, once; `how` is none for an acknowledgement. Settling it again, or
    /// when it was revoked, does nothing.
    pub(crate) fn settle(
        &mut self,
        slab: &Slab,
        index: usize,
        how: Option<Nack>,
        now: impl FnOnce() -> Instant,
    ) -> Result<()> {
        let mut first = self.gather_marks();
        if slab.is_open(index) {
            self.check_open()?;
            self.clock.active_now();
            self.leave(slab, index, State::Settled);
            let (offset, _) = slab.place(index);
            match how {
                Some(how) => self.nack(offset, how),
                None => {
                    first |= self.acks.is_empty();
                    self.acks.push(offset);
                }
            }
        }
        if first {
            self.ack_since = now();
        }
        if !self.acks.is_empty() && self.ended.is_none() {
            let urgent = self.ack_urgent();
            if first || urgent {
                self.pen.wake();
            }
            self.given = match urgent {
                true => i64::MAX, // until the writer comes
                false => self.quiet(),
            };
            self.slack.give(self.given);
        }
        Ok(())
    }

    fn nack(&mut self, offset: u64, how: Nack) {
        match self.nacks.iter_mut().find(|n| n.how == how) {
            Some(same) => same.offsets.push(offset),
            None => {
                let mut offsets = Gathered::default();
                offsets.push(offset);
                self.nacks.push_back(Nacks { how, offsets });
            }
        }
        self.pen.wake();
    }

    /// Gathers what was acknowledged by a mark, and leaves no slack. True if there was no
    /// acknowledgement before: then it is up to the caller to see that the writer comes.
    fn gather_marks(&mut self) -> bool {
        if self.slack.close() == std::mem::take(&mut self.given) {
            return false;
        }
        let none = self.acks.is_empty();
        let (acks, in_flight) = (&mut self.acks, &mut self.in_flight);
        self.slabs.retain(|_, slab| {
            !slab.gather(|offset, size| {
                acks.push(offset);
                *in_flight = in_flight.minus(Credit::new(1, u64::from(size)));
            })
        });
        none && !self.acks.is_empty()
    }

    pub(crate) fn gather(&mut self, now: Instant) {
        if self.gather_marks() {
            self.ack_since = now;
            self.pen.wake();
        }
    }

    /// Takes a delivery out of what is in flight.
    fn leave(&mut self, slab: &Slab, index: usize, state: State) {
        let (size, last) = slab.end(index, state);
        self.in_flight = self.in_flight.minus(Credit::new(1, u64::from(size)));
        if last {
            self.slabs.remove(&slab.id);
        }
    }

    pub(crate) fn extend(&mut self, slab: &Slab, index: usize, now: Instant) -> Result<()> {
        if !matches!(slab.state(index), State::Buffered | State::Taken) {
            return Ok(());
        }
        self.check_open()?;
        slab.touch(index, self.clock.tick(now));
        self.extends.push(slab.place(index).0);
        self.pen.wake();
        Ok(())
    }

    /// A reader's application has seen all of a frame.
    pub(crate) fn consumed(&mut self, cost: Credit) {
        self.in_flight = self.in_flight.minus(cost);
        if self.grant_due() {
            self.pen.wake();
        }
    }

    /// Notes what is to be extended now.
    fn auto_extend(&mut self, now: Instant) {
        let now = self.clock.tick(now);
        let bound = u32::try_from(self.options.max_processing.as_millis()).unwrap_or(u32::MAX);
        let waiting = now.saturating_sub(self.clock.active()) <= bound;
        let extends = &mut self.extends;
        for slab in self.slabs.values() {
            slab.each_open(|index, offset, taken| {
                if match taken {
                    true => now.saturating_sub(slab.taken_at(index)) <= bound,
                    false => waiting,
                } {
                    extends.push(offset);
                }
            });
        }
    }

    fn extend_every(&self) -> Duration {
        Duration::from_millis(self.tuning.ack_deadline_ms.unwrap_or_default().max(2)) / 2
    }

    /// The offsets that this consumer answers for: what is open, what was settled but not
    /// sent, and of what is unanswered as much as the broker lets it state.
    fn held(&mut self) -> Vec<OffsetRange> {
        let mut held = Gathered::default();
        for slab in self.slabs.values() {
            slab.each_open(|_, offset, _| held.push(offset));
        }
        let settled = self.nacks.iter().map(|n| &n.offsets).chain([&self.acks]);
        held.extend(settled.flat_map(Gathered::iter));
        held.join();
        let most = registry::LIMIT_MAX_HELD_RANGES as usize;
        self.unanswered.trim(most.saturating_sub(held.ranges()));
        held.extend(self.unanswered.ranges());
        held.take(usize::MAX)
    }

    // ---- Granting.

    /// The limit that the account allows now.
    fn wanted(&self) -> Credit {
        let max = Credit::new(self.options.max.messages, self.max_bytes);
        self.received.plus(max.minus(self.in_flight))
    }

    /// By how much the limit may rise now.
    fn more(&self) -> Credit {
        if !self.up || self.close_sent || self.closing.is_some() || self.draining.is_some() {
            return Credit::default();
        }
        self.wanted().minus(self.granted)
    }

    /// Raising the limit is worth a frame of its own: half of it is used, or nothing is left
    /// to settle, or the largest message would not fit.
    fn grant_due(&self) -> bool {
        let more = self.more();
        if more.is_zero() {
            return false;
        }
        let unused = self.granted.minus(self.received).bytes;
        more.messages >= (self.options.max.messages / 2).max(1)
            || more.bytes >= (self.max_bytes / 2).max(1)
            || self.in_flight.messages == 0
            || (more.bytes >= self.max_bytes / 16
                && unused < self.tuning.max_message_bytes.unwrap_or_default())
    }

    /// Gathering acknowledgements longer would hold somebody up.
    fn ack_urgent(&self) -> bool {
        let max = self.options.max.messages;
        self.in_flight.messages == 0
            || self.acks.count >= max / 8
            || self.in_flight.messages + self.acks.count >= max
            || self.closing.is_some()
            || self.draining.is_some()
            || self.grant_due()
    }

    /// How many deliveries can be acknowledged before gathering could hold somebody up: what
    /// `ack_urgent` looks at, each of them as large as the largest.
    fn quiet(&self) -> i64 {
        let (max, more) = (self.options.max.messages, self.more());
        let unused = self.granted.minus(self.received).bytes;
        let bytes = match unused < self.tuning.max_message_bytes.unwrap_or_default() {
            true => self.max_bytes / 16,
            false => self.max_bytes / 2,
        };
        let least = [
            self.in_flight.messages,
            (max / 8).saturating_sub(self.acks.count),
            (max / 2).max(1).saturating_sub(more.messages),
            bytes.saturating_sub(more.bytes) / u64::from(self.largest.max(1)),
        ];
        let least = least.into_iter().min().unwrap_or_default();
        i64::try_from(least.saturating_sub(1)).unwrap_or(i64::MAX)
    }

    // ---- The end.

    /// The stream is gone; its writer ends.
    pub(crate) fn broken(&mut self) {
        self.up = false;
        self.attempt += 1;
        self.pen.wake();
    }

    /// Ends for good. What a consumer has not taken is no longer its own; what a reader has
    /// received is still to be read.
    pub(crate) fn end(&mut self, how: Result<()>) {
        self.gather_marks();
        self.broken();
        self.ended.get_or_insert(how);
        if self.is_reader() {
            return;
        }
        self.ready.clear();
        for slab in std::mem::take(&mut self.slabs).into_values() {
            slab.each_open(|index, _, taken| {
                if !taken {
                    slab.end(index, State::Revoked);
                }
            });
        }
        self.in_flight = Credit::default();
    }
}
