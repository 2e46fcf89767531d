//! The task that owns the stream of a consumer or reader: opens it, reads it, opens it again.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures_util::task::AtomicWaker;
use tokio::sync::{oneshot, watch, Notify};
use tokio::time::MissedTickBehavior;
use tracing::Instrument;

use super::core::{Core, Options};
use super::slab::Clock;
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, StreamInfo, StreamKind};
use crate::pb::consume_response::Frame;
use crate::retry::Backoff;
use crate::stream::{self, Ended, FrameBody, Heart, Next, Source};
use crate::wire::{ConsumeDecoder, ConsumeEvent};

/// What the handle, its deliveries, the writer and the task share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub core: Mutex<Core>,
    /// A frame for the application, or the end.
    pub arrived: AtomicWaker,
    /// Deliveries were revoked.
    pub revoked: Notify,
    pub clock: Arc<Clock>,
    pub done: watch::Sender<bool>,
    /// The application is done.
    closing: Notify,
    client: Client,
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
        core.closing = Some(Instant::now() + self.client.inner.close_timeout);
        core.pen.wake();
        drop(core);
        self.closing.notify_one();
    }

    /// Calls the hooks of what happened under the lock.
    fn tell(&self) {
        let (info, events) = {
            let mut core = self.core.lock().unwrap();
            if core.events.is_empty() {
                return;
            }
            let info = StreamInfo {
                kind: match core.is_reader() {
                    true => StreamKind::Reader,
                    false => StreamKind::Consumer,
                },
                queue: core.queue.clone(),
                group: core.group().to_owned(),
                session: core.session.clone(),
            };
            (info, std::mem::take(&mut core.events))
        };
        for event in events {
            if matches!(event, Event::Revoked { .. }) {
                self.revoked.notify_waiters();
            }
            self.client.inner.hooks.call(&info, event);
        }
    }

    fn event(&self, event: Event) {
        self.core.lock().unwrap().events.push(event);
        self.tell();
    }
}

type Opened = oneshot::Sender<Result<()>>;

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
    let shared = Arc::new(Shared {
        clock: core.clock.clone(),
        core: Mutex::new(core),
        arrived: AtomicWaker::new(),
        revoked: Notify::new(),
        done: watch::channel(false).0,
        closing: Notify::new(),
        client,
    });
    let (opened, wait) = oneshot::channel();
    tokio::spawn(run(shared.clone(), opened).instrument(span));
    (shared, wait)
}

async fn run(shared: Arc<Shared>, opened: Opened) {
    let mut opened = Some(opened);
    let how = live(&shared, &mut opened).await;
    let how = {
        let mut core = shared.core.lock().unwrap();
        let how = how.map_err(|e| e.on_queue(&core.queue));
        core.end(how.clone());
        how
    };
    match (opened, how) {
        (Some(opened), how) => {
            let _ = opened.send(how.and(Err(Error::closed("consumer"))));
        }
        (None, Err(error)) => shared.event(Event::Failed { error }),
        (None, Ok(())) => {}
    }
    shared.arrived.wake();
    shared.done.send_replace(true);
}

/// Serves streams, one after the other, until the end.
async fn live(shared: &Arc<Shared>, opened: &mut Option<Opened>) -> Result<()> {
    let inner = &shared.client.inner;
    let mut backoff = Backoff::new(inner.schedule, Backoff::seed());
    loop {
        let (connection, channel) = inner.channel();
        let ended = tokio::select! {
            ended = attempt(shared, channel, opened, &mut backoff) => ended,
            () = given_up(shared) => Ended::Finished,
        };
        shared.core.lock().unwrap().broken();
        shared.tell();
        let closing = || shared.core.lock().unwrap().closing.is_some();
        let delay = match ended {
            Ended::Finished => return Ok(()),
            Ended::Moved(after) => {
                inner.leave(connection);
                after
            }
            Ended::Broken(e) => {
                if matches!(e.kind(), ErrorKind::Unavailable | ErrorKind::TimedOut) {
                    inner.leave(connection);
                }
                // On a resume, the member in the way is this one's own old stream, which the
                // broker has not taken for dead yet.
                let retryable = e.is_retryable() || e.kind() == ErrorKind::Exclusive;
                if opened.is_some() || !retryable {
                    return Err(e);
                }
                let least = e.retry_after().unwrap_or_default();
                let delay = backoff.next(Instant::now(), inner.budget.take(), least);
                shared.event(Event::Broken { error: e, delay });
                delay
            }
        };
        if closing() {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = shared.closing.notified() => return Ok(()),
        }
    }
}

/// The application is done, and there is nothing to wait for or no more time.
async fn given_up(shared: &Shared) {
    let deadline = loop {
        {
            let core = shared.core.lock().unwrap();
            if let Some(deadline) = core.closing {
                if core.is_reader() || !core.is_up() {
                    return;
                }
                break deadline;
            }
        }
        shared.closing.notified().await;
    };
    tokio::time::sleep_until(deadline.into()).await;
}

async fn attempt(
    shared: &Arc<Shared>,
    channel: tonic::transport::Channel,
    opened: &mut Option<Opened>,
    backoff: &mut Backoff,
) -> Ended {
    let inner = &shared.client.inner;
    let body = {
        let mut core = shared.core.lock().unwrap();
        core.begin_attempt(inner.name.clone(), Instant::now());
        FrameBody::new(shared.clone(), core.attempt, core.pen.clone())
    };
    shared.tell();
    let open = async {
        let path = "/spillway.v1.Broker/Consume";
        let mut stream = stream::start(channel, path, body, ConsumeDecoder).await?;
        match stream.message().await.map_err(Error::from_status)? {
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
        let mut core = shared.core.lock().unwrap();
        if let Err(e) = core.opened(first, now) {
            return Ended::Broken(e);
        }
        core.heart.interval()
    };
    shared.tell();
    backoff.opened(now);
    inner.budget.success();
    if let Some(opened) = opened.take() {
        let _ = opened.send(Ok(()));
    }
    let mut tick = tokio::time::interval(interval);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let result = tokio::select! {
            biased;
            message = stream.message() => match message {
                Ok(Some(event)) => {
                    let result = shared.core.lock().unwrap().receive(event, Instant::now());
                    shared.arrived.wake();
                    result
                }
                Ok(None) => return over(shared, None),
                Err(status) => return over(shared, Some(Error::from_status(status))),
            },
            _ = tick.tick() => beat(shared),
        };
        shared.tell();
        if let Err(e) = result {
            return Ended::Broken(e);
        }
        let core = shared.core.lock().unwrap();
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

fn beat(shared: &Shared) -> Result<()> {
    let mut core = shared.core.lock().unwrap();
    let now = Instant::now();
    core.clock.tick(now);
    if core.heart.tick(now)? {
        core.pen.wake();
    }
    Ok(())
}

/// The broker ended the stream.
fn over(shared: &Shared, error: Option<Error>) -> Ended {
    let core = shared.core.lock().unwrap();
    if core.closing.is_some() && core.close_sent {
        return Ended::Finished;
    }
    let error =
        error.unwrap_or_else(|| Error::new(ErrorKind::Unavailable, "the broker ended the stream"));
    match core.draining {
        Some(draining) if error.is_retryable() => Ended::Moved(draining.reconnect_after),
        _ => Ended::Broken(error),
    }
}
