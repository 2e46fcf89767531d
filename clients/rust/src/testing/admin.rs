//! What operators ask for.

use std::time::{Instant, SystemTime};

use prost::Message as _;

use super::group::Group;
use super::queue::Queue;
use super::session::{Role, Session, Sessions, Target};
use super::state::{at_field, check_name, numbers, refusal, Answer, State};
use crate::admin::defaults;
use crate::pb::{self, consume_response, publish_response, ErrorKind};
use crate::registry;
use crate::types::{unix_ms, Credit};

fn tuned(queue: &str, old: pb::QueueTuning, change: &pb::QueueTuning) -> Answer<pb::QueueTuning> {
    let mut t = old;
    // What the message has replaces what was there.
    let merged = t.merge(change.encode_to_vec().as_slice());
    debug_assert!(merged.is_ok());
    if t.max_message_bytes() > t.window_bytes() {
        let e = refusal(
            ErrorKind::InvalidArgument,
            queue,
            "at least max_message_bytes",
        );
        let e = at_field(e, "tuning.window_bytes");
        return Err(numbers(e, t.max_message_bytes(), t.window_bytes()));
    }
    Ok(t)
}

fn check_revision(queue: &Queue, expected: u64) -> Answer<()> {
    if expected == 0 || expected == queue.revision {
        return Ok(());
    }
    let e = refusal(ErrorKind::RevisionMismatch, &queue.name, "get it again");
    let e = at_field(e, "expected_revision");
    Err(numbers(e, queue.revision, expected))
}

pub(super) fn page_size(asked: u32, default: u64) -> usize {
    match asked {
        0 => default as usize,
        n => n.min(registry::LIMIT_MAX_PAGE_SIZE as u32) as usize,
    }
}

impl State {
    pub(super) fn create(&mut self, name: &str, change: pb::QueueTuning) -> Answer<pb::Queue> {
        check_name(name, "name")?;
        if self.queues.contains_key(name) {
            return Err(refusal(ErrorKind::AlreadyExists, name, "the queue exists"));
        }
        let queue = Queue::new(name, tuned(name, defaults(), &change)?);
        let described = queue.describe(&self.sessions);
        self.queues.insert(name.to_owned(), queue);
        Ok(described)
    }

    pub(super) fn update(&mut self, r: pb::UpdateQueueRequest) -> Answer<pb::Queue> {
        let queue = self.find(&r.name)?;
        check_revision(queue, r.expected_revision)?;
        queue.tuning = tuned(&r.name, queue.tuning, &r.tuning.unwrap_or_default())?;
        queue.revision += 1;
        let changed = pb::TuningChanged {
            revision: queue.revision,
            tuning: Some(queue.tuning),
        };
        self.each(&r.name, |s| match s.role {
            Role::Producer(_) => s.publish(publish_response::Frame::Tuning(changed)),
            Role::Consumer(_) => s.consume(consume_response::Frame::Tuning(changed)),
        });
        self.with(&r.name, |queue, sessions| {
            queue.grant(sessions, false);
            queue.pump(sessions, Instant::now());
            Ok(queue.describe(sessions))
        })
    }

    pub(super) fn with<T>(
        &mut self,
        queue: &str,
        f: impl FnOnce(&mut Queue, &mut Sessions) -> Answer<T>,
    ) -> Answer<T> {
        self.find(queue)?;
        let State {
            queues, sessions, ..
        } = self;
        match queues.get_mut(queue) {
            Some(queue) => f(queue, sessions),
            None => Err(refusal(ErrorKind::NotFound, queue, "no such queue")),
        }
    }

    pub(super) fn delete(&mut self, r: &pb::DeleteQueueRequest) -> Answer<()> {
        check_revision(self.find(&r.name)?, r.expected_revision)?;
        self.queues.remove(&r.name);
        let error = refusal(ErrorKind::Closed, &r.name, "the queue was deleted");
        self.each(&r.name, |s| s.refuse(error.clone()));
        Ok(())
    }

