//! The messages of `proto/spillway/v1`, as prost generates them, and the stubs of its
//! services. Fields are added in new versions: end literals with `..Default::default()`.
#![allow(missing_docs, rustdoc::all, clippy::all)]

#[rustfmt::skip]
#[path = "spillway.v1.rs"]
mod generated;

pub use generated::*;
