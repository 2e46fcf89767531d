//! What comes in.

use std::time::{Duration, Instant};

use super::super::ack::Outcome;
use super::{Core, Demanded, SPARE_BUFFERS};
use crate::error::{Error, ErrorKind, Result};
use crate::events::Event;
use crate::pb::{self, publish_response::Frame};
use crate::registry;
use crate::types::{Credit, CreditReason, Durability};

impl Core {
    /// A new epoch: its totals start from 0, and all that is unconfirmed is sent again.
    pub(in crate::producer) fn opened(&mut self, o: pb::PublishOpened, now: Instant) -> Result<()> {
        if o.protocol != registry::LIMIT_PROTOCOL_VERSION as u32 {
            let e = Error::new(ErrorKind::Unsupported, "the broker speaks another protocol");
            return Err(e.numbers(registry::LIMIT_PROTOCOL_VERSION, u64::from(o.protocol)));
        }
        let resumed = self.next_sequence != 0;
        self.seal();
        if !resumed {
            self.next_sequence = o.next_sequence.max(1);
        } else if o.next_sequence > self.next_sequence {
            // Sequences that this producer never used: somebody else did.
            let e = Error::new(ErrorKind::Fenced, "another producer used this producer id");
            return Err(e.numbers(self.next_sequence, o.next_sequence));
        } else if o.next_sequence < self.lowest_sequence() {
            self.renumber(self.lowest_sequence() - o.next_sequence);
        }
        self.cut_at(o.next_sequence);
        self.written = 0;
        self.sent = Credit::default();
        self.limit = Credit::default();
        self.returned = Credit::default();
        self.admitted = self
            .batches
            .iter()
            .fold(Credit::default(), |sum, b| sum.plus(b.cost()));
        self.reason = None;
        self.demanded = Demanded::default();
        self.epoch = o.epoch;
        self.producer_id = o.producer_id;
        self.session = o.session;
        self.tuned(o.tuning.unwrap_or_default())?;
        let at_most = |ours: u64, theirs: u64| match theirs {
            0 => ours,
            theirs => ours.min(theirs),
        };
        let options = &self.options;
        let bytes = at_most(options.batch_bytes as u64, o.max_batch_bytes);
        let records = at_most(
            u64::from(options.batch_records),
            u64::from(o.max_batch_records),
        );
        self.limits.batch_bytes = bytes as usize;
        self.limits.batch_records = records as u32;
        self.heart.told(o.heartbeat_ms, o.dead_after_ms);
        self.heart.last_received = now;
        self.events.push(Event::Opened { resumed });
        self.up = true;
        self.pen.wake();
        Ok(())
    }

    /// The broker forgot sequences that it had confirmed: what is unconfirmed takes lower
    /// ones, from where the broker is.
    fn renumber(&mut self, lower_by: u64) {
        tracing::warn!(queue = %self.queue, producer = %self.producer_id, lower_by,
            "the broker lost confirmed sequences; renumbering");
        for b in &mut self.batches {
            b.sealed = b.sealed.renumbered(b.sealed.first_sequence - lower_by);
            b.renumbered += lower_by;
        }
        self.next_sequence -= lower_by;
    }

    /// No batch straddles what the broker has: all of it new, or all of it sent before.
    fn cut_at(&mut self, sequence: u64) {
        let straddles = |b: &super::Batch| {
            b.sealed.first_sequence < sequence && sequence < b.sealed.end_sequence()
        };
        if let Some(i) = self.batches.iter().position(straddles) {
            let n = sequence - self.batches[i].sealed.first_sequence;
            self.split(i, n as u32);
        }
    }

    fn tuned(&mut self, tuning: pb::QueueTuning) -> Result<()> {
        if let Some(least) = self.least {
            let has = tuning.durability.unwrap_or_default();
            if has < least.to_pb() {
                let text = "the queue's confirmations promise less than the producer wants";
                let e = Error::new(ErrorKind::InvalidArgument, text).on_field("tuning.durability");
                return Err(e.numbers(least.to_pb() as u64, has as u64));
            }
        }
        self.max_message_bytes = tuning.max_message_bytes.unwrap_or(u64::MAX);
        self.tuning = tuning;
        self.wake_waiters();
        Ok(())
    }

