#![doc = include_str!("../README.md")]
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod admin;
mod client;
mod consumer;
mod error;
mod events;
mod frames;
mod life;
pub mod pb;
mod producer;
mod ranges;
mod registry;
mod replay;
mod retry;
mod stream;
#[cfg(feature = "testing")]
pub mod testing;
mod types;
#[cfg(test)]
mod vectors;
mod wire;

pub use admin::{
    Admin, BrokerStats, Explanation, GroupInfo, Items, ParkedRecord, PlacedMessage, QueueInfo,
    QueueStats, SessionInfo, Snapshot, Stall, Subject, Tuning, TuningChange,
};
pub use client::{Client, ClientBuilder};
pub use consumer::{Consumer, ConsumerBuilder, Delivery, Nack};
pub use error::{Error, ErrorKind, Result};
pub use events::{Event, StreamInfo, StreamKind};
pub use producer::{Ack, Blocked, Producer, ProducerBuilder, Receipt};
pub use ranges::OffsetRange;
pub use replay::{Replay, ReplayBuilder, ReplayedRecord};
pub use types::{
    Action, Credit, CreditReason, Durability, GapReason, Header, Message, Mode, OverflowPolicy,
    Position, Retention, RevokeReason,
};
