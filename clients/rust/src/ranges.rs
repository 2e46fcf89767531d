//! Sets of offsets as ranges.

use crate::pb;

/// Offsets `first`, `first + 1`, … (`count` of them).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OffsetRange {
    /// The lowest offset.
    pub first: u64,
    /// How many.
    pub count: u64,
}

impl OffsetRange {
    /// The offset after the last.
    pub fn end(self) -> u64 {
        self.first.saturating_add(self.count)
    }
}

impl From<OffsetRange> for pb::OffsetRange {
    fn from(r: OffsetRange) -> Self {
        pb::OffsetRange {
            first_offset: r.first,
            count: r.count,
        }
    }
}

impl From<pb::OffsetRange> for OffsetRange {
    fn from(r: pb::OffsetRange) -> Self {
        OffsetRange {
            first: r.first_offset,
            count: r.count,
        }
    }
}

pub(crate) fn from_pb(ranges: &[pb::OffsetRange]) -> Vec<OffsetRange> {
    ranges.iter().map(|&r| r.into()).collect()
}

/// Ranges in order of arrival; the next offset after the last one extends it. What
/// acknowledgements are gathered in: `normalize` sorts and joins them once per write.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gathered {
    ranges: Vec<OffsetRange>,
    pub(crate) count: u64,
}

impl Gathered {
    pub(crate) fn push(&mut self, offset: u64) {
        self.count += 1;
        if let Some(last) = self.ranges.last_mut() {
            if last.end() == offset {
                last.count += 1;
                return;
            }
        }
        self.ranges.push(OffsetRange {
            first: offset,
            count: 1,
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.count = 0;
        self.ranges.clear();
    }

    /// The lowest ranges, at most so many; the others stay.
    pub(crate) fn take(&mut self, most: usize) -> Vec<OffsetRange> {
        normalize(&mut self.ranges);
        let rest = match self.ranges.len() > most {
            true => self.ranges.split_off(most),
            false => Vec::new(),
        };
        self.count = rest.iter().map(|r| r.count).sum();
        std::mem::replace(&mut self.ranges, rest)
    }

    pub(crate) fn extend(&mut self, ranges: impl IntoIterator<Item = OffsetRange>) {
        for range in ranges {
            self.count += range.count;
            match self.ranges.last_mut() {
                Some(last) if last.end() == range.first => last.count += range.count,
                _ => self.ranges.push(range),
            }
        }
    }

    /// How many ranges there are.
    pub(crate) fn ranges(&self) -> usize {
        self.ranges.len()
    }

    /// Makes as few ranges of them as there can be.
    pub(crate) fn join(&mut self) {
        normalize(&mut self.ranges);
        self.count = self.ranges.iter().map(|r| r.count).sum();
    }

    /// REQUIRES: `cut` is normalized.
    pub(crate) fn remove(&mut self, cut: &[OffsetRange]) {
        normalize(&mut self.ranges);
        self.ranges = without(&self.ranges, cut);
        self.count = self.ranges.iter().map(|r| r.count).sum();
    }

    /// In no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = OffsetRange> + '_ {
        self.ranges.iter().copied()
    }
}

pub(crate) fn normalize(ranges: &mut Vec<OffsetRange>) {
    if ranges.len() < 2 {
        return;
    }
    ranges.sort_unstable();
    let mut kept = 0;
    for i in 1..ranges.len() {
        let next = ranges[i];
        let last = &mut ranges[kept];
        if next.first <= last.end() {
            last.count = last.end().max(next.end()) - last.first;
        } else {
            kept += 1;
            ranges[kept] = next;
        }
    }
    ranges.truncate(kept + 1);
}

/// What of `ranges` is not in `cut`; both are normalized.
pub(crate) fn without(ranges: &[OffsetRange], cut: &[OffsetRange]) -> Vec<OffsetRange> {
    let mut out = Vec::with_capacity(ranges.len());
    let mut from = 0;
    let mut keep = |first: u64, end: u64| {
        if first < end {
            let count = end - first;
            out.push(OffsetRange { first, count });
        }
    };
    for r in ranges {
        from += cut[from..].partition_point(|c| c.end() <= r.first);
        let mut at = r.first;
        for c in cut[from..].iter().take_while(|c| c.first < r.end()) {
            keep(at, c.first);
            at = at.max(c.end());
        }
        keep(at, r.end());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_ranges_out() {
        let ranges = [range(0, 5), range(7, 3), range(20, 10)];
        let cut = [
            range(1, 1),
            range(4, 5),
            range(12, 3),
            range(20, 2),
            range(25, 9),
        ];
        let rest = [range(0, 1), range(2, 2), range(9, 1), range(22, 3)];
        assert_eq!(without(&ranges, &cut), rest);
        assert_eq!(without(&ranges, &[]), ranges);
        assert_eq!(without(&ranges, &[range(0, 50)]), []);
    }

    fn range(first: u64, count: u64) -> OffsetRange {
        OffsetRange { first, count }
    }

    #[test]
    fn gathers_in_any_order() {
        let mut g = Gathered::default();
        for offset in [5, 6, 7, 1, 3, 2, 8] {
            g.push(offset);
        }
        assert_eq!(g.count, 7);
        let mut some = g.clone();
        assert_eq!(some.take(1), [range(1, 3)]);
        assert_eq!((some.count, some.take(9)), (4, vec![range(5, 4)]));
        assert_eq!(g.take(9), [range(1, 3), range(5, 4)]);
        assert!(g.is_empty() && g.count == 0);
    }
}
