//! What operators see, in the crate's own types.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::Tuning;
use crate::events::StreamKind;
use crate::pb;
use crate::types::{from_unix_ms, Credit, CreditReason, Header, Message, Mode};

/// A queue as operators see it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QueueInfo {
    /// The queue's name.
    pub name: String,
    /// Rises by 1 with each update.
    pub revision: u64,
    /// What can be set while the queue runs.
    pub tuning: Tuning,
    /// 1 until queues have several.
    pub partitions: u32,
    /// The queue's numbers at the moment of the answer.
    pub stats: QueueStats,
}

impl QueueInfo {
    pub(super) fn from_pb(q: pb::Queue) -> QueueInfo {
        QueueInfo {
            name: q.name,
            revision: q.revision,
            tuning: Tuning::from_pb(q.tuning.unwrap_or_default()),
            partitions: q.partitions,
            stats: QueueStats::from_pb(q.stats.unwrap_or_default()),
        }
    }
}

/// Numbers of a queue at one moment. Totals count since the broker started; bytes are lengths
/// of encoded records.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct QueueStats {
    /// The lowest kept offset.
    pub head_offset: u64,
    /// The offset of the next record.
    pub tail_offset: u64,
    /// The lowest unsettled offset of any group (the head without groups); the depth is from
    /// there to the tail.
    pub settled_through_offset: u64,
    /// Records from there to the tail.
    pub depth_messages: u64,
    /// Bytes from there to the tail.
    pub depth_bytes: u64,
    /// Records in memory, of what is kept.
    pub resident_messages: u64,
    /// Bytes in memory.
    pub resident_bytes: u64,
    /// Records on disk, of what is kept.
    pub disk_messages: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// The credit that producers hold.
    pub producer_unspent: Credit,
    /// Bytes on their way to the disk.
    pub storing_bytes: u64,
    /// Open streams of producers.
    pub producers: u32,
    /// Open streams of members of groups.
    pub consumers: u32,
    /// Open streams without a cursor.
    pub readers: u32,
    /// Groups, with members or without.
    pub groups: u32,
    /// Total of records published.
    pub published_messages: u64,
    /// Total of bytes published.
    pub published_bytes: u64,
    /// Total of records delivered.
    pub delivered_messages: u64,
    /// Total of bytes delivered.
    pub delivered_bytes: u64,
    /// Total of records settled.
    pub settled_messages: u64,
    /// Total of records that left memory for the disk because the window was full.
    pub spilled_messages: u64,
    /// Total of their bytes.
    pub spilled_bytes: u64,
    /// Total of records read back from the disk.
    pub unspilled_messages: u64,
    /// Total of records dropped by the policy of overflow.
    pub dropped_messages: u64,
    /// Total of records that were sent again and recognised.
    pub duplicates: u64,
    /// Total of records delivered again.
    pub redelivered_messages: u64,
    /// The age of the oldest record that some group has not settled.
    pub oldest_age: Duration,
    /// Why producers wait; `None` if they don't.
    pub reason: Option<CreditReason>,
    /// For how long.
    pub reason_age: Duration,
}

impl QueueStats {
    fn from_pb(s: pb::QueueStats) -> QueueStats {
        QueueStats {
            head_offset: s.head_offset,
            tail_offset: s.tail_offset,
            settled_through_offset: s.settled_through_offset,
            depth_messages: s.depth_messages,
            depth_bytes: s.depth_bytes,
            resident_messages: s.resident_messages,
            resident_bytes: s.resident_bytes,
            disk_messages: s.disk_messages,
            disk_bytes: s.disk_bytes,
            producer_unspent: Credit::from_pb(s.producer_unspent),
            storing_bytes: s.storing_bytes,
            producers: s.producers,
            consumers: s.consumers,
            readers: s.readers,
            groups: s.groups,
            published_messages: s.published_messages_total,
            published_bytes: s.published_bytes_total,
            delivered_messages: s.delivered_messages_total,
            delivered_bytes: s.delivered_bytes_total,
            settled_messages: s.settled_messages_total,
            spilled_messages: s.spilled_messages_total,
            spilled_bytes: s.spilled_bytes_total,
            unspilled_messages: s.unspilled_messages_total,
            dropped_messages: s.dropped_messages_total,
            duplicates: s.duplicates_total,
            redelivered_messages: s.redelivered_messages_total,
            oldest_age: Duration::from_millis(s.oldest_age_ms),
            reason: CreditReason::from_pb(s.reason),
            reason_age: Duration::from_millis(s.reason_age_ms),
        }
    }
}

