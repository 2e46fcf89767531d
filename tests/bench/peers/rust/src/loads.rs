//! The loads, as `flow.go`, `timed.go`, `replay.go` and `drain.go` are with Go clients.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use spillway::{Ack, Client, Producer};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::options::Options;
use crate::payload::{Ledger, Payloads};
use crate::progress::Progress;
use crate::say;

// As in `spillway.go`.
const MAX_IN_FLIGHT: u64 = 100_000;
const MAX_IN_FLIGHT_BYTES: u64 = 32 << 20;

const MOST_OPEN: Duration = Duration::from_secs(30);
const MOST_DRAIN: Duration = Duration::from_secs(60);
const MOST_BACKLOG: Duration = Duration::from_secs(600);
const MOST_READINGS: usize = 20;
/// How many confirmations are handed over at a time.
const ACKS: usize = 64;

type Outcome<T> = Result<T, String>;

fn text(e: spillway::Error) -> String {
    e.to_string()
}

async fn connect(o: &Options) -> Outcome<Client> {
    Client::builder(&o.address).connect().await.map_err(text)
}

/// Sends messages; another task awaits what becomes of each.
struct Sender {
    options: Options,
    progress: Arc<Progress>,
    producer: Producer,
    payloads: Payloads,
    sent: u64,
    acks: Vec<Ack>,
    pending: mpsc::UnboundedSender<Vec<Ack>>,
}

impl Sender {
    async fn open(o: &Options, progress: &Arc<Progress>) -> Outcome<Sender> {
        let client = connect(o).await?;
        let producer = client.producer(&o.topic).open().await.map_err(text)?;
        let (pending, mut taken) = mpsc::unbounded_channel::<Vec<Ack>>();
        let counting = progress.clone();
        tokio::spawn(async move {
            while let Some(acks) = taken.recv().await {
                let n = acks.len() as u64;
                for ack in acks {
                    if let Err(e) = ack.offset().await {
                        counting.fail(e);
                    }
                }
                counting.ack(n);
            }
        });
        Ok(Sender {
            payloads: Payloads::new(o.size),
            options: o.clone(),
            progress: progress.clone(),
            producer,
            sent: 0,
            acks: Vec::with_capacity(ACKS),
            pending,
        })
    }

    fn next(&mut self, intended: u64) -> Bytes {
        self.sent += 1;
        self.payloads.at(self.sent - 1, intended)
    }

    async fn publish(&mut self, intended: u64) -> Outcome<()> {
        let payload = self.next(intended);
        self.acks
            .push(self.producer.send(payload).await.map_err(text)?);
        if self.acks.len() == ACKS {
            self.push();
        }
        Ok(())
    }

    fn push(&mut self) {
        let acks = std::mem::replace(&mut self.acks, Vec::with_capacity(ACKS));
        let _ = self.pending.send(acks);
    }

    /// The first message: when the reader has it, it is at work.
    async fn prime(&mut self) -> Outcome<()> {
        self.publish(0).await?;
        self.push();
        self.progress.settle(1, 1, MOST_OPEN).await
    }

    /// Until it is told to stop, within the window and the lead. One that was full is a
    /// quarter empty before it goes on, so that batches stay large.
    async fn send(&mut self, read: bool) -> Outcome<()> {
        let window = self.options.window;
        let lead = if read {
            self.options.lead
        } else {
            u64::MAX / 2
        };
        while !self.progress.stopped() {
            let (acked, received) = (self.progress.acked(), self.progress.received());
            if self.sent - acked < window && self.sent - received < lead {
                self.publish(0).await?;
                continue;
            }
            self.push();
            let least = |most: u64| (self.sent + 1).saturating_sub(most - most / 4);
            self.progress.room(least(window), least(lead)).await?;
        }
        self.push();
        self.progress.check()
    }

