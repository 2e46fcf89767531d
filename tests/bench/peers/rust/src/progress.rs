//! How far a load is: what was acknowledged and received, and who waits for how much of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Notify;

/// Written by one thread at a pace of its own: no line of the cache for two of them.
#[derive(Default)]
#[repr(align(128))]
struct Alone<T>(T);

/// One task waits at a time. It is woken once, when it has what it waits for, and not by
/// each message.
#[derive(Default)]
pub struct Progress {
    acked: Alone<AtomicU64>,
    received: Alone<AtomicU64>,
    want_acked: AtomicU64,
    want_received: AtomicU64,
    waiting: AtomicBool,
    stopped: AtomicBool,
    failed: Mutex<Option<String>>,
    changed: Notify,
}

impl Progress {
    pub fn acked(&self) -> u64 {
        self.acked.0.load(SeqCst)
    }

    pub fn received(&self) -> u64 {
        self.received.0.load(SeqCst)
    }

    pub fn stopped(&self) -> bool {
        self.stopped.load(SeqCst)
    }

    pub fn ack(&self, n: u64) {
        self.acked.0.fetch_add(n, SeqCst);
        self.wake_if_reached();
    }

    pub fn receive(&self, n: u64) {
        self.received.0.fetch_add(n, SeqCst);
        self.wake_if_reached();
    }

    /// The sender shall end.
    pub fn stop(&self) {
        self.stopped.store(true, SeqCst);
        self.changed.notify_one();
    }

    /// The first reason is kept.
    pub fn fail(&self, why: impl ToString) {
        self.failed.lock().unwrap().get_or_insert(why.to_string());
        self.stop();
    }

    pub fn check(&self) -> Result<(), String> {
        match &*self.failed.lock().unwrap() {
            Some(why) => Err(why.clone()),
            None => Ok(()),
        }
    }

    fn reached(&self) -> bool {
        self.acked() >= self.want_acked.load(SeqCst)
            && self.received() >= self.want_received.load(SeqCst)
    }

    // Whoever begins to wait sets `waiting` first and looks at the counts then; those who
    // count do it the other way round, so that one of them sees the other.
    fn wake_if_reached(&self) {
        if self.waiting.load(SeqCst) && self.reached() {
            self.changed.notify_one();
        }
    }

    async fn wait(&self, acked: u64, received: u64, stoppable: bool) {
        self.want_acked.store(acked, SeqCst);
        self.want_received.store(received, SeqCst);
        self.waiting.store(true, SeqCst);
        while !(self.reached() || stoppable && self.stopped()) && self.check().is_ok() {
            self.changed.notified().await;
        }
        self.waiting.store(false, SeqCst);
    }

    /// Until so much was acknowledged and received, or the sender is stopped.
    pub async fn room(&self, acked: u64, received: u64) -> Result<(), String> {
        self.wait(acked, received, true).await;
        self.check()
    }

    /// Until so much was acknowledged and received; an error if that takes too long.
    pub async fn settle(&self, acked: u64, received: u64, within: Duration) -> Result<(), String> {
        let in_time = tokio::time::timeout(within, self.wait(acked, received, false)).await;
        self.check()?;
        in_time.map_err(|_| {
            format!(
                "of {acked} and {received} messages {} were acknowledged and {} delivered within {within:?}",
                self.acked(),
                self.received()
            )
        })
    }
}
