//! The task that owns the stream of a consumer or reader.

use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use futures_util::task::AtomicWaker;
use tokio::sync::{oneshot, watch, Notify};
use tokio::time::MissedTickBehavior;
use tonic::transport::Channel;
use tracing::Instrument;

use super::core::{Core, Options};
use super::slab::{Clock, Slack};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, StreamInfo, StreamKind};
use crate::frames::Spare;
use crate::life::{self, Ended, Life, Opening};
use crate::pb::consume_response::Frame;
use crate::stream::{self, FrameBody, Heart, Next, Source};
use crate::wire::ConsumeEvent;

/// What the handle, its deliveries, the writer and the task share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub core: Mutex<Core>,
    /// A frame for the application, or the end.
    pub arrived: AtomicWaker,
    /// Deliveries were revoked.
    pub revoked: Notify,
    pub clock: Arc<Clock>,
    pub slack: Arc<Slack>,
    /// Buffers of frames that the application is through with.
    pub spare: Arc<Spare>,
    pub done: watch::Sender<bool>,
    /// The application is done.
    closing: Notify,
    client: Client,
    this: Weak<Shared>,
}

impl Source for Shared {
    fn next_frame(&self, attempt: u64, _: usize) -> Next {
        // Settles are small and gather by themselves: what is not written yet need not bound
        // them, the transport asks only when it has room.
        self.core
            .lock()
            .unwrap()
            .next_frame(attempt, Instant::now())
    }
}

impl Shared {
    /// Ends the stream once what is pending is sent.
    pub(crate) fn close(&self) {
        let mut core = self.core.lock().unwrap();
        let deadline = Instant::now() + self.client.inner.close_timeout;
        core.closing.get_or_insert(deadline);
        core.pen.wake();
        drop(core);
        self.closing.notify_one();
    }

    /// Calls the hooks of what happened under the lock.
    fn tell(&self) {
        let events = std::mem::take(&mut self.core.lock().unwrap().events);
        for event in events {
            self.event(event);
        }
    }
}

/// Starts the task; the receiver tells how the first open went.
pub(crate) fn start(
    client: Client,
    queue: String,
    options: Options,
) -> (Arc<Shared>, oneshot::Receiver<Result<()>>) {
    let inner = &client.inner;
    let heart = Heart::new(inner.heartbeat, inner.dead_after, Instant::now());
    let core = Core::new(queue, options, heart);
    let span = tracing::info_span!("spillway.consume", queue = %core.queue, group = %core.group());
    let shared = Arc::new_cyclic(|this| Shared {
        clock: core.clock.clone(),
        slack: core.slack.clone(),
        spare: Arc::default(),
        core: Mutex::new(core),
        arrived: AtomicWaker::new(),
        revoked: Notify::new(),
        done: watch::channel(false).0,
        closing: Notify::new(),
        client,
        this: this.clone(),
    });
    let (opened, wait) = oneshot::channel();
    tokio::spawn(run(shared.clone(), opened).instrument(span));
    (shared, wait)
}

async fn run(shared: Arc<Shared>, opened: oneshot::Sender<Result<()>>) {
    let mut opening = Opening::new(&shared.client, opened);
    let how = life::live(&*shared, &mut opening).await;
    let how = {
        let mut core = shared.core.lock().unwrap();
        let how = how.map_err(|e| e.on_queue(&core.queue));
        core.end(how.clone());
        how
    };
    shared.tell();
    opening.ended(how, &*shared);
    shared.arrived.wake();
    shared.done.send_replace(true);
}

impl Life for Shared {
    fn client(&self) -> &Client {
        &self.client
    }

