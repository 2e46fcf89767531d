//! Acknowledgements by a mark, without the core's lock.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

use futures_util::task::{waker, ArcWake};

use super::*;

#[derive(Default)]
struct Woken(AtomicUsize);

impl ArcWake for Woken {
    fn wake_by_ref(this: &Arc<Self>) {
        this.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Test {
    /// Acknowledges by a mark if that is enough.
    fn mark(&mut self, d: &Held) -> bool {
        d.slab.ack(d.index, &self.core.slack)
    }
}

#[test]
fn the_first_wakes_the_writer_and_further_ones_wait_for_it() {
    let mut t = Test::group(800);
    let d = t.deliver(&(0..200).collect::<Vec<_>>());
    let woken = Arc::new(Woken::default());
    let count = |t: &Test| {
        t.core.pen.register(&waker(woken.clone()));
        woken.0.swap(0, Ordering::SeqCst)
    };
    count(&t);
    assert!(!t.mark(&d[0]), "nobody is about to come");
    t.settle(&d[0], None);
    assert_eq!(count(&t), 1);
    // An eighth of what may be in flight is urgent.
    for d in &d[1..99] {
        assert!(t.mark(d), "{}", d.index);
    }
    assert_eq!(count(&t), 0);
    assert!(!t.mark(&d[99]));
    t.settle(&d[99], None);
    assert_eq!(count(&t), 1);
    assert!(t.mark(&d[100]), "it is woken already");
    assert!(matches!(t.frame(), Some(Out::Settle(s)) if s.ranges == ranges(&[(0, 101)])));
    // It has gone: the next has to wake it.
    assert!(!t.mark(&d[101]));
    t.settle(&d[101], None);
    assert_eq!(count(&t), 1);
    assert_eq!(t.in_flight(), (98, 980));
}

#[test]
fn what_comes_in_is_looked_at_with_what_was_marked() {
    let mut t = Test::group(100);
    let d = t.deliver(&[0, 1, 2, 3, 4, 5, 6, 7]);
    t.settle(&d[0], None);
    assert!(t.mark(&d[2]) && t.mark(&d[1]));
    assert!(t.mark(&d[1]), "again: nothing happens");
    // Settled, and not to be revoked.
    let revoke = pb::Revoke {
        ranges: ranges(&[(1, 1), (5, 1)]),
        ..Default::default()
    };
    t.receive(In::Revoke(revoke)).unwrap();
    assert_eq!(d[1].slab.state(1), State::Settled);
    assert_eq!(d[5].slab.state(5), State::Revoked);
    assert!(!t.mark(&d[3]), "what is urgent may have changed");
    t.settle(&d[3], None);
    assert!(t.mark(&d[5]), "revoked: nothing happens");
    assert_eq!(t.in_flight(), (3, 30));
    // What is marked is stated as held, and settled on the next stream.
    t.settle(&d[6], None);
    assert!(t.mark(&d[4]));
    t.core.broken();
    let Some(pb::consume_open::Target::Group(g)) = t.open().target else {
        panic!("no group");
    };
    assert_eq!(g.held, ranges(&[(0, 5), (6, 2)]));
    let settled = t.after(1).frame();
    assert!(matches!(settled, Some(Out::Settle(s)) if s.ranges == ranges(&[(0, 5), (6, 1)])));
    // The end counts what was marked and not sent, and takes nothing more.
    let d = t.deliver(&[10, 11, 12]);
    t.settle(&d[0], None);
    assert!(t.mark(&d[1]));
    t.core.end(Ok(()));
    assert_eq!(t.core.unsent(), 2);
    assert!(!t.mark(&d[2]));
    let e = t.core.settle(&d[2].slab, 2, None, || t.now).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Closed);
}

#[test]
fn large_records_leave_little_slack() {
    let mut t = Test::new(group(), 1_000_000, 16_000);
    t.open();
    t.core.receive(delivery(&[0, 1, 2, 3], 990), t.now).unwrap();
    let d = t.take();
    // A 16th of the bytes would be worth a grant if the largest message did not fit; it does,
    // so it is a half.
    t.settle(&d[0], None);
    assert!(t.mark(&d[1]) && t.mark(&d[2]));
    assert!(!t.mark(&d[3]), "nothing is left to settle");
}

/// Many threads acknowledge while the writer comes again and again: each is settled once.
#[test]
fn none_is_lost_between_threads() {
    const EACH: usize = 2_000;
    const THREADS: usize = 4;
    let mut t = Test::new(group(), 100_000, 1 << 30);
    t.open();
    let all: Vec<u64> = (0..(EACH * THREADS) as u64).collect();
    let mut held: Vec<Vec<Held>> = (0..THREADS).map(|_| Vec::new()).collect();
    for some in all.chunks(500) {
        for (i, d) in t.deliver(some).into_iter().enumerate() {
            held[i % THREADS].push(d);
        }
    }
    let slack = t.core.slack.clone();
    let t = Mutex::new(t);
    let mut settled = BTreeSet::new();
    std::thread::scope(|scope| {
        for held in &held {
            let (t, slack) = (&t, &slack);
            scope.spawn(move || {
                for d in held {
                    if !d.slab.ack(d.index, slack) {
                        t.lock().unwrap().settle(d, None);
                    }
                }
            });
        }
        // By the linger's timer alone, as long as anything is settled: nothing is left behind.
        while settled.len() < all.len() {
            let frame = t.lock().unwrap().after(1).frame();
            if let Some(Out::Settle(s)) = frame {
                for r in s.ranges {
                    for offset in r.first_offset..r.first_offset + r.count {
                        assert!(settled.insert(offset), "{offset} twice");
                    }
                }
            }
            std::thread::yield_now();
        }
    });
    let mut t = t.into_inner().unwrap();
    assert_eq!(t.in_flight(), (0, 0));
    assert!(t.core.slabs.is_empty());
}
