//! The task that owns a producer's stream: opens it, reads it, opens it again.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch, Notify};

use super::core::Core;
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, StreamInfo, StreamKind};
use crate::pb::{self, publish_response::Frame};
use crate::retry::Backoff;
use crate::stream::{self, Ended, FrameBody, Next, Source};
use crate::wire::PublishDecoder;
use crate::{registry, types::Durability};

/// What the handle, the writer and the task share.
#[derive(Debug)]
pub(super) struct Shared {
    pub core: Mutex<Core>,
    /// Something for the task: closing, or a grant that `open` waits for.
    pub notify: Notify,
    pub client: Client,
    pub least: Option<Durability>,
    pub done: watch::Sender<bool>,
}

impl Source for Shared {
    fn next_frame(&self, attempt: u64, outstanding: usize) -> Next {
        let now = Instant::now();
        self.core
            .lock()
            .unwrap()
            .next_frame(attempt, outstanding, now)
    }
}

impl Shared {
    pub(super) fn info(&self) -> StreamInfo {
        let core = self.core.lock().unwrap();
        StreamInfo {
            kind: StreamKind::Producer,
            queue: core.queue.clone(),
            group: String::new(),
            session: core.session.clone(),
        }
    }

    pub(super) fn event(&self, event: Event) {
        self.client.inner.hooks.call(&self.info(), event);
    }
}

pub(super) type Opened = oneshot::Sender<Result<()>>;

pub(super) async fn run(shared: Arc<Shared>, opened: Opened) {
    let client = shared.client.clone();
    let mut opened = Some(opened);
    let mut backoff = Backoff::new(client.inner.schedule, Backoff::seed());
    let give_up = Instant::now() + client.inner.connect_timeout;
    let error = loop {
        let (connection, channel) = client.inner.channel();
        let before = opened.is_some();
        let ended = attempt(&shared, channel, &mut opened, &mut backoff).await;
        shared.core.lock().unwrap().broken();
        let now = Instant::now();
        match ended {
            Ended::Finished => break Error::closed("producer"),
            Ended::Moved(after) => {
                client.inner.leave(connection);
                tokio::time::sleep(after).await;
            }
            Ended::Broken(e) => {
                if !e.is_retryable() {
                    break e;
                }
                if shared.core.lock().unwrap().closing && shared.core.lock().unwrap().empty() {
                    break Error::closed("producer");
                }
                if matches!(e.kind(), ErrorKind::Unavailable | ErrorKind::TimedOut) {
                    client.inner.leave(connection);
                }
                let least = e.retry_after().unwrap_or_default();
                let delay = backoff.next(now, client.inner.budget.take(), least);
                if before && opened.is_some() && now + delay >= give_up {
                    break e; // it was never open: the caller hears why
                }
                shared.event(Event::Broken { error: e, delay });
                let closed = async {
                    loop {
                        shared.notify.notified().await;
                        let core = shared.core.lock().unwrap();
                        if core.closing && core.empty() {
                            break;
                        }
                    }
                };
                tokio::select! {
                    () = tokio::time::sleep(delay) => {}
                    () = closed => break Error::closed("producer"),
                }
            }
        }
        if shared.core.lock().unwrap().ended.is_some() {
            break Error::closed("producer");
        }
    };
    let queue = shared.core.lock().unwrap().queue.clone();
    let error = error.on_queue(&queue);
    shared.core.lock().unwrap().end(error.clone());
    if error.kind() != ErrorKind::Closed && opened.is_none() {
        shared.event(Event::Failed {
            error: error.clone(),
        });
    }
    if let Some(opened) = opened {
        let _ = opened.send(Err(error));
    }
    let _ = shared.done.send(true);
}