    pub(super) fn explain(&mut self, r: pb::ExplainRequest) -> Answer<pb::ExplainResponse> {
        use pb::explain_request::Subject as S;
        let name = match r.subject {
            Some(S::Queue(name)) => name,
            Some(S::Session(id)) => {
                let found = self.sessions.values().find(|s| s.name == id);
                let none = || refusal(ErrorKind::NotFound, "", "no such session");
                found.ok_or_else(none)?.queue.clone()
            }
            None => String::new(),
        };
        self.with(&name, |queue, sessions| Ok(queue.explain(sessions)))
    }

    pub(super) fn watch(&self, only: &str) -> pb::WatchResponse {
        let queues = self.queues.values();
        let queues = queues.filter(|q| only.is_empty() || q.name == only);
        pb::WatchResponse {
            at_unix_ms: unix_ms(SystemTime::now()),
            queues: queues.map(|q| q.describe(&self.sessions)).collect(),
            broker: Some(pb::BrokerStats {
                version: "testing".into(),
                sessions: self.sessions.len() as u32,
                ..Default::default()
            }),
        }
    }
}

pub(super) fn describe(session: &Session) -> pb::Session {
    let mut out = pb::Session {
        id: session.name.clone(),
        queue: session.queue.clone(),
        client: session.client.clone(),
        opened_at_unix_ms: unix_ms(session.opened),
        epoch: session.epoch,
        ..Default::default()
    };
    let (granted, used) = match &session.role {
        Role::Producer(p) => {
            out.set_kind(pb::SessionKind::Producer);
            out.name.clone_from(&p.producer_id);
            (p.limit, p.received)
        }
        Role::Consumer(c) => {
            out.set_kind(pb::SessionKind::Reader);
            if let Target::Group(group) = &c.target {
                out.set_kind(pb::SessionKind::Consumer);
                out.name.clone_from(group);
            }
            let Credit { messages, bytes } = c.in_flight;
            (out.in_flight_messages, out.in_flight_bytes) = (messages, bytes);
            (c.granted, c.sent)
        }
    };
    (out.granted, out.used) = (Some(granted.to_pb()), Some(used.to_pb()));
    out
}

impl Queue {
    pub(super) fn describe(&self, sessions: &Sessions) -> pb::Queue {
        let depth = self.unsettled();
        let (head, tail) = (self.log.head, self.log.tail());
        let of = |id: &u64| sessions.get(id).map(describe);
        let kinds: Vec<_> = self.consumers.iter().filter_map(of).collect();
        let count = |kind| kinds.iter().filter(|s| s.kind() == kind).count() as u32;
        let cursors = self.groups.values().map(|g| g.cursor);
        let stats = pb::QueueStats {
            head_offset: head,
            tail_offset: tail,
            settled_through_offset: cursors.min().unwrap_or(head),
            depth_messages: depth.messages,
            depth_bytes: depth.bytes,
            resident_messages: tail - head,
            producers: self.producers.len() as u32,
            consumers: count(pb::SessionKind::Consumer),
            readers: count(pb::SessionKind::Reader),
            groups: self.groups.len() as u32,
            published_messages_total: tail,
            reason: self.reason.map_or(0, |r| r.to_pb()),
            ..Default::default()
        };
        pb::Queue {
            name: self.name.clone(),
            revision: self.revision,
            tuning: Some(self.tuning),
            partitions: 1,
            stats: Some(stats),
        }
    }

    pub(super) fn peek(&self, r: &pb::PeekRequest) -> Answer<pb::PeekResponse> {
        let from = self.place(r.start, "start.offset")?;
        let most = page_size(r.max_messages, registry::LIMIT_DEFAULT_PEEK_MESSAGES);
        let placed = |offset| {
            let stored = self.log.get(offset)?;
            Some(pb::PlacedRecord {
                offset,
                appended_at_unix_ms: stored.appended_at,
                record: Some(stored.record.clone()),
            })
        };
        let records = (from..).map_while(placed).take(most).collect();
        Ok(pb::PeekResponse { records })
    }

    pub(super) fn group(&mut self, name: &str) -> Answer<&mut Group> {
        let none = || refusal(ErrorKind::NotFound, &self.name, "no such group");
        self.groups.get_mut(name).ok_or_else(none)
    }

