use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use futures_util::task::noop_waker;
use futures_util::FutureExt;
use prost::Message as _;

use super::*;
use crate::pb::publish_request::Frame as Out;
use crate::pb::publish_response::Frame as In;
use crate::producer::Receipt;
use crate::stream::Next;

const EPOCH: u64 = 7;

struct Test {
    core: Core,
    now: Instant,
    /// Frames that the transport has not written.
    unwritten: usize,
}

fn credit(messages: u64, bytes: u64) -> Option<pb::Credit> {
    Some(pb::Credit { messages, bytes })
}

fn opened(next_sequence: u64) -> pb::PublishOpened {
    pb::PublishOpened {
        protocol: 1,
        epoch: EPOCH,
        next_sequence,
        producer_id: "p".into(),
        session: "s".into(),
        tuning: Some(pb::QueueTuning {
            max_message_bytes: Some(4 << 20),
            durability: Some(Durability::Synced.to_pb()),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn run(first_sequence: u64, count: u64, first_offset: u64) -> pb::confirm::Run {
    pb::confirm::Run {
        first_sequence,
        count,
        first_offset,
        ..Default::default()
    }
}

impl Test {
    /// A producer whose stream opened, with a grant.
    fn new(messages: u64, bytes: u64) -> Test {
        let now = Instant::now();
        let heart = Heart::new(Duration::from_secs(5), Duration::from_secs(15), now);
        let limits = Limits {
            batch_bytes: 1 << 20,
            batch_records: 10_000,
            linger: Duration::ZERO,
        };
        let core = Core::new("q".into(), String::new(), None, limits, heart);
        let mut t = Test {
            core,
            now,
            unwritten: 0,
        };
        t.begin();
        t.core.opened(opened(1), now).unwrap();
        t.grant(messages, bytes, None).unwrap();
        t
    }

    fn begin(&mut self) -> pb::PublishOpen {
        self.core.broken();
        self.core.begin_attempt("test".into(), self.now);
        match self.frame() {
            Some(Out::Open(open)) => open,
            other => panic!("{other:?}"),
        }
    }

    fn frame(&mut self) -> Option<Out> {
        let attempt = self.core.attempt;
        match self.core.next_frame(attempt, self.unwritten, self.now) {
            Next::Write(bytes) => pb::PublishRequest::decode(bytes.slice(5..)).unwrap().frame,
            _ => None,
        }
    }

    /// The next frame's first sequence and count, if it is one of records.
    fn batch(&mut self) -> Option<(u64, usize)> {
        match self.frame() {
            Some(Out::Publish(p)) => Some((p.first_sequence, p.records.len())),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    fn demand(&mut self) -> Option<pb::Demand> {
        match self.frame() {
            Some(Out::Demand(d)) => Some(d),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    fn receive(&mut self, frame: In) -> Result<()> {
        self.core.receive(frame, self.now)
    }

    fn grant(&mut self, messages: u64, bytes: u64, reason: Option<CreditReason>) -> Result<()> {
        self.receive(In::Grant(pb::Grant {
            epoch: EPOCH,
            limit: credit(messages, bytes),
            reason: reason.map_or(0, CreditReason::to_pb),
            ..Default::default()
        }))
    }

    fn confirm(&mut self, runs: &[pb::confirm::Run]) -> Result<()> {
        self.receive(In::Confirm(pb::Confirm {
            runs: runs.to_vec(),
            durability: Durability::Synced.to_pb(),
            grant: None,
        }))
    }

    /// A record of `payload + 2` bytes (below 128).
    fn try_send(&mut self, payload: usize) -> Option<Ack> {
        let m = Message::new(vec![0; payload]);
        match self.core.admit(&m, m.size(), None, || self.now) {
            Admit::Sent(ack) => Some(ack),
            Admit::Wait => None,
            Admit::Refused(e) => panic!("{e}"),
        }
    }

    fn send(&mut self, payload: usize) -> Ack {
        self.try_send(payload).expect("credit")
    }

    fn wait(&mut self, payload: usize) -> u64 {
        let mut id = None;
        let size = Message::new(vec![0; payload]).size();
        self.core.wait(&mut id, size, &noop_waker(), self.now);
        id.unwrap()
    }
}

fn offset(ack: Ack) -> u64 {
    ack.now_or_never()
        .expect("confirmed")
        .unwrap()
        .offset
        .unwrap()
}

#[test]
fn sends_within_its_credit() {
    let mut t = Test::new(3, 30);
    let acks = [t.send(8), t.send(8)];
    assert!(t.try_send(9).is_none(), "one byte over");
    assert_eq!(t.core.credit(), Credit::new(1, 10));
    let last = t.send(8);
    assert!(t.try_send(0).is_none());
    assert_eq!(t.batch(), Some((1, 3)));
    t.confirm(&[run(1, 3, 70)]).unwrap();
    assert_eq!(acks.map(offset), [70, 71]);
    assert_eq!(offset(last), 72);
    assert_eq!(t.core.unconfirmed(), 0);
    let e = t.grant(2, 30, None).unwrap_err();
    assert_eq!(
        (e.kind(), e.limit(), e.actual()),
        (ErrorKind::CreditRegressed, 3, 2)
    );
    t.core.epoch += 1;
    assert_eq!(t.grant(9, 90, None).unwrap_err().kind(), ErrorKind::Fenced);
}

#[test]
fn frames_are_small_at_rest_and_grow_under_load() {
    let mut t = Test::new(1 << 20, 1 << 30);
    for i in 1..=4 {
        drop(t.send(8));
        assert_eq!(t.batch(), Some((i, 1)));
    }
    // Four are unconfirmed: the fifth grows until a confirmation.
    drop((t.send(8), t.send(8)));
    assert_eq!(t.batch(), None);
    t.confirm(&[run(1, 1, 0)]).unwrap();
    assert_eq!(t.batch(), Some((5, 2)));
    // Or until it is worth a frame of its own, whatever the transport still holds.
    t.unwritten = 9;
    for _ in 0..127 {
        drop(t.send(1024));
    }
    assert_eq!(t.batch(), None);
    drop(t.send(1024));
    assert_eq!(t.batch(), Some((7, 128)));
    // With two writes under way nobody hurries.
    t.unwritten = 2;
    t.confirm(&[run(2, 133, 1)]).unwrap();
    drop(t.send(8));
    t.core.flush_begins();
    assert_eq!(t.batch(), None);
    t.unwritten = 1;
    assert_eq!(t.batch(), Some((135, 1)));
    // A flush does not wait for confirmations of others.
    for i in 136..145 {
        drop(t.send(8));
        assert_eq!(t.batch(), Some((i, 1)));
    }
}

#[test]
fn wakes_the_writer_for_a_batch_and_not_for_each_record() {
    #[derive(Default)]
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let mut t = Test::new(1 << 20, 1 << 30);
    let count = Arc::new(Count::default());
    let waker = Waker::from(count.clone());
    // The writer has looked, and waits.
    let looked = |t: &mut Test| {
        t.core.pen.register(&waker);
        t.batch()
    };
    let woken = || count.0.swap(0, Ordering::Relaxed);
    t.unwritten = 2;
    assert_eq!(looked(&mut t), None);
    woken();
    drop(t.send(100));
    assert_eq!((woken(), looked(&mut t)), (1, None));
    for _ in 0..1000 {
        drop(t.send(100));
    }
    assert_eq!((woken(), looked(&mut t)), (0, None), "it grows");
    for _ in 0..1000 {
        drop(t.send(100));
    }
    assert_eq!(woken(), 1, "it is worth a frame");
    assert_eq!(looked(&mut t), Some((1, 2001)));
    // A batch that is full makes place for another.
    drop(t.send(100));
    assert_eq!((woken(), looked(&mut t)), (1, None));
    for _ in 0..10_000 {
        drop(t.send(0));
    }
    assert_eq!(woken(), 1);
    assert_eq!(looked(&mut t), Some((2002, 10_000)));
    // Whoever waits for credit, or for a flush, hurries.
    looked(&mut t);
    t.core.flush_begins();
    assert_eq!(woken(), 1);
}

#[test]
fn resumes_with_what_is_unconfirmed() {
    let mut t = Test::new(100, 10_000);
    let mut acks = Vec::new();
    for _ in 0..3 {
        acks.extend([t.send(8), t.send(8), t.send(8)]);
        t.batch().unwrap();
    }
    t.confirm(&[run(1, 4, 0)]).unwrap(); // the first frame and a part of the second
    acks.push(t.send(8)); // not written
    assert_eq!(t.begin().resume_sequence, 4);
    // The broker has all to 7; nothing that is sent straddles that.
    t.core.opened(opened(8), t.now).unwrap();
    assert_eq!(t.core.credit(), Credit::default());
    assert_eq!(t.demand().unwrap().waiting, credit(7, 70));
    t.grant(5, 10_000, None).unwrap();
    assert_eq!(t.batch(), Some((4, 3)));
    assert_eq!(t.batch(), Some((7, 1)));
    assert_eq!(t.batch(), Some((8, 1)), "as much as credit allows");
    assert_eq!(t.demand().unwrap().waiting, credit(2, 20));
    t.grant(100, 10_000, None).unwrap();
    assert_eq!(t.batch(), Some((9, 1)));
    assert_eq!(t.batch(), Some((10, 1)));
    // 4 was confirmed before: it counts once.
    t.confirm(&[run(4, 2, 3)]).unwrap();
    assert_eq!(t.core.unconfirmed(), 5);
    t.confirm(&[run(6, 5, 5)]).unwrap();
    let offsets: Vec<_> = acks.into_iter().map(offset).collect();
    assert_eq!(offsets, (0..10).collect::<Vec<_>>());
    assert_eq!(t.begin().resume_sequence, 11);
}

#[test]
fn another_user_of_the_id_fences() {
    let mut t = Test::new(100, 10_000);
    drop(t.send(8));
    t.batch().unwrap();
    t.begin();
    let e = t.core.opened(opened(3), t.now).unwrap_err();
    assert_eq!((e.kind(), e.limit(), e.actual()), (ErrorKind::Fenced, 2, 3));
}

#[test]
fn forgotten_sequences_are_used_again() {
    let mut t = Test::new(100, 10_000);
    let first = t.send(8);
    t.batch().unwrap();
    t.confirm(&[run(1, 1, 0)]).unwrap();
    assert_eq!(offset(first), 0);
    let (a, b) = (t.send(8), t.send(8));
    t.batch().unwrap();
    t.begin();
    t.core.opened(opened(1), t.now).unwrap();
    t.grant(100, 10_000, None).unwrap();
    assert_eq!(t.batch(), Some((1, 2)));
    let c = t.send(8);
    assert_eq!(t.batch(), Some((3, 1)));
    t.confirm(&[run(1, 3, 5)]).unwrap();
    assert_eq!([a, b, c].map(offset), [5, 6, 7]);
}

#[test]
fn what_was_not_sent_cannot_be_confirmed() {
    let mut t = Test::new(100, 10_000);
    drop(t.send(8));
    let e = t.confirm(&[run(1, 1, 0)]).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Protocol);
    t.batch().unwrap();
    assert!(t.confirm(&[run(1, 2, 0)]).is_err());
    t.confirm(&[run(1, 1, 0)]).unwrap();
    t.confirm(&[run(1, 1, 0)]).unwrap(); // again: nothing happens
}

#[test]
fn a_refusal_and_the_end() {
    let mut t = Test::new(100, 10_000);
    let (a, b) = (t.send(8), t.send(8));
    t.batch().unwrap();
    let refuse = pb::Refuse {
        first_sequence: 1,
        count: 1,
        error: Some(pb::Error {
            kind: pb::ErrorKind::StoreFailed as i32,
            ..Default::default()
        }),
    };
    t.receive(In::Refuse(refuse)).unwrap();
    let e = a.now_or_never().unwrap().unwrap_err();
    assert_eq!((e.kind(), e.queue()), (ErrorKind::StoreFailed, "q"));
    t.core.end(Error::closed("producer"));
    assert_eq!(t.core.lost, 1);
    assert_eq!(
        b.now_or_never().unwrap().unwrap_err().kind(),
        ErrorKind::Closed
    );
}

#[test]
fn says_what_waits() {
    let mut t = Test::new(0, 0);
    assert!(t.try_send(98).is_none());
    let first = t.wait(98);
    let d = t.demand().unwrap();
    assert_eq!(
        (d.waiting, d.next_record_bytes, d.returned),
        (credit(1, 100), 100, None)
    );
    assert_eq!(t.demand(), None, "once");
    t.wait(98);
    assert_eq!(t.demand().unwrap().waiting, credit(2, 200), "twice as much");
    t.wait(98);
    assert_eq!(t.demand(), None);
    t.grant(1, 100, Some(CreditReason::WindowFull)).unwrap();
    let m = Message::new(vec![0; 98]);
    let admitted = t.core.admit(&m, m.size(), Some(first), || t.now);
    assert!(matches!(admitted, Admit::Sent(_)));
    t.core.leave(first, t.now);
    assert_eq!(t.batch(), Some((1, 1)));
    assert_eq!(
        t.demand().unwrap().waiting,
        credit(2, 200),
        "said again after a grant"
    );
    let blocked = t.core.events.iter().find_map(|e| match e {
        Event::Blocked(b) => Some(*b),
        _ => None,
    });
    assert_eq!(blocked.unwrap().reason, Some(CreditReason::WindowFull));
    t.core.leave(1, t.now);
    t.core.leave(2, t.now);
    assert!(matches!(
        t.core.events.last(),
        Some(Event::Unblocked { .. })
    ));
    assert_eq!(t.demand().unwrap().waiting, credit(0, 0));
}

#[test]
fn gives_back_what_others_wait_for() {
    let fair = Some(CreditReason::FairShare);
    let mut t = Test::new(10, 1000);
    drop(t.send(98));
    assert_eq!(t.batch(), Some((1, 1)));
    t.grant(10, 1000, fair).unwrap();
    let d = t.demand().unwrap();
    assert_eq!((d.waiting, d.returned), (credit(0, 0), credit(9, 900)));
    assert!(t.try_send(0).is_none(), "it is not this one's any more");
    assert_eq!(t.demand(), None);
    // A grant that crossed the return on the wire means the same to both.
    t.grant(12, 1200, None).unwrap();
    assert_eq!(t.core.credit(), Credit::new(2, 200));
    // What waits and fits is sent, not given back; what does not fit is.
    t.grant(12, 1200, fair).unwrap();
    let id = t.wait(98);
    assert_eq!(t.demand().unwrap().returned, credit(9, 900));
    t.core.leave(id, t.now);
    t.wait(248);
    let d = t.demand().unwrap();
    assert_eq!((d.next_record_bytes, d.returned), (251, credit(11, 1100)));
}

#[test]
fn full_means_refused_where_the_queue_says_so() {
    let mut t = Test::new(1, 100);
    t.grant(1, 100, Some(CreditReason::FullReject)).unwrap();
    drop(t.send(8)); // credit is credit
    let m = Message::new("x");
    match t.core.admit(&m, m.size(), None, || t.now) {
        Admit::Refused(e) => assert_eq!(e.kind(), ErrorKind::QueueFull),
        _ => panic!("not refused"),
    }
}

#[test]
fn a_drain_sends_what_was_taken_and_takes_no_more() {
    let mut t = Test::new(100, 10_000);
    drop(t.send(8));
    t.receive(In::Drain(pb::Drain::default())).unwrap();
    assert!(t.try_send(8).is_none());
    assert_eq!(t.batch(), Some((1, 1)));
    assert_eq!(t.frame(), Some(Out::Close(pb::Close {})));
    assert_eq!(t.frame(), None);
    assert_eq!(t.begin().resume_sequence, 1);
}

#[test]
fn a_promise_too_weak_ends_it() {
    let mut t = Test::new(1, 100);
    t.core.least = Some(Durability::Synced);
    let mut tuning = t.core.tuning;
    tuning.durability = Some(Durability::Persisted.to_pb());
    let e = t.receive(In::Tuning(pb::TuningChanged {
        revision: 2,
        tuning: Some(tuning),
    }));
    assert_eq!(e.unwrap_err().field(), "tuning.durability");
}

#[test]
fn flushes_when_all_before_is_known() {
    let mut t = Test::new(100, 10_000);
    let waker = noop_waker();
    let ack = t.send(8);
    let target = t.core.flush_begins();
    drop(t.send(8));
    assert_eq!(t.batch(), Some((1, 2)));
    assert!(t.core.flushed(target, &waker).is_none());
    t.confirm(&[run(1, 2, 0)]).unwrap();
    assert!(matches!(t.core.flushed(target, &waker), Some(Ok(()))));
    let receipt: Receipt = ack.now_or_never().unwrap().unwrap();
    assert_eq!(receipt.durability, Durability::Synced);
    assert!(!receipt.duplicate);
}
