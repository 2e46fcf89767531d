//! What comes in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Core, Draining, Ready, State, Target};
use crate::consumer::slab::Slab;
use crate::error::{Error, ErrorKind, Result};
use crate::events::Event;
use crate::pb::{self, consume_response::Frame};
use crate::ranges::{self, OffsetRange};
use crate::registry;
use crate::stream::mismatch;
use crate::types::{Credit, GapReason, Mode, RevokeReason};
use crate::wire::{ConsumeEvent, DeliveryFrame, Run};

impl Core {
    /// A new epoch: its totals start from 0, and what is held stays held.
    pub(crate) fn opened(&mut self, o: pb::ConsumeOpened, now: Instant) -> Result<()> {
        if o.protocol != registry::LIMIT_PROTOCOL_VERSION as u32 {
            let e = Error::new(ErrorKind::Unsupported, "the broker speaks another protocol");
            return Err(e.numbers(registry::LIMIT_PROTOCOL_VERSION, u64::from(o.protocol)));
        }
        self.events.push(Event::Opened {
            resumed: self.begun,
        });
        self.epoch = o.epoch;
        self.mode = Mode::from_pb(o.mode);
        self.session = o.session;
        self.tuned(o.tuning.unwrap_or_default(), now);
        if !self.begun {
            self.begun = true;
            self.start_offset = o.start_offset;
            self.next_offset = o.start_offset;
            // The tail of the first open; the queue may have grown when it resumes.
            if let Target::Reader {
                stop: Some(stop), ..
            } = &mut self.options.target
            {
                if let Some(pb::stop::Position::Tail(true)) = stop.position {
                    stop.position = Some(pb::stop::Position::Offset(o.tail_offset));
                }
            }
        }
        self.heart.told(o.heartbeat_ms, o.dead_after_ms);
        self.heart.last_received = now;
        self.up = true;
        self.pen.wake();
        Ok(())
    }

    fn tuned(&mut self, tuning: pb::QueueTuning, now: Instant) {
        // The largest message must fit, or it would never come.
        self.max_bytes = self
            .options
            .max
            .bytes
            .max(tuning.max_message_bytes.unwrap_or_default());
        self.tuning = tuning;
        self.extend_at = now + self.extend_every();
    }

    pub(crate) fn receive(&mut self, event: ConsumeEvent, now: Instant) -> Result<()> {
        self.heart.last_received = now;
        self.gather(now);
        match event {
            ConsumeEvent::Delivery(frame) => self.deliver(frame, now)?,
            ConsumeEvent::Other(frame) => self.frame(frame, now)?,
            ConsumeEvent::Unknown => {} // of a newer version
        }
        if self.grant_due() {
            self.pen.wake();
        }
        Ok(())
    }

    fn deliver(&mut self, mut frame: DeliveryFrame, now: Instant) -> Result<()> {
        let cost = Credit::new(frame.messages, frame.cost);
        let received = self.received.plus(cost);
        if !received.within(self.granted) {
            let text = "the broker delivered more than it was granted";
            let e = Error::new(ErrorKind::CreditExceeded, text);
            let messages = received.messages > self.granted.messages;
            return Err(match messages {
                true => e
                    .on_field("messages")
                    .numbers(self.granted.messages, received.messages),
                false => e
                    .on_field("bytes")
                    .numbers(self.granted.bytes, received.bytes),
            });
        }
        let Some(last) = frame.runs.last() else {
            return Ok(());
        };
        self.next_offset = last.first_offset + u64::from(last.count);
        let may_have = |r: &Run| self.unanswered.may_have(r.first_offset);
        if frame.runs.iter().any(may_have) {
            let range = |r: &Run| OffsetRange {
                first: r.first_offset,
                count: u64::from(r.count),
            };
            let mut again: Vec<_> = frame.runs.iter().map(range).collect();
            ranges::normalize(&mut again);
            // What became of the earlier delivery must not settle this one.
            self.unanswered.over(&again);
        }
        self.clock.tick(now);
        if self.in_flight.messages == 0 {
            self.clock.active_now(); // the application had nothing to take
        }
        self.received = received;
        self.in_flight = self.in_flight.plus(cost);
        if self.slabs.is_empty() && self.options.auto_extend {
            self.extend_at = now + self.extend_every();
            self.pen.wake(); // the writer set no timer for it
        }
        let slab = (!self.is_reader()).then(|| {
            let slab = Arc::new(Slab::new(self.next_slab, &mut frame));
            let before = if self.slabs.is_empty() {
                0
            } else {
                self.largest
            };
            self.largest = before.max(slab.largest());
            self.slabs.insert(self.next_slab, slab.clone());
            self.next_slab += 1;
            slab
        });
        self.ready.push_back(Ready { frame, slab });
        Ok(())
    }

