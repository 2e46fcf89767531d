//! Drives the Rust client for the shared conformance suite; see
//! tests/conformance/README.md for the lines that it reads and writes.

mod command;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::io::{BufRead, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{json, Map, Value};
use spillway::{
    Ack, Client, Consumer, Delivery, Error, Event, Mode, Nack, Replay, ReplayBuilder,
    ReplayedRecord,
};
use tokio::time::{timeout_at, Instant};

use self::command::{show, Command, Failure};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Streams go on while a command is awaited here.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut driver = Driver::default();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let command: Command = serde_json::from_str(&line)?;
        let answer = runtime.block_on(driver.answer(&command));
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    let _ = runtime.block_on(driver.close("", Instant::now() + Duration::from_secs(10)));
    Ok(())
}

/// What commands made, by their names.
#[derive(Default)]
struct Driver {
    client: Option<Client>,
    open: OpenSessions,
    producers: HashMap<String, Producer>,
    members: HashMap<String, Member>,
    replays: HashMap<String, Reader>,
}

/// The sessions whose streams are open now, told by the client's events.
type OpenSessions = Arc<Mutex<HashSet<String>>>;

struct Producer {
    handle: spillway::Producer,
    pending: VecDeque<Ack>,
}

struct Member {
    consumer: Consumer,
    held: HashMap<u64, Delivery>,
    ended: Option<Error>,
}

/// A replay opens when it is first read, so that its errors come there, as in Go.
enum Reader {
    New(ReplayBuilder),
    Open(Replay),
}

/// What a failed command answers beside its error is in the map already.
type Answer = Map<String, Value>;

async fn within<F: Future>(deadline: Instant, f: F) -> Result<F::Output, Failure> {
    timeout_at(deadline, f).await.map_err(|_| Failure::Timeout)
}

impl Driver {
    async fn answer(&mut self, c: &Command) -> Value {
        let mut answer = Map::new();
        let deadline = Instant::now() + c.timeout();
        let result = self.run(c, deadline, &mut answer).await;
        answer.insert("id".into(), c.id.clone());
        answer.insert("ok".into(), result.is_ok().into());
        if let Err(failure) = result {
            answer.insert("error".into(), failure.describe());
        }
        Value::Object(answer)
    }

    fn client(&self) -> Result<&Client, Failure> {
        let none = || Failure::Driver("dial first".into());
        self.client.as_ref().ok_or_else(none)
    }

    async fn run(
        &mut self,
        c: &Command,
        deadline: Instant,
        out: &mut Answer,
    ) -> Result<(), Failure> {
        match c.cmd.as_str() {
            "dial" => self.client = Some(within(deadline, self.dial(c)).await??),
            "producer" => {
                let builder = self.client()?.producer(&c.queue);
                let builder = builder
                    .producer_id(&c.producer_id)
                    .linger(Duration::from_millis(c.linger_ms));
                let handle = within(deadline, builder.open()).await??;
                out.insert("producer_id".into(), handle.producer_id().into());
                let pending = VecDeque::new();
                let producer = Producer { handle, pending };
                self.producers.insert(c.name.clone(), producer);
            }
            "publish" | "try_publish" | "confirm" | "credit" => {
                let none = || Failure::Driver(format!("no producer {:?}", c.on));
                let producer = self.producers.get_mut(&c.on).ok_or_else(none)?;
                if c.cmd == "credit" {
                    producer.credit(&self.open, out);
                    return Ok(());
                }
                return producer.run(c, deadline, out).await;
            }
            "consumer" => {
                let consumer = within(deadline, self.consumer(c)?.open()).await??;
                out.insert("start_offset".into(), consumer.start_offset().into());
                out.insert("mode".into(), consumer.mode().map(Mode::name).into());
                let member = Member {
                    consumer,
                    held: HashMap::new(),
                    ended: None,
                };
                self.members.insert(c.name.clone(), member);
            }
            "replay" => {
                let builder = self.client()?.replay(&c.queue);
                let builder = c.until(builder.from(c.position()).rate(c.rate));
                self.replays.insert(c.name.clone(), Reader::New(builder));
            }
            "receive" => return self.receive(c, deadline, out).await,
            "settle" => {
                let none = || Failure::Driver(format!("no consumer {:?}", c.on));
                self.members.get_mut(&c.on).ok_or_else(none)?.settle(c)?;
            }
            "close" => return self.close(&c.on, deadline).await,
            _ => return within(deadline, self.admin(c, out)).await?,
        }
        Ok(())
    }

