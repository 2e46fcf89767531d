mod life;
mod marks;
mod vectors;

use std::collections::BTreeSet;

use prost::Message as _;

use super::*;
use crate::error::ErrorKind;
use crate::pb::consume_request::Frame as Out;
use crate::pb::consume_response::Frame as In;
use crate::stream::Next;
use crate::types::{GapReason, RevokeReason};
use crate::wire::{ConsumeEvent, RecordView};

const EPOCH: u64 = 7;

struct Test {
    core: Core,
    now: Instant,
}

fn group() -> Target {
    Target::Group {
        group: "g".into(),
        mode: None,
        start: None,
    }
}

fn reader(stop: Option<pb::stop::Position>) -> Target {
    Target::Reader {
        start: Position::Earliest.to_pb(),
        stop: stop.map(|position| pb::Stop {
            position: Some(position),
        }),
        rate: 0,
    }
}

fn ranges(list: &[(u64, u64)]) -> Vec<pb::OffsetRange> {
    let range = |&(first_offset, count)| pb::OffsetRange {
        first_offset,
        count,
    };
    list.iter().map(range).collect()
}

fn delivery(offsets: &[u64], payload: usize) -> ConsumeEvent {
    let record = pb::Record {
        payload: vec![0; payload].into(),
        ..Default::default()
    };
    let run = |&first_offset| pb::delivery::Run {
        first_offset,
        count: 1,
        attempt: 1,
        ..Default::default()
    };
    let frame = pb::ConsumeResponse {
        frame: Some(In::Delivery(pb::Delivery {
            runs: offsets.iter().map(run).collect(),
            partition: 0,
            records: vec![record; offsets.len()],
        })),
    };
    ConsumeEvent::decode(frame.encode_to_vec().into()).unwrap()
}

impl Test {
    fn new(target: Target, messages: u64, bytes: u64) -> Test {
        let now = Instant::now();
        let heart = Heart::new(Duration::from_secs(5), Duration::from_secs(15), now);
        let options = Options {
            target,
            max: Credit::new(messages, bytes),
            auto_extend: true,
            max_processing: Duration::from_secs(60),
            ack_linger: Duration::from_millis(1),
        };
        let core = Core::new("q".into(), options, heart);
        Test { core, now }
    }

    fn group(messages: u64) -> Test {
        let mut t = Test::new(group(), messages, 1 << 20);
        t.open();
        t
    }

    /// A stream begins; returns what it said.
    fn open(&mut self) -> pb::ConsumeOpen {
        self.core.begin_attempt("test".into(), self.now);
        let Some(Out::Open(open)) = self.frame() else {
            panic!("no open");
        };
        let opened = pb::ConsumeOpened {
            protocol: 1,
            epoch: EPOCH,
            tail_offset: 90,
            tuning: Some(pb::QueueTuning {
                ack_deadline_ms: Some(30_000),
                max_message_bytes: Some(1 << 10),
                ..Default::default()
            }),
            ..Default::default()
        };
        self.core.opened(opened, self.now).unwrap();
        open
    }

    /// What the writer writes at this moment.
    fn frame(&mut self) -> Option<Out> {
        match self.core.next_frame(self.core.attempt, self.now) {
            Next::Write(bytes) => {
                let request = pb::ConsumeRequest::decode(bytes.slice(5..)).unwrap();
                request.frame
            }
            _ => None,
        }
    }

    fn after(&mut self, ms: u64) -> &mut Test {
        self.now += Duration::from_millis(ms);
        self
    }

    fn receive(&mut self, frame: In) -> Result<()> {
        self.core.receive(ConsumeEvent::Other(frame), self.now)
    }

    fn deliver(&mut self, offsets: &[u64]) -> Vec<Held> {
        self.core.receive(delivery(offsets, 8), self.now).unwrap();
        self.take()
    }

    /// Takes what is ready, as an application does.
    fn take(&mut self) -> Vec<Held> {
        let mut out = Vec::new();
        while let Some(Ready { mut frame, slab }) = self.core.next_ready() {
            let slab = slab.unwrap();
            let mut index = 0;
            while let Some(record) = frame.next() {
                assert!(slab.claim(index, self.core.clock.active_now()));
                let slab = slab.clone();
                out.push(Held {
                    slab,
                    index,
                    record,
                });
                index += 1;
            }
        }
        out
    }

    fn ack(&mut self, d: &Held) {
        if !d.slab.ack(d.index, &self.core.slack) {
            self.settle(d, None);
        }
    }

