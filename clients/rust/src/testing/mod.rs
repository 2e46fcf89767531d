//! A broker in memory, for tests of applications: the protocol of Spillway with its credit,
//! sequences, groups, retries and replays, and switches that make it misbehave.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = spillway::testing::Broker::start().await?;
//! broker.create_queue("orders", spillway::TuningChange::new());
//! let client = broker.client().await?;
//! let producer = client.producer("orders").open().await?;
//! assert_eq!(producer.publish("first").await?, 0);
//! # Ok(())
//! # }
//! ```
//!
//! It keeps nothing, is not quick, and simplifies where a client cannot tell: every record
//! stays until it is purged, SPILL never blocks, DROP_OLDEST never drops by itself, and
//! retries come after exactly their delay.

mod admin;
mod calls;
mod consume;
mod group;
mod publish;
mod queue;
mod service;
mod session;
mod state;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use self::queue::Queue;
use self::service::{Service, Shared};
use self::session::{End, Out, Role, Sessions};
use self::state::{Options, State};
use crate::admin::TuningChange;
use crate::client::Client;
use crate::error::Result;
use crate::pb;
use crate::pb::admin_server::AdminServer;
use crate::pb::broker_server::BrokerServer;
use crate::ranges::OffsetRange;
use crate::types::{Credit, CreditReason};

/// A frame that a client sent, as [`Broker::tap`] shows it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Frame<'a> {
    /// Of a producer.
    Publish(&'a pb::PublishRequest),
    /// Of a consumer or a replay.
    Consume(&'a pb::ConsumeRequest),
}

/// Options of a [`Broker`].
#[derive(Clone, Debug)]
#[must_use]
pub struct BrokerBuilder(Options);

impl BrokerBuilder {
    /// What the broker says about heartbeats. Default 5 s and 15 s.
    pub fn heartbeat(mut self, every: Duration, dead_after: Duration) -> Self {
        (self.0.heartbeat, self.0.dead_after) = (every, dead_after);
        self
    }

    /// The largest frame of a producer. Default 1 MiB and 10,000 records.
    pub fn max_batch(mut self, bytes: u64, records: u32) -> Self {
        (self.0.batch_bytes, self.0.batch_records) = (bytes, records);
        self
    }

    /// Starts the broker on a free port of the loopback interface.
    ///
    /// Cancel-safe: nothing is left of it.
    pub async fn start(self) -> io::Result<Broker> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(());
        let shared = Arc::new(Shared::new(State::new(self.0), stopped));
        let service = Service(shared.clone());
        let router = Server::builder()
            .add_service(BrokerServer::new(service.clone()).max_decoding_message_size(usize::MAX))
            .add_service(AdminServer::new(service).max_decoding_message_size(usize::MAX));
        let ticking = shared.clone();
        let server = tokio::spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            let stopped = ticking.stopped();
            let served = router.serve_with_incoming_shutdown(incoming, ticking.stopped());
            let (served, ()) = tokio::join!(served, tick(&ticking, stopped));
            if let Err(error) = served {
                tracing::warn!(%error, "the test broker failed");
            }
        });
        Ok(Broker {
            address,
            shared,
            running: Some((stop, server)),
        })
    }
}

/// Drives what time changes: deadlines, retry delays, rates.
async fn tick(shared: &Shared, stopped: impl Future<Output = ()>) {
    let mut stopped = pin!(stopped);
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = &mut stopped => return,
            _ = tick.tick() => shared.lock().tick(Instant::now()),
        }
    }
}

/// A broker in memory. It ends when it is dropped.
pub struct Broker {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Dropping the sender stops the task.
    running: Option<(watch::Sender<()>, JoinHandle<()>)>,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = &self.address;
        f.debug_struct("Broker")
            .field("address", address)
            .finish_non_exhaustive()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.state().end_all();
    }
}

impl Broker {
    /// Starts a broker with the default options.
    ///
    /// Cancel-safe: nothing is left of it.
    pub async fn start() -> io::Result<Broker> {
        Broker::builder().start().await
    }

    /// Options, to be started.
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder(Options::default())
    }

    /// What [`Client::builder`] takes.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// A client of this broker, with the default options.
    ///
    /// Cancel-safe: nothing is left of it.
    pub async fn client(&self) -> Result<Client> {
        Client::builder(self.address()).connect().await
    }

    /// Ends the broker and every stream, and returns once the port is free.
    ///
    /// Cancel-safe: the broker ends without it.
    pub async fn close(mut self) {
        self.state().end_all();
        if let Some((stop, server)) = self.running.take() {
            drop(stop);
            let _ = server.await;
        }
    }

    /// Creates a queue without a client; what is not named has its default.
    ///
    /// # Panics
    ///
    /// If the queue exists, or its name or tuning is not allowed.
    pub fn create_queue(&self, name: &str, tuning: impl Into<TuningChange>) {
        let created = self.state().create(name, tuning.into().into_pb());
        if let Err(e) = created {
            panic!("create_queue({name}): {}", e.message);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }

    fn queue(&self, name: &str, change: impl FnOnce(&mut Queue, &mut Sessions)) {
        let mut state = self.state();
        let State {
            queues, sessions, ..
        } = &mut *state;
        if let Some(queue) = queues.get_mut(name) {
            change(queue, sessions);
        }
    }
}

