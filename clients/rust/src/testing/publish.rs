//! The stream of producers.

use std::time::Instant;

use prost::Message as _;

use super::queue::{Known, Queue};
use super::session::{End, Producing, Role, Sessions};
use super::state::{at_field, check_name, numbers, refusal, Answer, State};
use super::Frame;
use crate::pb::{self, publish_request, publish_response, ErrorKind};
use crate::registry;
use crate::types::Credit;

impl State {
    pub(super) fn open_producer(&mut self, first: &pb::PublishRequest) -> Answer<u64> {
        self.tap("", Frame::Publish(first));
        let Some(publish_request::Frame::Open(open)) = &first.frame else {
            return Err(refusal(
                ErrorKind::Protocol,
                "",
                "the first frame is an Open",
            ));
        };
        self.may_open(&open.queue)?;
        let producer_id = match open.producer_id.as_str() {
            "" => format!("producer-{}", self.unique()),
            id => {
                check_name(id, "open.producer_id")?;
                id.to_owned()
            }
        };
        let queue = self.find(&open.queue)?;
        let new = Known {
            epoch: 0,
            next: 1,
            runs: Vec::new(),
            session: None,
        };
        let known = queue.known.entry(producer_id.clone()).or_insert(new);
        // Where the queue forgot it, what is below is settled for the client.
        known.next = known.next.max(open.resume_sequence);
        known.epoch += 1;
        let (epoch, next_sequence, older) = (known.epoch, known.next, known.session);
        let (revision, tuning) = (queue.revision, queue.tuning);
        if let Some(older) = older.and_then(|id| self.sessions.get_mut(&id)) {
            older.refuse(refusal(
                ErrorKind::Fenced,
                &open.queue,
                "a newer stream took over",
            ));
        }
        let role = Role::Producer(Producing {
            producer_id: producer_id.clone(),
            ..Default::default()
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
        session.publish(publish_response::Frame::Opened(pb::PublishOpened {
            protocol: registry::LIMIT_PROTOCOL_VERSION as u32,
            epoch,
            next_sequence,
            producer_id: producer_id.clone(),
            session: session.name.clone(),
            revision,
            tuning: Some(tuning),
            max_batch_bytes: options.batch_bytes,
            max_batch_records: options.batch_records,
            heartbeat_ms: options.heartbeat.as_millis() as u64,
            dead_after_ms: options.dead_after.as_millis() as u64,
        }));
        if let Some(known) = queue.known.get_mut(&producer_id) {
            known.session = Some(id);
        }
        queue.producers.push(id);
        queue.grant(sessions, false);
        Ok(id)
    }

    pub(super) fn on_publish(&mut self, id: u64, request: pb::PublishRequest) {
        use publish_request::Frame as F;
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        let name = session.queue.clone();
        self.tap(&name, Frame::Publish(&request));
        let (options, wrong) = (self.options, self.faults.wrong_counters);
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
        let Some(producing) = session.producing() else {
            return;
        };
        match request.frame {
            Some(F::Publish(batch)) => {
                let limits = (options.batch_bytes, options.batch_records);
                if let Err(e) = queue.accept(id, batch, limits, sessions) {
                    if let Some(session) = sessions.get_mut(&id) {
                        session.refuse(e);
                    }
                }
            }
            Some(F::Demand(demand)) => {
                producing.next = demand.next_record_bytes;
                if demand.returned.is_some() {
                    let returned = Credit::from_pb(demand.returned);
                    let unspent = producing.limit.minus(producing.received);
                    let wrong = if !producing.returned.within(returned) {
                        Some(ErrorKind::CreditRegressed)
                    } else if !returned.within(unspent) {
                        Some(ErrorKind::CreditExceeded)
                    } else {
                        None
                    };
                    if let Some(kind) = wrong {
                        let e = refusal(kind, &name, "what was given back does not add up");
                        return session.refuse(at_field(e, "demand.returned"));
                    }
                    producing.returned = returned;
                }
                queue.grant(sessions, true);
            }
            Some(F::Ping(ping)) => {
                let mut received = producing.received;
                received.messages += u64::from(wrong);
                let pong = pb::Pong {
                    id: ping.id,
                    epoch,
                    received: Some(received.to_pb()),
                    limit: Some(producing.limit.to_pb()),
                };
                session.publish(publish_response::Frame::Pong(pong));
            }
            Some(F::Pong(_)) => {}
            Some(F::Close(_)) => {
                if !queue.hold_confirms {
                    session.end(End::Finished);
                }
            }
            Some(F::Open(_)) | None => {
                let message = "a frame that does not belong here";
                session.refuse(refusal(ErrorKind::Protocol, &name, message));
            }
        }
    }
}

impl Queue {
    fn accept(
        &mut self,
        id: u64,
        batch: pb::PublishBatch,
        (batch_bytes, batch_records): (u64, u32),
        sessions: &mut Sessions,
    ) -> Answer<()> {
        let records = "publish.records";
        let error = |kind, field, message, limit, actual| {
            let e = refusal(kind, &self.name, message);
            Err(numbers(at_field(e, field), limit, actual))
        };
        let Some(session) = sessions.get_mut(&id) else {
            return Ok(());
        };
        let Some(producing) = session.producing() else {
            return Ok(());
        };
        let count = batch.records.len() as u64;
        let limit = u64::from(batch_records);
        if count == 0 {
            return error(ErrorKind::InvalidArgument, records, "an empty batch", 1, 0);
        }
        let size = batch.encoded_len() as u64;
        if count > limit {
            return error(
                ErrorKind::TooLarge,
                records,
                "too many records",
                limit,
                count,
            );
        }
        if count > 1 && size > batch_bytes {
            let message = "the batch is too large";
            return error(ErrorKind::TooLarge, "publish", message, batch_bytes, size);
        }
        let sizes = || batch.records.iter().map(|r| r.encoded_len() as u64);
        let (largest, max) = (sizes().max().unwrap_or(0), self.tuning.max_message_bytes());
        if largest > max {
            return error(
                ErrorKind::TooLarge,
                records,
                "a record is too large",
                max,
                largest,
            );
        }
        let received = producing.received.plus(Credit::new(count, sizes().sum()));
        let limit = producing.limit.minus(producing.returned);
        if !received.within(limit) {
            let (limit, actual) = (limit.messages, received.messages);
            return error(
                ErrorKind::CreditExceeded,
                "",
                "beyond the credit",
                limit,
                actual,
            );
        }
        producing.received = received;
        let Some(known) = self.known.get_mut(&producing.producer_id) else {
            // Forgotten since the stream was opened.
            session.end(End::Broken);
            return Ok(());
        };
        let (first, next) = (batch.first_sequence, known.next);
        if first > next {
            return error(
                ErrorKind::SequenceGap,
                "",
                "a sequence was skipped",
                next,
                first,
            );
        }
        if first < next && first + count > next {
            let (kind, field) = (ErrorKind::InvalidArgument, "publish.first_sequence");
            return error(kind, field, "a batch must not straddle", next, first);
        }
        if first < next {
            producing
                .unconfirmed
                .extend(again(&known.runs, first, count));
        } else {
            known.next += count;
            let (left, refusal) = &mut self.refusals;
            if *left > 0 {
                *left -= 1;
                let refuse = pb::Refuse {
                    first_sequence: first,
                    count,
                    error: Some(refusal.clone()),
                };
                session.publish(publish_response::Frame::Refuse(refuse));
                self.grant(sessions, false);
                return Ok(());
            }
            let run = pb::confirm::Run {
                first_sequence: first,
                count,
                first_offset: self.log.tail(),
                ..Default::default()
            };
            known.runs.push(run);
            producing.unconfirmed.push(run);
            for record in batch.records {
                self.log.append(record);
            }
            if self.breaks > 0 {
                self.breaks -= 1;
                session.end(End::Broken);
            }
            self.pump(sessions, Instant::now());
        }
        if !self.hold_confirms {
            self.confirm_all(sessions);
        }
        self.grant(sessions, false);
        Ok(())
    }
}

/// Confirms sequences that were kept before.
fn again(runs: &[pb::confirm::Run], first: u64, count: u64) -> Vec<pb::confirm::Run> {
    let mut out = Vec::new();
    let (mut sequence, end) = (first, first + count);
    while sequence < end {
        let of = |r: &&pb::confirm::Run| {
            (r.first_sequence..r.first_sequence + r.count).contains(&sequence)
        };
        let found = runs.iter().find(of);
        let run = match found {
            Some(r) => pb::confirm::Run {
                first_sequence: sequence,
                count: end.min(r.first_sequence + r.count) - sequence,
                first_offset: r.first_offset + (sequence - r.first_sequence),
                duplicate: true,
                offset_unknown: false,
            },
            None => pb::confirm::Run {
                first_sequence: sequence,
                count: 1,
                first_offset: 0,
                duplicate: true,
                offset_unknown: true,
            },
        };
        sequence += run.count;
        out.push(run);
    }
    out
}
