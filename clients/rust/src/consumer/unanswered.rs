//! What a consumer has settled without knowing whether that reached the broker, which handles
//! a stream's frames in order: the Pong to a Ping says that every settle before that Ping was
//! taken. What a broken stream leaves here is stated as held by the next one, and settled
//! again; without that, records whose settles were on the way would be delivered again.

use super::delivery::Nack;
use crate::ranges::{self, Gathered, OffsetRange};
use crate::registry;

const MOST: usize = registry::LIMIT_MAX_UNANSWERED_SETTLE_RANGES as usize;

/// Each settle is in one of three sets. The oldest are forgotten when there are more ranges
/// than [`MOST`]; those records may come again.
#[derive(Debug, Default)]
pub(crate) struct Unanswered {
    /// Since the last Ping.
    sent: Settles,
    /// Before a Ping whose Pong has not come.
    pinged: Settles,
    /// Of earlier streams. Not to be settled again before the broker has said which of them
    /// it had settled, or given to others, meanwhile: one that comes again as a new delivery
    /// must not be settled by what became of the old one.
    again: Settles,
    /// The broker has said so.
    claimed: bool,
    /// The offset after the highest; what is delivered is usually above.
    high: u64,
}

/// Nacks of one kind.
#[derive(Debug)]
pub(super) struct Nacks {
    pub how: Nack,
    pub offsets: Gathered,
}

#[derive(Debug, Default)]
struct Settles {
    acks: Gathered,
    nacks: Vec<Nacks>,
}

impl Settles {
    fn add(&mut self, how: Option<&Nack>, ranges: &[OffsetRange]) {
        let into = match (how, self.nacks.last()) {
            (None, _) => &mut self.acks,
            (Some(how), last) => {
                if last.is_none_or(|last| last.how != *how) {
                    self.nacks.push(Nacks {
                        how: how.clone(),
                        offsets: Gathered::default(),
                    });
                }
                &mut self.nacks.last_mut().expect("pushed above").offsets
            }
        };
        into.extend(ranges.iter().copied());
    }

    /// Takes what the other has.
    fn append(&mut self, from: &mut Settles) {
        self.acks.extend(from.acks.iter());
        from.acks.clear();
        self.nacks.append(&mut from.nacks);
    }

    fn clear(&mut self) {
        self.acks.clear();
        self.nacks.clear();
    }

    fn is_empty(&self) -> bool {
        self.acks.is_empty() && self.nacks.is_empty()
    }

    fn each(&mut self, mut f: impl FnMut(&mut Gathered)) {
        f(&mut self.acks);
        self.nacks.iter_mut().for_each(|n| f(&mut n.offsets));
        self.nacks.retain(|n| !n.offsets.is_empty());
    }

    fn ranges(&self) -> impl Iterator<Item = OffsetRange> + '_ {
        let nacks = self.nacks.iter().flat_map(|n| n.offsets.iter());
        self.acks.iter().chain(nacks)
    }

    /// Drops so many ranges, the lowest acknowledgements first: those are about the oldest.
    /// Returns how many it had too few.
    fn forget(&mut self, n: usize) -> usize {
        let mut left = n - self.acks.take(n).len();
        while left > 0 && !self.nacks.is_empty() {
            left = left.saturating_sub(self.nacks.remove(0).offsets.ranges());
        }
        left
    }
}

impl Unanswered {
    /// Notes what a Settle frame says; `how` is none for an acknowledgement.
    pub(super) fn add(&mut self, how: Option<&Nack>, ranges: &[OffsetRange]) {
        self.sent.add(how, ranges);
        let high = ranges.iter().map(|r| r.end()).max();
        self.high = self.high.max(high.unwrap_or(0));
        self.trim(MOST);
    }

    /// A Ping follows all that was sent.
    pub(super) fn ping(&mut self) {
        self.pinged.append(&mut self.sent);
    }

    /// The Pong to the last Ping came.
    pub(super) fn pong(&mut self) {
        self.pinged.clear();
        self.claimed = true;
        if self.again.is_empty() && self.sent.is_empty() {
            self.high = 0;
        }
    }

    /// The broker ended the stream as the Close on it asked: it does so once it has taken
    /// everything before.
    pub(super) fn finished(&mut self) {
        self.pinged.clear();
        self.sent.clear();
    }

    /// The stream is gone.
    pub(super) fn broke(&mut self) {
        self.again.append(&mut self.pinged);
        self.again.append(&mut self.sent);
        self.again.each(Gathered::join);
        self.claimed = false;
        self.trim(MOST);
    }

    /// Forgets the oldest beyond so many ranges, and then a quarter more, so that it does not
    /// sort them for every frame.
    pub(super) fn trim(&mut self, most: usize) {
        if self.count() <= most {
            return;
        }
        let sets = [&mut self.again, &mut self.pinged, &mut self.sent];
        for set in sets {
            set.each(Gathered::join);
        }
        let mut over = self.count().saturating_sub(most * 3 / 4);
        for set in [&mut self.again, &mut self.pinged, &mut self.sent] {
            over = set.forget(over);
        }
    }

    fn count(&self) -> usize {
        let of = |s: &Settles| {
            let nacks = s.nacks.iter().map(|n| n.offsets.ranges());
            s.acks.ranges() + nacks.sum::<usize>()
        };
        of(&self.again) + of(&self.pinged) + of(&self.sent)
    }

