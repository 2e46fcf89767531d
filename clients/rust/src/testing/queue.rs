//! A queue's records and its producers' credit.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::{Instant, SystemTime};

use prost::Message as _;

use super::group::Group;
use super::session::{Consuming, End, Session, Sessions, Target};
use super::state::{at_field, numbers, refusal, Answer};
use crate::pb::{self, ErrorKind};
use crate::types::{unix_ms, Credit, CreditReason};

/// Records that one delivery holds at most.
pub(super) const PER_DELIVERY: usize = 1_000;

pub(super) struct Stored {
    pub record: pb::Record,
    pub size: u64,
    pub appended_at: u64,
}

/// The kept records: the first has offset `head`.
#[derive(Default)]
pub(super) struct Log {
    pub head: u64,
    records: VecDeque<Stored>,
}

impl Log {
    pub(super) fn tail(&self) -> u64 {
        self.head + self.records.len() as u64
    }

    pub(super) fn get(&self, offset: u64) -> Option<&Stored> {
        let index = offset.checked_sub(self.head)?;
        self.records.get(usize::try_from(index).ok()?)
    }

    pub(super) fn append(&mut self, record: pb::Record) {
        self.records.push_back(Stored {
            size: record.encoded_len() as u64,
            appended_at: unix_ms(SystemTime::now()),
            record,
        });
    }
}

/// Adds a record to a delivery, to its last run if it continues that.
pub(super) fn add(d: &mut pb::Delivery, offset: u64, attempt: u32, stored: &Stored) {
    d.records.push(stored.record.clone());
    if let Some(last) = d.runs.last_mut() {
        if last.first_offset + u64::from(last.count) == offset
            && last.attempt == attempt
            && last.appended_at_unix_ms == stored.appended_at
        {
            last.count += 1;
            return;
        }
    }
    d.runs.push(pb::delivery::Run {
        first_offset: offset,
        count: 1,
        appended_at_unix_ms: stored.appended_at,
        attempt,
    });
}

/// What the broker knows of a producer id.
pub(super) struct Known {
    pub epoch: u64,
    /// The sequence that is expected next.
    pub next: u64,
    pub runs: Vec<pb::confirm::Run>,
    pub session: Option<u64>,
}

pub(super) struct Queue {
    pub name: String,
    pub revision: u64,
    pub tuning: pb::QueueTuning,
    pub log: Log,
    pub groups: BTreeMap<String, Group>,
    pub known: BTreeMap<String, Known>,
    pub producers: Vec<u64>,
    /// And readers.
    pub consumers: Vec<u64>,

    pub withheld: bool,
    pub reason: Option<CreditReason>,
    pub exact: Option<Credit>,
    pub hold_confirms: bool,
    pub refusals: (u32, pb::Error),
    pub breaks: u32,
}

impl Queue {
    pub(super) fn new(name: &str, tuning: pb::QueueTuning) -> Self {
        Queue {
            name: name.to_owned(),
            revision: 1,
            tuning,
            log: Log::default(),
            groups: BTreeMap::new(),
            known: BTreeMap::new(),
            producers: Vec::new(),
            consumers: Vec::new(),
            withheld: false,
            reason: None,
            exact: None,
            hold_confirms: false,
            refusals: (0, pb::Error::default()),
            breaks: 0,
        }
    }

    /// What some group has not settled: what fills the window.
    pub(super) fn unsettled(&self) -> Credit {
        let lowest = self.groups.values().map(|g| g.cursor).min();
        let from = lowest.unwrap_or(0).max(self.log.head);
        let open = |offset: u64| {
            self.groups.is_empty() || self.groups.values().any(|g| !g.is_settled(offset))
        };
        (from..self.log.tail())
            .filter(|offset| open(*offset))
            .filter_map(|offset| self.log.get(offset))
            .fold(Credit::default(), |sum, r| sum.plus(Credit::new(1, r.size)))
    }