    /// The next is sent when the one before is acknowledged.
    async fn one_by_one(&mut self, during: Duration) -> Outcome<u64> {
        let (begin, before) = (Instant::now(), self.sent);
        while begin.elapsed() < during {
            let payload = self.next(0);
            self.producer.publish(payload).await.map_err(text)?;
        }
        Ok(self.sent - before)
    }

    async fn settle(&self, read: bool) -> Outcome<()> {
        let received = if read { self.sent } else { 0 };
        self.progress.settle(self.sent, received, MOST_DRAIN).await
    }
}

/// A task that receives, until it is stopped.
struct Reader<T> {
    stop: oneshot::Sender<()>,
    task: JoinHandle<(Ledger, T)>,
}

/// Consumes as a group; `each` is told the intended time of each message.
async fn consume<T: Send + 'static>(
    o: &Options,
    progress: &Arc<Progress>,
    mut kept: T,
    mut each: impl FnMut(&mut T, u64) + Send + 'static,
) -> Outcome<Reader<T>> {
    let client = connect(o).await?;
    let consumer = client.consumer(&o.topic, "group-1");
    let mut consumer = consumer
        .max_in_flight(MAX_IN_FLIGHT)
        .max_in_flight_bytes(MAX_IN_FLIGHT_BYTES)
        .open()
        .await
        .map_err(text)?;
    let (stop, stopped) = oneshot::channel();
    let mut ledger = Ledger::new(o.size, o.count);
    let progress = progress.clone();
    let task = tokio::spawn(async move {
        let receiving = async {
            while let Some(delivery) = consumer.try_next().await? {
                if let Some(intended) = ledger.take(delivery.payload()) {
                    each(&mut kept, intended);
                }
                delivery.ack()?;
                progress.receive(1);
            }
            Ok::<_, spillway::Error>(())
        };
        tokio::select! {
            biased;
            ended = receiving => match ended {
                Ok(()) => progress.fail("the consumer ended"),
                Err(e) => progress.fail(e),
            },
            _ = stopped => {}
        }
        (ledger, kept)
    });
    Ok(Reader { stop, task })
}

impl<T> Reader<T> {
    async fn finish(self, sent: u64) -> Outcome<(Ledger, T)> {
        // What would come twice has a moment to do so.
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(self.stop);
        let (ledger, kept) = self.task.await.map_err(|e| e.to_string())?;
        ledger.check(sent)?;
        Ok((ledger, kept))
    }
}

/// Measures in the background while a sender works, and stops it then.
async fn measured<T>(
    o: &Options,
    progress: &Arc<Progress>,
    read: bool,
    work: impl Future<Output = T>,
) -> T {
    let (o, measuring) = (o.clone(), progress.clone());
    let timing = tokio::spawn(async move {
        let count = || {
            if read {
                measuring.received()
            } else {
                measuring.acked()
            }
        };
        tokio::time::sleep(o.warmup).await;
        say::begin();
        let (begin, before) = (Instant::now(), count());
        tokio::time::sleep(o.seconds).await;
        say::end(count() - before, begin.elapsed().as_secs_f64());
        measuring.stop();
    });
    let out = work.await;
    timing.abort();
    out
}

pub async fn publish(o: &Options) -> Outcome<()> {
    let progress = Arc::default();
    let mut sender = Sender::open(o, &progress).await?;
    measured(o, &progress, false, sender.send(false)).await?;
    sender.settle(false).await
}

pub async fn end_to_end(o: &Options) -> Outcome<()> {
    let progress = Arc::default();
    let reader = consume(o, &progress, (), |(), _| ()).await?;
    let mut sender = Sender::open(o, &progress).await?;
    sender.prime().await?;
    measured(o, &progress, true, sender.send(true)).await?;
    sender.settle(true).await?;
    reader.finish(sender.sent).await?;
    Ok(())
}

pub async fn single(o: &Options) -> Outcome<()> {
    let mut sender = Sender::open(o, &Arc::default()).await?;
    sender.one_by_one(o.warmup).await?;
    say::begin();
    let begin = Instant::now();
    let records = sender.one_by_one(o.seconds).await?;
    say::end(records, begin.elapsed().as_secs_f64());
    Ok(())
}