async fn attempt(
    shared: &Arc<Shared>,
    channel: tonic::transport::Channel,
    opened: &mut Option<Opened>,
    backoff: &mut Backoff,
) -> Ended {
    let body = {
        let mut core = shared.core.lock().unwrap();
        let name = shared.client.inner.name.clone();
        core.begin_attempt(
            |core| pb::PublishOpen {
                protocol: registry::LIMIT_PROTOCOL_VERSION as u32,
                queue: core.queue.clone(),
                producer_id: core.producer_id.clone(),
                client: name,
                resume_sequence: 0,
            },
            Instant::now(),
        );
        FrameBody::new(shared.clone(), core.attempt, core.pen.clone())
    };
    let open = async {
        let path = "/spillway.v1.Broker/Publish";
        let mut stream = stream::start(channel, path, body, PublishDecoder).await?;
        let first = stream.message().await.map_err(Error::from_status)?;
        match first.and_then(|m| m.frame) {
            Some(Frame::Opened(o)) => Ok((stream, o)),
            _ => Err(Error::protocol("the broker's first frame is not opened")),
        }
    };
    let timeout = shared.client.inner.connect_timeout + shared.client.inner.dead_after;
    let (mut stream, first) = match tokio::time::timeout(timeout, open).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) => return Ended::Broken(e),
        Err(_) => {
            let e = Error::new(ErrorKind::TimedOut, "the broker did not open the stream");
            return Ended::Broken(e);
        }
    };
    if let (Some(least), Some(has)) = (
        shared.least,
        first.tuning.as_ref().and_then(|t| t.durability),
    ) {
        if has < least.to_pb() {
            let e = Error::new(
                ErrorKind::InvalidArgument,
                "the queue's confirmations promise less than the producer expects",
            );
            return Ended::Broken(
                e.on_field("durability")
                    .numbers(least.to_pb() as u64, has as u64),
            );
        }
    }
    let interval = {
        let mut core = shared.core.lock().unwrap();
        if let Err(e) = core.opened(first) {
            return Ended::Broken(e);
        }
        core.heart.last_received = Instant::now();
        core.heart.interval()
    };
    backoff.opened(Instant::now());
    shared.client.inner.budget.success();
    shared.event(Event::Opened {
        resumed: opened.is_none(),
    });
    // The first grant follows; publishing at once should find it.
    let patience = Instant::now() + Duration::from_millis(500);
    let mut tick = tokio::time::interval(interval);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        if opened.is_some() && (shared.core.lock().unwrap().granted || Instant::now() >= patience) {
            if let Some(opened) = opened.take() {
                let _ = opened.send(Ok(()));
            }
        }
        let result = tokio::select! {
            biased;
            message = stream.message() => match message {
                Ok(Some(message)) => receive(shared, message),
                Ok(None) => {
                    let core = shared.core.lock().unwrap();
                    if core.close_sent && core.empty() {
                        return Ended::Finished;
                    }
                    if let Some((_, after)) = core.draining {
                        return Ended::Moved(after);
                    }
                    Err(Error::new(ErrorKind::Unavailable, "the broker ended the stream"))
                }
                Err(status) => {
                    let draining = shared.core.lock().unwrap().draining;
                    let e = Error::from_status(status);
                    if let (Some((_, after)), true) = (draining, e.is_retryable()) {
                        return Ended::Moved(after);
                    }
                    Err(e)
                }
            },
            _ = tick.tick() => {
                let mut core = shared.core.lock().unwrap();
                core.heart.tick(Instant::now()).map(|due| if due { core.pen.wake() })
            }
            () = shared.notify.notified() => Ok(()),
        };
        if let Err(e) = result {
            return Ended::Broken(e);
        }
        let core = shared.core.lock().unwrap();
        if core.ended.is_some() {
            return Ended::Finished;
        }
        if let Some((deadline, after)) = core.draining {
            if core.quiet() || Instant::now() >= deadline {
                return Ended::Moved(after);
            }
        }
    }
}

fn receive(shared: &Arc<Shared>, message: pb::PublishResponse) -> Result<()> {
    let now = Instant::now();
    let mut core = shared.core.lock().unwrap();
    core.heart.last_received = now;
    match message.frame {
        Some(Frame::Confirm(c)) => {
            core.confirm(&c)?;
            if let Some(grant) = &c.grant {
                core.grant(grant, now)?;
            }
            drop(core);
            shared.client.inner.budget.success();
            Ok(())
        }
        Some(Frame::Grant(g)) => core.grant(&g, now),
        Some(Frame::Refuse(r)) => core.refuse(r),
        Some(Frame::Tuning(t)) => {
            core.tuned(t.revision, t.tuning.unwrap_or_default());
            Ok(())
        }
        Some(Frame::Drain(d)) => {
            let deadline = Duration::from_millis(d.deadline_ms);
            let after = Duration::from_millis(d.reconnect_after_ms);
            core.draining = Some((now + deadline, after));
            drop(core);
            shared.event(Event::Draining { deadline });
            Ok(())
        }
        Some(Frame::Ping(p)) => core.pong_for(&p),
        Some(Frame::Pong(p)) => {
            let epoch = core.epoch;
            core.heart.pong(&p, epoch)
        }
        Some(Frame::Opened(_)) => Err(Error::protocol("a second opened")),
        None => Ok(()), // of a newer version
    }
}
