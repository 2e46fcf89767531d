//! The deliveries of one frame, as the consumer answers for them.
//!
//! The application takes and acknowledges them without the core's lock: it leaves a mark, which
//! the core gathers with many others when it next has the lock. [`Slack`] bounds how many.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU8, Ordering};
use std::time::Instant;

use crate::wire::{DeliveryFrame, Run};

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Buffered,
    Taken,
    Settled,
    Revoked,
}

const OPEN: u8 = 0;
const SETTLED: u8 = 1;
const REVOKED: u8 = 2;

#[derive(Debug, Default)]
struct Cell {
    /// What the core has made of it; changes under its lock.
    ended: AtomicU8,
    /// The application's mark; the core may not have seen it.
    acked: AtomicBool,
    /// A millisecond later than when the application took it; 0 before.
    taken_at: AtomicU32,
}

/// Offsets, and the index of the first.
#[derive(Debug)]
struct Part {
    index: usize,
    run: Run,
}

#[derive(Debug)]
pub(crate) struct Slab {
    pub(crate) id: u64,
    parts: Vec<Part>,
    sizes: Vec<u32>,
    cells: Box<[Cell]>,
    /// There are marks that the core has not gathered.
    marked: AtomicBool,
    // Both change under the core's lock: how many are open, and an index below which none is.
    open: AtomicU32,
    first: AtomicU32,
}

impl Slab {
    pub(crate) fn new(id: u64, frame: &mut DeliveryFrame) -> Slab {
        let sizes = std::mem::take(&mut frame.sizes);
        let mut index = 0;
        let part = |run: &Run| {
            let part = Part { index, run: *run };
            index += run.count as usize;
            part
        };
        Slab {
            id,
            parts: frame.runs.iter().map(part).collect(),
            cells: sizes.iter().map(|_| Cell::default()).collect(),
            marked: AtomicBool::new(false),
            open: AtomicU32::new(sizes.len() as u32),
            first: AtomicU32::new(0),
            sizes,
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.cells.len()
    }

    /// The offset of a delivery, and those that it was appended with.
    pub(crate) fn place(&self, index: usize) -> (u64, &Run) {
        let i = self.parts.partition_point(|p| p.index <= index) - 1;
        let Part { index: first, run } = &self.parts[i];
        (run.first_offset + (index - first) as u64, run)
    }

    pub(crate) fn size(&self, index: usize) -> u32 {
        self.sizes[index]
    }

    /// The cost of the largest of them.
    pub(crate) fn largest(&self) -> u32 {
        self.sizes.iter().copied().max().unwrap_or(0)
    }

    /// As the application sees it.
    pub(crate) fn state(&self, index: usize) -> State {
        let cell = &self.cells[index];
        match cell.ended.load(Ordering::Acquire) {
            OPEN if cell.acked.load(Ordering::Acquire) => State::Settled,
            OPEN if cell.taken_at.load(Ordering::Relaxed) == 0 => State::Buffered,
            OPEN => State::Taken,
            SETTLED => State::Settled,
            _ => State::Revoked,
        }
    }

    /// As the core sees it: what is marked and not gathered is open.
    pub(crate) fn is_open(&self, index: usize) -> bool {
        self.cells[index].ended.load(Ordering::Acquire) == OPEN
    }

    /// Hands a delivery to the application, unless it was revoked.
    #[inline]
    pub(crate) fn claim(&self, index: usize, now: u32) -> bool {
        let cell = &self.cells[index];
        cell.taken_at
            .store(now.saturating_add(1), Ordering::Relaxed);
        cell.ended.load(Ordering::Acquire) == OPEN
    }

    /// Acknowledges a delivery by a mark; if there was no slack, the core has to be told.
    #[inline]
    pub(crate) fn ack(&self, index: usize, slack: &Slack) -> bool {
        if !slack.any() {
            return false;
        }
        self.cells[index].acked.store(true, Ordering::Release);
        // Each time, though it may be set already: the core may be clearing it right now.
        self.marked.store(true, Ordering::Release);
        slack.take() // last: whoever closes the slack then sees the mark
    }

    /// The application works on it from now on.
    pub(crate) fn touch(&self, index: usize, now: u32) {
        let taken_at = now.saturating_add(1);
        self.cells[index]
            .taken_at
            .store(taken_at, Ordering::Relaxed);
    }

    pub(crate) fn taken_at(&self, index: usize) -> u32 {
        let taken_at = self.cells[index].taken_at.load(Ordering::Relaxed);
        taken_at.saturating_sub(1)
    }

    /// Ends a delivery: its size, and whether it was the last open one.
    /// REQUIRES: it is open; the core's lock.
    pub(crate) fn end(&self, index: usize, state: State) -> (u32, bool) {
        let ended = match state {
            State::Revoked => REVOKED,
            _ => SETTLED,
        };
        self.cells[index].ended.store(ended, Ordering::Release);
        let open = self.open.load(Ordering::Relaxed) - 1; // the lock makes it one step
        self.open.store(open, Ordering::Relaxed);
        (self.sizes[index], open == 0)
    }

    /// Ends what is marked, and tells `f` the offset and the size of each. Returns whether
    /// none is open any more. REQUIRES: the core's lock.
    pub(crate) fn gather(&self, mut f: impl FnMut(u64, u32)) -> bool {
        if !self.marked.swap(false, Ordering::AcqRel) {
            return false;
        }
        let first = self.first.load(Ordering::Relaxed) as usize;
        let (mut open, mut lowest) = (self.open.load(Ordering::Relaxed), None);
        let skipped = self.parts.partition_point(|p| p.index <= first);
        'parts: for part in &self.parts[skipped.saturating_sub(1)..] {
            let end = part.index + part.run.count as usize;
            for index in first.max(part.index)..end {
                let cell = &self.cells[index];
                if cell.ended.load(Ordering::Relaxed) != OPEN {
                    continue;
                }
                if cell.acked.load(Ordering::Relaxed) {
                    cell.ended.store(SETTLED, Ordering::Release);
                    open -= 1;
                    let offset = part.run.first_offset + (index - part.index) as u64;
                    f(offset, self.sizes[index]);
                    continue;
                }
                lowest.get_or_insert(index);
                // They are taken in order: none beyond is marked.
                if cell.taken_at.load(Ordering::Relaxed) == 0 {
                    break 'parts;
                }
            }
        }
        let lowest = lowest.unwrap_or(self.cells.len());
        self.first.store(lowest as u32, Ordering::Relaxed);
        self.open.store(open, Ordering::Relaxed);
        open == 0
    }

