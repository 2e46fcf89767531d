//! Settle frames as a consumer sends them, against the vectors that all clients share.

use super::*;
use crate::vectors::{cases, hex, number, ranges, read, text};
use crate::wire::GRPC_HEADER;

#[test]
fn settles() {
    let Some(file) = read("wire.json") else {
        return;
    };
    for case in cases(&file["settle"]) {
        let grant = &case["grant"];
        let max = |unit: &str| grant["limit"][unit].as_u64().unwrap_or(1);
        let Test { mut core, now } = Test::new(group(), max("messages"), max("bytes"));
        core.up = true;
        if grant.is_null() {
            core.granted = core.wanted(); // nothing to grant beside it
        } else {
            core.epoch = number(&grant["epoch"]);
        }
        let mut offsets = Gathered::default();
        offsets.extend(ranges(&case["ranges"]));
        let delay = Duration::from_millis(number(&case["delay_ms"]));
        let reason = text(&case["reason"]);
        let how = match text(&case["action"]) {
            "ACK" => None,
            "RETRY" => Some(Nack::retry_after(delay, reason)),
            "PARK" => Some(Nack::park(reason)),
            "SKIP" => Some(Nack::skip(reason)),
            other => panic!("{other}"),
        };
        match how {
            None => core.acks = offsets,
            Some(how) => core.nacks.push_back(Nacks { how, offsets }),
        }
        let Next::Write(frame) = core.next_frame(core.attempt, now) else {
            panic!("{case}: nothing to write");
        };
        assert_eq!(hex(&frame[GRPC_HEADER..]), text(&case["hex"]), "{case}");
    }
}