/// What can be made to go wrong. An unknown queue is left alone.
impl Broker {
    /// Calls `tap` with every frame that a client sends and with its queue, in order, before
    /// the broker handles it. It must not call the broker.
    pub fn tap(&self, tap: impl Fn(&str, Frame<'_>) + Send + 'static) {
        self.state().taps.push(Box::new(tap));
    }

    /// Ends every stream of a queue (of all queues if it is empty) as a broken connection
    /// would: without an error of the broker.
    pub fn break_streams(&self, queue: &str) {
        self.state().each(queue, |s| s.end(End::Broken));
    }

    /// Ends every stream of a queue (of all queues if it is empty) with an error.
    pub fn end_streams(&self, queue: &str, error: pb::Error) {
        self.state()
            .each(queue, |s| s.end(End::Refused(error.clone().into())));
    }

    /// Makes the broker refuse to open streams, or no longer.
    pub fn unavailable(&self, on: bool) {
        self.state().faults.unavailable = on;
    }

    /// Makes the broker send nothing on its streams, or no longer.
    pub fn silence(&self, on: bool) {
        let mut state = self.state();
        state.faults.silent = on;
        state.each("", |s| s.wake());
    }

    /// Makes the broker's pongs name counters that are off by one, or no longer.
    pub fn wrong_counters(&self, on: bool) {
        self.state().faults.wrong_counters = on;
    }

    /// Asks every stream to move, as a broker that is about to restart does.
    pub fn drain(&self, deadline: Duration, reconnect_after: Duration) {
        let drain = pb::Drain {
            deadline_ms: deadline.as_millis() as u64,
            reconnect_after_ms: reconnect_after.as_millis() as u64,
        };
        self.state().each("", |s| match s.role {
            Role::Producer(_) => s.send(Out::Publish(pb::publish_response::Frame::Drain(drain))),
            Role::Consumer(_) => s.send(Out::Consume(pb::consume_response::Frame::Drain(drain))),
        });
    }

    /// Stops the grants of a queue, naming a reason.
    pub fn withhold_credit(&self, queue: &str, reason: Option<CreditReason>) {
        self.queue(queue, |q, sessions| {
            (q.withheld, q.reason) = (true, reason);
            q.grant(sessions, true);
        });
    }

    /// Lets the grants of a queue go on.
    pub fn resume_credit(&self, queue: &str) {
        self.queue(queue, |q, sessions| {
            (q.withheld, q.reason) = (false, None);
            q.grant(sessions, true);
        });
    }

    /// Makes the queue grant each producer exactly this total in each epoch, whatever its
    /// window says, until it is called again. A total only rises.
    pub fn grant_exactly(&self, queue: &str, total: Credit) {
        self.queue(queue, |q, sessions| {
            q.exact = Some(total);
            q.grant(sessions, true);
        });
    }

    /// Ends [`grant_exactly`](Self::grant_exactly).
    pub fn grant_by_window(&self, queue: &str) {
        self.queue(queue, |q, sessions| {
            q.exact = None;
            q.grant(sessions, true);
        });
    }

    /// Keeps confirmations back, or sends those that were kept.
    pub fn hold_confirms(&self, queue: &str, on: bool) {
        self.queue(queue, |q, sessions| {
            q.hold_confirms = on;
            if !on {
                q.confirm_all(sessions);
            }
        });
    }

    /// Refuses the next `n` batches of a queue with an error.
    pub fn refuse_next(&self, queue: &str, n: u32, error: pb::Error) {
        self.queue(queue, |q, _| q.refusals = (n, error));
    }

    /// Breaks the stream of each of the next `n` batches of a queue after the batch was
    /// kept, before it is confirmed.
    pub fn break_after_next(&self, queue: &str, n: u32) {
        self.queue(queue, |q, _| q.breaks = n);
    }

    /// Makes the queue forget what its producers sent, as a broker would that kept it in
    /// memory and was restarted. Open streams break when they send next.
    pub fn forget_producers(&self, queue: &str) {
        self.queue(queue, |q, _| q.known.clear());
    }

    /// Takes offsets from whichever member of the group holds them, and makes them ready to
    /// be delivered again.
    pub fn revoke(&self, queue: &str, group: &str, offsets: OffsetRange) {
        self.queue(queue, |q, sessions| {
            q.revoke(group, offsets.first..offsets.end(), sessions);
            q.pump(sessions, Instant::now());
        });
    }

    /// Removes the records below an offset as DROP_OLDEST does, and tells the groups and
    /// readers by a gap.
    pub fn drop_records(&self, queue: &str, before: u64) {
        self.queue(queue, |q, sessions| {
            q.purge(before, pb::GapReason::Dropped, sessions);
            q.pump(sessions, Instant::now());
        });
    }
}
