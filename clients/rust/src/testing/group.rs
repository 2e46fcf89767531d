//! A group's cursor, and what each of its members holds.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::{Duration, Instant, SystemTime};

use super::queue::{add, Log, PER_DELIVERY};
use super::session::{Session, Sessions};
use crate::pb::{self, RevokeReason};
use crate::types::Credit;

pub(super) struct Flight {
    pub member: u64,
    pub attempt: u32,
    pub deadline: Instant,
}

pub(super) struct Parked {
    pub attempts: u32,
    pub reason: String,
    pub at: SystemTime,
}

/// An offset below `next` is settled, or in one of the maps; never in two.
pub(super) struct Group {
    pub name: String,
    pub mode: pb::GroupMode,
    pub members: Vec<u64>,
    turn: usize,
    /// The first offset that was never delivered.
    pub next: u64,
    /// The lowest unsettled offset.
    pub cursor: u64,
    /// Settled offsets above the cursor.
    settled: BTreeSet<u64>,
    pub in_flight: BTreeMap<u64, Flight>,
    /// Attempts so far, and when the next one is due.
    pub retrying: BTreeMap<u64, (u32, Instant)>,
    /// Attempts so far of what is to be delivered again now.
    pub ready: BTreeMap<u64, u32>,
    pub parked: BTreeMap<u64, Parked>,
    pub gone: u64,
    pub again: u64,
}

/// How a failed attempt goes on.
pub(super) enum Again {
    Now,
    /// After this, or the queue's backoff.
    Later(Option<Duration>),
}

pub(super) fn ack_deadline(tuning: &pb::QueueTuning) -> Duration {
    Duration::from_millis(tuning.ack_deadline_ms())
}

impl Group {
    pub(super) fn new(name: &str, mode: pb::GroupMode, start: u64) -> Self {
        Group {
            name: name.to_owned(),
            mode,
            members: Vec::new(),
            turn: 0,
            next: start,
            cursor: start,
            settled: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            retrying: BTreeMap::new(),
            ready: BTreeMap::new(),
            parked: BTreeMap::new(),
            gone: 0,
            again: 0,
        }
    }

    pub(super) fn is_settled(&self, offset: u64) -> bool {
        offset < self.cursor || self.settled.contains(&offset)
    }

    fn is_somewhere(&self, offset: u64) -> bool {
        self.in_flight.contains_key(&offset)
            || self.retrying.contains_key(&offset)
            || self.ready.contains_key(&offset)
            || self.parked.contains_key(&offset)
    }

    /// The next offset to be delivered, and its attempts so far if that is again.
    fn candidate(&mut self, log: &Log) -> Option<(u64, Option<u32>)> {
        if let Some((&offset, &attempts)) = self.ready.first_key_value() {
            return Some((offset, Some(attempts)));
        }
        self.next = self.next.max(log.head);
        while self.is_settled(self.next) || self.is_somewhere(self.next) {
            self.next += 1;
        }
        (self.next < log.tail()).then_some((self.next, None))
    }

    /// Sends one delivery to the next member in turn that has room; false if there is none.
    pub(super) fn deliver(
        &mut self,
        log: &Log,
        tuning: &pb::QueueTuning,
        sessions: &mut Sessions,
        now: Instant,
    ) -> bool {
        self.turn = self.turn.wrapping_add(1);
        for i in 0..self.members.len() {
            let id = self.members[self.turn.wrapping_add(i) % self.members.len()];
            let Some(session) = sessions.get_mut(&id).filter(|s| s.ended.is_none()) else {
                continue;
            };
            let Some(consuming) = session.consuming() else {
                continue;
            };
            let mut delivery = pb::Delivery::default();
            while delivery.records.len() < PER_DELIVERY {
                let Some((offset, before)) = self.candidate(log) else {
                    break;
                };
                let Some(stored) = log.get(offset) else {
                    break;
                };
                if !consuming.take(stored.size, tuning) {
                    break;
                }
                if before.is_some() {
                    self.ready.remove(&offset);
                    self.again += 1;
                } else {
                    self.next = offset + 1;
                }
                let attempt = before.unwrap_or(0) + 1;
                self.hold(offset, id, attempt, now + ack_deadline(tuning));
                add(&mut delivery, offset, attempt, stored);
            }
            if !delivery.records.is_empty() {
                session.consume(pb::consume_response::Frame::Delivery(delivery));
                return true;
            }
        }
        false
    }

    pub(super) fn hold(&mut self, offset: u64, member: u64, attempt: u32, deadline: Instant) {
        let flight = Flight {
            member,
            attempt,
            deadline,
        };
        self.in_flight.insert(offset, flight);
    }

    /// Ends a delivery's being in flight.
    pub(super) fn release(
        &mut self,
        offset: u64,
        log: &Log,
        sessions: &mut Sessions,
    ) -> Option<Flight> {
        let flight = self.in_flight.remove(&offset)?;
        let bytes = log.get(offset).map_or(0, |s| s.size);
        let member = sessions.get_mut(&flight.member);
        if let Some(consuming) = member.and_then(Session::consuming) {
            consuming.in_flight = consuming.in_flight.minus(Credit::new(1, bytes));
        }
        Some(flight)
    }