    pub(super) fn seek(
        &mut self,
        r: &pb::SeekGroupRequest,
        sessions: &mut Sessions,
    ) -> Answer<pb::Group> {
        self.group(&r.group)?;
        let to = self.place(r.target, "target.offset")?;
        if let Some(group) = self.groups.get_mut(&r.group) {
            group.seek(to, &self.log, &self.tuning, sessions);
        }
        self.pump(sessions, Instant::now());
        self.grant(sessions, false);
        let log = &self.log;
        Ok(self
            .groups
            .get(&r.group)
            .map(|g| g.describe(log))
            .unwrap_or_default())
    }

    pub(super) fn delete_group(&mut self, name: &str, sessions: &mut Sessions) -> Answer<()> {
        self.group(name)?;
        if let Some(group) = self.groups.remove(name) {
            let error = refusal(ErrorKind::Closed, &self.name, "the group was deleted");
            for id in &group.members {
                if let Some(session) = sessions.get_mut(id) {
                    session.refuse(error.clone());
                }
            }
        }
        self.grant(sessions, false);
        Ok(())
    }

    pub(super) fn parked(&mut self, r: &pb::ListParkedRequest) -> Answer<pb::ListParkedResponse> {
        let most = page_size(r.max_messages, registry::LIMIT_DEFAULT_PARKED_PAGE_SIZE);
        let mut parked = self.group(&r.group)?.parked.range(r.from_offset..);
        let records = parked
            .by_ref()
            .take(most)
            .map(|(offset, p)| pb::ParkedRecord {
                offset: *offset,
                attempts: p.attempts,
                reason: p.reason.clone(),
                parked_at_unix_ms: unix_ms(p.at),
            });
        let records = records.collect();
        let next_offset = parked.next().map(|(offset, _)| *offset);
        Ok(pb::ListParkedResponse {
            records,
            next_offset,
        })
    }

    pub(super) fn unpark(
        &mut self,
        r: &pb::ReleaseParkedRequest,
        sessions: &mut Sessions,
    ) -> Answer<u64> {
        let group = self.group(&r.group)?;
        let asked = |offset: u64| {
            let within = |x: &pb::OffsetRange| {
                (x.first_offset..x.first_offset.saturating_add(x.count)).contains(&offset)
            };
            r.ranges.is_empty() || r.ranges.iter().any(within)
        };
        let offsets: Vec<_> = group.parked.keys().copied().filter(|o| asked(*o)).collect();
        for offset in &offsets {
            group.parked.remove(offset);
            group.ready.insert(*offset, 0);
        }
        self.pump(sessions, Instant::now());
        Ok(offsets.len() as u64)
    }

    /// The stalls that this broker knows.
    fn explain(&self, sessions: &mut Sessions) -> pb::ExplainResponse {
        let mut stalls = Vec::new();
        for id in &self.producers {
            let Some(p) = sessions.get_mut(id).and_then(Session::producing) else {
                continue;
            };
            if let Some(grant) = p.last_grant.filter(|g| g.reason != 0) {
                stalls.push(pb::Stall {
                    subject: format!("producer {}", p.producer_id),
                    // Producers' reasons have the same numbers.
                    reason: grant.reason,
                    age_ms: grant.reason_age_ms,
                    ends_when: "consumers settle".into(),
                    ..Default::default()
                });
            }
        }
        for group in self.groups.values() {
            if group.members.is_empty() && group.cursor < self.log.tail() {
                stalls.push(pb::Stall {
                    subject: format!("group {}", group.name),
                    reason: pb::StallReason::NoConsumer as i32,
                    ends_when: "a consumer joins the group".into(),
                    ..Default::default()
                });
            }
        }
        let Credit { messages, bytes } = self.unsettled();
        let numbers = [("depth_messages", messages), ("depth_bytes", bytes)];
        let numbers = numbers.map(|(name, n)| (name.to_owned(), n));
        pb::ExplainResponse {
            stalls,
            numbers: numbers.into(),
        }
    }
}
