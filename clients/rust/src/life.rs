//! The life of a stream that is opened again whenever it breaks.

use std::future::Future;
use std::time::Instant;

use tokio::sync::{oneshot, Notify};
use tonic::transport::Channel;

use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::events::Event;
use crate::retry::Backoff;

/// How an attempt ended.
pub(crate) enum Ended {
    /// As it should.
    Finished,
    /// The broker asked to move; reconnect after this.
    Moved(std::time::Duration),
    Broken(Error),
}

/// What a producer, a consumer and a reader do differently.
pub(crate) trait Life: Send + Sync {
    fn client(&self) -> &Client;
    /// Opens a stream and serves it to its end.
    fn attempt(
        &self,
        channel: Channel,
        opening: &mut Opening,
    ) -> impl Future<Output = Ended> + Send;
    /// There is no stream any more.
    fn broken(&self);
    /// The application is done: when to give up what is pending, at once if there is no
    /// stream to send it by and it may be lost.
    fn gives_up(&self) -> Option<Instant>;
    /// Called when what `gives_up` says may have changed.
    fn done(&self) -> &Notify;
    /// A stream that was open before may be opened again after this.
    fn may_retry(&self, e: &Error) -> bool {
        e.is_retryable()
    }
    fn event(&self, event: Event);
}

/// What is told when the first stream is open, or has failed to.
pub(crate) struct Opening {
    tell: Option<oneshot::Sender<Result<()>>>,
    backoff: Backoff,
}

impl Opening {
    pub(crate) fn new(client: &Client, tell: oneshot::Sender<Result<()>>) -> Opening {
        Opening {
            tell: Some(tell),
            backoff: Backoff::new(client.inner.schedule, Backoff::seed()),
        }
    }

    pub(crate) fn opened(&mut self, client: &Client, now: Instant) {
        self.backoff.opened(now);
        client.inner.budget.success();
        if let Some(tell) = self.tell.take() {
            let _ = tell.send(Ok(()));
        }
    }

    /// Tells how it all ended: the caller of open if it still waits, else the hook.
    pub(crate) fn ended(self, how: Result<()>, life: &impl Life) {
        match (self.tell, how) {
            (Some(tell), how) => {
                let _ = tell.send(how.and(Err(Error::closed("stream"))));
            }
            (None, Err(error)) => life.event(Event::Failed { error }),
            (None, Ok(())) => {}
        }
    }
}

/// Serves streams, one after the other: until the application is done, or an error that the
/// next stream would meet as well. The first one must open.
pub(crate) async fn live<L: Life>(life: &L, opening: &mut Opening) -> Result<()> {
    let inner = &life.client().inner;
    loop {
        let (connection, channel) = inner.channel();
        let ended = tokio::select! {
            ended = life.attempt(channel, opening) => ended,
            () = given_up(life) => Ended::Finished,
        };
        life.broken();
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
                if opening.tell.is_some() || !life.may_retry(&e) {
                    return Err(e);
                }
                let least = e.retry_after().unwrap_or_default();
                let budget = inner.budget.take();
                let delay = opening.backoff.next(Instant::now(), budget, least);
                life.event(Event::Broken { error: e, delay });
                delay
            }
        };
        tokio::select! {
            biased;
            () = given_up(life) => return Ok(()),
            () = tokio::time::sleep(delay) => {}
        }
    }
}

async fn given_up<L: Life>(life: &L) {
    loop {
        match life.gives_up() {
            None => life.done().notified().await,
            Some(when) => tokio::select! {
                () = tokio::time::sleep_until(when.into()) => return,
                () = life.done().notified() => {}
            },
        }
    }
}
