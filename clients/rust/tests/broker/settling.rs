//! What becomes of deliveries.

use std::collections::BTreeMap;

use super::*;

#[tokio::test]
async fn settling() {
    let tuning = TuningChange::new()
        .max_attempts(2)
        .backoff_initial(Duration::from_millis(10))
        .ack_deadline(Duration::from_millis(400));
    let Some(mut s) = setup("settling", tuning).await else {
        return;
    };
    publish(&s.client, numbered(7)).await;
    let builder = s
        .client
        .consumer("q", "g")
        .max_processing(Duration::from_millis(1));
    let mut consumer = builder.open().await.unwrap();
    let mut attempts: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    let mut late = None;
    for _ in 0..10 {
        let d = next(&mut consumer).await;
        attempts.entry(d.offset()).or_default().push(d.attempt());
        let how = match (d.offset(), d.attempt()) {
            (0, 1) => Nack::retry_after(Duration::from_millis(30), "later"),
            (0, _) => Nack::retry("again"),
            (1, _) => Nack::park("aside"),
            (2, _) => Nack::skip(""),
            (3, 1) => {
                late = Some(d);
                continue;
            }
            (4, 1) => {
                drop(d);
                continue;
            }
            _ => {
                d.ack().unwrap();
                continue;
            }
        };
        d.nack(how).unwrap();
    }
    // 3 came again after its deadline.
    let late = late.unwrap();
    soon(late.revoked()).await;
    assert!(late.is_revoked());
    late.ack().unwrap(); // nothing happens
    let deadline = s.event(|_, e| match e {
        Event::Revoked { ranges, reason } => Some((ranges.clone(), *reason)),
        _ => None,
    });
    let range = OffsetRange { first: 3, count: 1 };
    assert_eq!(deadline.await, (vec![range], Some(RevokeReason::Deadline)));
    s.until("g", |g| g.parked == 2).await;
    let parked = s
        .client
        .admin()
        .list_parked("q", "g", 0)
        .collect()
        .await
        .unwrap();
    let parked: Vec<_> = parked.into_iter().map(|p| (p.offset, p.reason)).collect();
    assert_eq!(parked, [(0, "again".to_owned()), (1, "aside".to_owned())]);
    assert_eq!(attempts[&0], [1, 2]);
    assert_eq!(attempts[&2], [1]);
    assert_eq!(attempts[&3], [1, 2]);
    assert_eq!(attempts[&4], [1, 2], "dropped, it is delivered again");
    assert_eq!(s.client.admin().release_parked("q", "g").await.unwrap(), 2);
    for _ in 0..2 {
        let d = next(&mut consumer).await;
        assert_eq!(d.attempt(), 1);
        d.ack().unwrap();
    }
    s.until("g", |g| g.cursor_offset == 7 && g.parked == 0)
        .await;
}

#[tokio::test]
async fn extends_what_is_worked_on() {
    let tuning = TuningChange::new()
        .retention(Retention::Limits)
        .ack_deadline(Duration::from_millis(200));
    let Some(s) = setup("extends", tuning).await else {
        return;
    };
    publish(&s.client, numbered(2)).await;
    let mut consumer = s.client.consumer("q", "g").open().await.unwrap();
    let d = next(&mut consumer).await;
    // Time is the subject here.
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert!(!d.is_revoked());
    d.ack().unwrap();
    let d = next(&mut consumer).await;
    assert_eq!(
        (d.offset(), d.attempt()),
        (1, 1),
        "the one that waited was extended too"
    );
    d.ack().unwrap();
    s.until("g", |g| g.cursor_offset == 2).await;
    drop(consumer);
    let builder = s.client.consumer("q", "by-hand").auto_extend(false);
    let mut consumer = builder.open().await.unwrap();
    let (first, second) = (next(&mut consumer).await, next(&mut consumer).await);
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        first.extend().unwrap();
    }
    soon(second.revoked()).await;
    assert!(!first.is_revoked());
}

#[tokio::test]
async fn handlers_run_side_by_side() {
    let tuning = TuningChange::new()
        .retention(Retention::Limits)
        .backoff_initial(Duration::from_millis(5));
    let Some(s) = setup("handlers", tuning).await else {
        return;
    };
    publish(&s.client, numbered(200)).await;
    for concurrency in [1, 8] {
        let group = format!("g{concurrency}");
        let builder = s.client.consumer("q", &group).concurrency(concurrency);
        let mut consumer = builder.open().await.unwrap();
        let (done, mut all) = (mpsc::unbounded_channel::<()>(), 0);
        let (tell, mut told) = done;
        let running = Arc::new(Mutex::new((0, 0)));
        let stop = async {
            while all < 199 {
                told.recv().await;
                all += 1;
            }
        };
        let handler = |d: Delivery| {
            let (tell, running) = (tell.clone(), running.clone());
            async move {
                {
                    let mut r = running.lock().unwrap();
                    r.0 += 1;
                    r.1 = r.1.max(r.0);
                }
                tokio::task::yield_now().await;
                running.lock().unwrap().0 -= 1;
                let n: u64 = std::str::from_utf8(d.payload())?.parse()?;
                assert_eq!(n, d.offset());
                match (n, d.attempt()) {
                    (3, 1) => return Err(Nack::retry("once more")),
                    (4, _) => return Err(Nack::park("aside")),
                    (5, 1) => return Err("any error is a retry".into()),
                    (6, _) => d.ack()?,
                    _ => {}
                }
                let _ = tell.send(());
                Ok(())
            }
        };
        soon(consumer.run_until(stop, handler)).await.unwrap();
        assert_eq!(running.lock().unwrap().1, concurrency);
        s.until(&group, |g| {
            g.parked == 1 && g.in_flight == 0 && g.retrying == 0
        })
        .await;
        soon(consumer.close()).await.unwrap();
    }
}

#[tokio::test]
async fn gaps_are_told() {
    let tuning = TuningChange::new()
        .window_messages(10)
        .overflow(OverflowPolicy::DropOldest)
        .durability(Durability::Memory);
    let Some(mut s) = setup("gaps", tuning).await else {
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
    soon(producer.publish("0")).await.unwrap();
    let first = next(&mut consumer).await;
    for i in 1..50 {
        soon(producer.publish(i.to_string())).await.unwrap();
    }
    let (ranges, reason) = s
        .event(|_, e| match e {
            Event::Gap { ranges, reason } => Some((ranges.clone(), *reason)),
            _ => None,
        })
        .await;
    assert_eq!(reason, Some(GapReason::Dropped));
    assert!(!ranges.is_empty());
    first.ack().unwrap();
    let d = next(&mut consumer).await;
    assert!(d.offset() > 1);
    d.ack().unwrap();
}
