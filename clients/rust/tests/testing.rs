//! The client against the broker of `spillway::testing`, through its faults.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use spillway::testing::{Broker, Frame};
use spillway::{
    pb, Credit, CreditReason, ErrorKind, Mode, Nack, OffsetRange, OverflowPolicy, Position,
    StreamKind, Subject, Tuning, TuningChange,
};
use tokio::time::timeout;

const SOON: Duration = Duration::from_millis(100);

async fn broker() -> Broker {
    let broker = Broker::start().await.unwrap();
    broker.create_queue("q", TuningChange::new());
    broker
}

#[tokio::test]
async fn tells_what_operators_ask() {
    let broker = broker().await;
    let client = broker.client().await.unwrap();
    let admin = client.admin();
    for name in ["orders.b", "orders.a", "other"] {
        admin.create_queue(name, TuningChange::new()).await.unwrap();
    }
    let e = admin
        .create_queue("other", TuningChange::new())
        .await
        .unwrap_err();
    assert_eq!((e.kind(), e.queue()), (ErrorKind::AlreadyExists, "other"));
    let listed = admin.list_queues("orders.").collect().await.unwrap();
    let names: Vec<_> = listed.iter().map(|q| q.name.as_str()).collect();
    assert_eq!(names, ["orders.a", "orders.b"]);
    assert_eq!(listed[0].tuning, Tuning::default());

    let wide = TuningChange::new().window_messages(5);
    let queue = admin
        .update_queue("other", Some(1), wide.clone())
        .await
        .unwrap();
    assert_eq!((queue.revision, queue.tuning.window_messages), (2, 5));
    let e = admin
        .update_queue("other", Some(1), wide)
        .await
        .unwrap_err();
    assert_eq!(
        (e.kind(), e.limit(), e.actual()),
        (ErrorKind::RevisionMismatch, 2, 1)
    );
    let small = TuningChange::new().window_bytes(1024);
    let e = admin.update_queue("other", None, small).await.unwrap_err();
    assert_eq!(
        (e.kind(), e.field()),
        (ErrorKind::InvalidArgument, "tuning.window_bytes")
    );

    let producer = client.producer("q").producer_id("me").open().await.unwrap();
    for i in 0..5 {
        producer.publish(format!("record {i}")).await.unwrap();
    }
    let peeked = admin.peek("q", Position::Last(2), 0).await.unwrap();
    assert_eq!(peeked.iter().map(|p| p.offset).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(peeked[1].payload, "record 4");
    let sessions = admin.list_sessions("q").collect().await.unwrap();
    assert_eq!(
        (sessions[0].kind, sessions[0].name.as_str()),
        (Some(StreamKind::Producer), "me")
    );
    assert_eq!(sessions[0].used.messages, 5);
    let mut watch = admin.watch("q", Duration::from_millis(100));
    for _ in 0..2 {
        let snapshot = watch.try_next().await.unwrap().unwrap();
        assert_eq!(snapshot.queues[0].stats.tail_offset, 5);
    }
    drop(watch);
    assert_eq!(admin.purge_queue_before("q", 2).await.unwrap(), 2);
    assert_eq!(admin.get_queue("q").await.unwrap().stats.head_offset, 2);
    assert_eq!(admin.purge_queue("q").await.unwrap(), 3);

    admin.close_session(producer.session()).await.unwrap();
    let e = producer.publish("late").await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Closed);
    let e = admin
        .explain(Subject::Session("none".into()))
        .await
        .unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotFound);
    admin.delete_queue("q", None).await.unwrap();
    assert_eq!(
        admin.get_queue("q").await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    // The streams end before the broker does.
    broker.close().await;
    assert_eq!(
        admin.get_queue("q").await.unwrap_err().kind(),
        ErrorKind::Unavailable
    );
}

#[tokio::test]
async fn grants_what_the_window_has() {
    let broker = Broker::start().await.unwrap();
    let small = TuningChange::new()
        .window_messages(10)
        .overflow(OverflowPolicy::Block);
    broker.create_queue("q", small);
    let client = broker.client().await.unwrap();
    let producer = client.producer("q").open().await.unwrap();
    for _ in 0..10 {
        producer.publish("x").await.unwrap();
    }
    timeout(SOON, producer.publish("x")).await.unwrap_err();
    let stalls = client.admin().explain("q").await.unwrap().stalls;
    assert_eq!(stalls[0].reason, "WINDOW_FULL");
    let mut consumer = client.consumer("q", "g").open().await.unwrap();
    let stalls = client.admin().explain("q").await.unwrap().stalls;
    assert!(stalls.iter().all(|s| s.subject != "group g"), "{stalls:?}");
    consumer.try_next().await.unwrap().unwrap().ack().unwrap();
    assert_eq!(producer.publish("x").await.unwrap(), 10);

    broker.withhold_credit("q", Some(CreditReason::OperatorLimit));
    while consumer.in_flight().messages > 0 {
        consumer.try_next().await.unwrap().unwrap().ack().unwrap();
    }
    let waiting = producer.publish("x");
    tokio::pin!(waiting);
    timeout(SOON, &mut waiting).await.unwrap_err();
    let blocked = producer.blocked().unwrap();
    assert_eq!(blocked.reason, Some(CreditReason::OperatorLimit));
    broker.resume_credit("q");
    assert_eq!(waiting.await.unwrap(), 11);

    broker.create_queue("exact", TuningChange::new());
    broker.grant_exactly("exact", Credit::new(2, 1 << 20));
    let exact = client.producer("exact").open().await.unwrap();
    assert_eq!(exact.credit().messages, 2);
}