    fn settle(&mut self, d: &Held, how: Option<Nack>) {
        let core = &mut self.core;
        core.settle(&d.slab, d.index, how, || self.now).unwrap();
    }

    fn in_flight(&mut self) -> (u64, u64) {
        self.core.gather(self.now);
        (self.core.in_flight.messages, self.core.in_flight.bytes)
    }
}

struct Held {
    slab: Arc<Slab>,
    index: usize,
    record: RecordView,
}

#[test]
fn grants_again_when_half_is_used() {
    let mut t = Test::group(10);
    let d = t.deliver(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(t.in_flight(), (10, 100));
    for d in &d[..4] {
        t.ack(d);
    }
    let Some(Out::Settle(s)) = t.after(1).frame() else {
        panic!("no settle");
    };
    // However little it is, it rides on the last settle.
    let grant = s.grant.unwrap();
    assert_eq!((s.ranges, grant.epoch), (ranges(&[(0, 4)]), EPOCH));
    assert_eq!(Credit::from_pb(grant.limit).messages, 14);
    t.ack(&d[4]);
    let Some(Out::Settle(s)) = t.after(1).frame() else {
        panic!("no settle");
    };
    assert_eq!(s.ranges, ranges(&[(4, 1)]));
    assert_eq!(Credit::from_pb(s.grant.unwrap().limit).messages, 15);
    assert_eq!(t.frame(), None);
    for d in &d[5..] {
        t.ack(d);
    }
    let Some(Out::Settle(s)) = t.frame() else {
        panic!("no settle");
    };
    assert_eq!(Credit::from_pb(s.grant.unwrap().limit).messages, 20);
    assert_eq!(t.in_flight(), (0, 0));
}

#[test]
fn refuses_more_than_it_granted() {
    let mut t = Test::group(2);
    t.core.receive(delivery(&[0], 8), t.now).unwrap();
    let e = t.core.receive(delivery(&[1, 2], 8), t.now).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::CreditExceeded);
    assert_eq!((e.field(), e.limit(), e.actual()), ("messages", 2, 3));

    // Exactly the limit, and one byte over. Below the largest message it would be raised.
    let mut t = Test::new(group(), 100, 2048);
    t.open();
    t.core.receive(delivery(&[0], 1000), t.now).unwrap();
    let mut same = Test::new(group(), 100, 2048);
    same.open();
    same.core.receive(delivery(&[0], 1000), same.now).unwrap();
    same.core.receive(delivery(&[1], 1042), same.now).unwrap();
    let e = t.core.receive(delivery(&[1], 1043), t.now).unwrap_err();
    assert_eq!((e.field(), e.limit(), e.actual()), ("bytes", 2048, 2049));
}

#[test]
fn makes_room_for_the_largest_message() {
    let mut t = Test::new(group(), 100, 10);
    assert_eq!(t.open().limit.unwrap().bytes, 10); // before it knows
    let Some(Out::Grant(g)) = t.frame() else {
        panic!("no grant");
    };
    assert_eq!(g.limit.unwrap().bytes, 1 << 10);
    let d = {
        t.core.receive(delivery(&[0], 1000), t.now).unwrap();
        t.take()
    };
    assert_eq!(t.open().limit.unwrap().bytes, (1 << 10) - 1003);
    t.ack(&d[0]);
    let Some(Out::Settle(s)) = t.frame() else {
        panic!("no settle");
    };
    assert_eq!(s.grant.unwrap().limit.unwrap().bytes, 1 << 10);
}

#[test]
fn settles_in_ranges() {
    let mut t = Test::group(100);
    let offsets: Vec<_> = (0..20).collect();
    let d = t.deliver(&offsets);
    for i in [5, 3, 4, 9, 0] {
        t.ack(&d[i]);
        t.ack(&d[i]); // again: nothing happens
    }
    let Next::At(when) = t.core.next_frame(t.core.attempt, t.now) else {
        panic!("did not linger");
    };
    assert_eq!(when, t.now + Duration::from_millis(1));
    t.settle(&d[10], Some(Nack::park("bad")));
    t.settle(
        &d[1],
        Some(Nack::retry_after(Duration::from_micros(1500), "x")),
    );
    t.settle(&d[11], Some(Nack::park("bad")));
    let frames: Vec<_> = std::iter::from_fn(|| t.after(1).frame()).collect();
    let settle = |list, action: pb::SettleAction, delay_ms, reason: &str| {
        Out::Settle(pb::Settle {
            ranges: ranges(list),
            action: action as i32,
            delay_ms,
            reason: reason.into(),
            ..Default::default()
        })
    };
    let mut expected = [
        settle(&[(10, 2)], pb::SettleAction::Park, 0, "bad"),
        settle(&[(1, 1)], pb::SettleAction::Retry, 2, "x"),
        settle(&[(0, 1), (3, 3), (9, 1)], pb::SettleAction::Ack, 0, ""),
    ];
    let Out::Settle(last) = &mut expected[2] else {
        unreachable!()
    };
    last.grant = Some(pb::Grant {
        epoch: EPOCH,
        limit: Some(Credit::new(108, t.core.max_bytes + 80).to_pb()),
        ..Default::default()
    });
    assert_eq!(frames, expected);
    assert_eq!(t.in_flight(), (12, 120));
}