    /// A Pong would let it settle again, or forget much.
    pub(super) fn wants_pong(&self) -> bool {
        (!self.claimed && !self.again.is_empty()) || self.count() >= MOST / 2
    }

    /// Something is to be settled again.
    pub(super) fn settles_again(&self) -> bool {
        !self.again.is_empty()
    }

    /// All that is unanswered, in no order.
    pub(super) fn ranges(&self) -> impl Iterator<Item = OffsetRange> + '_ {
        let sets = [&self.again, &self.pinged, &self.sent];
        sets.into_iter().flat_map(Settles::ranges)
    }

    /// Whether these offsets may be among what is unanswered.
    pub(super) fn may_have(&self, offset: u64) -> bool {
        offset < self.high
    }

    /// The broker has ended these settles: it delivers the records again, or says that they
    /// are not in flight. Returns which of the ranges were news, because they were not to be
    /// settled again. REQUIRES: `over` is normalized.
    pub(super) fn over(&mut self, over: &[OffsetRange]) -> Vec<OffsetRange> {
        let mut again: Vec<_> = self.again.ranges().collect();
        ranges::normalize(&mut again);
        for set in [&mut self.again, &mut self.pinged, &mut self.sent] {
            set.each(|offsets| offsets.remove(over));
        }
        ranges::without(over, &again)
    }

    /// Takes what one frame settles again.
    pub(super) fn next(&mut self, most: usize) -> Option<(Option<Nack>, Vec<OffsetRange>)> {
        if !self.claimed || self.again.is_empty() {
            return None;
        }
        let Some(first) = self.again.nacks.first_mut() else {
            return Some((None, self.again.acks.take(most)));
        };
        let taken = (Some(first.how.clone()), first.offsets.take(most));
        if first.offsets.is_empty() {
            self.again.nacks.remove(0);
        }
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(list: &[(u64, u64)]) -> Vec<OffsetRange> {
        let range = |&(first, count)| OffsetRange { first, count };
        list.iter().map(range).collect()
    }

    fn all(u: &Unanswered) -> Vec<OffsetRange> {
        let mut all = u.ranges().collect();
        ranges::normalize(&mut all);
        all
    }

    #[test]
    fn a_pong_answers_what_was_settled_before_its_ping() {
        let mut u = Unanswered::default();
        u.add(None, &ranges(&[(0, 2)]));
        u.ping();
        u.add(None, &ranges(&[(2, 2)]));
        assert_eq!(all(&u), ranges(&[(0, 4)]));
        u.pong();
        assert_eq!(all(&u), ranges(&[(2, 2)]));
        u.ping();
        u.add(None, &ranges(&[(4, 1)]));
        u.ping(); // the Pong to this one is awaited now
        u.pong();
        assert_eq!(all(&u), []);
        u.add(None, &ranges(&[(5, 1)]));
        u.finished();
        assert_eq!(all(&u), []);
    }

    #[test]
    fn settles_again_once_the_broker_has_spoken() {
        let mut u = Unanswered::default();
        let (retry, park) = (Nack::retry("x"), Nack::park("y"));
        u.add(None, &ranges(&[(0, 3)]));
        u.ping();
        u.add(Some(&retry), &ranges(&[(9, 1)]));
        u.add(Some(&park), &ranges(&[(7, 1)]));
        u.add(None, &ranges(&[(3, 2), (5, 1)]));
        u.broke();
        u.broke(); // the next stream did not open
        assert_eq!(all(&u), ranges(&[(0, 6), (7, 1), (9, 1)]));
        assert!(u.next(9).is_none() && u.wants_pong());
        // The broker had taken two of them. That is no news, in contrast to the third.
        let news = u.over(&ranges(&[(1, 1), (6, 1), (9, 1)]));
        assert_eq!(news, ranges(&[(6, 1)]));
        u.ping();
        u.pong();
        let mut got = Vec::new();
        while let Some((how, list)) = u.next(2) {
            u.add(how.as_ref(), &list);
            got.push((how, list));
        }
        let expected = [
            (Some(park), ranges(&[(7, 1)])),
            (None, ranges(&[(0, 1), (2, 4)])),
        ];
        assert_eq!(got, expected);
        assert_eq!(all(&u), ranges(&[(0, 1), (2, 4), (7, 1)]));
        u.ping();
        u.pong();
        assert!(all(&u).is_empty() && !u.wants_pong() && !u.settles_again());
    }

    #[test]
    fn forgets_the_oldest() {
        let mut u = Unanswered::default();
        for i in 0..10_000 {
            u.add(None, &ranges(&[(2 * i, 1)]));
            assert!(u.count() <= MOST);
            if i % 1000 == 0 {
                u.ping();
            }
        }
        let kept = all(&u);
        assert!(kept.len() >= MOST * 3 / 4);
        assert_eq!(kept.last().unwrap().first, 2 * 9_999);
        // Ranges that join are one, in whatever order they come.
        let mut u = Unanswered::default();
        for i in 0..20_000u64 {
            u.add(Some(&Nack::skip("")), &ranges(&[(i * 7_919 % 20_011, 1)]));
        }
        u.broke();
        assert!(u.count() <= MOST);
    }
}
