//! Against the real broker, at the path in SPILLWAYD; without it the tests pass unseen.

mod proxy;
mod recovery;
mod settling;
mod spillwayd;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt};
use spillway::*;
use spillwayd::Spillwayd;
use tokio::sync::mpsc;

type Events = mpsc::UnboundedReceiver<(StreamInfo, Event)>;

struct Setup {
    broker: Spillwayd,
    client: Client,
    events: Events,
}

/// A broker with a queue "q", and a client; none without a broker's binary.
async fn setup(test: &str, tuning: TuningChange) -> Option<Setup> {
    let broker = Spillwayd::start(test).await?;
    let (tell, events) = mpsc::unbounded_channel();
    let client = Client::builder(broker.address())
        .client_name(test)
        .reconnect(
            Duration::from_millis(10),
            Duration::from_millis(200),
            Duration::ZERO,
        )
        .on_event(move |stream, event| drop(tell.send((stream.clone(), event.clone()))))
        .connect()
        .await
        .unwrap();
    client.admin().create_queue("q", tuning).await.unwrap();
    Some(Setup {
        broker,
        client,
        events,
    })
}

impl Setup {
    /// Waits for an event.
    async fn event<T>(&mut self, pick: impl Fn(&StreamInfo, &Event) -> Option<T>) -> T {
        let found = async {
            loop {
                let (stream, event) = self.events.recv().await.unwrap();
                if let Some(found) = pick(&stream, &event) {
                    return found;
                }
            }
        };
        soon(found).await
    }

    async fn resumed(&mut self, kind: StreamKind) {
        let resumed = |s: &StreamInfo, e: &Event| {
            (s.kind == kind && matches!(e, Event::Opened { resumed: true })).then_some(())
        };
        self.event(resumed).await;
    }

    async fn group(&self, group: &str) -> GroupInfo {
        let groups = self.client.admin().list_groups("q").await.unwrap();
        groups.into_iter().find(|g| g.name == group).unwrap()
    }

