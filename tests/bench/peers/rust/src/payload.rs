//! What the load sends, and what it notes of what came: as `payload.go` and `ledger.go`.

use std::time::Instant;

use bytes::{Bytes, BytesMut};

/// A payload begins with its number and the time at which it was to be sent, in
/// nanoseconds; the rest is random in its first half and zero in its second.
pub const HEADER: usize = 16;

/// How many payloads of up to a KiB share a buffer.
const SHARE: usize = 256;

/// Payloads in a buffer that is used again once nobody holds any of those in it; the client
/// copies what it sends.
pub struct Payloads {
    template: Vec<u8>,
    room: BytesMut,
}

impl Payloads {
    pub fn new(size: usize) -> Payloads {
        let mut template = vec![0; size];
        let mut state = 1u64;
        for byte in &mut template[..size / 2] {
            // splitmix64
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            *byte = (mixed >> 27) as u8;
        }
        let room = BytesMut::with_capacity(SHARE * size.min(1024) + size);
        Payloads { template, room }
    }

    pub fn at(&mut self, number: u64, intended: u64) -> Bytes {
        self.room.extend_from_slice(&self.template);
        let mut payload = self.room.split();
        payload[..8].copy_from_slice(&number.to_le_bytes());
        payload[8..HEADER].copy_from_slice(&intended.to_le_bytes());
        payload.freeze()
    }
}

/// Notes what a reader received, and when.
pub struct Ledger {
    size: usize,
    seen: Vec<u64>,
    pub count: u64,
    doubled: u64,
    foreign: u64,
    expected: u64,
    first: Option<Instant>,
    last: Option<Instant>,
}

const MOST_NUMBER: u64 = 1 << 34;

impl Ledger {
    /// `expected`: when that many have come, the time is noted.
    pub fn new(size: usize, expected: u64) -> Ledger {
        Ledger {
            size,
            seen: Vec::new(),
            count: 0,
            doubled: 0,
            foreign: 0,
            expected,
            first: None,
            last: None,
        }
    }

    /// The intended time of one that did not come before.
    pub fn take(&mut self, payload: &[u8]) -> Option<u64> {
        if payload.len() != self.size {
            self.foreign += 1;
            return None;
        }
        let word = |at: usize| u64::from_le_bytes(payload[at..at + 8].try_into().unwrap());
        let (number, intended) = (word(0), word(8));
        if number > MOST_NUMBER {
            self.foreign += 1;
            return None;
        }
        let (at, bit) = ((number / 64) as usize, 1u64 << (number % 64));
        if at >= self.seen.len() {
            self.seen.resize(2 * at + 1024, 0);
        }
        if self.seen[at] & bit != 0 {
            self.doubled += 1;
            return None;
        }
        self.seen[at] |= bit;
        self.count += 1;
        if self.count == 1 {
            self.first = Some(Instant::now());
        }
        if self.count == self.expected {
            self.last = Some(Instant::now());
        }
        Some(intended)
    }

    /// From the first message to the last of those expected.
    pub fn seconds(&self) -> f64 {
        match (self.first, self.last) {
            (Some(first), Some(last)) => (last - first).as_secs_f64(),
            _ => 0.0,
        }
    }

    /// What is wrong if numbers 0 to sent-1 did not come once each.
    pub fn check(&self, sent: u64) -> Result<(), String> {
        match self.count {
            _ if self.foreign > 0 => {
                Err(format!("{} messages came that were not sent", self.foreign))
            }
            _ if self.doubled > 0 => Err(format!("{} messages came twice", self.doubled)),
            n if n < sent => Err(format!("{} of {sent} messages did not come", sent - n)),
            n if n > sent => Err(format!("{} messages came that were not sent", n - sent)),
            _ => match (sent..self.seen.len() as u64 * 64).find(|n| self.has(*n)) {
                Some(n) => Err(format!("message {n} came, which was not sent")),
                None => Ok(()),
            },
        }
    }

    fn has(&self, number: u64) -> bool {
        self.seen[(number / 64) as usize] & (1 << (number % 64)) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_carry_their_number_and_time() {
        let mut payloads = Payloads::new(100);
        let held = payloads.at(0, 7);
        assert_eq!(
            &held[..16],
            [0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]
        );
        assert!(held[16..50].iter().any(|b| *b != 0) && held[50..].iter().all(|b| *b == 0));
        // The buffer comes again, and what is held stays what it was.
        for n in 1..1000 {
            let next = payloads.at(n, 9);
            assert_eq!((held[0], next[0]), (0, n as u8));
            assert_eq!(held[16..], next[16..]);
        }
    }

    fn ledger_of(numbers: &[u64]) -> Ledger {
        let (mut payloads, mut ledger) = (Payloads::new(32), Ledger::new(32, 2));
        for n in numbers {
            ledger.take(&payloads.at(*n, 0));
        }
        ledger
    }

    #[test]
    fn a_ledger_tells_what_is_wrong() {
        assert_eq!(ledger_of(&[2, 0, 1]).check(3), Ok(()));
        for (numbers, sent) in [
            (&[0, 1][..], 3),
            (&[0, 1, 1], 2),
            (&[0, 1, 2], 2),
            (&[0, 70], 2),
        ] {
            assert!(
                ledger_of(numbers).check(sent).is_err(),
                "{numbers:?} of {sent}"
            );
        }
        let mut short = ledger_of(&[0]);
        assert_eq!(short.take(b"short"), None);
        assert!(short.check(1).is_err());
    }
}
