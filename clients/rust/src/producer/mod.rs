//! Publishing within the broker's credit.

mod ack;
mod core;
mod task;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

pub use self::ack::{Ack, Receipt};
pub use self::core::Blocked;
use self::core::{Admit, Core, Limits};
use self::task::Shared;
use crate::admin::Tuning;
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::registry;
use crate::stream::Heart;
use crate::types::{Credit, Durability, Message};

/// Options of a [`Producer`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ProducerBuilder {
    client: Client,
    queue: String,
    producer_id: String,
    durability: Option<Durability>,
    limits: Limits,
}

impl ProducerBuilder {
    pub(crate) fn new(client: Client, queue: String) -> Self {
        ProducerBuilder {
            client,
            queue,
            producer_id: String::new(),
            durability: None,
            limits: Limits {
                batch_bytes: registry::DEFAULT_BATCH_BYTES as usize,
                batch_records: registry::DEFAULT_BATCH_RECORDS as u32,
                linger: registry::DEFAULT_LINGER,
            },
        }
    }

    /// Names the producer, so that what an earlier process of the same name sent is
    /// recognised. Only one producer of a name can be open; a newer one fences the older.
    /// Default: the broker makes a name.
    pub fn producer_id(mut self, id: impl Into<String>) -> Self {
        self.producer_id = id.into();
        self
    }

    /// Refuses to publish to a queue whose confirmations promise less than this; durability
    /// itself is a tunable of the queue. Default: any.
    pub fn durability(mut self, least: Durability) -> Self {
        self.durability = Some(least);
        self
    }

    /// Lets a batch that is not full wait this long for more records. Default 0: a batch is
    /// what arrived while the write before it was under way.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.limits.linger = linger.clamp(registry::MIN_LINGER, registry::MAX_LINGER);
        self
    }

    /// A batch is sent when it has so many encoded bytes; what the broker allows caps it,
    /// and a single larger record goes alone. Default 1 MiB.
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        let (min, max) = (registry::MIN_BATCH_BYTES, registry::MAX_BATCH_BYTES);
        self.limits.batch_bytes = (bytes as u64).clamp(min, max) as usize;
        self
    }

    /// A batch is sent when it has so many records; what the broker allows caps it. Default
    /// 10,000.
    pub fn batch_records(mut self, records: u32) -> Self {
        let (min, max) = (registry::MIN_BATCH_RECORDS, registry::MAX_BATCH_RECORDS);
        self.limits.batch_records = u64::from(records).clamp(min, max) as u32;
        self
    }

    /// Opens the producer; returns once the broker has, or with the first failure.
    ///
    /// Cancel-safe: nothing is left of it.
    pub async fn open(self) -> Result<Producer> {
        let inner = &self.client.inner;
        let heart = Heart::new(inner.heartbeat, inner.dead_after, Instant::now());
        let core = Core::new(
            self.queue,
            self.producer_id,
            self.durability,
            self.limits,
            heart,
        );
        let (shared, opened) = task::start(self.client, core);
        // Made first: dropping it, also while it waits here, ends the stream.
        let handle = Producer(Arc::new(Handle(shared)));
        opened
            .await
            .unwrap_or_else(|_| Err(Error::closed("producer")))?;
        Ok(handle)
    }
}

/// Publishes to one queue. Clones share one stream.
///
/// Nothing is sent without credit: [`publish`](Self::publish) and [`send`](Self::send) wait
/// for it, in order of arrival. When the stream breaks it is opened again and whatever is
/// unconfirmed is sent again; each record is confirmed exactly once to the caller.
///
/// When the last clone is dropped, what was sent is still delivered, in the background.
#[derive(Clone, Debug)]
pub struct Producer(Arc<Handle>);

#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// A place in the line of those who wait for credit; left when dropped.
struct Place<'a> {
    shared: &'a Shared,
    id: Option<u64>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.shared.core.lock().unwrap().leave(id, Instant::now());
            self.shared.tell();
        }
    }
}

/// A flush under way: until it ends, batches don't wait to grow.
struct Flush<'a>(&'a Shared);

impl Drop for Flush<'_> {
    fn drop(&mut self) {
        self.0.core.lock().unwrap().flush_ends();
    }
}

impl Producer {
    #[inline]
    fn shared(&self) -> &Arc<Shared> {
        &self.0 .0
    }

