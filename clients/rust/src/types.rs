//! What is published, and the words of the protocol.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result};
use crate::{pb, registry, wire};

/// One header of a record: a name of 1 to 255 bytes, and any bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// The name.
    pub name: String,
    /// The value.
    pub value: Bytes,
}

/// What a producer publishes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub(crate) payload: Bytes,
    pub(crate) key: Bytes,
    pub(crate) headers: Vec<Header>,
}

impl Message {
    /// A message with this payload.
    #[inline]
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Message {
            payload: payload.into(),
            ..Default::default()
        }
    }

    /// Groups related records. At most 1,024 bytes; empty means none.
    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = key.into();
        self
    }

    /// Adds a header; order and repetition are kept. At most 64, and 16 KiB of them.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push(Header {
            name: name.into(),
            value: value.into(),
        });
        self
    }

    /// The message's cost in bytes of credit: the length of its encoded record.
    #[inline]
    pub fn size(&self) -> usize {
        wire::record_size(self)
    }

    /// Refuses what the broker would refuse, before a sequence is used up.
    #[inline]
    pub(crate) fn check(&self, size: usize, max_message_bytes: u64) -> Result<()> {
        let large = size as u64 > max_message_bytes;
        if !large && self.key.is_empty() && self.headers.is_empty() {
            return Ok(());
        }
        self.check_parts(size, max_message_bytes)
    }

    fn check_parts(&self, size: usize, max_message_bytes: u64) -> Result<()> {
        let too_large = |field, limit: u64, actual: usize| {
            let e = Error::new(ErrorKind::TooLarge, "the message is larger than allowed");
            Err(e.on_field(field).numbers(limit, actual as u64))
        };
        if size as u64 > max_message_bytes {
            return too_large("record", max_message_bytes, size);
        }
        if self.key.len() as u64 > registry::LIMIT_MAX_KEY_BYTES {
            return too_large("record.key", registry::LIMIT_MAX_KEY_BYTES, self.key.len());
        }
        if self.headers.len() as u64 > registry::LIMIT_MAX_HEADERS {
            let n = self.headers.len();
            return too_large("record.headers", registry::LIMIT_MAX_HEADERS, n);
        }
        let mut bytes = 0;
        for h in &self.headers {
            if h.name.is_empty() {
                let e = Error::new(ErrorKind::InvalidArgument, "a header needs a name");
                return Err(e.on_field("record.headers.name"));
            }
            if h.name.len() as u64 > registry::LIMIT_MAX_HEADER_NAME_BYTES {
                let limit = registry::LIMIT_MAX_HEADER_NAME_BYTES;
                return too_large("record.headers.name", limit, h.name.len());
            }
            let part = |len: usize| if len == 0 { 0 } else { wire::field_len(len) };
            bytes += part(h.name.len()) + part(h.value.len());
        }
        if bytes as u64 > registry::LIMIT_MAX_HEADERS_BYTES {
            return too_large("record.headers", registry::LIMIT_MAX_HEADERS_BYTES, bytes);
        }
        Ok(())
    }
}

impl<T: Into<Bytes>> From<T> for Message {
    #[inline]
    fn from(payload: T) -> Self {
        Message::new(payload)
    }
}

/// An amount, or a cumulative total, in both units of credit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Credit {
    /// Records.
    pub messages: u64,
    /// Lengths of encoded records.
    pub bytes: u64,
}

impl Credit {
    /// This many messages and bytes.
    pub const fn new(messages: u64, bytes: u64) -> Self {
        Credit { messages, bytes }
    }

