//! The calls of operators and tools.

mod items;
mod tuning;
mod view;

use std::time::Duration;

use tonic::transport::Channel;
use tonic::{Response, Status};

pub use self::items::Items;
#[cfg(feature = "testing")]
pub(crate) use self::tuning::defaults;
pub use self::tuning::{Tuning, TuningChange};
pub use self::view::{
    BrokerStats, Explanation, GroupInfo, ParkedRecord, PlacedMessage, QueueInfo, QueueStats,
    SessionInfo, Snapshot, Stall,
};
use crate::client::Client;
use crate::error::{Error, Result};
use crate::pb::admin_client::AdminClient;
use crate::ranges::OffsetRange;
use crate::types::Position;
use crate::{pb, stream};

/// The calls of operators and tools. Cheap to clone.
///
/// No call is repeated by the client, not even after
/// [`Unavailable`](crate::ErrorKind::Unavailable): when the answer is lost the call may have
/// been done, and a repetition would then fail with `AlreadyExists`, `NotFound` or
/// `RevisionMismatch`, or move a group twice. Whether to try again is the caller's to decide;
/// [`Error::is_retryable`] and [`Error::retry_after`] help. A broken connection is made again
/// by the next call.
///
/// Calls wait for their answer as long as it takes: bound them with
/// [`tokio::time::timeout`]. All are cancel-safe in this sense: dropping a call that only
/// reads leaves nothing behind, and one that changes something has been done or not.
#[derive(Clone, Debug)]
pub struct Admin {
    client: Client,
}

type Stub = AdminClient<Channel>;

fn answer<T>(result: Result<Response<T>, Status>) -> Result<T> {
    result.map(Response::into_inner).map_err(Error::from_status)
}

impl Admin {
    pub(crate) fn new(client: Client) -> Self {
        Admin { client }
    }

    fn stub(&self) -> Stub {
        let (_, channel) = self.client.inner.channel();
        // A Peek brings at least one record, however large.
        AdminClient::new(channel).max_decoding_message_size(stream::max_frame_bytes())
    }

    /// Creates a queue; what `tuning` doesn't name has its default. A queue of that name is
    /// [`AlreadyExists`](crate::ErrorKind::AlreadyExists), whatever its tuning.
    ///
    /// Cancel-safe: see [`Admin`].
    pub async fn create_queue(
        &self,
        name: impl Into<String>,
        tuning: impl Into<TuningChange>,
    ) -> Result<QueueInfo> {
        let request = pb::CreateQueueRequest {
            name: name.into(),
            tuning: Some(tuning.into().into_pb()),
        };
        let r = answer(self.stub().create_queue(request).await)?;
        Ok(QueueInfo::from_pb(r.queue.unwrap_or_default()))
    }

    /// Changes what `tuning` names, if the queue is still at the expected revision (else
    /// [`RevisionMismatch`](crate::ErrorKind::RevisionMismatch)); `None` stands for any.
    ///
    /// Cancel-safe: see [`Admin`].
    pub async fn update_queue(
        &self,
        name: impl Into<String>,
        expected_revision: Option<u64>,
        tuning: impl Into<TuningChange>,
    ) -> Result<QueueInfo> {
        let request = pb::UpdateQueueRequest {
            name: name.into(),
            expected_revision: expected_revision.unwrap_or(0),
            tuning: Some(tuning.into().into_pb()),
        };
        let r = answer(self.stub().update_queue(request).await)?;
        Ok(QueueInfo::from_pb(r.queue.unwrap_or_default()))
    }

    /// Returns a queue.
    ///
    /// Cancel-safe: see [`Admin`].
    pub async fn get_queue(&self, name: impl Into<String>) -> Result<QueueInfo> {
        let request = pb::GetQueueRequest { name: name.into() };
        let r = answer(self.stub().get_queue(request).await)?;
        Ok(QueueInfo::from_pb(r.queue.unwrap_or_default()))
    }

    /// The queues whose names begin with `prefix`, in order of name.
    pub fn list_queues(&self, prefix: impl Into<String>) -> Items<QueueInfo> {
        let (stub, prefix) = (self.stub(), prefix.into());
        items::pages(String::new(), move |page_token| {
            let (mut stub, prefix) = (stub.clone(), prefix.clone());
            async move {
                let request = pb::ListQueuesRequest {
                    prefix,
                    page_token,
                    ..Default::default()
                };
                let r = answer(stub.list_queues(request).await)?;
                let page = r.queues.into_iter().map(QueueInfo::from_pb).collect();
                Ok((page, more(r.next_page_token)))
            }
        })
    }

