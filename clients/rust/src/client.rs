//! The connection to a broker, and what all streams share.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use crate::admin::Admin;
use crate::consumer::ConsumerBuilder;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Hooks, StreamInfo};
use crate::producer::ProducerBuilder;
use crate::registry;
use crate::replay::ReplayBuilder;
use crate::retry::{Budget, Schedule};

const MAX_HTTP2_FRAME_BYTES: u32 = 257 << 10;

/// A client of one broker. Cheap to clone; all clones share one connection, on which each
/// producer, consumer and replay has a stream of its own.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) inner: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    endpoint: Endpoint,
    channel: Mutex<(u64, Channel)>,
    pub(crate) name: String,
    pub(crate) hooks: Hooks,
    pub(crate) budget: Budget,
    pub(crate) schedule: Schedule,
    pub(crate) connect_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) dead_after: Duration,
}

impl Shared {
    /// The connection of now, made when it is first used, and its number.
    pub(crate) fn channel(&self) -> (u64, Channel) {
        self.channel.lock().unwrap().clone()
    }

    /// The connection of this number is not to be used for new streams.
    pub(crate) fn leave(&self, number: u64) {
        let mut current = self.channel.lock().unwrap();
        if current.0 == number {
            *current = (number + 1, self.endpoint.connect_lazy());
        }
    }
}

impl Client {
    /// A builder for this address (`http://host:port` or `host:port`). Empty: that of
    /// `SPILLWAY_ADDRESS`, or `localhost:7420`.
    pub fn builder(address: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(address.into())
    }

    /// Connects to the broker of `SPILLWAY_ADDRESS`, or `localhost:7420`.
    ///
    /// Cancel-safe: nothing is left of it.
    pub async fn connect() -> Result<Client> {
        Client::builder("").connect().await
    }

    /// A producer of this queue.
    pub fn producer(&self, queue: impl Into<String>) -> ProducerBuilder {
        ProducerBuilder::new(self.clone(), queue.into())
    }

    /// A member of this group of the queue.
    pub fn consumer(&self, queue: impl Into<String>, group: impl Into<String>) -> ConsumerBuilder {
        ConsumerBuilder::new(self.clone(), queue.into(), group.into())
    }

    /// Reads the queue without a cursor; no effect on any group.
    pub fn replay(&self, queue: impl Into<String>) -> ReplayBuilder {
        ReplayBuilder::new(self.clone(), queue.into())
    }

    /// Queues, groups and sessions.
    pub fn admin(&self) -> Admin {
        Admin::new(self.clone())
    }
}

/// Options of a [`Client`]. Defaults are those that every client has.
#[derive(Clone, Debug)]
#[must_use]
pub struct ClientBuilder {
    address: String,
    name: String,
    hooks: Hooks,
    connect_timeout: Duration,
    keepalive: (Duration, Duration),
    heartbeat: (Duration, Duration),
    schedule: Schedule,
    budget: (u64, f64),
    close_timeout: Duration,
}

impl ClientBuilder {
    fn new(address: String) -> Self {
        ClientBuilder {
            address,
            name: String::new(),
            hooks: Hooks::default(),
            connect_timeout: registry::DEFAULT_CONNECT_TIMEOUT,
            keepalive: (
                registry::DEFAULT_KEEPALIVE_TIME,
                registry::DEFAULT_KEEPALIVE_TIMEOUT,
            ),
            heartbeat: (registry::DEFAULT_HEARTBEAT, registry::DEFAULT_DEAD_AFTER),
            schedule: Schedule {
                base: registry::DEFAULT_RECONNECT_BASE,
                max: registry::DEFAULT_RECONNECT_MAX,
                reset_after: registry::DEFAULT_RECONNECT_RESET_AFTER,
            },
            budget: (
                registry::DEFAULT_RETRY_BUDGET_TOKENS,
                registry::DEFAULT_RETRY_BUDGET_PER_SUCCESS,
            ),
            close_timeout: registry::DEFAULT_CLOSE_TIMEOUT,
        }
    }

    /// Shown to operators beside each session: program and version, at most 200 bytes.
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Called at each [`Event`], from the client's own tasks; it must not block, and may
    /// call the client.
    pub fn on_event(mut self, hook: impl Fn(&StreamInfo, &Event) + Send + Sync + 'static) -> Self {
        self.hooks = Hooks(Some(Arc::new(hook)));
        self
    }

