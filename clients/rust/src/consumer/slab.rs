//! The deliveries of one frame, as the consumer answers for them.

use std::sync::atomic::{AtomicU32, AtomicU8, Ordering};
use std::time::Instant;

use crate::wire::{DeliveryFrame, Run};

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Buffered = 0,
    Taken = 1,
    Settled = 2,
    Revoked = 3,
}

#[derive(Debug, Default)]
struct Cell {
    state: AtomicU8,
    taken_at: AtomicU32,
}

/// Changes under the core's lock, but for `claim`: so taking a delivery needs no lock.
#[derive(Debug)]
pub(crate) struct Slab {
    pub(crate) id: u64,
    runs: Vec<Run>,
    sizes: Vec<u32>,
    cells: Box<[Cell]>,
    open: AtomicU32,
}

impl Slab {
    pub(crate) fn new(id: u64, frame: &mut DeliveryFrame) -> Slab {
        let sizes = std::mem::take(&mut frame.sizes);
        Slab {
            id,
            runs: frame.runs.clone(),
            cells: sizes.iter().map(|_| Cell::default()).collect(),
            open: AtomicU32::new(sizes.len() as u32),
            sizes,
        }
    }

    pub(crate) fn state(&self, index: usize) -> State {
        match self.cells[index].state.load(Ordering::Acquire) {
            0 => State::Buffered,
            1 => State::Taken,
            2 => State::Settled,
            _ => State::Revoked,
        }
    }

    /// Hands a delivery to the application, unless it was revoked.
    #[inline]
    pub(crate) fn claim(&self, index: usize, now: u32) -> bool {
        let cell = &self.cells[index];
        cell.taken_at.store(now, Ordering::Relaxed);
        let (from, to) = (State::Buffered as u8, State::Taken as u8);
        cell.state
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// The application works on it from now on.
    pub(crate) fn touch(&self, index: usize, now: u32) {
        self.cells[index].taken_at.store(now, Ordering::Relaxed);
    }

    pub(crate) fn taken_at(&self, index: usize) -> u32 {
        self.cells[index].taken_at.load(Ordering::Relaxed)
    }

    /// Ends a delivery: its size, and whether it was the last open one.
    /// REQUIRES: it is open; the core's lock.
    pub(crate) fn end(&self, index: usize, state: State) -> (u32, bool) {
        self.cells[index]
            .state
            .store(state as u8, Ordering::Release);
        let open = self.open.load(Ordering::Relaxed) - 1; // the lock makes it one step
        self.open.store(open, Ordering::Relaxed);
        (self.sizes[index], open == 0)
    }

    /// The open deliveries: index, offset, state.
    pub(crate) fn each_open(&self, mut f: impl FnMut(usize, u64, State)) {
        let mut index = 0;
        for run in &self.runs {
            for k in 0..u64::from(run.count) {
                let state = self.state(index);
                if matches!(state, State::Buffered | State::Taken) {
                    f(index, run.first_offset + k, state);
                }
                index += 1;
            }
        }
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

    pub(crate) fn now(&self) -> u32 {
        self.now.load(Ordering::Relaxed)
    }

    pub(crate) fn active_now(&self) -> u32 {
        let now = self.now();
        self.active.store(now, Ordering::Relaxed);
        now
    }

    pub(crate) fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }
}
