//! Streams that break, move and end, and deliveries that outlive them.

use super::*;

#[test]
fn resumes_with_what_is_held() {
    let mut t = Test::group(10);
    let d = t.deliver(&[0, 1, 2, 3, 4, 5]);
    t.core.receive(delivery(&[6, 7], 8), t.now).unwrap(); // not taken yet
    t.ack(&d[0]);
    t.settle(&d[3], Some(Nack::retry("x")));
    t.core.broken();
    t.ack(&d[1]);
    assert_eq!(t.frame(), None, "no stream");
    let open = t.open();
    let Some(pb::consume_open::Target::Group(g)) = open.target else {
        panic!("no group");
    };
    // What was settled and not sent is stated too: it is settled on the new stream.
    assert_eq!(g.held, ranges(&[(0, 8)]));
    // Held ones count against the maximum, not in the new epoch's totals.
    assert_eq!(open.limit.unwrap().messages, 10 - 5);
    let settled: Vec<_> = std::iter::from_fn(|| t.after(1).frame())
        .filter_map(|f| match f {
            Out::Settle(s) => Some(s.ranges),
            _ => None,
        })
        .collect();
    assert_eq!(settled, [ranges(&[(3, 1)]), ranges(&[(0, 2)])]);
    let late = t.take();
    assert_eq!(late.len(), 2);
    for d in [&d[2], &d[4], &d[5], &late[0], &late[1]] {
        t.ack(d);
    }
    let Some(Out::Settle(s)) = t.frame() else {
        panic!("no settle");
    };
    assert_eq!(s.grant.unwrap().limit.unwrap().messages, 10);
}

fn held(open: pb::ConsumeOpen) -> Vec<pb::OffsetRange> {
    match open.target {
        Some(pb::consume_open::Target::Group(g)) => g.held,
        other => panic!("{other:?}"),
    }
}