    async fn attempt(&self, channel: Channel, opening: &mut Opening) -> Ended {
        let inner = &self.client.inner;
        let Some(this) = self.this.upgrade() else {
            return Ended::Finished;
        };
        let body = {
            let mut core = self.core.lock().unwrap();
            core.begin_attempt(inner.name.clone(), Instant::now());
            FrameBody::body(this, core.attempt, core.pen.clone())
        };
        self.tell();
        let open = async {
            let path = "/spillway.v1.Broker/Consume";
            let mut stream = stream::start(channel, path, body, self.spare.clone()).await?;
            match stream.next().await.map_err(Error::from_status)? {
                Some(ConsumeEvent::Other(Frame::Opened(o))) => Ok((stream, o)),
                Some(_) => Err(Error::protocol("the broker's first frame is not opened")),
                None => Err(Error::new(
                    ErrorKind::Unavailable,
                    "the broker ended the stream",
                )),
            }
        };
        let (mut stream, first) = match stream::in_time(inner.connect_timeout, open).await {
            Ok(stream) => stream,
            Err(e) => return Ended::Broken(e),
        };
        let now = Instant::now();
        let interval = {
            let mut core = self.core.lock().unwrap();
            if let Err(e) = core.opened(first, now) {
                return Ended::Broken(e);
            }
            core.heart.interval()
        };
        self.tell();
        opening.opened(&self.client, now);
        let mut tick = tokio::time::interval(interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let result = tokio::select! {
                message = stream.next() => match message {
                    Ok(Some(event)) => {
                        let result = self.core.lock().unwrap().receive(event, Instant::now());
                        self.arrived.wake();
                        result
                    }
                    Ok(None) => return self.over(None),
                    Err(status) => return self.over(Some(Error::from_status(status))),
                },
                _ = tick.tick() => self.beat(),
            };
            self.tell();
            if let Err(e) = result {
                return Ended::Broken(e);
            }
            let core = self.core.lock().unwrap();
            if core.at_stop {
                return Ended::Finished;
            }
            if let Some(draining) = core.draining {
                if Instant::now() >= draining.deadline {
                    return Ended::Moved(draining.reconnect_after);
                }
            }
        }
    }

    fn broken(&self) {
        self.core.lock().unwrap().broken();
    }

    fn gives_up(&self) -> Option<Instant> {
        let core = self.core.lock().unwrap();
        match core.closing? {
            _ if core.is_reader() || !core.is_up() => Some(Instant::now()),
            deadline => Some(deadline),
        }
    }

    fn done(&self) -> &Notify {
        &self.closing
    }

    /// On a resume, the member in the way of an EXCLUSIVE group is this one's own old stream,
    /// which the broker has not taken for dead yet.
    fn may_retry(&self, e: &Error) -> bool {
        e.is_retryable() || e.kind() == ErrorKind::Exclusive
    }

    fn event(&self, event: Event) {
        let info = {
            let core = self.core.lock().unwrap();
            StreamInfo {
                kind: match core.is_reader() {
                    true => StreamKind::Reader,
                    false => StreamKind::Consumer,
                },
                queue: core.queue.clone(),
                group: core.group().to_owned(),
                session: core.session.clone(),
            }
        };
        if matches!(event, Event::Revoked { .. }) {
            self.revoked.notify_waiters();
        }
        self.client.inner.hooks.call(&info, event);
    }
}

impl Shared {
    fn beat(&self) -> Result<()> {
        let mut core = self.core.lock().unwrap();
        let now = Instant::now();
        core.clock.tick(now);
        if core.heart.tick(now)? {
            core.pen.wake();
        }
        Ok(())
    }

    /// The broker ended the stream.
    fn over(&self, error: Option<Error>) -> Ended {
        let mut core = self.core.lock().unwrap();
        if error.is_none() && core.close_sent {
            core.unanswered.finished();
        }
        let error = error
            .unwrap_or_else(|| Error::new(ErrorKind::Unavailable, "the broker ended the stream"));
        if core.closing.is_some() && error.is_retryable() {
            return Ended::Finished;
        }
        match core.draining {
            Some(draining) if error.is_retryable() => Ended::Moved(draining.reconnect_after),
            _ => Ended::Broken(error),
        }
    }
}
