//! When to reconnect. Pure but for the budget's lock: the time is passed in.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The schedule of one stream's reconnects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    pub base: Duration,
    pub max: Duration,
    pub reset_after: Duration,
}

/// Retries that a client may make beyond its successes; shared by all its streams.
#[derive(Debug)]
pub(crate) struct Budget {
    tokens: Mutex<f64>,
    most: f64,
    per_success: f64,
}

impl Budget {
    pub(crate) fn new(most: f64, per_success: f64) -> Self {
        Budget {
            tokens: Mutex::new(most),
            most,
            per_success,
        }
    }

    pub(crate) fn success(&self) {
        let mut tokens = self.tokens.lock().unwrap();
        *tokens = (*tokens + self.per_success).min(self.most);
    }

    /// Takes a token; false if there is none.
    pub(crate) fn take(&self) -> bool {
        let mut tokens = self.tokens.lock().unwrap();
        let some = *tokens >= 1.0;
        if some {
            *tokens -= 1.0;
        }
        some
    }
}

/// How long to wait before the next attempt.
#[derive(Debug)]
pub(crate) struct Backoff {
    schedule: Schedule,
    attempts: u32,
    healthy_since: Option<Instant>,
    random: u64,
}

impl Backoff {
    pub(crate) fn new(schedule: Schedule, seed: u64) -> Self {
        Backoff {
            schedule,
            attempts: 0,
            healthy_since: None,
            random: seed,
        }
    }

    /// A seed that differs between processes and calls.
    pub(crate) fn seed() -> u64 {
        use std::hash::{BuildHasher, Hasher};
        std::collections::hash_map::RandomState::new()
            .build_hasher()
            .finish()
    }

    pub(crate) fn opened(&mut self, now: Instant) {
        self.healthy_since = Some(now);
    }

    /// The wait before the next attempt: full jitter below a ceiling that doubles. Without
    /// budget the ceiling is at its highest and half of it is waited at least, so retries
    /// slow down rather than end. `at_least` is the broker's retry_after.
    pub(crate) fn next(&mut self, now: Instant, budget: bool, at_least: Duration) -> Duration {
        if let Some(since) = self.healthy_since.take() {
            if now.saturating_duration_since(since) >= self.schedule.reset_after {
                self.attempts = 0;
            }
        }
        let Schedule { base, max, .. } = self.schedule;
        let ceiling = base.saturating_mul(1 << self.attempts.min(20)).min(max);
        self.attempts = self.attempts.saturating_add(1);
        let wait = if budget {
            ceiling.mul_f64(self.fraction())
        } else {
            max.mul_f64(0.5 + self.fraction() / 2.0)
        };
        wait.max(at_least)
    }

    // SplitMix64: good enough for jitter.
    fn fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule = Schedule {
        base: Duration::from_millis(100),
        max: Duration::from_secs(20),
        reset_after: Duration::from_secs(30),
    };

    #[test]
    fn ceiling_doubles_and_resets_after_health() {
        let now = Instant::now();
        let mut highest = [Duration::ZERO; 10];
        for seed in 0..200 {
            let mut b = Backoff::new(SCHEDULE, seed);
            for most in &mut highest {
                *most = (*most).max(b.next(now, true, Duration::ZERO));
            }
            b.opened(now);
            let soon = b.next(now + Duration::from_secs(29), true, Duration::ZERO);
            assert!(soon <= SCHEDULE.max);
            b.opened(now);
            let later = b.next(now + Duration::from_secs(30), true, Duration::ZERO);
            assert!(later <= SCHEDULE.base);
        }
        for (i, most) in highest.iter().enumerate() {
            let ceiling = (SCHEDULE.base * (1 << i)).min(SCHEDULE.max);
            assert!(*most <= ceiling && *most > ceiling / 2, "{i}: {most:?}");
        }
    }

    #[test]
    fn waits_as_the_broker_says_and_slows_without_budget() {
        let now = Instant::now();
        let mut b = Backoff::new(SCHEDULE, 7);
        let said = Duration::from_secs(60);
        assert_eq!(b.next(now, true, said), said);
        assert!(b.next(now, false, Duration::ZERO) >= SCHEDULE.max / 2);
    }

    #[test]
    fn budget_is_ten_and_a_tenth_of_successes() {
        let budget = Budget::new(10.0, 0.1);
        for _ in 0..10 {
            assert!(budget.take());
        }
        assert!(!budget.take());
        for _ in 0..10 {
            budget.success();
        }
        // Ten times a tenth is a little less than 1 in binary.
        budget.success();
        assert!(budget.take() && !budget.take());
    }
}
