//! What goes out.

use std::time::Instant;

use bytes::Bytes;

use super::{Batch, Core, Demanded};
use crate::pb::{self, publish_request::Frame};
use crate::registry;
use crate::stream::Next;
use crate::types::{Credit, CreditReason};
use crate::wire::{grpc_frame, SealedBatch};

// A batch that is not full goes out at once while few batches are unconfirmed and few writes
// are under way; beyond that it grows until a confirmation or a write ends, or until it is
// worth a frame of its own. So frames are small at rest and large under load, without a timer.
const SMALL_BATCHES: usize = 4;
const UNWRITTEN_FRAMES: usize = 2;

pub(super) fn frame(frame: Frame) -> Bytes {
    grpc_frame(&pb::PublishRequest { frame: Some(frame) })
}

/// What can be done about records.
enum Due {
    Frame(Bytes),
    /// The batch may still grow until then.
    At(Instant),
    /// The record at the front, of this cost, waits for credit.
    Stuck(u64),
    Nothing,
}

impl Core {
    pub(in crate::producer) fn begin_attempt(&mut self, client: String, now: Instant) {
        self.attempt += 1;
        self.pen = Default::default();
        self.up = false;
        self.close_sent = false;
        self.draining = None;
        self.heart.reset(now);
        self.control.clear();
        let open = pb::PublishOpen {
            protocol: registry::LIMIT_PROTOCOL_VERSION as u32,
            queue: self.queue.clone(),
            producer_id: self.producer_id.clone(),
            client,
            resume_sequence: self.lowest_sequence(),
        };
        self.control.push_back(frame(Frame::Open(open)));
    }

    /// The lowest sequence that may still be sent.
    pub(super) fn lowest_sequence(&self) -> u64 {
        match (self.batches.front(), &self.open) {
            (Some(b), _) => b.sealed.first_sequence,
            (None, Some(open)) => open.first_sequence,
            (None, None) => self.next_sequence,
        }
    }

    pub(in crate::producer) fn next_frame(
        &mut self,
        attempt: u64,
        outstanding: usize,
        now: Instant,
    ) -> Next {
        if attempt != self.attempt {
            return Next::End;
        }
        if let Some(bytes) = self.control.pop_front() {
            return Next::Write(bytes);
        }
        if !self.up {
            return Next::Idle;
        }
        let mut later = None;
        if !self.close_sent {
            let mut stuck = 0;
            match self.due_batch(outstanding, now) {
                Due::Frame(bytes) => return Next::Write(bytes),
                Due::Stuck(first_record) => stuck = first_record,
                Due::At(when) => later = Some(when),
                Due::Nothing => {}
            }
            if let Some(demand) = self.demand(stuck) {
                return Next::Write(frame(Frame::Demand(demand)));
            }
            let all_written = self.open.is_none() && self.written == self.batches.len();
            if all_written && (self.closing.is_some() || self.draining.is_some()) {
                self.close_sent = true;
                return Next::Write(frame(Frame::Close(pb::Close {})));
            }
        }
        if self.heart.due {
            let ping = self.heart.ping(self.epoch, self.sent, self.limit);
            return Next::Write(frame(Frame::Ping(ping)));
        }
        later.map_or(Next::Idle, Next::At)
    }

    fn due_batch(&mut self, outstanding: usize, now: Instant) -> Due {
        if self.written == self.batches.len() {
            let Some(open) = &self.open else {
                return Due::Nothing;
            };
            let worth = open.worth_sending(&self.limits);
            let hurry = self.closing.is_some()
                || self.draining.is_some()
                || self.flushing > 0
                || !self.waiters.is_empty();
            if !worth && outstanding >= UNWRITTEN_FRAMES {
                return Due::Nothing;
            }
            if !worth && !hurry {
                if self.written >= SMALL_BATCHES {
                    return Due::Nothing;
                }
                let due = open.since + self.limits.linger;
                if now < due {
                    return Due::At(due);
                }
            }
            self.seal();
        }
        self.write_batch()
    }

    /// The next batch, or as much of it as the epoch's credit allows. Only what an earlier
    /// epoch left can be beyond the credit.
    fn write_batch(&mut self) -> Due {
        let i = self.written;
        let left = self.allowed().minus(self.sent);
        let batch = &self.batches[i];
        if !batch.cost().within(left) {
            let (n, first_record) = batch.sealed.fitting(left.messages, left.bytes);
            if n == 0 {
                return Due::Stuck(first_record);
            }
            self.split(i, n);
        }
        let batch = &self.batches[i];
        self.sent = self.sent.plus(batch.cost());
        self.written += 1;
        Due::Frame(batch.sealed.frame())
    }

    /// Cuts a batch after `n` records.
    pub(super) fn split(&mut self, i: usize, n: u32) {
        let batch = &self.batches[i];
        let (a, b) = batch.sealed.split(n);
        let part = |sealed: SealedBatch| {
            let (first, count) = (sealed.first_sequence, u64::from(sealed.records));
            let known = batch.completion.known(first + batch.renumbered, count);
            Batch {
                remaining: count - known,
                sealed,
                completion: batch.completion.clone(),
                renumbered: batch.renumbered,
            }
        };
        let (a, b) = (part(a), part(b));
        self.batches[i] = a;
        self.batches.insert(i + 1, b);
    }

    /// Says what waits beyond the credit, when that changed enough to matter, and gives back
    /// what cannot be used while others wait for it.
    fn demand(&mut self, stuck: u64) -> Option<pb::Demand> {
        let mut waiting = self.waiting;
        let mut next = stuck;
        if stuck > 0 {
            waiting = waiting.plus(self.admitted.minus(self.sent));
        } else if let Some((size, _)) = self.waiters.values().next() {
            next = *size;
        }
        let give = self.to_give_back(stuck, next);
        let was = self.demanded;
        let same = if waiting.is_zero() {
            was.waiting.is_zero()
        } else {
            was.fresh
                && next <= was.next
                && waiting.messages < 2 * was.waiting.messages
                && waiting.bytes < 2 * was.waiting.bytes
        };
        if same && give.is_zero() {
            return None;
        }
        self.returned = self.returned.plus(give);
        self.demanded = Demanded {
            waiting,
            next,
            fresh: true,
        };
        Some(pb::Demand {
            waiting: Some(waiting.to_pb()),
            next_record_bytes: next,
            returned: (!self.returned.is_zero()).then(|| self.returned.to_pb()),
        })
    }

    /// The unspent credit, if others wait for it and nothing here can be sent with it.
    fn to_give_back(&self, stuck: u64, next: u64) -> Credit {
        if self.reason != Some(CreditReason::FairShare) {
            return Credit::default();
        }
        let left = match stuck {
            0 => self.allowed().minus(self.admitted),
            _ => self.allowed().minus(self.sent),
        };
        let usable = stuck == 0 && next > 0 && Credit::new(1, next).within(left);
        match usable {
            true => Credit::default(), // it is about to be sent
            false => left,
        }
    }
}
