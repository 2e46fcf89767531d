//! Brokers that are killed, and that drain.

use std::collections::{BTreeMap, BTreeSet};

use super::proxy::{Proxy, Side};
use super::*;

/// Offsets and payloads of what a replay finds.
async fn kept(client: &Client) -> BTreeMap<u64, bytes::Bytes> {
    let replay = client.replay("q").until_tail().open().await.unwrap();
    let records = replay.map_ok(|r| (r.offset, r.payload)).try_collect();
    soon(records).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn survives_kills() {
    let limits = TuningChange::new().retention(Retention::Limits);
    let Some(mut s) = setup("kills", limits).await else {
        return;
    };
    const N: u64 = 3_000;
    let producer = s.client.producer("q").open().await.unwrap();
    let publishing = tokio::spawn(async move {
        let mut acks = Vec::new();
        for i in 0..N {
            acks.push(producer.send(i.to_string()).await.unwrap());
            if i % 10 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        let mut offsets = Vec::new();
        for ack in acks {
            offsets.push(ack.await.unwrap());
        }
        offsets
    });
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let mut consumer = s
        .client
        .consumer("q", "g")
        .max_in_flight(50)
        .open()
        .await
        .unwrap();
    let consuming = tokio::spawn({
        let seen = seen.clone();
        async move {
            while let Some(d) = consumer.try_next().await.unwrap() {
                seen.lock().unwrap().insert(d.offset());
                d.ack().unwrap();
                if seen.lock().unwrap().len() as u64 == N {
                    return soon(consumer.close()).await.unwrap();
                }
            }
        }
    });
    for i in 1..=3 {
        let enough = async {
            while seen.lock().unwrap().len() < i * N as usize / 5 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        soon(enough).await;
        s.broker.kill();
        s.broker.restart().await;
        s.resumed(StreamKind::Consumer).await;
    }
    let receipts = soon(publishing).await.unwrap();
    soon(consuming).await.unwrap();
    let kept = kept(&s.client).await;
    assert_eq!(kept.len() as u64, N, "once each");
    for (i, r) in receipts.iter().enumerate() {
        assert_eq!(kept[&r.offset.unwrap()], i.to_string());
    }
    s.until("g", |g| g.cursor_offset == N).await;
}

#[tokio::test]
async fn held_over_a_kill_and_a_drain() {
    let limits = TuningChange::new().retention(Retention::Limits);
    let Some(mut s) = setup("held", limits).await else {
        return;
    };
    publish(&s.client, numbered(20)).await;
    let builder = s.client.consumer("q", "g").mode(Mode::Exclusive);
    let mut consumer = builder.max_in_flight(10).open().await.unwrap();
    let small = s.client.replay("q").window(2, 1 << 10);
    let mut replay = small.open().await.unwrap();
    assert_eq!(soon(replay.try_next()).await.unwrap().unwrap().offset, 0);
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(next(&mut consumer).await);
    }
    s.broker.kill();
    let broken = |s: &StreamInfo, e: &Event| {
        (s.kind == StreamKind::Consumer && matches!(e, Event::Broken { .. })).then_some(())
    };
    s.event(broken).await;
    held.remove(4).ack().unwrap(); // while there is no stream
    s.broker.restart().await;
    s.resumed(StreamKind::Consumer).await;
    held.remove(0).ack().unwrap();
    s.until("g", |g| g.cursor_offset == 1 && g.next_offset >= 10)
        .await;

    s.broker.terminate();
    let drained = |s: &StreamInfo, e: &Event| {
        (s.kind == StreamKind::Consumer && matches!(e, Event::Draining { .. })).then_some(())
    };
    s.event(drained).await;
    for d in held {
        assert!(!d.is_revoked());
        d.ack().unwrap();
    }
    s.broker.restart().await;
    s.resumed(StreamKind::Consumer).await;
    // Also a settle that crosses the end of its stream counts: none comes again.
    for offset in 10..20 {
        let d = next(&mut consumer).await;
        assert_eq!((d.offset(), d.attempt()), (offset, 1));
        d.ack().unwrap();
    }
    s.until("g", |g| g.cursor_offset == 20).await;
    for offset in 1..20 {
        let r = soon(replay.try_next()).await.unwrap().unwrap();
        assert_eq!(r.offset, offset, "a replay goes on where it was");
    }
}

/// Settles that were under way when the connection broke count once, whether the broker had
/// taken them or not, and none of their records comes again.
#[tokio::test]
async fn settles_under_way_when_the_connection_breaks() {
    let limits = TuningChange::new().retention(Retention::Limits);
    let Some(mut s) = setup("under-way", limits).await else {
        return;
    };
    publish(&s.client, numbered(100)).await;
    let proxy = Proxy::start(&s.broker.address()).await;
    let (tell, events) = mpsc::unbounded_channel();
    s.events = events;
    let client = Client::builder(&proxy.address)
        .on_event(move |stream, event| drop(tell.send((stream.clone(), event.clone()))))
        .connect()
        .await
        .unwrap();
    for lost in [Side::Client, Side::Broker] {
        let group = format!("{lost:?}");
        let builder = client.consumer("q", &group).ack_linger(Duration::ZERO);
        let mut consumer = builder.open().await.unwrap();
        let mut held = Vec::new();
        for _ in 0..100 {
            held.push(next(&mut consumer).await);
        }
        proxy.lose(lost);
        let mut later = Vec::new();
        for d in held {
            match d.offset() % 10 {
                3 => d.nack(Nack::park("bad")).unwrap(),
                7 => d
                    .nack(Nack::retry_after(Duration::from_secs(60), "later"))
                    .unwrap(),
                n if n % 2 == 0 => later.push(d),
                _ => d.ack().unwrap(),
            }
        }
        match lost {
            Side::Broker => {
                s.until(&group, |g| g.in_flight == 50 && g.retrying == 10)
                    .await
            }
            Side::Client => {
                let sent = async {
                    while proxy.lost() < 200 {
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                };
                soon(sent).await;
            }
        }
        proxy.cut();
        s.resumed(StreamKind::Consumer).await;
        for d in later {
            d.ack().unwrap();
        }
        s.until(&group, |g| {
            g.in_flight == 0 && g.parked == 10 && g.retrying == 10
        })
        .await;
        let g = s.group(&group).await;
        assert_eq!((g.cursor_offset, g.lag_messages, g.redelivered), (7, 10, 0));
        soon(consumer.close()).await.unwrap();
    }
    drop(client);
    while let Ok((_, event)) = s.events.try_recv() {
        assert!(!matches!(event, Event::Revoked { .. }), "{event:?}");
    }
}