/// A message with its place in the queue.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PlacedMessage {
    /// The message's place.
    pub offset: u64,
    /// When it was appended, by the broker's clock.
    pub appended_at: SystemTime,
    /// The application's data.
    pub payload: Bytes,
    /// Groups related records; empty means none.
    pub key: Bytes,
    /// The headers, in order.
    pub headers: Vec<Header>,
}

impl PlacedMessage {
    pub(super) fn from_pb(p: pb::PlacedRecord) -> PlacedMessage {
        let record = p.record.unwrap_or_default();
        let header = |h: pb::Header| Header {
            name: h.name,
            value: h.value,
        };
        PlacedMessage {
            offset: p.offset,
            appended_at: from_unix_ms(p.appended_at_unix_ms),
            payload: record.payload,
            key: record.key,
            headers: record.headers.into_iter().map(header).collect(),
        }
    }

    /// The message alone, to be published again.
    pub fn into_message(self) -> Message {
        Message {
            payload: self.payload,
            key: self.key,
            headers: self.headers,
        }
    }
}

/// A group as operators see it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GroupInfo {
    /// The group's name.
    pub name: String,
    /// How its members share; `None` if unknown to this version.
    pub mode: Option<Mode>,
    /// How many members it has.
    pub members: u32,
    /// The lowest unsettled offset.
    pub cursor_offset: u64,
    /// Unsettled records from there to the tail.
    pub lag_messages: u64,
    /// Records that are delivered and unsettled. A record is in one of this,
    /// `retrying` and `parked` at most.
    pub in_flight: u64,
    /// Records that wait for their retry delay.
    pub retrying: u64,
    /// Records that are put aside.
    pub parked: u64,
    /// Total of records that were removed before the group settled them.
    pub gone: u64,
    /// Total of records delivered again.
    pub redelivered: u64,
    /// Whether the group reads from disk.
    pub reading_from_disk: bool,
    /// The next offset to be delivered for the first time.
    pub next_offset: u64,
}

impl GroupInfo {
    pub(super) fn from_pb(g: pb::Group) -> GroupInfo {
        GroupInfo {
            mode: Mode::from_pb(g.mode),
            name: g.name,
            members: g.members,
            cursor_offset: g.cursor_offset,
            lag_messages: g.lag_messages,
            in_flight: g.in_flight_messages,
            retrying: g.retrying_messages,
            parked: g.parked_messages,
            gone: g.gone_messages_total,
            redelivered: g.redelivered_messages_total,
            reading_from_disk: g.reading_from_disk,
            next_offset: g.next_offset,
        }
    }
}

/// A record that a group has put aside.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ParkedRecord {
    /// The record's place in the queue.
    pub offset: u64,
    /// How often it was delivered.
    pub attempts: u32,
    /// That of the last nack.
    pub reason: String,
    /// When, by the broker's clock.
    pub parked_at: SystemTime,
}

impl ParkedRecord {
    pub(super) fn from_pb(p: pb::ParkedRecord) -> ParkedRecord {
        ParkedRecord {
            offset: p.offset,
            attempts: p.attempts,
            reason: p.reason,
            parked_at: from_unix_ms(p.parked_at_unix_ms),
        }
    }
}

/// A stream as operators see it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Names the session.
    pub id: String,
    /// The queue of the stream.
    pub queue: String,
    /// What the stream does; `None` if unknown to this version.
    pub kind: Option<StreamKind>,
    /// The group, or the producer's id.
    pub name: String,
    /// How the client named itself.
    pub client: String,
    /// The client's address.
    pub peer: String,
    /// When the stream opened, by the broker's clock.
    pub opened_at: SystemTime,
    /// The epoch of the account.
    pub epoch: u64,
    /// What was granted in this epoch: to a producer by the broker, to the broker by others.
    pub granted: Credit,
    /// What was used of it.
    pub used: Credit,
    /// What a consumer holds unsettled.
    pub in_flight: Credit,
}

