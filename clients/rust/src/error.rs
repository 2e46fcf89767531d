//! What can go wrong, as a program sees it.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;

use crate::pb;
use crate::registry;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $proto:ident,)* ; $($(#[$cdoc:meta])* $cname:ident = $text:literal,)*) => {
        /// What went wrong. The same kinds, with the same names, in the broker and every
        /// client; the last few are of the client itself.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $($(#[$doc])* $name,)*
            $($(#[$cdoc])* $cname,)*
        }

        impl ErrorKind {
            fn from_pb(kind: pb::ErrorKind) -> ErrorKind {
                match kind {
                    pb::ErrorKind::Unspecified => ErrorKind::Internal,
                    $(pb::ErrorKind::$proto => ErrorKind::$name,)*
                }
            }

            /// The shared name, such as `QUEUE_FULL`.
            pub fn name(self) -> &'static str {
                match self {
                    $(ErrorKind::$name => pb::ErrorKind::$proto
                        .as_str_name()
                        .trim_start_matches("ERROR_KIND_"),)*
                    $(ErrorKind::$cname => $text,)*
                }
            }

            #[cfg(test)]
            pub(crate) const SHARED: &'static [ErrorKind] = &[$(ErrorKind::$name,)*];
        }
    };
}

kinds! {
    /// A field is malformed or out of range; [`Error::field`] names it.
    InvalidArgument = InvalidArgument,
    /// More bytes, records or headers than [`Error::limit`] allows.
    TooLarge = TooLarge,
    /// No such queue, group or session.
    NotFound = NotFound,
    /// The queue exists already.
    AlreadyExists = AlreadyExists,
    /// The queue changed since the revision that the caller expected; get it again.
    RevisionMismatch = RevisionMismatch,
    /// The queue is full and its policy is to refuse.
    QueueFull = QueueFull,
    /// A bounded resource of the broker is used up; [`Error::limit`] says where.
    LimitReached = LimitReached,
    /// A frame held more than the credit allowed.
    CreditExceeded = CreditExceeded,
    /// A total of credit fell within an epoch.
    CreditRegressed = CreditRegressed,
    /// The two sides' counters differ beyond what is in flight.
    CounterMismatch = CounterMismatch,
    /// A sequence was skipped.
    SequenceGap = SequenceGap,
    /// A newer stream took over this producer id.
    Fenced = Fenced,
    /// The offset lies below the head or above the tail, which [`Error::head_offset`] and
    /// [`Error::tail_offset`] name.
    OutOfRange = OutOfRange,
    /// A frame that the stream's state does not allow.
    Protocol = Protocol,
    /// Nothing arrived in time.
    TimedOut = TimedOut,
    /// The peer does not read what it asked for.
    SlowReader = SlowReader,
    /// The group is EXCLUSIVE and has a member.
    Exclusive = Exclusive,
    /// The broker cannot be reached, is draining or not ready; try again.
    Unavailable = Unavailable,
    /// The store failed; the queue refuses to serve until the broker is restarted.
    StoreFailed = StoreFailed,
    /// Stored data does not match its checksum.
    Corrupt = Corrupt,
    /// The queue was deleted, an operator closed the session, or the application closed
    /// the handle.
    Closed = Closed,
    /// The client speaks a protocol that the broker does not.
    Unsupported = Unsupported,
    /// A defect of the broker.
    Internal = Internal,
    ;
    /// `try_publish` could not send at once: there is no credit for the record, others
    /// wait in front of it, or the stream is being reopened. Nothing was refused.
    NoCredit = "NO_CREDIT",
    /// The record is kept, but was accepted so long ago that the broker does not know its
    /// offset any more.
    OffsetUnknown = "OFFSET_UNKNOWN",
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A refusal of the broker, or one that the client raised in its place. Cheap to clone.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(Arc<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    queue: String,
    field: String,
    limit: u64,
    actual: u64,
    retry_after: Option<Duration>,
    head_offset: u64,
    tail_offset: u64,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.queue.is_empty() {
            write!(f, "queue \"{}\": ", self.queue)?;
        }
        f.write_str(&self.kind.name().to_lowercase().replace('_', " "))?;
        if !self.field.is_empty() {
            write!(f, " ({})", self.field)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        if self.limit != 0 || self.actual != 0 {
            write!(f, " [limit {}, actual {}]", self.limit, self.actual)?;
        }
        if self.kind == ErrorKind::OutOfRange {
            write!(f, " [head {}, tail {}]", self.head_offset, self.tail_offset)?;
        }
        Ok(())
    }
}

impl Error {
    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// One sentence for people.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The queue concerned; empty where there is none.
    pub fn queue(&self) -> &str {
        &self.0.queue
    }

    /// The field at fault, as a path in the request (`tuning.window_bytes`); empty where
    /// there is none.
    pub fn field(&self) -> &str {
        &self.0.field
    }

    /// The limit that was passed.
    pub fn limit(&self) -> u64 {
        self.0.limit
    }

    /// What came where [`limit`](Self::limit) was allowed.
    pub fn actual(&self) -> u64 {
        self.0.actual
    }

    /// How long to wait before trying again, if the broker said so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// With [`ErrorKind::OutOfRange`]: the lowest kept offset.
    pub fn head_offset(&self) -> u64 {
        self.0.head_offset
    }

    /// With [`ErrorKind::OutOfRange`]: the offset of the next record.
    pub fn tail_offset(&self) -> u64 {
        self.0.tail_offset
    }

    /// What lies below: a gRPC status or a failure of the transport.
    pub fn cause(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        self.0.source.as_deref()
    }

    /// Whether the same call may succeed later. Streams reopen by themselves after such an
    /// error.
    pub fn is_retryable(&self) -> bool {
        self.0.retry_after.is_some()
            || registry::ERROR_KINDS
                .iter()
                .any(|k| k.retryable && k.name == self.0.kind.name())
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Arc::new(Inner {
            kind,
            message: message.into(),
            queue: String::new(),
            field: String::new(),
            limit: 0,
            actual: 0,
            retry_after: None,
            head_offset: 0,
            tail_offset: 0,
            source: None,
        }))
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Error {
        change(Arc::make_mut(&mut self.0));
        self
    }

    pub(crate) fn on_queue(self, queue: &str) -> Error {
        if !self.0.queue.is_empty() {
            return self;
        }
        self.with(|e| queue.clone_into(&mut e.queue))
    }

    pub(crate) fn on_field(self, field: &str) -> Error {
        self.with(|e| field.clone_into(&mut e.field))
    }

    pub(crate) fn numbers(self, limit: u64, actual: u64) -> Error {
        self.with(|e| (e.limit, e.actual) = (limit, actual))
    }

    pub(crate) fn caused_by(self, source: impl StdError + Send + Sync + 'static) -> Error {
        self.with(|e| e.source = Some(Arc::new(source)))
    }

    pub(crate) fn protocol(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Protocol, message)
    }

    pub(crate) fn closed(what: &str) -> Error {
        Error::new(ErrorKind::Closed, format!("the {what} is closed"))
    }

    pub(crate) fn from_pb(e: pb::Error) -> Error {
        Error(Arc::new(Inner {
            kind: ErrorKind::from_pb(e.kind()),
            message: e.message,
            queue: e.queue,
            field: e.field,
            limit: e.limit,
            actual: e.actual,
            retry_after: (e.retry_after_ms > 0).then(|| Duration::from_millis(e.retry_after_ms)),
            head_offset: e.head_offset,
            tail_offset: e.tail_offset,
            source: None,
        }))
    }

    /// The error of the trailer, or the kind that goes with the status.
    pub(crate) fn from_status(status: tonic::Status) -> Error {
        let typed = status
            .metadata()
            .get_bin(ERROR_TRAILER)
            .and_then(|value| value.to_bytes().ok())
            .and_then(|bytes| pb::Error::decode(bytes).ok());
        if let Some(e) = typed {
            return Error::from_pb(e).caused_by(status);
        }
        use tonic::Code;
        let kind = match status.code() {
            Code::InvalidArgument => ErrorKind::InvalidArgument,
            Code::DeadlineExceeded => ErrorKind::TimedOut,
            Code::NotFound => ErrorKind::NotFound,
            Code::AlreadyExists => ErrorKind::AlreadyExists,
            Code::FailedPrecondition | Code::PermissionDenied | Code::Unauthenticated => {
                ErrorKind::Protocol
            }
            Code::Unimplemented => ErrorKind::Unsupported,
            Code::OutOfRange => ErrorKind::OutOfRange,
            Code::DataLoss => ErrorKind::Corrupt,
            // Of the way, not of the call.
            _ => ErrorKind::Unavailable,
        };
        let message = status.message().to_owned();
        Error::new(kind, message).caused_by(status)
    }
}