    /// Deletes a queue, its records and groups, and ends its streams with
    /// [`Closed`](crate::ErrorKind::Closed); `expected_revision` as in
    /// [`update_queue`](Self::update_queue).
    ///
    /// Cancel-safe: see [`Admin`].
    pub async fn delete_queue(
        &self,
        name: impl Into<String>,
        expected_revision: Option<u64>,
    ) -> Result<()> {
        let request = pb::DeleteQueueRequest {
            name: name.into(),
            expected_revision: expected_revision.unwrap_or(0),
        };
        answer(self.stub().delete_queue(request).await)?;
        Ok(())
    }

    /// Removes every record, settled or not, and returns how many.
    ///
    /// Cancel-safe: see [`Admin`].
    pub async fn purge_queue(&self, name: impl Into<String>) -> Result<u64> {
        self.purge(name.into(), None).await
    }

    /// Removes the records below the offset, and returns how many.
    ///
    /// Cancel-safe: see [`Admin`].
    pub async fn purge_queue_before(&self, name: impl Into<String>, offset: u64) -> Result<u64> {
        self.purge(name.into(), Some(offset)).await
    }

    // Cancel-safe as its callers.
    async fn purge(&self, name: String, before_offset: Option<u64>) -> Result<u64> {
        let request = pb::PurgeQueueRequest {
            name,
            before_offset,
        };
        let r = answer(self.stub().purge_queue(request).await)?;
        Ok(r.purged_messages)
    }

    /// Shows up to `limit` records (1 to 1,000; 0 is 10) from a place on, without delivering
    /// them. Fewer come when they exceed 1 MiB together.
    ///
    /// Cancel-safe: see [`Admin`].
    pub async fn peek(
        &self,
        queue: impl Into<String>,
        from: Position,
        limit: u32,
    ) -> Result<Vec<PlacedMessage>> {
        let request = pb::PeekRequest {
            queue: queue.into(),
            start: Some(from.to_pb()),
            max_messages: limit,
        };
        let r = answer(self.stub().peek(request).await)?;
        Ok(r.records.into_iter().map(PlacedMessage::from_pb).collect())
    }

    /// Returns the groups of a queue.
    ///
    /// Cancel-safe: see [`Admin`].
    pub async fn list_groups(&self, queue: impl Into<String>) -> Result<Vec<GroupInfo>> {
        let request = pb::ListGroupsRequest {
            queue: queue.into(),
        };
        let r = answer(self.stub().list_groups(request).await)?;
        Ok(r.groups.into_iter().map(GroupInfo::from_pb).collect())
    }

    /// Moves a group's cursor. What was in flight is revoked.
    ///
    /// Cancel-safe: see [`Admin`].
    pub async fn seek(
        &self,
        queue: impl Into<String>,
        group: impl Into<String>,
        to: Position,
    ) -> Result<GroupInfo> {
        let request = pb::SeekGroupRequest {
            queue: queue.into(),
            group: group.into(),
            target: Some(to.to_pb()),
        };
        let r = answer(self.stub().seek_group(request).await)?;
        Ok(GroupInfo::from_pb(r.group.unwrap_or_default()))
    }

    /// Deletes a group.
    ///
    /// Cancel-safe: see [`Admin`].
    pub async fn delete_group(
        &self,
        queue: impl Into<String>,
        group: impl Into<String>,
    ) -> Result<()> {
        let request = pb::DeleteGroupRequest {
            queue: queue.into(),
            group: group.into(),
        };
        answer(self.stub().delete_group(request).await)?;
        Ok(())
    }

    /// The records that a group has parked, in order of offset, from an offset on.
    pub fn list_parked(
        &self,
        queue: impl Into<String>,
        group: impl Into<String>,
        from: u64,
    ) -> Items<ParkedRecord> {
        let (stub, queue, group) = (self.stub(), queue.into(), group.into());
        items::pages(from, move |from_offset| {
            let request = pb::ListParkedRequest {
                queue: queue.clone(),
                group: group.clone(),
                from_offset,
                ..Default::default()
            };
            let mut stub = stub.clone();
            async move {
                let r = answer(stub.list_parked(request).await)?;
                let page = r.records.into_iter().map(ParkedRecord::from_pb).collect();
                Ok((page, r.next_offset))
            }
        })
    }