impl SessionInfo {
    pub(super) fn from_pb(s: pb::Session) -> SessionInfo {
        SessionInfo {
            kind: match s.kind() {
                pb::SessionKind::Unspecified => None,
                pb::SessionKind::Producer => Some(StreamKind::Producer),
                pb::SessionKind::Consumer => Some(StreamKind::Consumer),
                pb::SessionKind::Reader => Some(StreamKind::Reader),
            },
            id: s.id,
            queue: s.queue,
            name: s.name,
            client: s.client,
            peer: s.peer,
            opened_at: from_unix_ms(s.opened_at_unix_ms),
            epoch: s.epoch,
            granted: Credit::from_pb(s.granted),
            used: Credit::from_pb(s.used),
            in_flight: Credit::new(s.in_flight_messages, s.in_flight_bytes),
        }
    }
}

/// One reason for which something waits, with its evidence.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stall {
    /// What waits, such as `group billing`.
    pub subject: String,
    /// The shared name, such as `NO_CONSUMER`.
    pub reason: String,
    /// For how long.
    pub age: Duration,
    /// One sentence: what would end it.
    pub ends_when: String,
    /// The numbers behind it, by name with the unit last.
    pub numbers: BTreeMap<String, u64>,
}

impl Stall {
    fn from_pb(s: pb::Stall) -> Stall {
        let reason = match pb::StallReason::try_from(s.reason) {
            Ok(known) => known
                .as_str_name()
                .trim_start_matches("STALL_REASON_")
                .to_owned(),
            // Of a newer broker: people can still look it up.
            Err(_) => s.reason.to_string(),
        };
        Stall {
            subject: s.subject,
            reason,
            age: Duration::from_millis(s.age_ms),
            ends_when: s.ends_when,
            numbers: s.numbers,
        }
    }
}

/// Why a queue or a session waits.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Explanation {
    /// Empty: nothing waits.
    pub stalls: Vec<Stall>,
    /// Numbers of the subject, whether it waits or not.
    pub numbers: BTreeMap<String, u64>,
}

impl Explanation {
    pub(super) fn from_pb(e: pb::ExplainResponse) -> Explanation {
        Explanation {
            stalls: e.stalls.into_iter().map(Stall::from_pb).collect(),
            numbers: e.numbers,
        }
    }
}

/// One answer of a watch.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// When, by the broker's clock.
    pub at: SystemTime,
    /// In order of name.
    pub queues: Vec<QueueInfo>,
    /// Numbers of the whole process.
    pub broker: BrokerStats,
}

impl Snapshot {
    pub(super) fn from_pb(w: pb::WatchResponse) -> Snapshot {
        let b = w.broker.unwrap_or_default();
        Snapshot {
            at: from_unix_ms(w.at_unix_ms),
            queues: w.queues.into_iter().map(QueueInfo::from_pb).collect(),
            broker: BrokerStats {
                uptime: Duration::from_millis(b.uptime_ms),
                resident_memory_bytes: b.resident_memory_bytes,
                memory_budget_bytes: b.memory_budget_bytes,
                memory_used_bytes: b.memory_used_bytes,
                disk_free_bytes: b.disk_free_bytes,
                store_bytes: b.store_bytes,
                commits: b.commits_total,
                syncs: b.syncs_total,
                sessions: b.sessions,
                connections: b.connections,
                version: b.version,
                draining: b.draining,
            },
        }
    }
}

/// Numbers of the whole process.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct BrokerStats {
    /// Since the broker started.
    pub uptime: Duration,
    /// What the operating system counts.
    pub resident_memory_bytes: u64,
    /// The most that queues may hold in memory together.
    pub memory_budget_bytes: u64,
    /// What they hold of it.
    pub memory_used_bytes: u64,
    /// Free space of the disk.
    pub disk_free_bytes: u64,
    /// What the store takes on disk.
    pub store_bytes: u64,
    /// Total of commits.
    pub commits: u64,
    /// Total of flushes to the device.
    pub syncs: u64,
    /// Open streams.
    pub sessions: u32,
    /// Open connections.
    pub connections: u32,
    /// The broker's version.
    pub version: String,
    /// Whether the broker is going away.
    pub draining: bool,
}