    /// Raises the producers' limits as far as the window goes, and tells them when anything
    /// changed, or always.
    pub(super) fn grant(&mut self, sessions: &mut Sessions, tell: bool) {
        use pb::OverflowPolicy as P;
        let window = Credit::new(self.tuning.window_messages(), self.tuning.window_bytes());
        let policy = self.tuning.overflow();
        let mut used = match policy {
            P::Block | P::Reject => self.unsettled(),
            _ => Credit::default(),
        };
        for id in &self.producers {
            if let Some(p) = sessions.get_mut(id).and_then(Session::producing) {
                used = used.plus(p.unspent());
            }
        }
        for id in &self.producers {
            let Some(session) = sessions.get_mut(id) else {
                continue;
            };
            let epoch = session.epoch;
            let Some(p) = session.producing() else {
                continue;
            };
            let mut limit = p.limit;
            let mut reason = self.reason;
            if let Some(exact) = self.exact {
                limit.messages = limit.messages.max(exact.messages);
                limit.bytes = limit.bytes.max(exact.bytes);
            } else if !self.withheld {
                // A quarter of what is free at a time, so that each new producer finds some.
                let (free, have) = (window.minus(used), p.unspent());
                let quarter = |free: u64, have: u64| (free + have).div_ceil(4);
                let want = Credit::new(
                    quarter(free.messages, have.messages),
                    quarter(free.bytes, have.bytes).max(p.next),
                );
                let more = want.minus(have);
                let more =
                    Credit::new(more.messages.min(free.messages), more.bytes.min(free.bytes));
                limit = limit.plus(more);
                used = used.plus(more);
                let now = have.plus(more);
                if now.messages == 0 || now.bytes < p.next.max(1) {
                    reason = Some(match policy {
                        P::Reject => CreditReason::FullReject,
                        _ => CreditReason::WindowFull,
                    });
                }
            }
            p.reason_since = reason.map(|_| p.reason_since.unwrap_or_else(Instant::now));
            let code = reason.map_or(0, CreditReason::to_pb);
            let same = limit == p.limit;
            let told = p.last_grant.is_some_and(|last| last.reason == code);
            if !tell && same && told {
                continue;
            }
            let age = p
                .reason_since
                .map(|since| since.elapsed().as_millis() as u64);
            let grant = pb::Grant {
                epoch,
                limit: Some(limit.to_pb()),
                reason: code,
                reason_age_ms: age.unwrap_or(0),
                window_used_bytes: used.bytes,
                window_bytes: window.bytes,
            };
            p.limit = limit;
            p.last_grant = Some(grant);
            session.publish(pb::publish_response::Frame::Grant(grant));
        }
    }

    pub(super) fn confirm_all(&mut self, sessions: &mut Sessions) {
        let durability = self.tuning.durability() as i32;
        for id in &self.producers {
            let Some(session) = sessions.get_mut(id) else {
                continue;
            };
            if let Some(frame) = session.producing().and_then(|p| p.confirm(durability)) {
                session.publish(frame);
            }
        }
    }

    /// Delivers whatever can be delivered.
    pub(super) fn pump(&mut self, sessions: &mut Sessions, now: Instant) {
        for group in self.groups.values_mut() {
            while group.deliver(&self.log, &self.tuning, sessions, now) {}
        }
        for id in &self.consumers {
            if let Some(session) = sessions.get_mut(id) {
                read(&self.log, &self.tuning, session, now);
            }
        }
    }

    pub(super) fn tick(&mut self, sessions: &mut Sessions, now: Instant) {
        for group in self.groups.values_mut() {
            group.tick(&self.log, &self.tuning, sessions, now);
        }
        self.pump(sessions, now);
    }

    pub(super) fn revoke(&mut self, group: &str, offsets: Range<u64>, sessions: &mut Sessions) {
        let Some(group) = self.groups.get_mut(group) else {
            return;
        };
        let held: Vec<_> = group.in_flight.range(offsets).map(|(o, _)| *o).collect();
        for offset in held {
            let reason = pb::RevokeReason::Deadline;
            group.revoke(offset, reason, &self.log, &self.tuning, sessions);
        }
    }

