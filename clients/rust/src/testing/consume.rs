//! The stream of consumers and readers.

use std::time::{Duration, Instant};

use super::group::{ack_deadline, revoked, Again, Group};
use super::queue::Queue;
use super::session::{Consuming, End, Reader, Role, Sessions, Stop, Target};
use super::state::{at_field, check_name, refusal, Answer, State};
use super::Frame;
use crate::pb::{self, consume_open, consume_request, consume_response, ErrorKind, GroupMode};
use crate::registry;
use crate::types::Credit;

impl State {
    pub(super) fn open_consumer(&mut self, first: &pb::ConsumeRequest) -> Answer<u64> {
        self.tap("", Frame::Consume(first));
        let Some(consume_request::Frame::Open(open)) = &first.frame else {
            return Err(refusal(
                ErrorKind::Protocol,
                "",
                "the first frame is an Open",
            ));
        };
        let queue = self.may_open(&open.queue)?;
        let (start_offset, mode, target) = match &open.target {
            Some(consume_open::Target::Group(t)) => {
                let group = queue.join(t)?;
                (group.cursor, group.mode, Target::Group(t.group.clone()))
            }
            Some(consume_open::Target::Reader(t)) => {
                let reader = queue.reader(t)?;
                let next = reader.next;
                (next, GroupMode::Unspecified, Target::Reader(reader))
            }
            None => {
                let e = refusal(ErrorKind::InvalidArgument, &open.queue, "no target");
                return Err(at_field(e, "open.target"));
            }
        };
        let epoch = self.unique();
        let role = Role::Consumer(Consuming {
            target,
            granted: Credit::from_pb(open.limit),
            sent: Credit::default(),
            in_flight: Credit::default(),
        });
        let id = self.begin(&open.queue, open.client.clone(), epoch, role);
        let options = self.options;
        let State {
            queues, sessions, ..
        } = self;
        let (Some(queue), Some(session)) = (queues.get_mut(&open.queue), sessions.get_mut(&id))
        else {
            return Ok(id);
        };
        let t = &queue.tuning;
        let clamp = Credit::new(t.max_in_flight_messages(), t.max_in_flight_bytes());
        session.consume(consume_response::Frame::Opened(pb::ConsumeOpened {
            protocol: registry::LIMIT_PROTOCOL_VERSION as u32,
            epoch,
            session: session.name.clone(),
            revision: queue.revision,
            tuning: Some(queue.tuning),
            start_offset,
            head_offset: queue.log.head,
            tail_offset: queue.log.tail(),
            mode: mode as i32,
            max_in_flight: Some(clamp.to_pb()),
            heartbeat_ms: options.heartbeat.as_millis() as u64,
            dead_after_ms: options.dead_after.as_millis() as u64,
        }));
        if let Some(consume_open::Target::Group(t)) = &open.target {
            queue.hold_again(t, id, sessions);
        }
        queue.consumers.push(id);
        queue.pump(sessions, Instant::now());
        Ok(id)
    }

    pub(super) fn on_consume(&mut self, id: u64, request: pb::ConsumeRequest) {
        use consume_request::Frame as F;
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        let name = session.queue.clone();
        self.tap(&name, Frame::Consume(&request));
        let wrong = self.faults.wrong_counters;
        let State {
            queues, sessions, ..
        } = self;
        let Some(session) = sessions.get_mut(&id).filter(|s| s.ended.is_none()) else {
            return;
        };
        let epoch = session.epoch;
        let Some(queue) = queues.get_mut(&name) else {
            return;
        };
        let Some(consuming) = session.consuming() else {
            return;
        };
        let group = match &consuming.target {
            Target::Group(group) => queue.groups.get_mut(group),
            Target::Reader(_) => None,
        };
        match (request.frame, group) {
            (Some(F::Grant(grant)), _) => {
                if let Err(e) = consuming.grant(&grant, epoch, &name) {
                    session.refuse(e);
                }
            }
            (Some(F::Settle(settle)), Some(_)) => queue.settle(id, settle, epoch, sessions),
            (Some(F::Extend(extend)), Some(group)) => {
                let deadline = Instant::now() + ack_deadline(&queue.tuning);
                for range in &extend.ranges {
                    let end = range.first_offset.saturating_add(range.count);
                    for (_, flight) in group.in_flight.range_mut(range.first_offset..end) {
                        if flight.member == id {
                            flight.deadline = deadline;
                        }
                    }
                }
            }
            (Some(F::Ping(ping)), _) => {
                // Only the other direction bears credit.
                let received = Credit::new(u64::from(wrong), 0);
                let pong = pb::Pong {
                    id: ping.id,
                    epoch,
                    received: Some(received.to_pb()),
                    limit: Some(pb::Credit::default()),
                };
                session.consume(consume_response::Frame::Pong(pong));
            }
            (Some(F::Pong(_)), _) => {}
            (Some(F::Close(_)), _) => return session.end(End::Finished),
            (Some(F::Settle(_) | F::Extend(_) | F::Open(_)) | None, _) => {
                let message = "a frame that does not belong here";
                return session.refuse(refusal(ErrorKind::Protocol, &name, message));
            }
        }
        queue.pump(sessions, Instant::now());
    }
}