    #[inline]
    fn core(&self) -> std::sync::MutexGuard<'_, Core> {
        self.shared().core.lock().unwrap()
    }

    /// Publishes a message: waits for credit, then for the confirmation. Returns the offset.
    ///
    /// Cancel-safe in that dropping it while it waits for credit sends nothing; dropped
    /// later, the message is on its way, and is kept or not.
    pub async fn publish(&self, message: impl Into<Message>) -> Result<u64> {
        self.send(message).await?.offset().await
    }

    /// Sends a message: waits for credit only. The [`Ack`] is the confirmation, to come.
    ///
    /// Cancel-safe: dropped before it is ready, nothing was sent.
    #[inline]
    pub async fn send(&self, message: impl Into<Message>) -> Result<Ack> {
        // A message that need not wait is not moved into the future.
        let message = match self.send_now(message.into()) {
            Ok(sent) => return sent,
            Err(message) => message,
        };
        let size = message.size();
        let shared = self.shared();
        let mut place = Place { shared, id: None };
        poll_fn(|cx| {
            let mut core = shared.core.lock().unwrap();
            match core.admit(&message, size, place.id, Instant::now) {
                Admit::Sent(ack) => Poll::Ready(Ok(ack)),
                Admit::Refused(e) => Poll::Ready(Err(e)),
                Admit::Wait => {
                    core.wait(&mut place.id, size, cx.waker(), Instant::now());
                    drop(core);
                    shared.tell();
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Gives the message back if it has to wait.
    #[inline]
    fn send_now(&self, message: Message) -> std::result::Result<Result<Ack>, Message> {
        let size = message.size();
        let admit = self.core().admit(&message, size, None, Instant::now);
        match admit {
            Admit::Sent(ack) => Ok(Ok(ack)),
            Admit::Refused(e) => Ok(Err(e)),
            Admit::Wait => Err(message),
        }
    }

    /// Sends a message if that needs no waiting; else fails with
    /// [`NoCredit`](ErrorKind::NoCredit).
    pub fn try_publish(&self, message: impl Into<Message>) -> Result<Ack> {
        let message = message.into();
        let size = message.size();
        let mut core = self.core();
        match core.admit(&message, size, None, Instant::now) {
            Admit::Sent(ack) => Ok(ack),
            Admit::Refused(e) => Err(e),
            Admit::Wait => {
                let e = Error::new(ErrorKind::NoCredit, "no credit at this moment");
                Err(e
                    .on_queue(&core.queue)
                    .numbers(core.credit().bytes, size as u64))
            }
        }
    }

    /// What may be sent now without waiting.
    pub fn credit(&self) -> Credit {
        self.core().credit()
    }

    /// Why credit does not rise, if something holds it.
    pub fn blocked(&self) -> Option<Blocked> {
        self.core().blocked()
    }

    /// Records that are not confirmed yet.
    pub fn unconfirmed(&self) -> u64 {
        self.core().unconfirmed()
    }

    /// The producer's name across streams.
    pub fn producer_id(&self) -> String {
        self.core().producer_id.clone()
    }

    /// The broker's name for the current stream, as in Admin and Explain.
    pub fn session(&self) -> String {
        self.core().session.clone()
    }

    /// The epoch of the current stream.
    pub fn epoch(&self) -> u64 {
        self.core().epoch
    }

    /// The queue's tuning as the broker last told it.
    pub fn tuning(&self) -> Tuning {
        Tuning::from_pb(self.core().tuning)
    }

    /// Waits until every record that was sent before is confirmed or refused; what became of
    /// them, their [`Ack`]s tell. Fails only if the producer has ended.
    ///
    /// Cancel-safe.
    pub async fn flush(&self) -> Result<()> {
        let shared = self.shared();
        let target = self.core().flush_begins();
        let _flush = Flush(shared);
        poll_fn(|cx| match self.core().flushed(target, cx.waker()) {
            Some(result) => Poll::Ready(result),
            None => Poll::Pending,
        })
        .await
    }

    /// Waits until all that was sent is confirmed or refused, and ends the stream. Publishes
    /// that wait for credit fail with [`Closed`](ErrorKind::Closed), and after the close
    /// timeout so does what is unconfirmed: its fate is unknown then.
    ///
    /// Cancel-safe: closing goes on without it.
    pub async fn close(self) -> Result<()> {
        let shared = self.shared().clone();
        shared.close();
        let _ = shared.done.subscribe().wait_for(|done| *done).await;
        let core = shared.core.lock().unwrap();
        match (core.lost, &core.ended) {
            (lost @ 1.., Some(why)) => {
                let e = Error::new(ErrorKind::Closed, "closed before all was confirmed");
                Err(e
                    .on_queue(&core.queue)
                    .numbers(0, lost)
                    .caused_by(why.clone()))
            }
            _ => Ok(()),
        }
    }
}