    /// Removes the records below an offset; returns how many.
    pub(super) fn purge(
        &mut self,
        before: u64,
        reason: pb::GapReason,
        sessions: &mut Sessions,
    ) -> u64 {
        let (head, before) = (self.log.head, before.min(self.log.tail()));
        if before <= head {
            return 0;
        }
        let gap = |first_offset| {
            pb::consume_response::Frame::Gap(pb::Gap {
                ranges: vec![pb::OffsetRange {
                    first_offset,
                    count: before - first_offset,
                }],
                reason: reason as i32,
                partition: 0,
            })
        };
        for group in self.groups.values_mut() {
            if group.purge(head..before, &self.log, &self.tuning, sessions) {
                for id in &group.members {
                    if let Some(session) = sessions.get_mut(id) {
                        session.consume(gap(head));
                    }
                }
            }
        }
        for id in &self.consumers {
            let Some(session) = sessions.get_mut(id) else {
                continue;
            };
            let Some(Consuming {
                target: Target::Reader(reader),
                ..
            }) = session.consuming()
            else {
                continue;
            };
            if reader.next < before {
                let frame = gap(reader.next);
                reader.next = before;
                session.consume(frame);
            }
        }
        let purged = before - head;
        self.log.records.drain(..purged as usize);
        self.log.head = before;
        self.grant(sessions, false);
        purged
    }

    /// The offset of a place to begin.
    pub(super) fn place(&self, start: Option<pb::Start>, field: &str) -> Answer<u64> {
        use pb::start::Position as P;
        let (head, tail) = (self.log.head, self.log.tail());
        Ok(match start.and_then(|s| s.position) {
            Some(P::Offset(offset)) if offset < head || offset > tail => {
                let mut e = refusal(ErrorKind::OutOfRange, &self.name, "not kept");
                (e.head_offset, e.tail_offset) = (head, tail);
                let limit = if offset < head { head } else { tail };
                return Err(numbers(at_field(e, field), limit, offset));
            }
            Some(P::Offset(offset)) => offset,
            Some(P::TimeUnixMs(ms)) => {
                let later = |r: &Stored| r.appended_at >= ms;
                let index = self.log.records.iter().position(later);
                index.map_or(tail, |i| head + i as u64)
            }
            Some(P::Latest(_)) => tail,
            Some(P::Last(n)) => tail.saturating_sub(n).max(head),
            Some(P::Earliest(_)) | None => head,
        })
    }

    /// Takes back what a session held. REQUIRES: it is not among `sessions` any more.
    pub(super) fn leave(&mut self, session: &Session, sessions: &mut Sessions) {
        self.producers.retain(|id| *id != session.id);
        self.consumers.retain(|id| *id != session.id);
        for known in self.known.values_mut() {
            known.session = known.session.filter(|id| *id != session.id);
        }
        for group in self.groups.values_mut() {
            group.leave(session.id);
        }
        self.pump(sessions, Instant::now());
        self.grant(sessions, false);
    }
}

/// Sends a reader what it has credit for, up to its stop.
fn read(log: &Log, tuning: &pb::QueueTuning, session: &mut Session, now: Instant) {
    use pb::consume_response::Frame;
    if session.ended.is_some() {
        return;
    }
    loop {
        let Some(consuming) = session.consuming() else {
            return;
        };
        let mut delivery = pb::Delivery::default();
        let mut stopped = None;
        while delivery.records.len() < PER_DELIVERY {
            let Target::Reader(reader) = &consuming.target else {
                return;
            };
            let stored = log.get(reader.next);
            if reader.stops(stored.map(|s| s.appended_at)) {
                stopped = Some(reader.next);
                break;
            }
            let Some(stored) = stored else {
                break;
            };
            if reader.waits_for_rate(now) || !consuming.take(stored.size, tuning) {
                break;
            }
            if let Target::Reader(reader) = &mut consuming.target {
                add(&mut delivery, reader.next, 0, stored);
                reader.next += 1;
                reader.count += 1;
            }
        }
        let more = delivery.records.len() == PER_DELIVERY;
        if !delivery.records.is_empty() {
            session.consume(Frame::Delivery(delivery));
        }
        if let Some(next_offset) = stopped {
            let reason = pb::EndReason::Stop as i32;
            session.consume(Frame::End(pb::End {
                reason,
                next_offset,
            }));
            session.end(End::Finished);
        }
        if !more || stopped.is_some() {
            return;
        }
    }
}