#[test]
fn a_long_settle_is_cut_and_the_grant_rides_on_its_end() {
    let mut t = Test::group(20_000);
    let offsets: Vec<_> = (0..10_000).map(|i| 2 * i).collect();
    for d in t.deliver(&offsets) {
        t.ack(&d);
    }
    let frames: Vec<_> = std::iter::from_fn(|| t.frame()).collect();
    let settles: Vec<_> = frames[..3]
        .iter()
        .map(|f| match f {
            Out::Settle(s) => (s.ranges.len(), s.grant.is_some()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(settles, [(4096, false), (4096, false), (1808, true)]);
    // So much is unanswered that it asks whether that arrived.
    assert!(matches!(frames[3..], [Out::Ping(_)]));
}

#[test]
fn counters_are_compared() {
    let mut t = Test::group(10);
    t.deliver(&[0, 1]);
    let ping = |messages, bytes| {
        In::Ping(pb::Ping {
            id: 3,
            epoch: EPOCH,
            sent: Some(pb::Credit { messages, bytes }),
            limit_seen: None,
        })
    };
    t.receive(ping(2, 20)).unwrap();
    let Some(Out::Pong(pong)) = t.frame() else {
        panic!("no pong");
    };
    assert_eq!((pong.id, pong.epoch), (3, EPOCH));
    assert_eq!(Credit::from_pb(pong.received), Credit::new(2, 20));
    assert_eq!(Credit::from_pb(pong.limit).messages, 10);
    let e = t.receive(ping(2, 21)).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::CounterMismatch);
}

/// Whatever comes in whatever order: the broker, which delivers all that it may, never has
/// more in flight than the maximum, and at rest all of the maximum is granted.
#[test]
fn never_more_in_flight_than_the_maximum() {
    for seed in 0..200u64 {
        let mut random = seed;
        let mut below = |n: u64| {
            random = random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (random >> 33) % n
        };
        let max = 1 + below(40);
        let mut t = Test::group(max);
        let (mut next, mut sent, mut limit) = (0, 0, max);
        let mut held: Vec<Held> = Vec::new();
        let mut settled = BTreeSet::new();
        for _ in 0..300 {
            match below(10) {
                0..=3 => {
                    let n = below(1 + limit - sent);
                    let offsets: Vec<_> = (next..next + n).collect();
                    (next, sent) = (next + n, sent + n);
                    held.extend(t.deliver(&offsets));
                }
                4..=7 if !held.is_empty() => {
                    let d = held.swap_remove(below(held.len() as u64) as usize);
                    let how = (below(4) == 0).then(|| Nack::skip("x"));
                    t.settle(&d, how);
                    settled.insert(d.record.offset);
                }
                8 if below(5) == 0 => {
                    let open = t.open();
                    (sent, limit) = (0, open.limit.unwrap().messages);
                }
                _ => {
                    t.after(1);
                }
            }
            while let Some(f) = t.frame() {
                let grant = match f {
                    Out::Settle(s) => s.grant,
                    Out::Grant(g) => Some(g),
                    _ => None,
                };
                if let Some(g) = grant {
                    assert!(g.limit.unwrap().messages > limit, "seed {seed}");
                    limit = g.limit.unwrap().messages;
                }
            }
            assert_eq!(t.in_flight().0, held.len() as u64);
            assert!(held.len() as u64 + limit - sent <= max, "seed {seed}");
        }
        for d in held.drain(..) {
            t.settle(&d, None);
        }
        while let Some(f) = t.after(1).frame() {
            if let Out::Settle(pb::Settle { grant: Some(g), .. }) | Out::Grant(g) = f {
                limit = g.limit.unwrap().messages;
            }
        }
        assert_eq!(limit - sent, max, "seed {seed}");
    }
}