    async fn dial(&self, c: &Command) -> Result<Client, Failure> {
        let open = self.open.clone();
        let builder = Client::builder(&c.address).client_name("conformance");
        let builder = builder.on_event(move |stream, event| match event {
            Event::Opened { .. } => {
                open.lock().unwrap().insert(stream.session.clone());
            }
            Event::Broken { .. } | Event::Failed { .. } => {
                open.lock().unwrap().remove(&stream.session);
            }
            _ => {}
        });
        Ok(builder.connect().await?)
    }

    fn consumer(&self, c: &Command) -> Result<spillway::ConsumerBuilder, Failure> {
        let mut builder = self.client()?.consumer(&c.queue, &c.group);
        builder = builder.start(c.position());
        if !c.mode.is_empty() {
            builder = builder.mode(c.mode.parse()?);
        }
        if c.max_in_flight > 0 {
            builder = builder.max_in_flight(c.max_in_flight);
        }
        if c.max_in_flight_bytes > 0 {
            builder = builder.max_in_flight_bytes(c.max_in_flight_bytes);
        }
        Ok(builder)
    }

    async fn admin(&self, c: &Command, out: &mut Answer) -> Result<(), Failure> {
        let admin = self.client()?.admin();
        match c.cmd.as_str() {
            "create_queue" => {
                let queue = admin.create_queue(&c.queue, c.tuning()?).await?;
                out.insert("revision".into(), queue.revision.into());
            }
            "update_queue" => {
                let expected = (c.revision != 0).then_some(c.revision);
                let queue = admin.update_queue(&c.queue, expected, c.tuning()?).await?;
                out.insert("revision".into(), queue.revision.into());
            }
            "explain" => {
                let stalls = admin.explain(c.queue.as_str()).await?.stalls;
                let stalls = stalls
                    .iter()
                    .map(|s| json!({"subject": s.subject, "reason": s.reason}));
                out.insert("stalls".into(), stalls.collect());
            }
            "seek" => {
                let group = admin.seek(&c.queue, &c.group, c.position()).await?;
                out.insert("cursor_offset".into(), group.cursor_offset.into());
            }
            "list_parked" => {
                let parked = admin.list_parked(&c.queue, &c.group, 0).collect().await?;
                let parked = parked.iter().map(
                    |p| json!({"offset": p.offset, "attempts": p.attempts, "reason": p.reason}),
                );
                out.insert("parked".into(), parked.collect());
            }
            "release_parked" => {
                let released = admin.release_parked(&c.queue, &c.group).await?;
                out.insert("released".into(), released.into());
            }
            other => return Err(Failure::Driver(format!("no command {other:?}"))),
        }
        Ok(())
    }

    async fn receive(
        &mut self,
        c: &Command,
        deadline: Instant,
        out: &mut Answer,
    ) -> Result<(), Failure> {
        let mut records = Vec::new();
        let result = loop {
            if records.len() as u64 >= c.count.max(1) {
                break Ok(());
            }
            let wait = match c.idle_ms {
                0 => deadline,
                ms => deadline.min(Instant::now() + Duration::from_millis(ms)),
            };
            let next = if let Some(member) = self.members.get_mut(&c.on) {
                within(wait, member.next()).await
            } else if let Some(reader) = self.replays.get_mut(&c.on) {
                within(wait, reader.next()).await
            } else {
                break Err(Failure::Driver(format!("no consumer or replay {:?}", c.on)));
            };
            match next {
                Ok(Ok(record)) => records.push(record),
                Err(_) if wait < deadline => break Ok(()),
                Ok(Err(Failure::End)) if !records.is_empty() => break Ok(()),
                Ok(Err(failure)) | Err(failure) => break Err(failure),
            }
        };
        out.insert("records".into(), records.into());
        result
    }

    /// Closes what has this name, or everything and the client.
    async fn close(&mut self, on: &str, deadline: Instant) -> Result<(), Failure> {
        let mut closing: Vec<Pin<Box<dyn Future<Output = spillway::Result<()>>>>> = Vec::new();
        let all = on.is_empty();
        self.replays.retain(|name, _| !all && name != on);
        if all {
            closing.extend(self.producers.drain().map(|(_, p)| p.close()));
            closing.extend(self.members.drain().map(|(_, m)| m.close()));
        } else {
            closing.extend(self.producers.remove(on).map(Producer::close));
            closing.extend(self.members.remove(on).map(Member::close));
        }
        let mut result = Ok(());
        for one in closing {
            let closed = within(deadline, one).await;
            result = result.and(closed.and_then(|r| Ok(r?)));
        }
        if all {
            self.client = None;
        }
        result
    }
}