    /// The deliveries that are open as the core sees it: index, offset, whether the
    /// application has taken it.
    pub(crate) fn each_open(&self, mut f: impl FnMut(usize, u64, bool)) {
        for part in &self.parts {
            for k in 0..part.run.count as usize {
                let index = part.index + k;
                if self.is_open(index) {
                    let taken = self.cells[index].taken_at.load(Ordering::Relaxed) != 0;
                    f(index, part.run.first_offset + k as u64, taken);
                }
            }
        }
    }
}

/// How many deliveries the application may acknowledge by a mark alone. It is none, unless
/// the writer is about to come, or has set a timer to: so no mark stays for longer than an
/// acknowledgement may linger, and the core changes its mind by taking the slack away first
/// and looking at the marks then.
#[derive(Debug, Default)]
pub(crate) struct Slack(AtomicI64);

impl Slack {
    #[inline]
    fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    #[inline]
    fn take(&self) -> bool {
        self.0.fetch_sub(1, Ordering::AcqRel) > 0
    }

    /// REQUIRES: the core's lock, as for `close`.
    pub(crate) fn give(&self, n: i64) {
        self.0.store(n, Ordering::Release);
    }

    /// Leaves none; returns what was left. The marks of whoever took one are visible then.
    pub(crate) fn close(&self) -> i64 {
        self.0.swap(0, Ordering::AcqRel)
    }
}

/// Milliseconds since the consumer was made; coarse, so that taking a delivery reads no
/// clock.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    now: AtomicU32,
    /// When the application last took or settled anything.
    active: AtomicU32,
}

impl Clock {
    pub(crate) fn new(start: Instant) -> Clock {
        Clock {
            start,
            now: AtomicU32::new(0),
            active: AtomicU32::new(0),
        }
    }

    pub(crate) fn tick(&self, now: Instant) -> u32 {
        let ms = now.saturating_duration_since(self.start).as_millis() as u32;
        self.now.store(ms, Ordering::Relaxed);
        ms
    }

    #[inline]
    pub(crate) fn now(&self) -> u32 {
        self.now.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn active_now(&self) -> u32 {
        let now = self.now();
        self.active.store(now, Ordering::Relaxed);
        now
    }

    pub(crate) fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }
}
