//! What an operator can set on a queue while it runs.

use std::time::Duration;

use crate::types::{Durability, OverflowPolicy, Retention};
use crate::{pb, registry};

macro_rules! tunables {
    (
        numbers { $($(#[$ndoc:meta])* $number:ident: $int:ty,)* }
        times { $($(#[$tdoc:meta])* $time:ident: $ms:ident,)* }
        words { $($(#[$wdoc:meta])* $word:ident: $type:ty,)* }
    ) => {
        /// What an operator can set on a queue while it runs, as the broker states it: every
        /// value is set. [`Default`] is what a queue has when nothing is named on its
        /// creation. To change some values and leave the others, see [`TuningChange`].
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Tuning {
            $($(#[$ndoc])* pub $number: $int,)*
            $($(#[$tdoc])* pub $time: Duration,)*
            $($(#[$wdoc])* /// `None`: unknown to this version.
            pub $word: Option<$type>,)*
        }

        impl Tuning {
            pub(crate) fn from_pb(t: pb::QueueTuning) -> Tuning {
                Tuning {
                    $($number: t.$number.unwrap_or_default(),)*
                    $($time: Duration::from_millis(t.$ms.unwrap_or_default()),)*
                    $($word: t.$word.and_then(<$type>::from_pb),)*
                }
            }
        }

        /// Values of a queue's tuning to be set. What is not named keeps its value, or on
        /// creation its default. A whole [`Tuning`] turns into one that names every value.
        ///
        /// ```
        /// # use spillway::{OverflowPolicy, TuningChange};
        /// let small = TuningChange::new().window_messages(10).overflow(OverflowPolicy::Block);
        /// ```
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[must_use]
        pub struct TuningChange(pb::QueueTuning);

        impl TuningChange {
            $($(#[$ndoc])*
            pub fn $number(mut self, value: $int) -> Self {
                self.0.$number = Some(value);
                self
            })*
            $($(#[$tdoc])*
            pub fn $time(mut self, value: Duration) -> Self {
                self.0.$ms = Some(u64::try_from(value.as_millis()).unwrap_or(u64::MAX));
                self
            })*
            $($(#[$wdoc])*
            pub fn $word(mut self, value: $type) -> Self {
                self.0.$word = Some(value.to_pb());
                self
            })*
        }

        impl From<Tuning> for TuningChange {
            fn from(t: Tuning) -> TuningChange {
                let mut change = TuningChange::new();
                $(change = change.$number(t.$number);)*
                $(change = change.$time(t.$time);)*
                $(change.0.$word = t.$word.map(<$type>::to_pb);)*
                change
            }
        }
    };
}

tunables! {
    numbers {
        /// Records that may be resident or promised to producers.
        window_messages: u64,
        /// Bytes that may be resident or promised to producers; at least `max_message_bytes`.
        window_bytes: u64,
        /// The largest encoded record.
        max_message_bytes: u64,
        /// The most bytes that unsettled records may take on disk under
        /// [`OverflowPolicy::Spill`]; then the queue blocks.
        disk_quota_bytes: u64,
        /// With [`Retention::Limits`]: the oldest records are removed beyond this; 0: no limit.
        retention_bytes: u64,
        /// Deliveries to a group before a record is parked.
        max_attempts: u32,
        /// The clamp on what one consumer may have in flight, in messages.
        max_in_flight_messages: u64,
        /// The clamp on what one consumer may have in flight, in bytes.
        max_in_flight_bytes: u64,
    }
    times {
        /// With [`Retention::Limits`]: records older than this are removed; 0: no limit.
        retention_age: retention_age_ms,
        /// After this without settle or extend, a record goes to another member.
        ack_deadline: ack_deadline_ms,
        /// The delay before the second attempt; it doubles with each further one.
        backoff_initial: backoff_initial_ms,
        /// The longest delay before another attempt.
        backoff_max: backoff_max_ms,
    }
    words {
        /// What a confirmation means.
        durability: Durability,
        /// What happens when the window is full.
        overflow: OverflowPolicy,
        /// When records may be removed.
        retention: Retention,
    }
}

impl TuningChange {
    /// Names nothing yet.
    pub fn new() -> Self {
        TuningChange::default()
    }

    pub(crate) fn into_pb(self) -> pb::QueueTuning {
        self.0
    }
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning::from_pb(defaults())
    }
}

/// The registry's defaults, which the broker has as well.
pub(crate) fn defaults() -> pb::QueueTuning {
    let value = |number: u32| {
        let tunable = registry::TUNABLES.iter().find(|t| t.field_number == number);
        tunable.map(|t| t.default)
    };
    let small = |number| value(number).and_then(|v| u32::try_from(v).ok());
    let word = |number| value(number).and_then(|v| i32::try_from(v).ok());
    pb::QueueTuning {
        window_messages: value(1),
        window_bytes: value(2),
        max_message_bytes: value(3),
        durability: word(4),
        overflow: word(5),
        disk_quota_bytes: value(6),
        retention: word(7),
        retention_age_ms: value(8),
        retention_bytes: value(9),
        ack_deadline_ms: value(10),
        max_attempts: small(11),
        backoff_initial_ms: value(12),
        backoff_max_ms: value(13),
        max_in_flight_messages: value(14),
        max_in_flight_bytes: value(15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    #[test]
    fn every_tunable_has_its_default() {
        let t = defaults();
        // A field that is absent encodes to nothing, so all are there.
        let encoded = t.encode_to_vec();
        let mut fields = crate::wire::Fields::new(&encoded);
        let mut seen = Vec::new();
        while let Some((number, crate::wire::Value::Number(value))) = fields.next().unwrap() {
            seen.push((number, value));
        }
        let expected: Vec<_> = registry::TUNABLES
            .iter()
            .map(|t| (t.field_number, t.default))
            .collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_tuning_names_all_and_a_change_what_is_named() {
        let all = TuningChange::from(Tuning::default()).into_pb();
        assert_eq!(all, defaults());
        let one = TuningChange::new()
            .ack_deadline(Duration::from_secs(2))
            .into_pb();
        let expected = pb::QueueTuning {
            ack_deadline_ms: Some(2_000),
            ..Default::default()
        };
        assert_eq!(one, expected);
    }
}