    /// How long one attempt to connect may take. Default 5 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout.max(registry::MIN_CONNECT_TIMEOUT);
        self
    }

    /// HTTP/2 keepalive: the silence before a ping (at least 10 s), with or without calls,
    /// and how long to wait for its answer. Default 20 s and 10 s.
    pub fn keepalive(mut self, every: Duration, timeout: Duration) -> Self {
        self.keepalive = (
            every.max(registry::MIN_KEEPALIVE_TIME),
            timeout.max(registry::MIN_KEEPALIVE_TIMEOUT),
        );
        self
    }

    /// For a broker that names no heartbeat of its own: the silence before a Ping, and that
    /// after which it is taken for dead. Default 5 s and 15 s.
    pub fn heartbeat(mut self, every: Duration, dead_after: Duration) -> Self {
        self.heartbeat = (
            every.max(registry::MIN_HEARTBEAT),
            dead_after.max(registry::MIN_DEAD_AFTER),
        );
        self
    }

    /// The schedule of reconnects: the first waits up to `base`, each further one up to
    /// twice as long, at most `max`, with full jitter; after `reset_after` in good health it
    /// starts again. Default 100 ms, 20 s, 30 s.
    pub fn reconnect(mut self, base: Duration, max: Duration, reset_after: Duration) -> Self {
        self.schedule = Schedule {
            base: base.max(registry::MIN_RECONNECT_BASE),
            max: max.max(registry::MIN_RECONNECT_MAX),
            reset_after: reset_after.max(registry::MIN_RECONNECT_RESET_AFTER),
        };
        self
    }

    /// Reconnects of all streams together beyond their successes; past it they go on at the
    /// slowest pace. Default 10, and 0.1 more for each success.
    pub fn retry_budget(mut self, tokens: u64, per_success: f64) -> Self {
        self.budget = (
            tokens.max(registry::MIN_RETRY_BUDGET_TOKENS),
            per_success.clamp(
                registry::MIN_RETRY_BUDGET_PER_SUCCESS,
                registry::MAX_RETRY_BUDGET_PER_SUCCESS,
            ),
        );
        self
    }

    /// How long closing waits for confirmations and settles. Default 20 s.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout.max(registry::MIN_CLOSE_TIMEOUT);
        self
    }

    fn endpoint(&self) -> Result<Endpoint> {
        let mut address = self.address.clone();
        if address.is_empty() {
            address = std::env::var(registry::ENV_ADDRESS)
                .ok()
                .filter(|a| !a.is_empty())
                .unwrap_or_else(|| registry::DEFAULT_ADDRESS.to_owned());
        }
        if !address.contains("://") {
            address = format!("http://{address}");
        }
        let endpoint = Endpoint::from_shared(address)
            .map_err(|e| {
                Error::new(ErrorKind::InvalidArgument, "not an address: host:port")
                    .on_field("address")
                    .caused_by(e)
            })?
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(self.keepalive.0)
            .keep_alive_timeout(self.keepalive.1)
            .keep_alive_while_idle(true)
            // What is in flight is bounded by credit; the windows only have to be no less.
            // Most frames of the broker are read in one piece or two.
            .max_frame_size(MAX_HTTP2_FRAME_BYTES)
            .initial_stream_window_size(registry::DEFAULT_MAX_IN_FLIGHT_BYTES as u32)
            .initial_connection_window_size(4 * registry::DEFAULT_MAX_IN_FLIGHT_BYTES as u32);
        Ok(endpoint)
    }

    fn build(self, endpoint: Endpoint, channel: Channel) -> Client {
        let library = concat!("spillway-client/", env!("CARGO_PKG_VERSION"), " (rust)");
        let mut name = self.name;
        if !name.is_empty() {
            name.push(' ');
        }
        name.push_str(library);
        Client {
            inner: Arc::new(Shared {
                endpoint,
                channel: Mutex::new((0, channel)),
                name,
                hooks: self.hooks,
                budget: Budget::new(self.budget.0 as f64, self.budget.1),
                schedule: self.schedule,
                connect_timeout: self.connect_timeout,
                close_timeout: self.close_timeout,
                heartbeat: self.heartbeat.0,
                dead_after: self.heartbeat.1,
            }),
        }
    }

    /// Connects; fails if the broker cannot be reached. Later the client reconnects by
    /// itself.
    ///
    /// Cancel-safe: nothing is left of it.
    pub async fn connect(self) -> Result<Client> {
        let endpoint = self.endpoint()?;
        let channel = endpoint.connect().await.map_err(|e| {
            let below = std::error::Error::source(&e).map(ToString::to_string);
            let message = format!("{}: {}", endpoint.uri(), below.unwrap_or_default());
            Error::new(ErrorKind::Unavailable, message).caused_by(e)
        })?;
        Ok(self.build(endpoint, channel))
    }

    /// A client that connects when it is first used. REQUIRES: within a Tokio runtime.
    pub fn connect_lazy(self) -> Result<Client> {
        let endpoint = self.endpoint()?;
        let channel = endpoint.connect_lazy();
        Ok(self.build(endpoint, channel))
    }
}