impl Producer {
    fn credit(&self, open: &OpenSessions, out: &mut Answer) {
        let credit = self.handle.credit();
        let blocked = self.handle.blocked();
        let waits = blocked.is_some_and(|b| b.waiting.messages > 0);
        let reason = blocked.and_then(|b| b.reason);
        let reason = reason.map_or("UNSPECIFIED", |r| r.name());
        let open = open.lock().unwrap().contains(&self.handle.session());
        out.insert("open".into(), open.into());
        out.insert("messages".into(), credit.messages.into());
        out.insert("bytes".into(), credit.bytes.into());
        out.insert("blocked".into(), waits.into());
        out.insert("reason".into(), reason.into());
    }

    async fn run(
        &mut self,
        c: &Command,
        deadline: Instant,
        out: &mut Answer,
    ) -> Result<(), Failure> {
        let count = match c.cmd.as_str() {
            "confirm" => 0,
            _ => c.count.max(1),
        };
        for i in 0..count {
            let sent = match c.cmd.as_str() {
                "try_publish" => Ok(self.handle.try_publish(c.record(i))),
                _ => within(deadline, self.handle.send(c.record(i))).await,
            };
            match sent.and_then(|r| Ok(r?)) {
                Ok(ack) => self.pending.push_back(ack),
                Err(failure) => {
                    // What was sent before is told beside the failure.
                    let _ = self.confirm(deadline, out).await;
                    return Err(failure);
                }
            }
        }
        if c.cmd == "publish" && c.wait == Some(false) {
            out.insert("pending".into(), self.pending.len().into());
            return Ok(());
        }
        self.confirm(deadline, out).await
    }

    async fn confirm(&mut self, deadline: Instant, out: &mut Answer) -> Result<(), Failure> {
        let mut runs: Vec<(i64, i64)> = Vec::new();
        let result = loop {
            let Some(ack) = self.pending.front_mut() else {
                break Ok(());
            };
            // An ack that is not ready stays for the next `confirm`.
            let receipt = match within(deadline, ack).await {
                Ok(receipt) => receipt,
                Err(timeout) => break Err(timeout),
            };
            self.pending.pop_front();
            let offset = match receipt {
                Ok(receipt) => receipt.offset.map_or(-1, |o| o as i64),
                Err(e) => break Err(e.into()),
            };
            match runs.last_mut() {
                Some((first, count)) if offset >= 0 && *first + *count == offset => *count += 1,
                _ => runs.push((offset, 1)),
            }
        };
        out.insert("offsets".into(), json!(runs));
        result
    }

    fn close(self) -> Pin<Box<dyn Future<Output = spillway::Result<()>>>> {
        Box::pin(self.handle.close())
    }
}

impl Member {
    async fn next(&mut self) -> Result<Value, Failure> {
        match self.consumer.try_next().await {
            Ok(Some(d)) => {
                let shown = show(d.offset(), d.attempt(), d.key(), d.payload());
                self.held.insert(d.offset(), d);
                Ok(shown)
            }
            Err(e) => {
                self.ended = Some(e.clone());
                Err(e.into())
            }
            // The error comes once; a suite may ask again.
            Ok(None) => Err(match &self.ended {
                Some(e) => e.clone().into(),
                None => Failure::End,
            }),
        }
    }

    fn settle(&mut self, c: &Command) -> Result<(), Failure> {
        for offset in c.offsets.iter().flat_map(|&(first, n)| first..first + n) {
            let none = || format!("offset {offset} was not received, or is settled");
            let delivery = self.held.remove(&offset);
            let delivery = delivery.ok_or_else(|| Failure::Driver(none()))?;
            let delay = Duration::from_millis(c.delay_ms);
            match c.action.as_str() {
                "ACK" => delivery.ack()?,
                "RETRY" => delivery.nack(Nack::retry_after(delay, &c.reason))?,
                "PARK" => delivery.nack(Nack::park(&c.reason))?,
                "SKIP" => delivery.nack(Nack::skip(&c.reason))?,
                other => return Err(Failure::Driver(format!("no action {other:?}"))),
            }
        }
        Ok(())
    }

    /// What is held goes back when the stream ends, and not as so many retries before.
    fn close(self) -> Pin<Box<dyn Future<Output = spillway::Result<()>>>> {
        Box::pin(async move {
            let held = self.held;
            let closed = self.consumer.close().await;
            drop(held);
            closed
        })
    }
}

impl Reader {
    async fn next(&mut self) -> Result<Value, Failure> {
        if let Reader::New(builder) = self {
            *self = Reader::Open(builder.clone().open().await?);
        }
        let Reader::Open(replay) = self else {
            return Err(Failure::End);
        };
        let ReplayedRecord {
            offset,
            key,
            payload,
            ..
        } = replay.try_next().await?.ok_or(Failure::End)?;
        Ok(show(offset, 0, &key, &payload))
    }
}