    pub(in crate::producer) fn receive(&mut self, frame: Frame, now: Instant) -> Result<()> {
        self.heart.last_received = now;
        match frame {
            Frame::Confirm(c) => {
                self.confirm(&c)?;
                if let Some(grant) = &c.grant {
                    self.grant(grant, now)?;
                }
            }
            Frame::Grant(g) => self.grant(&g, now)?,
            Frame::Refuse(r) => {
                let e = Error::from_pb(r.error.unwrap_or_default()).on_queue(&self.queue);
                let failed = |_| Outcome::Failed(e.clone());
                self.complete(r.first_sequence, r.count, failed)?;
            }
            Frame::Tuning(t) => self.tuned(t.tuning.unwrap_or_default())?,
            Frame::Drain(d) => self.drain(&d, now),
            Frame::Ping(p) => {
                let sent = Credit::from_pb(p.sent);
                if !sent.is_zero() {
                    return Err(crate::stream::mismatch(
                        "ping.sent",
                        Credit::default(),
                        sent,
                    ));
                }
                let pong = pb::Pong {
                    id: p.id,
                    epoch: self.epoch,
                    received: Some(pb::Credit::default()),
                    limit: Some(pb::Credit::default()),
                };
                let frame = pb::publish_request::Frame::Pong(pong);
                self.control.push_back(super::send::frame(frame));
                self.pen.wake();
            }
            Frame::Pong(p) => {
                self.heart.pong(&p, self.epoch)?;
            }
            Frame::Opened(_) => return Err(Error::protocol("a second opened")),
        }
        Ok(())
    }

    fn grant(&mut self, g: &pb::Grant, now: Instant) -> Result<()> {
        if g.epoch != self.epoch {
            let e = Error::new(ErrorKind::Fenced, "a grant of another epoch");
            return Err(e.on_field("grant.epoch").numbers(self.epoch, g.epoch));
        }
        let limit = Credit::from_pb(g.limit);
        if !self.limit.within(limit) {
            let e = Error::new(ErrorKind::CreditRegressed, "a total of credit fell");
            let (was, is) = match limit.messages < self.limit.messages {
                true => (self.limit.messages, limit.messages),
                false => (self.limit.bytes, limit.bytes),
            };
            return Err(e.on_field("grant.limit").numbers(was, is));
        }
        if limit != self.limit {
            self.demanded.fresh = false; // what still waits is said again
        }
        self.limit = limit;
        self.reason = CreditReason::from_pb(g.reason);
        self.reason_since = now
            .checked_sub(Duration::from_millis(g.reason_age_ms))
            .unwrap_or(now);
        self.window = (g.window_used_bytes, g.window_bytes);
        self.wake_waiters();
        self.tell_blocked();
        self.pen.wake();
        Ok(())
    }

    fn confirm(&mut self, c: &pb::Confirm) -> Result<()> {
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

    /// `outcome` is told how many of the run's first sequences it does not apply to.
    fn complete(&mut self, first: u64, count: u64, outcome: impl Fn(u64) -> Outcome) -> Result<()> {
        let end = first.saturating_add(count);
        let sent_through = match self.batches.get(self.written) {
            Some(unsent) => unsent.sealed.first_sequence,
            None => self
                .open
                .as_ref()
                .map_or(self.next_sequence, |o| o.first_sequence),
        };
        if end > sent_through && count > 0 {
            let e = Error::protocol("a confirmation of sequences that were not sent");
            return Err(e.on_field("confirm.runs").numbers(sent_through, end));
        }
        let mut i = self
            .batches
            .partition_point(|b| b.sealed.end_sequence() <= first);
        while let Some(b) = self.batches.get_mut(i) {
            let from = b.sealed.first_sequence.max(first);
            let to = b.sealed.end_sequence().min(end);
            if from >= to {
                break;
            }
            let outcome = outcome(from - first);
            b.remaining -= b
                .completion
                .complete(from + b.renumbered, to - from, outcome);
            i += 1;
        }
        self.let_go();
        Ok(())
    }

    /// Forgets what is complete.
    fn let_go(&mut self) {
        let before = self.written;
        while self.written > 0 && self.batches.front().is_some_and(|b| b.remaining == 0) {
            self.written -= 1;
            if let Some(b) = self.batches.pop_front() {
                self.completed += u64::from(b.sealed.records);
                if self.spare.len() < SPARE_BUFFERS {
                    self.spare.extend(b.sealed.reclaim());
                }
            }
        }
        if self.written < before {
            self.pen.wake(); // a small batch may go now
            self.wake_flushes();
        }
    }

    /// Takes no more records: what was taken is sent, then the stream is closed.
    fn drain(&mut self, d: &pb::Drain, now: Instant) {
        if self.draining.is_some() {
            return;
        }
        let ms = match d.deadline_ms {
            0 => registry::LIMIT_DRAIN_DEADLINE_MS,
            ms => ms,
        };
        let deadline = Duration::from_millis(ms);
        let after = Duration::from_millis(d.reconnect_after_ms);
        self.draining = Some((now + deadline, after));
        self.events.push(Event::Draining { deadline });
        self.pen.wake();
    }
}