    /// Waits until the group is as it should be.
    async fn until(&self, group: &str, good: impl Fn(&GroupInfo) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let g = self.group(group).await;
            if good(&g) {
                return;
            }
            assert!(Instant::now() < deadline, "{g:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn soon<T>(what: impl std::future::Future<Output = T>) -> T {
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, what).await.expect("in time")
}

async fn next(consumer: &mut Consumer) -> Delivery {
    soon(consumer.try_next()).await.unwrap().unwrap()
}

async fn publish(client: &Client, messages: impl IntoIterator<Item = Message>) {
    let producer = client.producer("q").open().await.unwrap();
    for m in messages {
        drop(producer.send(m).await.unwrap());
    }
    soon(producer.close()).await.unwrap();
}

fn numbered(n: u64) -> impl Iterator<Item = Message> {
    (0..n).map(|i| Message::new(i.to_string()))
}

fn body(i: u64) -> Vec<u8> {
    [i as u8, (i >> 8) as u8].repeat(1 + i as usize % 300)
}

#[tokio::test(flavor = "multi_thread")]
async fn round_trip() {
    let limits = TuningChange::new().retention(Retention::Limits);
    let Some(s) = setup("round_trip", limits).await else {
        return;
    };
    const N: u64 = 20_000;
    let producer = s.client.producer("q").open().await.unwrap();
    let publishing = tokio::spawn(async move {
        for i in 0..N {
            let mut m = Message::new(body(i)).key(vec![i as u8]);
            if i % 5 == 0 {
                m = m.header("n", vec![1, 2]);
            }
            drop(producer.send(m).await.unwrap());
        }
        producer.flush().await.unwrap();
        assert_eq!(producer.unconfirmed(), 0);
        producer.close().await.unwrap();
    });
    let check = |i: u64, payload: &[u8], key: &[u8], headers: &[Header]| {
        assert_eq!(payload, body(i), "{i}");
        assert_eq!(key, [i as u8]);
        assert_eq!(headers.len(), usize::from(i % 5 == 0));
    };
    let builder = s.client.consumer("q", "g").max_in_flight(500);
    let mut consumer = builder.open().await.unwrap();
    for i in 0..N {
        let d = next(&mut consumer).await;
        assert_eq!((d.offset(), d.attempt()), (i, 1));
        check(i, d.payload(), d.key(), d.headers());
        d.ack().unwrap();
    }
    soon(publishing).await.unwrap();
    s.until("g", |g| g.cursor_offset == N).await;
    assert_eq!(consumer.in_flight(), Credit::default());
    soon(consumer.close()).await.unwrap();

    let replay = s.client.replay("q").from_offset(7).until_tail();
    let mut replay = replay.window(300, 1 << 20).open().await.unwrap();
    for i in 7..N {
        let r = soon(replay.try_next()).await.unwrap().unwrap();
        assert_eq!(r.offset, i);
        check(i, &r.payload, &r.key, &r.headers);
    }
    assert_eq!(soon(replay.try_next()).await.unwrap(), None);
    let replay = s.client.replay("q").last(5).until_offset(N - 2);
    let last: Vec<_> = soon(replay.open().await.unwrap().try_collect())
        .await
        .unwrap();
    let offsets: Vec<_> = last.iter().map(|r| r.offset).collect();
    assert_eq!(offsets, [N - 5, N - 4, N - 3]);
    let beyond = s.client.replay("q").from_offset(N + 1).open().await;
    let e = beyond.unwrap_err();
    assert_eq!((e.kind(), e.tail_offset()), (ErrorKind::OutOfRange, N));
    assert_eq!(e.queue(), "q");
}

#[tokio::test]
async fn replay_paces_itself_and_waits_at_the_tail() {
    let Some(s) = setup("replay", TuningChange::new()).await else {
        return;
    };
    publish(&s.client, numbered(30)).await;
    let begin = Instant::now();
    let replay = s.client.replay("q").until_offset(21).rate(100);
    let slow: Vec<_> = soon(replay.open().await.unwrap().try_collect())
        .await
        .unwrap();
    assert_eq!(slow.len(), 21);
    assert!(
        begin.elapsed() > Duration::from_millis(150),
        "{:?}",
        begin.elapsed()
    );
    let future = s
        .client
        .replay("q")
        .from_time(std::time::SystemTime::now() + Duration::from_secs(60));
    let mut ahead = future.open().await.unwrap();
    assert_eq!(ahead.start_offset(), 30);
    let past = std::time::UNIX_EPOCH + Duration::from_secs(1);
    let nothing = s.client.replay("q").until_time(past).open().await.unwrap();
    assert_eq!(soon(nothing.count()).await, 0);
    publish(&s.client, [Message::new("new")]).await;
    assert_eq!(
        soon(ahead.try_next()).await.unwrap().unwrap().payload,
        "new"
    );
}

#[tokio::test]
async fn window_blocks_or_refuses() {
    for policy in [OverflowPolicy::Block, OverflowPolicy::Reject] {
        let tuning = TuningChange::new()
            .window_messages(20)
            .overflow(policy)
            .durability(Durability::Memory);
        let Some(mut s) = setup(policy.name(), tuning).await else {
            return;
        };
        let mut consumer = s
            .client
            .consumer("q", "g")
            .max_in_flight(1)
            .open()
            .await
            .unwrap();
        let producer = s.client.producer("q").open().await.unwrap();
        let mut sent = 0;
        let refused = loop {
            let patience = Duration::from_millis(300);
            match tokio::time::timeout(patience, producer.publish("x")).await {
                Ok(Ok(_)) => sent += 1,
                Ok(Err(e)) => break Some(e.kind()),
                Err(_) => break None,
            }
            assert!(sent <= 100, "the window does not hold");
        };
        assert!(sent > 0);
        if policy == OverflowPolicy::Reject {
            assert_eq!(refused, Some(ErrorKind::QueueFull));
            let e = producer.try_publish("x").unwrap_err();
            assert_eq!(e.kind(), ErrorKind::QueueFull);
        } else {
            assert_eq!(refused, None);
            let e = producer.try_publish("x").unwrap_err();
            assert_eq!(e.kind(), ErrorKind::NoCredit);
            let reason = |_: &StreamInfo, e: &Event| match e {
                Event::Blocked(b) => b.reason,
                _ => None,
            };
            assert_eq!(s.event(reason).await, CreditReason::WindowFull);
        }
        let explained = s.client.admin().explain("q").await.unwrap();
        assert!(!explained.stalls.is_empty());
        for _ in 0..sent {
            next(&mut consumer).await.ack().unwrap();
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while producer.credit().messages == 0 && policy == OverflowPolicy::Reject {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        soon(producer.publish("x")).await.unwrap();
    }
}

#[tokio::test]
async fn sessions_end_as_they_should() {
    let Some(s) = setup("sessions", TuningChange::new()).await else {
        return;
    };
    let c = &s.client;
    let kind = |r: Result<_>| r.map(drop).unwrap_err().kind();
    let none = c.producer("none").open().await.map(drop);
    assert_eq!(kind(none), ErrorKind::NotFound);
    let bad = c.consumer("q", ".bad").open().await.map(drop);
    assert_eq!(kind(bad), ErrorKind::InvalidArgument);

    let first = c.producer("q").producer_id("me").open().await.unwrap();
    soon(first.publish("x")).await.unwrap();
    let second = c.producer("q").producer_id("me").open().await.unwrap();
    assert_eq!(soon(second.publish("y")).await.unwrap(), 1);
    let fenced = soon(async {
        loop {
            if let Err(e) = first.publish("z").await {
                return e;
            }
        }
    });
    assert_eq!(fenced.await.kind(), ErrorKind::Fenced);

    let mut only = c
        .consumer("q", "only")
        .mode(Mode::Exclusive)
        .open()
        .await
        .unwrap();
    assert_eq!(only.mode(), Some(Mode::Exclusive));
    let other = c.consumer("q", "only").open().await.map(drop);
    assert_eq!(kind(other), ErrorKind::Exclusive);
    let held = next(&mut only).await;
    soon(only.close()).await.unwrap();
    assert_eq!(held.ack().unwrap_err().kind(), ErrorKind::Closed);
    let mut other = c.consumer("q", "only").open().await.unwrap();
    let d = next(&mut other).await;
    assert_eq!(d.offset(), 0, "what was held went to others at once");
    d.ack().unwrap();

    c.admin().close_session(second.session()).await.unwrap();
    let closed = soon(async {
        loop {
            if let Err(e) = second.publish("z").await {
                return e;
            }
        }
    });
    assert_eq!(closed.await.kind(), ErrorKind::Closed);
    c.admin().delete_queue("q", None).await.unwrap();
    let end = soon(async {
        loop {
            match other.try_next().await {
                Ok(Some(d)) => d.ack().unwrap_or_default(),
                other => return other.map(|d| d.is_some()),
            }
        }
    });
    assert_eq!(end.await.unwrap_err().kind(), ErrorKind::Closed);
    assert!(soon(other.try_next()).await.unwrap().is_none());
}
