//! All that the broker knows; one lock holds it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use super::queue::Queue;
use super::session::{End, Role, Session, Sessions};
use super::Frame;
use crate::pb::{self, ErrorKind};
use crate::registry;

/// The outcome of a request.
pub(super) type Answer<T> = Result<T, Box<pb::Error>>;

#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub heartbeat: Duration,
    pub dead_after: Duration,
    pub batch_bytes: u64,
    pub batch_records: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            heartbeat: Duration::from_millis(registry::LIMIT_HEARTBEAT_MS),
            dead_after: Duration::from_millis(registry::LIMIT_DEAD_AFTER_MS),
            batch_bytes: registry::LIMIT_MAX_BATCH_BYTES,
            batch_records: registry::LIMIT_MAX_BATCH_RECORDS as u32,
        }
    }
}

/// Called with the queue and the frame.
pub(super) type Tap = Box<dyn Fn(&str, Frame<'_>) + Send>;

#[derive(Debug, Default)]
pub(super) struct Faults {
    pub unavailable: bool,
    pub silent: bool,
    pub wrong_counters: bool,
}

pub(super) struct State {
    pub queues: BTreeMap<String, Queue>,
    pub sessions: Sessions,
    pub faults: Faults,
    pub options: Options,
    pub taps: Vec<Tap>,
    names: u64,
}

pub(super) fn refusal(kind: ErrorKind, queue: &str, message: &str) -> Box<pb::Error> {
    Box::new(pb::Error {
        kind: kind as i32,
        queue: queue.to_owned(),
        message: message.to_owned(),
        ..Default::default()
    })
}

pub(super) fn at_field(mut error: Box<pb::Error>, field: &str) -> Box<pb::Error> {
    field.clone_into(&mut error.field);
    error
}

pub(super) fn numbers(mut error: Box<pb::Error>, limit: u64, actual: u64) -> Box<pb::Error> {
    (error.limit, error.actual) = (limit, actual);
    error
}

pub(super) fn check_name(name: &str, field: &str) -> Answer<()> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let length = 1..=registry::LIMIT_MAX_NAME_BYTES as usize;
    if length.contains(&name.len()) && !name.starts_with('.') && name.chars().all(fine) {
        return Ok(());
    }
    let e = refusal(ErrorKind::InvalidArgument, "", "not a name");
    Err(at_field(e, field))
}

impl State {
    pub(super) fn new(options: Options) -> Self {
        State {
            queues: BTreeMap::new(),
            sessions: BTreeMap::new(),
            faults: Faults::default(),
            options,
            taps: Vec::new(),
            names: 0,
        }
    }

    pub(super) fn unique(&mut self) -> u64 {
        self.names += 1;
        self.names
    }

    pub(super) fn find(&mut self, queue: &str) -> Answer<&mut Queue> {
        let none = || refusal(ErrorKind::NotFound, queue, "no such queue");
        self.queues.get_mut(queue).ok_or_else(none)
    }

    /// May a stream of this queue be opened?
    pub(super) fn may_open(&mut self, queue: &str) -> Answer<&mut Queue> {
        if self.faults.unavailable {
            return Err(refusal(ErrorKind::Unavailable, queue, "not ready"));
        }
        check_name(queue, "open.queue")?;
        self.find(queue)
    }

    /// Makes a session and returns its id.
    pub(super) fn begin(&mut self, queue: &str, client: String, epoch: u64, role: Role) -> u64 {
        let id = self.unique();
        let session = Session {
            id,
            name: format!("session-{id}"),
            queue: queue.to_owned(),
            client,
            opened: SystemTime::now(),
            epoch,
            role,
            out: Default::default(),
            ended: None,
            waker: None,
        };
        self.sessions.insert(id, session);
        id
    }

    pub(super) fn tap(&self, queue: &str, frame: Frame<'_>) {
        for tap in &self.taps {
            tap(queue, frame);
        }
    }

    /// The sessions of a queue, or all if it is empty.
    pub(super) fn each(&mut self, queue: &str, mut f: impl FnMut(&mut Session)) {
        for s in self.sessions.values_mut() {
            if queue.is_empty() || s.queue == queue {
                f(s);
            }
        }
    }

    pub(super) fn end_all(&mut self) {
        let error = refusal(ErrorKind::Unavailable, "", "the broker ends");
        self.each("", |s| s.end(End::Refused(error.clone())));
    }

    /// Takes back what a session held.
    pub(super) fn leave(&mut self, id: u64) {
        let Some(session) = self.sessions.remove(&id) else {
            return;
        };
        // A queue of the same name may have been created since; it does not know the id.
        if let Some(queue) = self.queues.get_mut(&session.queue) {
            queue.leave(&session, &mut self.sessions);
        }
    }

    pub(super) fn tick(&mut self, now: Instant) {
        for queue in self.queues.values_mut() {
            queue.tick(&mut self.sessions, now);
        }
    }
}
