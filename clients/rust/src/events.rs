//! What metrics and logs are made of.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::producer::Blocked;
use crate::ranges::OffsetRange;
use crate::types::{GapReason, RevokeReason};

/// What a stream does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamKind {
    /// Publishes.
    Producer,
    /// Receives as a member of a group.
    Consumer,
    /// Receives without a cursor.
    Reader,
}

/// Names one stream in an [`Event`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StreamInfo {
    /// What it does.
    pub kind: StreamKind,
    /// The stream's queue.
    pub queue: String,
    /// The consumer's group; empty for others.
    pub group: String,
    /// The broker's name for the stream, as in Admin and Explain; empty before it opened.
    pub session: String,
}

/// Something that happened to a stream. Frames make events, single messages don't.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A stream is open; `resumed`: not for the first time.
    Opened {
        /// Whether the stream was open before.
        resumed: bool,
    },
    /// A stream ended and is opened again after the delay.
    Broken {
        /// Why.
        error: Error,
        /// How long the next attempt waits.
        delay: Duration,
    },
    /// A stream ended for good.
    Failed {
        /// Why.
        error: Error,
    },
    /// The broker asked the stream to move within this time.
    Draining {
        /// When the broker ends the stream.
        deadline: Duration,
    },
    /// A publish waits for credit, and none did before.
    Blocked(Blocked),
    /// No publish waits for credit any more.
    Unblocked {
        /// Since the first one began to wait.
        waited: Duration,
    },
    /// Offsets are no longer held by this consumer.
    Revoked {
        /// Which.
        ranges: Vec<OffsetRange>,
        /// Why; `None` if unknown to this version.
        reason: Option<RevokeReason>,
    },
    /// Offsets that will not come.
    Gap {
        /// Which.
        ranges: Vec<OffsetRange>,
        /// Why; `None` if unknown to this version.
        reason: Option<GapReason>,
    },
}

type Hook = dyn Fn(&StreamInfo, &Event) + Send + Sync;

/// The application's hook, if any.
#[derive(Clone, Default)]
pub(crate) struct Hooks(pub(crate) Option<Arc<Hook>>);

impl Hooks {
    pub(crate) fn call(&self, stream: &StreamInfo, event: Event) {
        let StreamInfo { queue, session, .. } = stream;
        match &event {
            Event::Broken { error, delay } => {
                tracing::warn!(%queue, %session, %error, ?delay, "stream broke; reconnecting");
            }
            Event::Failed { error } => tracing::warn!(%queue, %session, %error, "stream failed"),
            other => tracing::debug!(%queue, %session, event = ?other, "stream"),
        }
        if let Some(hook) = &self.0 {
            hook(stream, &event);
        }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Hooks(set)"
        } else {
            "Hooks"
        })
    }
}
