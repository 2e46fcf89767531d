//! What goes out.

use std::time::Instant;

use bytes::Bytes;

use super::{Core, Nack, Target};
use crate::pb::{self, consume_request::Frame};
use crate::ranges::OffsetRange;
use crate::registry;
use crate::stream::Next;
use crate::types::{Credit, Position, RevokeReason};
use crate::wire::grpc_frame;

/// Keeps a Settle within a few tens of KiB.
const RANGES_PER_FRAME: usize = 4096;

pub(super) fn frame(frame: Frame) -> Bytes {
    grpc_frame(&pb::ConsumeRequest { frame: Some(frame) })
}

fn to_pb(ranges: Vec<OffsetRange>) -> Vec<pb::OffsetRange> {
    ranges.into_iter().map(Into::into).collect()
}

impl Core {
    /// A new stream: it states what is held, and grants what is left beside that.
    pub(crate) fn begin_attempt(&mut self, client: String, now: Instant) {
        self.gather(now);
        self.attempt += 1;
        self.pen = Default::default();
        self.up = false;
        self.close_sent = false;
        self.draining = None;
        self.heart.reset(now);
        self.control.clear();
        self.extends.clear();
        self.received = Credit::default();
        let target = match self.options.target.clone() {
            Target::Group { group, mode, start } => {
                self.unanswered.broke();
                let mut held = self.held();
                if held.len() > registry::LIMIT_MAX_HELD_RANGES as usize {
                    // They go to others: not to be settled here.
                    let beyond = held.split_off(registry::LIMIT_MAX_HELD_RANGES as usize);
                    self.revoke(&to_pb(beyond), Some(RevokeReason::Stale));
                }
                pb::consume_open::Target::Group(pb::GroupTarget {
                    group,
                    mode: mode.map_or(0, |m| m.to_pb()),
                    start: start.map(Position::to_pb),
                    held: to_pb(held),
                })
            }
            Target::Reader { start, stop, rate } => {
                let start = match self.begun {
                    true => Position::Offset(self.next_offset).to_pb(),
                    false => start,
                };
                pb::consume_open::Target::Reader(pb::ReaderTarget {
                    start: Some(start),
                    stop,
                    rate_messages_per_second: rate,
                })
            }
        };
        self.granted = self.wanted();
        let open = pb::ConsumeOpen {
            protocol: registry::LIMIT_PROTOCOL_VERSION as u32,
            queue: self.queue.clone(),
            client,
            limit: Some(self.granted.to_pb()),
            partition: 0,
            target: Some(target),
        };
        self.control.push_back(frame(Frame::Open(open)));
    }

    pub(crate) fn next_frame(&mut self, attempt: u64, now: Instant) -> Next {
        if attempt != self.attempt {
            return Next::End;
        }
        if let Some(bytes) = self.control.pop_front() {
            return Next::Write(bytes);
        }
        if !self.up {
            return Next::Idle;
        }
        self.gather(now);
        let mut later = None;
        if !self.close_sent {
            let mut at = |when: Instant| later = Some(later.map_or(when, |l: Instant| l.min(when)));
            match self.due_settle(now) {
                Due::Frame(f) => return Next::Write(f),
                Due::At(when) => at(when),
                Due::Nothing => {}
            }
            if let Some(grant) = self.due_grant() {
                return Next::Write(frame(Frame::Grant(grant)));
            }
            if self.options.auto_extend && !self.slabs.is_empty() {
                if self.extend_at <= now {
                    self.extend_at = now + self.extend_every();
                    self.auto_extend(now);
                }
                at(self.extend_at);
            }
            if !self.extends.is_empty() {
                let ranges = to_pb(self.extends.take(RANGES_PER_FRAME));
                let extend = pb::Extend {
                    ranges,
                    partition: 0,
                };
                return Next::Write(frame(Frame::Extend(extend)));
            }
            if let Some(draining) = self.draining {
                at(draining.move_at);
            }
            let settled = !self.unanswered.settles_again();
            if (self.closing.is_some() && settled) || self.moving(now) {
                self.close_sent = true;
                return Next::Write(frame(Frame::Close(pb::Close {})));
            }
        }
        // A Pong lets it settle again, or forget.
        let asks = !self.heart.asking() && self.unanswered.wants_pong();
        if self.heart.due || asks {
            self.unanswered.ping();
            // A consumer sends no frames that cost credit, and is granted none.
            let nothing = Credit::default();
            let ping = self.heart.ping(self.epoch, nothing, nothing);
            return Next::Write(frame(Frame::Ping(ping)));
        }
        later.map_or(Next::Idle, Next::At)
    }

    /// Settling here goes on for half of the drain's time; then with what is held.
    fn moving(&self, now: Instant) -> bool {
        let settled = self.in_flight.messages == 0 && !self.unanswered.settles_again();
        self.draining
            .is_some_and(|d| settled || self.is_reader() || now >= d.move_at)
    }

    fn due_settle(&mut self, now: Instant) -> Due {
        if let Some((how, ranges)) = self.unanswered.next(RANGES_PER_FRAME) {
            return self.settle_frame(how.as_ref(), ranges);
        }
        if let Some(mut nacks) = self.nacks.pop_front() {
            let ranges = nacks.offsets.take(RANGES_PER_FRAME);
            let how = nacks.how.clone();
            if !nacks.offsets.is_empty() {
                self.nacks.push_front(nacks);
            }
            return self.settle_frame(Some(&how), ranges);
        }
        if self.acks.is_empty() {
            return Due::Nothing;
        }
        let linger_until = self.ack_since + self.options.ack_linger;
        if !self.ack_urgent() && now < linger_until {
            return Due::At(linger_until);
        }
        let ranges = self.acks.take(RANGES_PER_FRAME);
        self.settle_frame(None, ranges)
    }

    /// With the last of what is due rides what may be granted, however little: an
    /// application that holds the rest and waits for more settles nothing else that could
    /// bring it.
    fn settle_frame(&mut self, how: Option<&Nack>, ranges: Vec<OffsetRange>) -> Due {
        self.unanswered.add(how, &ranges);
        let ranges = to_pb(ranges);
        let mut settle = match how {
            Some(how) => how.to_settle(ranges),
            None => pb::Settle {
                ranges,
                action: pb::SettleAction::Ack as i32,
                ..Default::default()
            },
        };
        if self.acks.is_empty() && self.nacks.is_empty() && !self.more().is_zero() {
            settle.grant = Some(self.grant());
        }
        Due::Frame(frame(Frame::Settle(settle)))
    }

    fn due_grant(&mut self) -> Option<pb::Grant> {
        self.grant_due().then(|| self.grant())
    }

    fn grant(&mut self) -> pb::Grant {
        self.granted = self.wanted();
        pb::Grant {
            epoch: self.epoch,
            limit: Some(self.granted.to_pb()),
            ..Default::default()
        }
    }
}

enum Due {
    Frame(Bytes),
    At(Instant),
    Nothing,
}
