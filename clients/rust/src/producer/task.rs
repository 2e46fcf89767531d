//! The task that owns a producer's stream.

use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use tokio::sync::{oneshot, watch, Notify};
use tokio::time::MissedTickBehavior;
use tonic::transport::Channel;
use tracing::Instrument;

use super::core::Core;
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, StreamInfo, StreamKind};
use crate::life::{self, Ended, Life, Opening};
use crate::pb::{self, publish_response::Frame};
use crate::stream::{self, FrameBody, Next, Source};

/// What the handle, the writer and the task share.
#[derive(Debug)]
pub(super) struct Shared {
    pub core: Mutex<Core>,
    pub done: watch::Sender<bool>,
    closing: Notify,
    client: Client,
    this: Weak<Shared>,
}

impl Source for Shared {
    fn next_frame(&self, attempt: u64, outstanding: usize) -> Next {
        let mut core = self.core.lock().unwrap();
        core.next_frame(attempt, outstanding, Instant::now())
    }
}

impl Shared {
    /// Ends the stream once what was sent is confirmed.
    pub(super) fn close(&self) {
        {
            let mut core = self.core.lock().unwrap();
            let deadline = Instant::now() + self.client.inner.close_timeout;
            core.closing.get_or_insert(deadline);
            core.wake_waiters();
            core.pen.wake();
        }
        self.closing.notify_one();
    }

    /// Calls the hooks of what happened under the lock.
    pub(super) fn tell(&self) {
        let events = std::mem::take(&mut self.core.lock().unwrap().events);
        for event in events {
            self.event(event);
        }
    }
}

pub(super) fn start(client: Client, core: Core) -> (Arc<Shared>, oneshot::Receiver<Result<()>>) {
    let span = tracing::info_span!("spillway.publish", queue = %core.queue);
    let shared = Arc::new_cyclic(|this| Shared {
        core: Mutex::new(core),
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
        core.end(
            how.clone()
                .err()
                .unwrap_or_else(|| Error::closed("producer")),
        );
        how
    };
    opening.ended(how, &*shared);
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
        let open = async {
            let path = "/spillway.v1.Broker/Publish";
            let mut stream = stream::start(channel, path, body, Arc::default()).await?;
            match stream.next().await.map_err(Error::from_status)? {
                Some(pb::PublishResponse {
                    frame: Some(Frame::Opened(o)),
                }) => Ok((stream, o)),
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
                    Ok(Some(pb::PublishResponse { frame: Some(frame) })) => {
                        self.core.lock().unwrap().receive(frame, Instant::now())
                    }
                    Ok(Some(_)) => Ok(()), // of a newer version
                    Ok(None) => return self.over(None),
                    Err(status) => return self.over(Some(Error::from_status(status))),
                },
                _ = tick.tick() => self.beat(),
            };
            self.tell();
            if let Err(e) = result {
                return Ended::Broken(e);
            }
            if let Some((deadline, after)) = self.core.lock().unwrap().draining {
                if Instant::now() >= deadline {
                    return Ended::Moved(after);
                }
            }
        }
    }

    fn broken(&self) {
        self.core.lock().unwrap().broken();
        self.tell();
    }

    fn gives_up(&self) -> Option<Instant> {
        let core = self.core.lock().unwrap();
        match core.closing? {
            _ if !core.is_up() && core.empty() => Some(Instant::now()),
            deadline => Some(deadline),
        }
    }

    fn done(&self) -> &Notify {
        &self.closing
    }

    fn event(&self, event: Event) {
        let info = {
            let core = self.core.lock().unwrap();
            StreamInfo {
                kind: StreamKind::Producer,
                queue: core.queue.clone(),
                group: String::new(),
                session: core.session.clone(),
            }
        };
        self.client.inner.hooks.call(&info, event);
    }
}

impl Shared {
    fn beat(&self) -> Result<()> {
        let mut core = self.core.lock().unwrap();
        if core.heart.tick(Instant::now())? {
            core.pen.wake();
        }
        Ok(())
    }

    /// The broker ended the stream.
    fn over(&self, error: Option<Error>) -> Ended {
        let core = self.core.lock().unwrap();
        let error = error
            .unwrap_or_else(|| Error::new(ErrorKind::Unavailable, "the broker ended the stream"));
        if core.closing.is_some() && core.empty() && error.is_retryable() {
            return Ended::Finished;
        }
        match core.draining {
            Some((_, after)) if error.is_retryable() => Ended::Moved(after),
            _ => Ended::Broken(error),
        }
    }
}