#[tokio::test]
async fn confirms_once_whatever_breaks() {
    let broker = broker().await;
    let client = broker.client().await.unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let first_sequences = seen.clone();
    broker.tap(move |_, frame| {
        if let Frame::Publish(pb::PublishRequest {
            frame: Some(pb::publish_request::Frame::Publish(batch)),
        }) = frame
        {
            first_sequences.lock().unwrap().push(batch.first_sequence);
        }
    });
    let producer = client.producer("q").open().await.unwrap();
    broker.break_after_next("q", 1);
    let receipt = producer
        .send("kept, and sent again")
        .await
        .unwrap()
        .await
        .unwrap();
    assert_eq!((receipt.offset, receipt.duplicate), (Some(0), true));
    assert_eq!(*seen.lock().unwrap(), [1, 1]);

    let refused = pb::Error {
        kind: pb::ErrorKind::StoreFailed as i32,
        ..Default::default()
    };
    broker.refuse_next("q", 1, refused);
    let e = producer.publish("refused").await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::StoreFailed);

    broker.hold_confirms("q", true);
    let held = producer.send("held").await.unwrap();
    tokio::pin!(held);
    timeout(SOON, &mut held).await.unwrap_err();
    broker.break_streams("q");
    broker.hold_confirms("q", false);
    assert_eq!(held.await.unwrap().offset, Some(1));

    let session = producer.session();
    broker.drain(Duration::from_secs(1), Duration::ZERO);
    while producer.session() == session {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(producer.publish("after the move").await.unwrap(), 2);
    broker.end_streams(
        "q",
        pb::Error {
            kind: pb::ErrorKind::Closed as i32,
            ..Default::default()
        },
    );
    let e = producer.publish("late").await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn groups_retry_park_and_release() {
    let broker = Broker::start().await.unwrap();
    let twice = TuningChange::new()
        .max_attempts(2)
        .backoff_initial(Duration::from_millis(1));
    broker.create_queue("q", twice);
    let client = broker.client().await.unwrap();
    let producer = client.producer("q").open().await.unwrap();
    for _ in 0..3 {
        producer.publish("x").await.unwrap();
    }
    let mut consumer = client
        .consumer("q", "g")
        .mode(Mode::Exclusive)
        .open()
        .await
        .unwrap();
    let e = client.consumer("q", "g").open().await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Exclusive);
    let mut next = async || consumer.try_next().await.unwrap().unwrap();

    next().await.nack(Nack::retry("first")).unwrap();
    next().await.nack(Nack::park("aside")).unwrap();
    let third = next().await;
    let again = next().await;
    assert_eq!((again.offset(), again.attempt()), (0, 2));
    again.nack(Nack::retry("second")).unwrap();
    let admin = client.admin();
    let parked = loop {
        let parked = admin.list_parked("q", "g", 0).collect().await.unwrap();
        if parked.len() == 2 {
            break parked;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let parked: Vec<_> = parked
        .iter()
        .map(|p| (p.offset, p.attempts, p.reason.as_str()))
        .collect();
    assert_eq!(parked, [(0, 2, "second"), (1, 1, "aside")]);

    assert_eq!(admin.release_parked_ranges("q", "g", &[]).await.unwrap(), 0);
    let one = OffsetRange { first: 1, count: 1 };
    assert_eq!(
        admin.release_parked_ranges("q", "g", &[one]).await.unwrap(),
        1
    );
    let released = next().await;
    assert_eq!((released.offset(), released.attempt()), (1, 1));
    released.ack().unwrap();
    assert_eq!(admin.release_parked("q", "g").await.unwrap(), 1);
    next().await.ack().unwrap();

    broker.revoke("q", "g", OffsetRange { first: 2, count: 1 });
    timeout(Duration::from_secs(5), third.revoked())
        .await
        .unwrap();
    let again = next().await;
    assert_eq!((again.offset(), again.attempt()), (2, 2));
    again.ack().unwrap();
    let group = admin.seek("q", "g", Position::Offset(1)).await.unwrap();
    assert_eq!(group.cursor_offset, 1);
    let sought = next().await;
    assert_eq!((sought.offset(), sought.attempt()), (1, 1));
    sought.ack().unwrap();
    let groups = admin.list_groups("q").await.unwrap();
    assert_eq!((groups.len(), groups[0].members), (1, 1));
    admin.delete_group("q", "g").await.unwrap();
    let ended = loop {
        match consumer.try_next().await {
            Ok(Some(d)) => d.ack().unwrap(),
            Ok(None) => panic!("ended without its error"),
            Err(e) => break e,
        }
    };
    assert_eq!(ended.kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn held_deliveries_survive_a_break() {
    let broker = broker().await;
    let client = broker.client().await.unwrap();
    let producer = client.producer("q").open().await.unwrap();
    for _ in 0..4 {
        producer.publish("x").await.unwrap();
    }
    let mut consumer = client
        .consumer("q", "g")
        .max_in_flight(2)
        .open()
        .await
        .unwrap();
    let first = consumer.try_next().await.unwrap().unwrap();
    let session = consumer.session();
    broker.break_streams("q");
    while consumer.session() == session {
        // What is acknowledged on a stream that breaks may be delivered again.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut offsets = vec![first.offset()];
    first.ack().unwrap();
    while offsets.len() < 4 {
        let d = timeout(Duration::from_secs(5), consumer.try_next())
            .await
            .unwrap();
        let d = d.unwrap().unwrap();
        assert_eq!(d.attempt(), 1, "offset {}", d.offset());
        offsets.push(d.offset());
        d.ack().unwrap();
    }
    assert_eq!(offsets, [0, 1, 2, 3]);
    consumer.close().await.unwrap();
    let group = &client.admin().list_groups("q").await.unwrap()[0];
    assert_eq!((group.cursor_offset, group.members), (4, 0));
}

#[tokio::test]
async fn replays_and_tells_of_gaps() {
    let broker = broker().await;
    let client = broker.client().await.unwrap();
    let producer = client.producer("q").open().await.unwrap();
    for i in 0..2_500 {
        drop(producer.send(format!("{i}")).await.unwrap());
    }
    producer.publish("last").await.unwrap();
    let e = client
        .replay("q")
        .from_offset(9_999)
        .open()
        .await
        .unwrap_err();
    assert_eq!((e.kind(), e.tail_offset()), (ErrorKind::OutOfRange, 2_501));

    let mut replay = client
        .replay("q")
        .from_offset(1)
        .until_tail()
        .open()
        .await
        .unwrap();
    let mut count = 0;
    while let Some(record) = replay.try_next().await.unwrap() {
        count += 1;
        assert_eq!(record.offset, count);
        if count == 1_200 {
            broker.break_streams("q");
        }
    }
    assert_eq!(count, 2_500);

    broker.drop_records("q", 2_499);
    let mut replay = client.replay("q").until_offset(2_501).open().await.unwrap();
    assert_eq!(replay.start_offset(), 2_499);
    assert_eq!(replay.try_next().await.unwrap().unwrap().payload, "2499");
    assert_eq!(replay.try_next().await.unwrap().unwrap().payload, "last");
    assert_eq!(replay.try_next().await.unwrap(), None);
}

#[tokio::test]
async fn refuses_and_falls_silent() {
    let broker = Broker::builder()
        .heartbeat(Duration::from_millis(20), Duration::from_millis(60))
        .max_batch(1 << 20, 10)
        .start()
        .await
        .unwrap();
    broker.create_queue("q", TuningChange::new());
    broker.unavailable(true);
    let client = spillway::Client::builder(broker.address())
        .connect_timeout(Duration::from_millis(50))
        .connect()
        .await
        .unwrap();
    let e = client.producer("q").open().await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unavailable);
    broker.unavailable(false);
    let producer = client.producer("q").open().await.unwrap();
    let session = producer.session();
    broker.silence(true);
    let sent = producer.send("in silence").await.unwrap();
    tokio::time::sleep(Duration::from_millis(150)).await;
    broker.silence(false);
    assert_eq!(
        timeout(Duration::from_secs(10), sent)
            .await
            .unwrap()
            .unwrap()
            .offset,
        Some(0)
    );
    assert_ne!(producer.session(), session, "it was opened again");

    broker.wrong_counters(true);
    let e = loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if let Err(e) = producer.publish("x").await {
            break e;
        }
        if producer.unconfirmed() > 1_000 {
            panic!("nobody noticed");
        }
    };
    assert_eq!(e.kind(), ErrorKind::CounterMismatch);
}