impl Consuming {
    fn grant(&mut self, grant: &pb::Grant, epoch: u64, queue: &str) -> Answer<()> {
        if grant.epoch != epoch {
            let message = "a grant of another epoch";
            return Err(refusal(ErrorKind::Fenced, queue, message));
        }
        let limit = Credit::from_pb(grant.limit);
        if !self.granted.within(limit) {
            let message = "a total of credit fell";
            return Err(refusal(ErrorKind::CreditRegressed, queue, message));
        }
        self.granted = limit;
        Ok(())
    }
}

impl Queue {
    /// The group of a new member, made if need be.
    fn join(&mut self, t: &pb::GroupTarget) -> Answer<&Group> {
        check_name(&t.group, "open.group.group")?;
        if !self.groups.contains_key(&t.group) {
            let start = self.place(t.start, "open.group.start.offset")?;
            let mode = match t.mode() {
                GroupMode::Unspecified => GroupMode::Shared,
                mode => mode,
            };
            let group = Group::new(&t.group, mode, start);
            self.groups.insert(t.group.clone(), group);
        }
        let none = || refusal(ErrorKind::NotFound, &self.name, "no such group");
        let group = self.groups.get_mut(&t.group).ok_or_else(none)?;
        if t.mode() != GroupMode::Unspecified && t.mode() != group.mode {
            if !group.members.is_empty() {
                let message = "the group has members in another mode";
                let e = refusal(ErrorKind::InvalidArgument, &self.name, message);
                return Err(at_field(e, "open.group.mode"));
            }
            group.mode = t.mode();
        }
        if group.mode == GroupMode::Exclusive && !group.members.is_empty() {
            return Err(refusal(
                ErrorKind::Exclusive,
                &self.name,
                "the group has a member",
            ));
        }
        Ok(group)
    }

    fn reader(&self, t: &pb::ReaderTarget) -> Answer<Reader> {
        use pb::stop::Position as P;
        let next = self.place(t.start, "open.reader.start.offset")?;
        let stop = t
            .stop
            .and_then(|s| s.position)
            .map(|position| match position {
                P::Offset(offset) => Stop::Offset(offset),
                P::TimeUnixMs(ms) => Stop::Time(ms),
                P::Tail(_) => Stop::Offset(self.log.tail()),
            });
        Ok(Reader {
            next,
            stop,
            rate: t.rate_messages_per_second,
            since: Instant::now(),
            count: 0,
        })
    }

    /// Makes the session a member; what it says it holds stays with it, unless it went
    /// elsewhere meanwhile.
    fn hold_again(&mut self, t: &pb::GroupTarget, id: u64, sessions: &mut Sessions) {
        let (Some(group), Some(session)) = (self.groups.get_mut(&t.group), sessions.get_mut(&id))
        else {
            return;
        };
        let deadline = Instant::now() + ack_deadline(&self.tuning);
        let mut stale = Vec::new();
        for range in &t.held {
            for offset in range.first_offset..range.first_offset.saturating_add(range.count) {
                let (Some(stored), Some(attempt)) =
                    (self.log.get(offset), group.ready.remove(&offset))
                else {
                    stale.push(offset);
                    continue;
                };
                group.hold(offset, id, attempt, deadline);
                if let Some(consuming) = session.consuming() {
                    consuming.in_flight = consuming.in_flight.plus(Credit::new(1, stored.size));
                }
            }
        }
        group.members.push(id);
        if !stale.is_empty() {
            session.consume(revoked(stale, pb::RevokeReason::Stale));
        }
    }

    fn settle(&mut self, id: u64, settle: pb::Settle, epoch: u64, sessions: &mut Sessions) {
        use pb::SettleAction as A;
        let Some(session) = sessions.get_mut(&id) else {
            return;
        };
        let action = settle.action();
        if action == A::Unspecified {
            let e = refusal(ErrorKind::InvalidArgument, &self.name, "no action");
            return session.refuse(at_field(e, "settle.action"));
        }
        let Some(Consuming {
            target: Target::Group(group),
            ..
        }) = session.consuming()
        else {
            return;
        };
        let Some(group) = self.groups.get_mut(group) else {
            return;
        };
        let delay = (settle.delay_ms > 0).then(|| Duration::from_millis(settle.delay_ms));
        let mut stale = Vec::new();
        for range in &settle.ranges {
            for offset in range.first_offset..range.first_offset.saturating_add(range.count) {
                if group.in_flight.get(&offset).is_none_or(|f| f.member != id) {
                    stale.push(offset);
                    continue;
                }
                let Some(flight) = group.release(offset, &self.log, sessions) else {
                    continue;
                };
                match action {
                    A::Ack | A::Skip | A::Unspecified => group.settle(offset),
                    A::Park => group.park(offset, flight.attempt, &settle.reason),
                    A::Retry => {
                        let again = Again::Later(delay);
                        group.failed(offset, flight.attempt, &settle.reason, again, &self.tuning);
                    }
                }
            }
        }
        if let Some(session) = sessions.get_mut(&id) {
            if !stale.is_empty() {
                session.consume(revoked(stale, pb::RevokeReason::Stale));
            }
            // A grant may ride on a settle.
            if let (Some(grant), Some(consuming)) = (&settle.grant, session.consuming()) {
                if let Err(e) = consuming.grant(grant, epoch, &self.name) {
                    session.refuse(e);
                }
            }
        }
        self.grant(sessions, false);
    }
}