#[test]
fn settles_under_way_when_the_stream_breaks_are_settled_again() {
    let mut t = Test::group(10);
    let d = t.deliver(&[0, 1, 2, 3, 4, 5, 6, 7]);
    for d in &d[..4] {
        t.ack(d);
    }
    t.settle(&d[5], Some(Nack::retry("x")));
    t.settle(&d[6], Some(Nack::park("y")));
    assert_eq!(std::iter::from_fn(|| t.after(1).frame()).count(), 3);
    t.core.events.clear();
    // The next stream does not open; the one after does.
    assert_eq!(held(t.open()), ranges(&[(0, 8)]));
    let open = t.open();
    assert_eq!(open.limit.unwrap().messages, 8, "two are in hand");
    assert_eq!(held(open), ranges(&[(0, 8)]));
    // First it asks what the broker had settled: that is no news to the application.
    let Some(Out::Ping(ping)) = t.frame() else {
        panic!("no ping");
    };
    t.ack(&d[7]);
    assert!(matches!(t.after(1).frame(), Some(Out::Settle(_))));
    assert_eq!(t.frame(), None);
    let revoke = pb::Revoke {
        ranges: ranges(&[(0, 2), (5, 1)]),
        reason: RevokeReason::Stale.to_pb(),
        partition: 0,
    };
    t.receive(In::Revoke(revoke)).unwrap();
    let told = |e: &Event| matches!(e, Event::Revoked { .. });
    assert!(!t.core.events.iter().any(told));
    let pong = |id| {
        In::Pong(pb::Pong {
            id,
            epoch: EPOCH,
            ..Default::default()
        })
    };
    t.receive(pong(ping.id)).unwrap();
    let again: Vec<_> = std::iter::from_fn(|| t.frame())
        .map(|f| match f {
            Out::Settle(s) => (s.ranges, s.action, s.reason),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        (ranges(&[(6, 1)]), pb::SettleAction::Park as i32, "y".into()),
        (ranges(&[(2, 2)]), pb::SettleAction::Ack as i32, "".into()),
    ];
    assert_eq!(again, expected);
    // Nothing is stated any more once it is answered.
    t.core.heart.due = true;
    let Some(Out::Ping(ping)) = t.frame() else {
        panic!("no ping");
    };
    t.receive(pong(ping.id)).unwrap();
    assert_eq!(held(t.open()), ranges(&[(4, 1)]));
}

#[test]
fn a_new_attempt_is_not_settled_by_the_old_one() {
    let mut t = Test::group(10);
    let d = t.deliver(&[0, 1]);
    t.settle(&d[0], Some(Nack::retry("x")));
    assert!(matches!(t.frame(), Some(Out::Settle(_))));
    let again = t.deliver(&[0]);
    assert_eq!(held(t.open()), ranges(&[(0, 2)]));
    assert_eq!(t.frame(), None, "it is held, and not settled");
    t.ack(&again[0]);
    t.ack(&d[1]);
    let Some(Out::Settle(s)) = t.frame() else {
        panic!("no settle");
    };
    let ack = pb::SettleAction::Ack as i32;
    assert_eq!((s.ranges, s.action), (ranges(&[(0, 2)]), ack));
}

#[test]
fn a_close_waits_until_all_is_settled_again() {
    let mut t = Test::group(10);
    let d = t.deliver(&[0]);
    t.ack(&d[0]);
    assert!(matches!(t.frame(), Some(Out::Settle(_))));
    t.open();
    t.core.closing = Some(t.now);
    let Some(Out::Ping(ping)) = t.frame() else {
        panic!("no ping");
    };
    assert_eq!(t.frame(), None);
    t.receive(In::Pong(pb::Pong {
        id: ping.id,
        epoch: EPOCH,
        ..Default::default()
    }))
    .unwrap();
    assert!(matches!(t.frame(), Some(Out::Settle(_))));
    assert_eq!(t.frame(), Some(Out::Close(pb::Close {})));
}

#[test]
fn holds_no_more_ranges_than_may_be_stated() {
    let mut t = Test::group(20_000);
    let offsets: Vec<_> = (0..10_002).map(|i| 2 * i).collect();
    let d = t.deliver(&offsets);
    let open = t.open();
    assert_eq!(open.limit.unwrap().messages, 10_000);
    assert_eq!(d[10_000].slab.state(10_000), State::Revoked);
    assert_eq!(d[9_999].slab.state(9_999), State::Taken);
    assert_eq!(t.in_flight().0, 10_000);
}

#[test]
fn what_was_revoked_is_not_settled() {
    let mut t = Test::group(10);
    let d = t.deliver(&[0, 1, 2]);
    t.core.receive(delivery(&[3], 8), t.now).unwrap();
    t.core.events.clear();
    let revoke = pb::Revoke {
        ranges: ranges(&[(3, 5), (1, 1)]),
        reason: RevokeReason::Deadline.to_pb(),
        partition: 0,
    };
    t.receive(In::Revoke(revoke)).unwrap();
    let told = t.core.events.pop();
    let Some(Event::Revoked {
        ranges: told,
        reason,
    }) = told
    else {
        panic!("{told:?}");
    };
    assert_eq!((told.len(), reason), (2, Some(RevokeReason::Deadline)));
    assert_eq!(t.in_flight(), (2, 20));
    let Ready { slab, .. } = t.core.next_ready().unwrap();
    assert!(!slab.unwrap().claim(0, 0), "not handed out");
    // The same offset comes again: another delivery, which the old one does not settle.
    let again = t.deliver(&[1]);
    t.ack(&d[1]);
    assert_eq!(t.in_flight(), (3, 30));
    t.ack(&again[0]);
    assert_eq!(t.in_flight(), (2, 20));
    let Some(Out::Settle(s)) = t.after(1).frame() else {
        panic!("no settle");
    };
    assert_eq!(s.ranges, ranges(&[(1, 1)]));
}

#[test]
fn extends_what_is_worked_on_and_what_waits() {
    let mut t = Test::group(10);
    let first = t.deliver(&[0, 1]);
    t.core.receive(delivery(&[2], 8), t.now).unwrap();
    let mut extended = |ms| match t.after(ms).frame() {
        Some(Out::Extend(e)) => e.ranges,
        None => Vec::new(),
        other => panic!("{other:?}"),
    };
    assert_eq!(extended(14_999), []);
    assert_eq!(extended(1), ranges(&[(0, 3)]));
    assert_eq!(extended(15_000), ranges(&[(0, 3)]));
    // The application took nothing for longer than it may work on one.
    assert_eq!(extended(45_000), []);
    let core = &mut t.core;
    core.extend(&first[0].slab, 0, t.now).unwrap();
    assert_eq!(
        t.frame(),
        Some(Out::Extend(pb::Extend {
            ranges: ranges(&[(0, 1)]),
            partition: 0,
        }))
    );
    let mut extended = |ms| match t.after(ms).frame() {
        Some(Out::Extend(e)) => e.ranges,
        other => panic!("{other:?}"),
    };
    assert_eq!(extended(15_000), ranges(&[(0, 1)]), "from then on");
}

#[test]
fn a_drain_lets_settles_through_for_half_its_time() {
    let drain = pb::Drain {
        deadline_ms: 1_000,
        reconnect_after_ms: 50,
    };
    for settle in [true, false] {
        let mut t = Test::group(10);
        let d = t.deliver(&[0, 1]);
        t.receive(In::Drain(drain)).unwrap();
        t.ack(&d[0]);
        let Some(Out::Settle(s)) = t.frame() else {
            panic!("no settle");
        };
        assert_eq!(s.grant, None, "nothing more is wanted here");
        assert_eq!(t.frame(), None);
        if settle {
            t.ack(&d[1]);
            assert!(matches!(t.frame(), Some(Out::Settle(_))));
        } else {
            t.after(500);
        }
        assert_eq!(t.frame(), Some(Out::Close(pb::Close {})));
        t.core.unanswered.finished(); // the broker ended the stream without an error
        let held = match t.open().target {
            Some(pb::consume_open::Target::Group(g)) => g.held,
            other => panic!("{other:?}"),
        };
        assert_eq!(held.len(), usize::from(!settle));
    }
}

#[test]
fn closing_sends_what_is_settled() {
    let mut t = Test::group(10);
    let d = t.deliver(&[0, 1]);
    t.ack(&d[0]);
    t.core.closing = Some(t.now);
    assert!(matches!(t.frame(), Some(Out::Settle(_))));
    assert_eq!(t.frame(), Some(Out::Close(pb::Close {})));
    t.core.end(Ok(()));
    let e = t.core.settle(&d[1].slab, 1, None, || t.now).unwrap_err();
    assert_eq!((e.kind(), e.queue()), (ErrorKind::Closed, "q"));
}

#[test]
fn a_reader_goes_on_where_it_was() {
    let mut t = Test::new(reader(Some(pb::stop::Position::Tail(true))), 10, 1 << 20);
    t.open();
    t.core
        .receive(delivery(&[5, 6, 7, 8, 9], 8), t.now)
        .unwrap();
    assert_eq!(t.frame(), None);
    t.core.consumed(Credit::new(5, 50));
    assert!(matches!(t.frame(), Some(Out::Grant(_))));
    let gap = pb::Gap {
        ranges: ranges(&[(10, 4)]),
        reason: GapReason::Retention.to_pb(),
        partition: 0,
    };
    t.receive(In::Gap(gap)).unwrap();
    let open = t.open();
    let Some(pb::consume_open::Target::Reader(r)) = open.target else {
        panic!("no reader");
    };
    assert_eq!(r.start, Some(Position::Offset(14).to_pb()));
    let stop = r.stop.unwrap().position.unwrap();
    assert_eq!(
        stop,
        pb::stop::Position::Offset(90),
        "the tail of the first open"
    );
    assert_eq!(open.limit.unwrap().messages, 10);
    t.receive(In::End(pb::End::default())).unwrap();
    assert!(t.core.at_stop);
}