/// An open loop: messages are sent at a fixed rate, and timed from when they were to be
/// sent, so that a system that falls behind cannot hide it. Gives the microseconds of each.
pub async fn latency(o: &Options) -> Outcome<Vec<u32>> {
    let progress = Arc::default();
    let messages = |time: Duration| (time.as_secs_f64() * o.rate).ceil() as u64;
    let (total, untimed) = (messages(o.warmup + o.seconds), messages(o.warmup));
    let epoch = Instant::now();
    let timed_from = Arc::new(OnceLock::new());
    let from = timed_from.clone();
    let room = Vec::with_capacity(total as usize);
    let reader = consume(o, &progress, room, move |times: &mut Vec<u32>, intended| {
        if from.get().is_some_and(|from| intended >= *from) {
            let late = epoch
                .elapsed()
                .saturating_sub(Duration::from_nanos(intended));
            times.push(late.as_micros().clamp(1, u32::MAX.into()) as u32);
        }
    })
    .await?;
    let mut sender = Sender::open(o, &progress).await?;
    sender.prime().await?;
    let begin = epoch.elapsed();
    let due = |n: u64| begin + Duration::from_secs_f64(n as f64 / o.rate);
    let _ = timed_from.set(due(untimed).as_nanos() as u64);
    let mut timed = Instant::now();
    for n in 0..total {
        if n == untimed {
            say::begin();
            timed = Instant::now();
        }
        let wait = due(n).saturating_sub(epoch.elapsed());
        if !wait.is_zero() {
            sender.push();
            progress.check()?;
            // Tokio's own timer counts in milliseconds.
            std::thread::sleep(wait);
        }
        if sender.sent - progress.acked() >= o.window {
            sender.push();
            progress
                .settle(sender.sent + 1 - o.window, 0, MOST_DRAIN)
                .await?;
        }
        sender.publish(due(n).as_nanos() as u64).await?;
    }
    sender.push();
    sender.settle(true).await?;
    say::end(total - untimed, timed.elapsed().as_secs_f64());
    let (_, mut times) = reader.finish(sender.sent).await?;
    times.sort_unstable();
    Ok(times)
}

/// All that is there, as a group that acknowledges.
pub async fn drain(o: &Options) -> Outcome<()> {
    let progress = Arc::default();
    say::begin();
    let reader = consume(o, &progress, (), |(), _| ()).await?;
    progress.settle(0, o.count, MOST_BACKLOG).await?;
    let (ledger, ()) = reader.finish(o.count).await?;
    say::end(o.count, ledger.seconds());
    Ok(())
}

/// Reads all that is there again and again for the measured time; the first reading does
/// not count, unless there is no warm-up.
pub async fn replay(o: &Options) -> Outcome<()> {
    if !o.warmup.is_zero() {
        read_once(o).await?;
    }
    let mut sum = 0.0;
    for _ in 0..MOST_READINGS {
        say::begin();
        let seconds = read_once(o).await?;
        say::end(o.count, seconds);
        sum += seconds;
        if sum >= o.seconds.as_secs_f64() {
            break;
        }
    }
    Ok(())
}

async fn read_once(o: &Options) -> Outcome<f64> {
    let client = connect(o).await?;
    let mut replay = client
        .replay(&o.topic)
        .earliest()
        .open()
        .await
        .map_err(text)?;
    let mut ledger = Ledger::new(o.size, o.count);
    let all = async {
        for _ in 0..o.count {
            match replay.try_next().await.map_err(text)? {
                Some(record) => _ = ledger.take(&record.payload),
                None => return Err("the replay ended".to_string()),
            }
        }
        Ok(())
    };
    tokio::time::timeout(MOST_BACKLOG, all)
        .await
        .map_err(|_| format!("not all of {} messages were replayed in time", o.count))??;
    ledger.check(o.count)?;
    Ok(ledger.seconds())
}