    #[inline]
    pub(crate) fn plus(self, other: Credit) -> Credit {
        Credit {
            messages: self.messages.saturating_add(other.messages),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    #[inline]
    pub(crate) fn minus(self, other: Credit) -> Credit {
        Credit {
            messages: self.messages.saturating_sub(other.messages),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }

    /// In every unit.
    #[inline]
    pub(crate) fn within(self, limit: Credit) -> bool {
        self.messages <= limit.messages && self.bytes <= limit.bytes
    }

    pub(crate) fn is_zero(self) -> bool {
        self == Credit::default()
    }

    pub(crate) fn to_pb(self) -> pb::Credit {
        pb::Credit {
            messages: self.messages,
            bytes: self.bytes,
        }
    }

    pub(crate) fn from_pb(c: Option<pb::Credit>) -> Credit {
        c.map_or(Credit::default(), |c| Credit::new(c.messages, c.bytes))
    }
}

impl fmt::Display for Credit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} messages, {} bytes", self.messages, self.bytes)
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $pb:ty, $prefix:literal, { $($(#[$vdoc:meta])* $variant:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$vdoc])* $variant,)*
        }

        impl $name {
            /// The shared name, such as the protocol has it, without its prefix.
            pub fn name(self) -> &'static str {
                match self {
                    $($name::$variant => <$pb>::$variant.as_str_name().trim_start_matches($prefix),)*
                }
            }

            #[allow(dead_code)]
            pub(crate) fn to_pb(self) -> i32 {
                match self {
                    $($name::$variant => <$pb>::$variant as i32,)*
                }
            }

            /// None if unspecified, or not known to this version.
            #[allow(dead_code)]
            pub(crate) fn from_pb(n: i32) -> Option<$name> {
                match <$pb>::try_from(n) {
                    $(Ok(<$pb>::$variant) => Some($name::$variant),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl std::str::FromStr for $name {
            type Err = Error;
            fn from_str(s: &str) -> Result<Self> {
                $(if s == $name::$variant.name() { return Ok($name::$variant); })*
                Err(Error::new(ErrorKind::InvalidArgument, format!("no such {}: {s}", stringify!($name))))
            }
        }
    };
}

words! {
    /// What a confirmation means, weakest first.
    Durability, pb::Durability, "DURABILITY_", {
        /// In the queue's window; only what overflows reaches the disk.
        Memory,
        /// In the log of the store: survives the end of the broker's process.
        Persisted,
        /// Flushed to the device: survives the machine.
        Synced,
    }
}

words! {
    /// What happens when a queue's window is full.
    OverflowPolicy, pb::OverflowPolicy, "OVERFLOW_POLICY_", {
        /// Keep the surplus on disk, up to a quota; then block.
        Spill,
        /// Grant nothing until consumers settle.
        Block,
        /// Clients fail a publish at once.
        Reject,
        /// Remove the oldest records that are not in flight.
        DropOldest,
    }
}

words! {
    /// When records may be removed.
    Retention, pb::Retention, "RETENTION_", {
        /// Once every group has settled them.
        UntilSettled,
        /// By age and bytes only.
        Limits,
    }
}

words! {
    /// How the members of a group share its records.
    Mode, pb::GroupMode, "GROUP_MODE_", {
        /// Members compete; each record goes to one of them.
        Shared,
        /// One member at a time.
        Exclusive,
    }
}

words! {
    /// How a delivery is settled when it is not acknowledged.
    Action, pb::SettleAction, "SETTLE_ACTION_", {
        /// Deliver again after a delay; parked once its attempts are used up.
        Retry,
        /// Keep aside for the group until released.
        Park,
        /// Not to be delivered again to this group.
        Skip,
    }
}

words! {
    /// Why credit does not rise; each says what ends it.
    CreditReason, pb::CreditReason, "CREDIT_REASON_", {
        /// The queue's window is full; ends when consumers settle.
        WindowFull,
        /// The process's memory budget is used up; ends when any queue drains.
        MemoryBudget,
        /// The queue's disk quota is used up.
        DiskQuota,
        /// Writes wait for the disk.
        DiskSlow,
        /// The disk is nearly full.
        DiskLow,
        /// Other producers wait for their share; ends when it is one's turn.
        FairShare,
        /// An operator's limit on the queue.
        OperatorLimit,
        /// The broker is draining; ends with a reconnect.
        Draining,
        /// The store failed; ends with a restart of the broker.
        StoreFailed,
        /// The queue is full and its policy is to fail instead of waiting.
        FullReject,
    }
}

words! {
    /// Why offsets were taken from a consumer.
    RevokeReason, pb::RevokeReason, "REVOKE_REASON_", {
        /// Neither settled nor extended in time.
        Deadline,
        /// A settle or held range came too late.
        Stale,
        /// The group was moved or deleted by an operator.
        Seek,
        /// The records are gone.
        Gone,
    }
}

words! {
    /// Why records are gone.
    GapReason, pb::GapReason, "GAP_REASON_", {
        /// The queue was full and its policy is to drop the oldest.
        Dropped,
        /// Retention by age or bytes.
        Retention,
        /// An operator purged them.
        Purged,
        /// They were in memory only when the broker ended.
        Lost,
    }
}

/// A place to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Position {
    /// This offset.
    Offset(u64),
    /// The first record appended at or after this time, by the broker's clock.
    Time(SystemTime),
    /// The lowest kept record.
    Earliest,
    /// The next record to be appended.
    Latest,
    /// The last n records.
    Last(u64),
}

impl Position {
    pub(crate) fn to_pb(self) -> pb::Start {
        use pb::start::Position as P;
        let position = match self {
            Position::Offset(n) => P::Offset(n),
            Position::Time(t) => P::TimeUnixMs(unix_ms(t)),
            Position::Earliest => P::Earliest(true),
            Position::Latest => P::Latest(true),
            Position::Last(n) => P::Last(n),
        };
        pb::Start {
            position: Some(position),
        }
    }
}

pub(crate) fn unix_ms(t: SystemTime) -> u64 {
    t.duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as u64)
}

pub(crate) fn from_unix_ms(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms)
}