    pub(super) fn revoke(
        &mut self,
        offset: u64,
        reason: RevokeReason,
        log: &Log,
        tuning: &pb::QueueTuning,
        sessions: &mut Sessions,
    ) {
        let Some(flight) = self.release(offset, log, sessions) else {
            return;
        };
        if reason == RevokeReason::Deadline {
            let why = "the deadline passed";
            self.failed(offset, flight.attempt, why, Again::Now, tuning);
        }
        if let Some(session) = sessions.get_mut(&flight.member) {
            session.consume(revoked(vec![offset], reason));
        }
    }

    /// Parks a record whose attempts are used up, or has it delivered again.
    pub(super) fn failed(
        &mut self,
        offset: u64,
        attempt: u32,
        reason: &str,
        again: Again,
        tuning: &pb::QueueTuning,
    ) {
        if attempt >= tuning.max_attempts() {
            return self.park(offset, attempt, reason);
        }
        let delay = match again {
            Again::Now => {
                self.ready.insert(offset, attempt);
                return;
            }
            Again::Later(Some(delay)) => delay,
            Again::Later(None) => {
                let doubled = 1 << attempt.saturating_sub(1).min(20);
                let ms = tuning.backoff_initial_ms().saturating_mul(doubled);
                Duration::from_millis(ms.min(tuning.backoff_max_ms()))
            }
        };
        let due = Instant::now() + delay;
        self.retrying.insert(offset, (attempt, due));
    }

    pub(super) fn park(&mut self, offset: u64, attempts: u32, reason: &str) {
        let parked = Parked {
            attempts,
            reason: reason.to_owned(),
            at: SystemTime::now(),
        };
        self.parked.insert(offset, parked);
    }

    pub(super) fn settle(&mut self, offset: u64) {
        if offset >= self.cursor {
            self.settled.insert(offset);
        }
        while self.settled.remove(&self.cursor) {
            self.cursor += 1;
        }
    }

    /// Settles what is about to be removed; true if some of it was not settled.
    pub(super) fn purge(
        &mut self,
        offsets: Range<u64>,
        log: &Log,
        tuning: &pb::QueueTuning,
        sessions: &mut Sessions,
    ) -> bool {
        let before = self.gone;
        for offset in offsets {
            if self.is_settled(offset) {
                continue;
            }
            self.gone += 1;
            self.revoke(offset, RevokeReason::Gone, log, tuning, sessions);
            self.retrying.remove(&offset);
            self.ready.remove(&offset);
            self.parked.remove(&offset);
            self.settle(offset);
        }
        self.gone > before
    }

    /// Begins anew at an offset.
    pub(super) fn seek(
        &mut self,
        to: u64,
        log: &Log,
        tuning: &pb::QueueTuning,
        sessions: &mut Sessions,
    ) {
        let held: Vec<_> = self.in_flight.keys().copied().collect();
        for offset in held {
            self.revoke(offset, RevokeReason::Seek, log, tuning, sessions);
        }
        self.settled.clear();
        self.retrying.clear();
        self.ready.clear();
        self.parked.clear();
        (self.cursor, self.next) = (to, to);
    }

    /// What the member held goes to others, as the same attempt's successor.
    pub(super) fn leave(&mut self, id: u64) {
        self.members.retain(|member| *member != id);
        let ready = &mut self.ready;
        self.in_flight.retain(|offset, flight| {
            let stays = flight.member != id;
            if !stays {
                ready.insert(*offset, flight.attempt);
            }
            stays
        });
    }

    pub(super) fn tick(
        &mut self,
        log: &Log,
        tuning: &pb::QueueTuning,
        sessions: &mut Sessions,
        now: Instant,
    ) {
        let late = self.in_flight.iter().filter(|(_, f)| now > f.deadline);
        let late: Vec<_> = late.map(|(offset, _)| *offset).collect();
        for offset in late {
            self.revoke(offset, RevokeReason::Deadline, log, tuning, sessions);
        }
        let ready = &mut self.ready;
        self.retrying.retain(|offset, (attempts, due)| {
            let waits = now < *due;
            if !waits {
                ready.insert(*offset, *attempts);
            }
            waits
        });
    }

    pub(super) fn describe(&self, log: &Log) -> pb::Group {
        let lag = (self.cursor..log.tail()).filter(|o| !self.is_settled(*o));
        pb::Group {
            name: self.name.clone(),
            mode: self.mode as i32,
            members: self.members.len() as u32,
            cursor_offset: self.cursor,
            lag_messages: lag.count() as u64,
            in_flight_messages: self.in_flight.len() as u64,
            retrying_messages: self.retrying.len() as u64,
            parked_messages: self.parked.len() as u64,
            gone_messages_total: self.gone,
            redelivered_messages_total: self.again,
            reading_from_disk: false,
            next_offset: self.next,
        }
    }
}

pub(super) fn revoked(offsets: Vec<u64>, reason: RevokeReason) -> pb::consume_response::Frame {
    let one = |first_offset| pb::OffsetRange {
        first_offset,
        count: 1,
    };
    pb::consume_response::Frame::Revoke(pb::Revoke {
        ranges: offsets.into_iter().map(one).collect(),
        reason: reason as i32,
        partition: 0,
    })
}