    fn frame(&mut self, frame: Frame, now: Instant) -> Result<()> {
        match frame {
            Frame::Revoke(r) => self.revoke(&r.ranges, RevokeReason::from_pb(r.reason)),
            Frame::Gap(g) => {
                let ranges = ranges::from_pb(&g.ranges);
                for r in &ranges {
                    self.next_offset = self.next_offset.max(r.end());
                }
                let reason = GapReason::from_pb(g.reason);
                self.events.push(Event::Gap { ranges, reason });
            }
            Frame::End(_) => self.at_stop = true,
            Frame::Tuning(t) => self.tuned(t.tuning.unwrap_or_default(), now),
            Frame::Drain(d) => self.drain(d, now),
            Frame::Ping(p) => {
                if p.epoch == self.epoch && Credit::from_pb(p.sent) != self.received {
                    return Err(mismatch(
                        "ping.sent",
                        self.received,
                        Credit::from_pb(p.sent),
                    ));
                }
                let pong = pb::Pong {
                    id: p.id,
                    epoch: self.epoch,
                    received: Some(self.received.to_pb()),
                    limit: Some(self.granted.to_pb()),
                };
                let frame = pb::consume_request::Frame::Pong(pong);
                self.control.push_back(super::send::frame(frame));
                self.pen.wake();
            }
            Frame::Pong(p) => {
                if self.heart.pong(&p, self.epoch)? {
                    self.unanswered.pong();
                    self.pen.wake(); // to settle again
                }
            }
            Frame::Opened(_) => return Err(Error::protocol("a second opened")),
            Frame::Delivery(_) => return Err(Error::protocol("a frame with two contents")),
        }
        Ok(())
    }

    fn drain(&mut self, d: pb::Drain, now: Instant) {
        if self.draining.is_some() {
            return;
        }
        let ms = match d.deadline_ms {
            0 => registry::LIMIT_DRAIN_DEADLINE_MS,
            ms => ms,
        };
        let deadline = Duration::from_millis(ms);
        self.draining = Some(Draining {
            deadline: now + deadline,
            move_at: now + deadline / 2,
            reconnect_after: Duration::from_millis(d.reconnect_after_ms),
        });
        self.events.push(Event::Draining { deadline });
        self.pen.wake();
    }

    /// Takes offsets away from the application.
    pub(super) fn revoke(&mut self, ranges: &[pb::OffsetRange], reason: Option<RevokeReason>) {
        let mut sorted = ranges::from_pb(ranges);
        ranges::normalize(&mut sorted);
        // That a settle had arrived before its stream broke is no news to anybody.
        let ranges = self.unanswered.over(&sorted);
        if ranges.is_empty() {
            return;
        }
        let mut hit = Vec::new();
        for slab in self.slabs.values() {
            slab.each_open(|index, offset, _| {
                let i = ranges.partition_point(|r| r.end() <= offset);
                if ranges.get(i).is_some_and(|r| r.first <= offset) {
                    hit.push((slab.clone(), index));
                }
            });
        }
        for (slab, index) in hit {
            self.leave(&slab, index, State::Revoked);
        }
        self.events.push(Event::Revoked { ranges, reason });
    }
}
