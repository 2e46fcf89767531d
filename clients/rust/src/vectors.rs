//! The vectors that all clients share; see tests/vectors/README.md of the repository.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use prost::Message as _;
use serde_json::Value;

use crate::error::{Error, ERROR_TRAILER};
use crate::pb;
use crate::ranges::{Gathered, OffsetRange};
use crate::retry::{Backoff, Schedule};
use crate::types::Message;
use crate::wire::{record_size, BatchBuffer, ConsumeEvent, GRPC_HEADER};

/// What the file holds; none in the packaged crate, which comes without the repository.
pub(crate) fn read(name: &str) -> Option<Value> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Only `cargo package` writes this one.
    if here.join("Cargo.toml.orig").exists() {
        return None;
    }
    let path = here.join("../../tests/vectors").join(name);
    let text = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    Some(serde_json::from_slice(&text).unwrap())
}

/// The cases in a list that must not be empty.
pub(crate) fn cases(list: &Value) -> &[Value] {
    let cases = list.as_array().unwrap();
    assert!(!cases.is_empty(), "no vectors");
    cases
}

pub(crate) fn number(v: &Value) -> u64 {
    v.as_u64().unwrap()
}

pub(crate) fn text(v: &Value) -> &str {
    v.as_str().unwrap()
}

pub(crate) fn ranges(v: &Value) -> Vec<OffsetRange> {
    let range = |v: &Value| OffsetRange {
        first: number(&v[0]),
        count: number(&v[1]),
    };
    v.as_array().unwrap().iter().map(range).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(v: &Value) -> Bytes {
    let text = text(v);
    assert!(text.is_ascii() && text.len() % 2 == 0, "{text}");
    let byte = |i| u8::from_str_radix(&text[i..i + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

fn message(record: &Value) -> Message {
    let message = Message::new(unhex(&record["payload"])).key(unhex(&record["key"]));
    let headers = record["headers"].as_array().unwrap().iter();
    headers.fold(message, |m, h| m.header(text(&h[0]), unhex(&h[1])))
}

fn named<'a>(file: &'a Value, name: &Value) -> &'a Value {
    let records = cases(&file["records"]);
    records.iter().find(|r| r["name"] == *name).unwrap()
}

/// The PublishRequest that these messages make.
fn published<'a>(first_sequence: u64, records: impl Iterator<Item = &'a Value>) -> Bytes {
    let mut batch = BatchBuffer::new(BytesMut::new(), 0);
    for record in records {
        let message = message(record);
        batch.push(&message, record_size(&message));
    }
    batch.seal(first_sequence).frame().slice(GRPC_HEADER..)
}

#[test]
fn records() {
    let Some(file) = read("wire.json") else {
        return;
    };
    for record in cases(&file["records"]) {
        let size = record_size(&message(record));
        assert_eq!(size as u64, number(&record["bytes"]), "{record}");
        assert_eq!(size * 2, text(&record["hex"]).len(), "{record}");
        let frame = published(1, [record].into_iter());
        assert_eq!(hex(&frame[frame.len() - size..]), text(&record["hex"]));
    }
}

#[test]
fn publishes() {
    let Some(file) = read("wire.json") else {
        return;
    };
    for case in cases(&file["publish"]) {
        let records = cases(&case["records"]).iter().map(|r| named(&file, r));
        let frame = published(number(&case["first_sequence"]), records);
        assert_eq!(hex(&frame), text(&case["hex"]));
    }
}

#[test]
fn confirms() {
    let Some(file) = read("wire.json") else {
        return;
    };
    for case in cases(&file["confirm"]) {
        let response = pb::PublishResponse::decode(unhex(&case["hex"])).unwrap();
        let Some(pb::publish_response::Frame::Confirm(confirm)) = response.frame else {
            panic!("{response:?}");
        };
        let durability = confirm.durability().as_str_name();
        assert_eq!(
            durability,
            format!("DURABILITY_{}", text(&case["durability"]))
        );
        let run = |v: &Value| pb::confirm::Run {
            first_sequence: number(&v["first_sequence"]),
            count: number(&v["count"]),
            first_offset: number(&v["first_offset"]),
            duplicate: v["duplicate"].as_bool().unwrap(),
            offset_unknown: v["offset_unknown"].as_bool().unwrap(),
        };
        let runs: Vec<_> = cases(&case["runs"]).iter().map(run).collect();
        assert_eq!(confirm.runs, runs);
        let grant = case["grant"].as_object().map(|g| pb::Grant {
            epoch: number(&g["epoch"]),
            limit: Some(pb::Credit {
                messages: number(&g["limit"]["messages"]),
                bytes: number(&g["limit"]["bytes"]),
            }),
            reason: pb::CreditReason::from_str_name(&format!(
                "CREDIT_REASON_{}",
                text(&g["reason"])
            ))
            .unwrap() as i32,
            reason_age_ms: number(&g["reason_age_ms"]),
            window_used_bytes: number(&g["window_used_bytes"]),
            window_bytes: number(&g["window_bytes"]),
        });
        assert_eq!(confirm.grant, grant);
    }
}

#[test]
fn deliveries() {
    let Some(file) = read("wire.json") else {
        return;
    };
    for case in cases(&file["delivery"]) {
        let decoded = ConsumeEvent::decode(unhex(&case["hex"])).unwrap();
        let ConsumeEvent::Delivery(mut delivery) = decoded else {
            panic!("{decoded:?}");
        };
        let mut records = cases(&case["records"]).iter().map(|r| named(&file, r));
        let cost: u64 = records.clone().map(|r| number(&r["bytes"])).sum();
        assert_eq!(delivery.cost, cost);
        let mut sizes = delivery.sizes.clone().into_iter().map(u64::from);
        for (n, run) in cases(&case["runs"]).iter().enumerate() {
            let attempt = delivery.runs[n].attempt;
            assert_eq!(u64::from(attempt), number(&run["attempt"]));
            for i in 0..number(&run["count"]) {
                let (got, record) = (delivery.next().unwrap(), records.next().unwrap());
                assert_eq!(got.offset, number(&run["first_offset"]) + i);
                assert_eq!(got.appended_at_unix_ms, number(&run["appended_at_unix_ms"]));
                assert_eq!(sizes.next(), Some(number(&record["bytes"])));
                let message = message(record);
                let message = (message.payload, message.key, message.headers);
                assert_eq!(got.into_parts(), message);
            }
        }
        assert!(delivery.next().is_none() && records.next().is_none());
    }
    for case in cases(&file["malformed_delivery"]) {
        let decoded = ConsumeEvent::decode(unhex(&case["hex"]));
        assert!(decoded.is_err(), "{case}: {decoded:?}");
    }
}

#[test]
fn settled_offsets_as_ranges() {
    let Some(file) = read("ranges.json") else {
        return;
    };
    for case in cases(&file) {
        let mut gathered = Gathered::default();
        for run in ranges(&case["settled"]) {
            match run.count {
                ..=1000 => (run.first..run.end()).for_each(|offset| gathered.push(offset)),
                _ => gathered.extend([run]), // not one by one
            }
        }
        let got = gathered.take(usize::MAX);
        assert_eq!(got, ranges(&case["ranges"]), "{case}");
        let settle = pb::Settle {
            ranges: got.into_iter().map(Into::into).collect(),
            ..Default::default()
        };
        assert_eq!(hex(&settle.encode_to_vec()), text(&case["hex"]), "{case}");
    }
}

#[test]
fn errors() {
    let Some(file) = read("errors.json") else {
        return;
    };
    for case in cases(&file) {
        let code = tonic::Code::from_i32(number(&case["code"]) as i32);
        let mut status = tonic::Status::new(code, "why");
        let trailer = unhex(&case["trailer"]);
        if !trailer.is_empty() {
            let value = tonic::metadata::MetadataValue::from_bytes(&trailer);
            status.metadata_mut().insert_bin(ERROR_TRAILER, value);
        }
        let e = Error::from_status(status);
        assert_eq!(e.kind().name(), text(&case["kind"]), "{case}");
        assert_eq!(e.queue(), text(&case["queue"]), "{case}");
        assert_eq!(e.field(), text(&case["field"]), "{case}");
        assert_eq!(e.limit(), number(&case["limit"]), "{case}");
        assert_eq!(e.actual(), number(&case["actual"]), "{case}");
        let retry_after = number(&case["retry_after_ms"]);
        let expected = (retry_after > 0).then(|| Duration::from_millis(retry_after));
        assert_eq!(e.retry_after(), expected, "{case}");
        assert_eq!(e.head_offset(), number(&case["head_offset"]), "{case}");
        assert_eq!(e.tail_offset(), number(&case["tail_offset"]), "{case}");
        assert_eq!(Value::from(e.is_retryable()), case["retryable"], "{case}");
    }
}

#[test]
fn reconnects() {
    let Some(file) = read("retry.json") else {
        return;
    };
    let now = Instant::now();
    for case in cases(&file["reconnect"]) {
        let ms = |field: &str| Duration::from_millis(number(&case[field]));
        let schedule = Schedule {
            base: ms("base_ms"),
            max: ms("max_ms"),
            reset_after: Duration::from_secs(30),
        };
        let waits: Vec<_> = (0..2000)
            .map(|seed| {
                let mut backoff = Backoff::new(schedule, seed);
                for _ in 0..number(&case["attempt"]) {
                    backoff.next(now, true, Duration::ZERO);
                }
                let budget = case["budget"].as_bool().unwrap();
                backoff.next(now, budget, ms("retry_after_ms"))
            })
            .collect();
        let (lowest, highest) = (*waits.iter().min().unwrap(), *waits.iter().max().unwrap());
        let (least, most) = (ms("least_ms"), ms("most_ms"));
        assert!(
            lowest >= least && highest <= most,
            "{case}: {lowest:?} {highest:?}"
        );
        // So many draws come near to both ends.
        let near = (most - least) / 50;
        assert!(lowest <= least + near, "{case}: {lowest:?}");
        assert!(highest >= most - near, "{case}: {highest:?}");
    }
}
