//! One completion for a batch, shared by the acks of its records.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};

use crate::error::{Error, ErrorKind, Result};
use crate::types::Durability;

/// A record is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// Where; `None` if the record had been accepted so long ago that the broker does not
    /// know any more.
    pub offset: Option<u64>,
    /// What the confirmation means.
    pub durability: Durability,
    /// The record had been accepted before, on an earlier stream.
    pub duplicate: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Kept {
        first_offset: Option<u64>,
        durability: Durability,
        duplicate: bool,
    },
    Failed(Error),
}

#[derive(Debug)]
struct Piece {
    first: u64,
    count: u64,
    outcome: Outcome,
}

impl Piece {
    #[inline]
    fn has(&self, sequence: u64) -> bool {
        (self.first..self.first + self.count).contains(&sequence)
    }

    #[inline]
    fn result(&self, sequence: u64) -> Result<Receipt> {
        match &self.outcome {
            Outcome::Failed(e) => Err(e.clone()),
            &Outcome::Kept {
                first_offset,
                durability,
                duplicate,
            } => Ok(Receipt {
                offset: first_offset.map(|o| o + (sequence - self.first)),
                durability,
                duplicate,
            }),
        }
    }
}

/// What became of the records of one batch, by sequence.
#[derive(Debug, Default)]
pub(super) struct Completion {
    /// The first piece to be known is mostly all of the batch; it is read without the lock,
    /// and written with it.
    first: OnceLock<Piece>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// After the first.
    pieces: Vec<Piece>,
    wakers: Vec<Waker>,
}

impl Completion {
    /// Notes what became of records, once: how many of them were not known before. REQUIRES:
    /// an outcome with offsets is that of `first` on.
    pub(super) fn complete(&self, first: u64, count: u64, outcome: Outcome) -> u64 {
        let (known, wakers) = {
            let mut state = self.state.lock().unwrap();
            let known = self.count_known(&state, first, count);
            // What is known is found first.
            let piece = Piece {
                first,
                count,
                outcome,
            };
            if let Err(piece) = self.first.set(piece) {
                state.pieces.push(piece);
            }
            (known, std::mem::take(&mut state.wakers))
        };
        for waker in wakers {
            waker.wake();
        }
        count - known
    }

    /// Of how many of these records the fate is known.
    pub(super) fn known(&self, first: u64, count: u64) -> u64 {
        let state = self.state.lock().unwrap();
        self.count_known(&state, first, count)
    }

    /// Of a record that the first piece does not have.
    fn poll_other(&self, sequence: u64, cx: &mut Context<'_>) -> Poll<Result<Receipt>> {
        let mut state = self.state.lock().unwrap();
        if let Some(piece) = self.pieces(&state).find(|p| p.has(sequence)) {
            return Poll::Ready(piece.result(sequence));
        }
        // A task that waits for several acks of a batch is woken once.
        if !state.wakers.last().is_some_and(|w| w.will_wake(cx.waker())) {
            state.wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn pieces<'a>(&'a self, state: &'a State) -> impl Iterator<Item = &'a Piece> {
        self.first.get().into_iter().chain(&state.pieces)
    }

    fn count_known(&self, state: &State, first: u64, count: u64) -> u64 {
        let end = first + count;
        let touches = |p: &Piece| p.first < end && first < p.first + p.count;
        if !self.pieces(state).any(touches) {
            return 0;
        }
        // Rare: confirmed on an earlier stream, and sent again as part of a batch.
        let known = |s: &u64| self.pieces(state).any(|p| p.has(*s));
        (first..end).filter(known).count() as u64
    }
}

/// The confirmation of one record, to come. Dropping it does not take the record back.
#[derive(Debug)]
#[must_use = "without awaiting it you don't know whether the record is kept"]
pub struct Ack {
    pub(super) completion: Arc<Completion>,
    pub(super) sequence: u64,
}

impl Ack {
    /// The record's place among those of its producer id.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Waits for the confirmation and returns the offset alone.
    ///
    /// Cancel-safe: the record stays on its way.
    #[inline]
    pub async fn offset(self) -> Result<u64> {
        let receipt = self.await?;
        receipt.offset.ok_or_else(|| {
            Error::new(
                ErrorKind::OffsetUnknown,
                "the record is kept, but its offset is not known any more",
            )
        })
    }
}

impl Future for Ack {
    type Output = Result<Receipt>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let completion = &*self.completion;
        match completion.first.get().filter(|p| p.has(self.sequence)) {
            Some(piece) => Poll::Ready(piece.result(self.sequence)),
            None => completion.poll_other(self.sequence, cx),
        }
    }
}
