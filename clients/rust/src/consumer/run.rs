//! Calling a handler for each delivery.

use std::future::{poll_fn, Future};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures_util::future::{select, Either};
use futures_util::stream::FuturesUnordered;
use futures_util::StreamExt;
use tokio::sync::Mutex;

use super::delivery::Ticket;
use super::slab::State;
use super::{Consumer, Delivery, Nack};
use crate::error::Result;

/// Settles by the handler's result; if the handler is dropped before it has one, the record
/// is delivered again.
struct Settling(Ticket);

impl Drop for Settling {
    fn drop(&mut self) {
        if self.0.state() == State::Taken {
            // Cancelled, or it panicked.
            let _ = self
                .0
                .settle(Some(Nack::retry("the handler did not finish")));
        }
    }
}

impl Consumer {
    /// Calls the handler for each delivery, as many at a time as
    /// [`concurrency`](super::ConsumerBuilder::concurrency) says, until the consumer ends;
    /// then returns why. `Ok` acknowledges the delivery, an error is its [`Nack`], unless
    /// the handler has settled it itself.
    ///
    /// Handlers run within this future, side by side but on one thread; one that is to run
    /// on others can spawn a task and wait for it.
    ///
    /// Cancel-safe, but handlers under way are dropped and their records delivered again;
    /// [`run_until`](Self::run_until) lets them finish.
    pub async fn run<F, Fut>(&mut self, handler: F) -> Result<()>
    where
        F: FnMut(Delivery) -> Fut,
        Fut: Future<Output = Result<(), Nack>>,
    {
        self.run_until(std::future::pending::<()>(), handler).await
    }

    /// Like [`run`](Self::run) until `stop` is ready; then waits for the handlers under way
    /// and returns. The consumer can be used again.
    ///
    /// Cancel-safe, as `run` is.
    pub async fn run_until<S, F, Fut>(&mut self, stop: S, handler: F) -> Result<()>
    where
        S: Future,
        F: FnMut(Delivery) -> Fut,
        Fut: Future<Output = Result<(), Nack>>,
    {
        let concurrency = self.concurrency;
        let shared = self.receiver.shared.clone();
        let stopping = AtomicBool::new(false);
        let source = Mutex::new((self, handler));
        // One delivery waits at a time, in turn; the others queue for the lock.
        let worker = || async {
            loop {
                let (settling, handling) = {
                    let mut source = source.lock().await;
                    let (consumer, handler) = &mut *source;
                    let next = poll_fn(|cx| match stopping.load(Ordering::Acquire) {
                        true => Poll::Ready(None),
                        false => consumer.poll_delivery(cx),
                    });
                    let Some(delivery) = next.await else {
                        return Ok(());
                    };
                    let mut delivery = delivery?;
                    delivery.lent = true;
                    let settling = Settling(delivery.ticket.share());
                    (settling, handler(delivery))
                };
                let result = handling.await;
                match result {
                    Ok(()) => settling.0.ack()?,
                    Err(how) => settling.0.settle(Some(how))?,
                }
            }
        };
        let work = async {
            if concurrency == 1 {
                return worker().await;
            }
            let mut workers: FuturesUnordered<_> = (0..concurrency).map(|_| worker()).collect();
            let mut result = Ok(());
            while let Some(ended) = workers.next().await {
                result = result.and(ended);
            }
            result
        };
        let work = pin!(work);
        let stop = pin!(stop);
        match select(work, stop).await {
            Either::Left((result, _)) => result,
            Either::Right((_, work)) => {
                stopping.store(true, Ordering::Release);
                shared.arrived.wake();
                work.await
            }
        }
    }
}
