//! One stream, as the broker keeps it.

use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;
use std::time::{Instant, SystemTime};

use crate::pb;
use crate::types::Credit;

pub(super) type Sessions = BTreeMap<u64, Session>;

/// What goes out.
pub(super) enum Out {
    Publish(pb::publish_response::Frame),
    Consume(pb::consume_response::Frame),
}

/// How a stream ends.
#[derive(Clone)]
pub(super) enum End {
    /// After what is queued, well.
    Finished,
    /// After what is queued, with an error.
    Refused(Box<pb::Error>),
    /// At once, as by a broken connection.
    Broken,
}

pub(super) struct Session {
    pub id: u64,
    /// The id as clients see it.
    pub name: String,
    pub queue: String,
    pub client: String,
    pub opened: SystemTime,
    pub epoch: u64,
    pub role: Role,
    pub out: VecDeque<Out>,
    pub ended: Option<End>,
    pub waker: Option<Waker>,
}

pub(super) enum Role {
    Producer(Producing),
    Consumer(Consuming),
}

/// A producer's side, and the account of its epoch.
#[derive(Default)]
pub(super) struct Producing {
    pub producer_id: String,
    pub limit: Credit,
    pub received: Credit,
    /// What the client gave back.
    pub returned: Credit,
    /// The size of the record that waits at the front of the client's line.
    pub next: u64,
    pub unconfirmed: Vec<pb::confirm::Run>,
    pub last_grant: Option<pb::Grant>,
    pub reason_since: Option<Instant>,
}

/// A consumer's or reader's side, and the account of its epoch.
pub(super) struct Consuming {
    pub target: Target,
    pub granted: Credit,
    pub sent: Credit,
    pub in_flight: Credit,
}

pub(super) enum Target {
    Group(String),
    Reader(Reader),
}

pub(super) struct Reader {
    pub next: u64,
    pub stop: Option<Stop>,
    /// Messages per second; 0: no limit.
    pub rate: u64,
    pub since: Instant,
    pub count: u64,
}

#[derive(Clone, Copy)]
pub(super) enum Stop {
    Offset(u64),
    Time(u64),
}

impl Session {
    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    pub(super) fn send(&mut self, frame: Out) {
        self.out.push_back(frame);
        self.wake();
    }

    pub(super) fn publish(&mut self, frame: pb::publish_response::Frame) {
        self.send(Out::Publish(frame));
    }

    pub(super) fn consume(&mut self, frame: pb::consume_response::Frame) {
        self.send(Out::Consume(frame));
    }

    /// The first end holds.
    pub(super) fn end(&mut self, end: End) {
        if self.ended.is_none() {
            self.ended = Some(end);
            self.wake();
        }
    }

    pub(super) fn refuse(&mut self, error: impl Into<Box<pb::Error>>) {
        self.end(End::Refused(error.into()));
    }

    pub(super) fn producing(&mut self) -> Option<&mut Producing> {
        match &mut self.role {
            Role::Producer(p) => Some(p),
            Role::Consumer(_) => None,
        }
    }

    pub(super) fn consuming(&mut self) -> Option<&mut Consuming> {
        match &mut self.role {
            Role::Producer(_) => None,
            Role::Consumer(c) => Some(c),
        }
    }
}

impl Producing {
    /// What may still be sent.
    pub(super) fn unspent(&self) -> Credit {
        self.limit.minus(self.received).minus(self.returned)
    }

    /// What was kept and not confirmed yet, as one frame.
    pub(super) fn confirm(&mut self, durability: i32) -> Option<pb::publish_response::Frame> {
        if self.unconfirmed.is_empty() {
            return None;
        }
        Some(pb::publish_response::Frame::Confirm(pb::Confirm {
            runs: std::mem::take(&mut self.unconfirmed),
            durability,
            grant: None,
        }))
    }
}

impl Consuming {
    /// Whether one more record may be delivered; takes its credit if so.
    pub(super) fn take(&mut self, bytes: u64, tuning: &pb::QueueTuning) -> bool {
        let one = Credit::new(1, bytes);
        if !self.sent.plus(one).within(self.granted) {
            return false;
        }
        if let Target::Group(_) = self.target {
            // The clamp lets one record of any allowed size through.
            let clamp = Credit::new(
                tuning.max_in_flight_messages(),
                tuning.max_in_flight_bytes().max(tuning.max_message_bytes()),
            );
            if !self.in_flight.plus(one).within(clamp) {
                return false;
            }
            self.in_flight = self.in_flight.plus(one);
        }
        self.sent = self.sent.plus(one);
        true
    }
}

impl Reader {
    pub(super) fn stops(&self, appended_at: Option<u64>) -> bool {
        match self.stop {
            None => false,
            Some(Stop::Offset(offset)) => self.next >= offset,
            Some(Stop::Time(ms)) => appended_at.is_some_and(|at| at >= ms),
        }
    }

    pub(super) fn waits_for_rate(&self, now: Instant) -> bool {
        let seconds = now.saturating_duration_since(self.since).as_secs_f64();
        self.rate > 0 && self.count > (seconds * self.rate as f64) as u64
    }
}