/// Where ended streams and unary calls carry their error.
pub(crate) const ERROR_TRAILER: &str = "spillway-error-bin";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_those_of_the_registry() {
        let ours: Vec<_> = ErrorKind::SHARED.iter().map(|k| k.name()).collect();
        let theirs: Vec<_> = registry::ERROR_KINDS.iter().map(|k| k.name).collect();
        assert_eq!(ours, theirs);
        for info in registry::ERROR_KINDS {
            let kind = pb::ErrorKind::try_from(info.number).unwrap();
            assert_eq!(ErrorKind::from_pb(kind).name(), info.name);
        }
    }

    #[test]
    fn the_trailer_wins_over_the_status() {
        let typed = pb::Error {
            kind: pb::ErrorKind::OutOfRange as i32,
            queue: "orders".into(),
            head_offset: 5,
            tail_offset: 9,
            retry_after_ms: 250,
            ..Default::default()
        };
        let mut status = tonic::Status::unavailable("gone");
        status.metadata_mut().insert_bin(
            ERROR_TRAILER,
            tonic::metadata::MetadataValue::from_bytes(&typed.encode_to_vec()),
        );
        let e = Error::from_status(status);
        assert_eq!(e.kind(), ErrorKind::OutOfRange);
        assert_eq!((e.head_offset(), e.tail_offset()), (5, 9));
        assert_eq!(e.retry_after(), Some(Duration::from_millis(250)));
        assert!(e.cause().is_some() && e.is_retryable());
        assert_eq!(
            e.to_string(),
            "queue \"orders\": out of range [head 5, tail 9]"
        );
    }

    #[test]
    fn a_bare_status_has_a_kind() {
        let kind = |s| Error::from_status(s).kind();
        assert_eq!(kind(tonic::Status::unavailable("")), ErrorKind::Unavailable);
        assert_eq!(
            kind(tonic::Status::unimplemented("")),
            ErrorKind::Unsupported
        );
        assert_eq!(kind(tonic::Status::unknown("")), ErrorKind::Unavailable);
    }
}
