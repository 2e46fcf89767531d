//! Publishing within the broker's credit.

mod ack;
mod core;
mod task;

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch, Notify};

pub use self::ack::{Ack, Receipt};
pub use self::core::Blocked;
use self::core::{Admit, Core, Limits};
use self::task::Shared;
use crate::admin::Tuning;
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::events::Event;
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

    /// Opens the producer. Fails with the broker's refusal, or when no broker could be
    /// reached within the connect timeout.
    ///
    /// Cancel-safe: nothing is left of it.
    pub async fn open(self) -> Result<Producer> {
        let now = Instant::now();
        let inner = &self.client.inner;
        let heart = Heart::new(inner.heartbeat, inner.dead_after, now);
        let shared = Arc::new(Shared {
            core: Mutex::new(Core::new(self.queue, self.producer_id, self.limits, heart)),
            notify: Notify::new(),
            client: self.client.clone(),
            least: self.durability,
            done: watch::channel(false).0,
        });
        let handle = Producer(Arc::new(Handle(shared.clone())));
        let (opened, wait) = oneshot::channel();
        tokio::spawn(task::run(shared, opened));
        wait.await
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
        let shared = self.0.clone();
        shared.core.lock().unwrap().closing = true;
        shared.core.lock().unwrap().pen.wake();
        shared.notify.notify_one();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let timeout = shared.client.inner.close_timeout;
            let mut done = shared.done.subscribe();
            runtime.spawn(async move {
                if tokio::time::timeout(timeout, done.wait_for(|d| *d))
                    .await
                    .is_err()
                {
                    shared.core.lock().unwrap().end(Error::closed("producer"));
                    shared.notify.notify_one();
                }
            });
        }
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
            let waited = self.shared.core.lock().unwrap().leave(id, Instant::now());
            if let Some(waited) = waited {
                self.shared.event(Event::Unblocked { waited });
            }
        }
    }
}

impl Producer {
    fn shared(&self) -> &Arc<Shared> {
        &self.0 .0
    }

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
    pub async fn send(&self, message: impl Into<Message>) -> Result<Ack> {
        let message = message.into();
        let size = message.size();
        let shared = self.shared();
        let mut place = Place { shared, id: None };
        poll_fn(|cx| {
            let now = Instant::now();
            let mut core = shared.core.lock().unwrap();
            match core.admit(&message, size, place.id, now) {
                Admit::Sent(ack) => Poll::Ready(Ok(ack)),
                Admit::Refused(e) => Poll::Ready(Err(e)),
                Admit::Wait => {
                    let first = core.wait(&mut place.id, size, cx.waker(), now);
                    let blocked = core.blocked();
                    drop(core);
                    if let (true, Some(blocked)) = (first, blocked) {
                        shared.event(Event::Blocked(blocked));
                    }
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Sends a message if that needs no waiting; else fails with
    /// [`NoCredit`](ErrorKind::NoCredit).
    pub fn try_publish(&self, message: impl Into<Message>) -> Result<Ack> {
        let message = message.into();
        let size = message.size();
        let mut core = self.core();
        match core.admit(&message, size, None, Instant::now()) {
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

    /// Waits until all that was sent is confirmed or refused, and ends the stream. Publishes
    /// that wait for credit fail with [`Closed`](ErrorKind::Closed), and after the close
    /// timeout so does what is unconfirmed: its fate is unknown then.
    ///
    /// Cancel-safe: closing goes on without it.
    pub async fn close(self) -> Result<()> {
        let shared = self.shared().clone();
        let mut done = shared.done.subscribe();
        {
            let mut core = shared.core.lock().unwrap();
            core.closing = true;
            core.wake_waiters();
            core.pen.wake();
        }
        shared.notify.notify_one();
        let timeout = shared.client.inner.close_timeout;
        if tokio::time::timeout(timeout, done.wait_for(|d| *d))
            .await
            .is_err()
        {
            let mut core = shared.core.lock().unwrap();
            let left = core.unconfirmed();
            let e = Error::new(ErrorKind::Closed, "closed before all was confirmed");
            let e = e.on_queue(&core.queue).numbers(0, left);
            core.end(e.clone());
            shared.notify.notify_one();
            return Err(e);
        }
        let core = shared.core.lock().unwrap();
        match &core.ended {
            Some(e) if e.kind() != ErrorKind::Closed => Err(e.clone()),
            _ => Ok(()),
        }
    }
}