    /// Delivers all parked records again, with their attempts counted from 1, and returns how
    /// many they are.
    ///
    /// Cancel-safe: see [`Admin`].
    pub async fn release_parked(
        &self,
        queue: impl Into<String>,
        group: impl Into<String>,
    ) -> Result<u64> {
        self.release(queue.into(), group.into(), Vec::new()).await
    }

    /// As [`release_parked`](Self::release_parked), for the parked records of these ranges.
    ///
    /// Cancel-safe: see [`Admin`].
    pub async fn release_parked_ranges(
        &self,
        queue: impl Into<String>,
        group: impl Into<String>,
        ranges: &[OffsetRange],
    ) -> Result<u64> {
        if ranges.is_empty() {
            // In the request no ranges would mean all.
            return Ok(0);
        }
        let ranges = ranges.iter().map(|r| (*r).into()).collect();
        self.release(queue.into(), group.into(), ranges).await
    }

    // Cancel-safe as its callers.
    async fn release(
        &self,
        queue: String,
        group: String,
        ranges: Vec<pb::OffsetRange>,
    ) -> Result<u64> {
        let request = pb::ReleaseParkedRequest {
            queue,
            group,
            ranges,
        };
        let r = answer(self.stub().release_parked(request).await)?;
        Ok(r.released_messages)
    }

    /// The sessions of a queue, or of all queues if it is empty.
    pub fn list_sessions(&self, queue: impl Into<String>) -> Items<SessionInfo> {
        let (stub, queue) = (self.stub(), queue.into());
        items::pages(String::new(), move |page_token| {
            let (mut stub, queue) = (stub.clone(), queue.clone());
            async move {
                let request = pb::ListSessionsRequest {
                    queue,
                    page_token,
                    ..Default::default()
                };
                let r = answer(stub.list_sessions(request).await)?;
                let page = r.sessions.into_iter().map(SessionInfo::from_pb).collect();
                Ok((page, more(r.next_page_token)))
            }
        })
    }

    /// Ends a session's stream with [`Closed`](crate::ErrorKind::Closed).
    ///
    /// Cancel-safe: see [`Admin`].
    pub async fn close_session(&self, id: impl Into<String>) -> Result<()> {
        let request = pb::CloseSessionRequest { id: id.into() };
        answer(self.stub().close_session(request).await)?;
        Ok(())
    }

    /// Says why a queue or a session waits, since when, and what would end it. A name alone
    /// is that of a queue.
    ///
    /// Cancel-safe: see [`Admin`].
    pub async fn explain(&self, subject: impl Into<Subject>) -> Result<Explanation> {
        use pb::explain_request::Subject as S;
        let subject = match subject.into() {
            Subject::Queue(name) => S::Queue(name),
            Subject::Session(id) => S::Session(id),
        };
        let request = pb::ExplainRequest {
            subject: Some(subject),
        };
        let r = answer(self.stub().explain(request).await)?;
        Ok(Explanation::from_pb(r))
    }

    /// A snapshot at once and then at every interval (100 ms to 60 s; 0 is 1 s), of one
    /// queue, or of up to 1,000 if it is empty, until it is dropped or the connection breaks.
    pub fn watch(&self, queue: impl Into<String>, interval: Duration) -> Items<Snapshot> {
        let request = pb::WatchRequest {
            queue: queue.into(),
            interval_ms: u64::try_from(interval.as_millis()).unwrap_or(u64::MAX),
        };
        let mut stub = self.stub();
        items::answers(
            async move { answer(stub.watch(request).await) },
            Snapshot::from_pb,
        )
    }
}

fn more(token: String) -> Option<String> {
    (!token.is_empty()).then_some(token)
}

/// What [`Admin::explain`] is asked about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Subject {
    /// The queue of this name.
    Queue(String),
    /// The session of this id: [`Producer::session`](crate::Producer::session) and the like.
    Session(String),
}

impl From<&str> for Subject {
    fn from(queue: &str) -> Subject {
        Subject::Queue(queue.to_owned())
    }
}

impl From<String> for Subject {
    fn from(queue: String) -> Subject {
        Subject::Queue(queue)
    }
}
