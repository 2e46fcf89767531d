//! ConsumeResponse frames. A delivery keeps its records encoded; they are read one by one
//! as the application takes them.

use bytes::Bytes;
use prost::Message;
use tonic::Status;

use super::{span_at, Fields, Malformed, Value, PAYLOAD_TAG, RECORDS_TAG};
use crate::frames::Spare;
use crate::pb;
use crate::types::Header;

/// The field of the records in a Delivery.
const RECORDS: u32 = (RECORDS_TAG >> 3) as u32;

/// What the broker sent to a consumer.
#[derive(Debug)]
pub(crate) enum ConsumeEvent {
    Delivery(DeliveryFrame),
    Other(pb::consume_response::Frame),
    /// A frame that this version does not know.
    Unknown,
}

/// Consecutive offsets, appended together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub first_offset: u64,
    pub count: u32,
    pub appended_at_unix_ms: u64,
    pub attempt: u32,
}

/// A checked Delivery: as many records as the runs say.
#[derive(Debug)]
pub(crate) struct DeliveryFrame {
    bytes: Bytes,
    pub(crate) runs: Vec<Run>,
    /// The cost of each record in bytes.
    pub(crate) sizes: Vec<u32>,
    pub(crate) messages: u64,
    pub(crate) cost: u64,
    // Where to read on: in bytes, the run, and within the run.
    at: usize,
    run: usize,
    within: u32,
}

/// One record; its bytes alias the frame.
#[derive(Debug)]
pub(crate) struct RecordView {
    pub offset: u64,
    pub appended_at_unix_ms: u64,
    pub payload: Bytes,
    /// Apart, since most records have none: what is handed from function to function stays
    /// small.
    extras: Option<Box<Extras>>,
}

#[derive(Debug, Default)]
struct Extras {
    key: Bytes,
    headers: Vec<Header>,
}

static NONE: Bytes = Bytes::new();

impl RecordView {
    /// The payload, the key and the headers.
    pub(crate) fn into_parts(self) -> (Bytes, Bytes, Vec<Header>) {
        let Extras { key, headers } = self.extras.map_or_else(Extras::default, |e| *e);
        (self.payload, key, headers)
    }
}

/// The records of a frame by their index; their bytes alias it.
#[derive(Debug)]
pub(crate) struct Records {
    payloads: Vec<Bytes>,
    /// Of those that have any, by index.
    extras: Vec<(u32, Box<Extras>)>,
    bytes: Bytes,
}

impl Records {
    #[inline]
    pub(crate) fn payload(&self, index: u32) -> &Bytes {
        &self.payloads[index as usize]
    }

    fn extras(&self, index: u32) -> Option<&Extras> {
        let found = self.extras.binary_search_by_key(&index, |e| e.0).ok()?;
        Some(&self.extras[found].1)
    }

    pub(crate) fn key(&self, index: u32) -> &Bytes {
        self.extras(index).map_or(&NONE, |e| &e.key)
    }

    pub(crate) fn headers(&self, index: u32) -> &[Header] {
        self.extras(index).map_or(&[], |e| &e.headers)
    }

    /// Lets the frame's buffer be used again, unless somebody holds some of its bytes.
    pub(crate) fn give_back(&mut self, spare: &Spare) {
        self.payloads.clear();
        self.extras.clear();
        spare.give(std::mem::take(&mut self.bytes));
    }
}

impl ConsumeEvent {
    pub(crate) fn decode(frame: Bytes) -> Result<ConsumeEvent, Status> {
        let mut fields = Fields::new(&frame);
        let mut delivery = None;
        let mut others = false;
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (2, Value::Span(from, to)) => delivery = Some((from, to)),
                (1..=9, Value::Span(..)) => others = true,
                _ => {}
            }
        }
        match delivery {
            Some((from, to)) if !others => Ok(ConsumeEvent::Delivery(DeliveryFrame::parse(
                frame.slice(from..to),
            )?)),
            _ => {
                let response = pb::ConsumeResponse::decode(frame)
                    .map_err(|e| Status::internal(format!("malformed frame: {e}")))?;
                Ok(response
                    .frame
                    .map_or(ConsumeEvent::Unknown, ConsumeEvent::Other))
            }
        }
    }
}

impl DeliveryFrame {
    fn parse(bytes: Bytes) -> Result<DeliveryFrame, Malformed> {
        let mut runs = Vec::with_capacity(1);
        let mut sizes = Vec::new();
        let (mut cost, mut expected) = (0u64, 0u64);
        let mut at = 0;
        loop {
            while let Some((from, to)) = span_at(&bytes, at, RECORDS_TAG) {
                sizes.push((to - from) as u32);
                cost += (to - from) as u64;
                at = to;
            }
            let mut fields = Fields::new_at(&bytes, at);
            let Some(field) = fields.next()? else {
                break;
            };
            at = fields.position();
            match field {
                (RECORDS, Value::Span(from, to)) => {
                    sizes.push((to - from) as u32);
                    cost += (to - from) as u64;
                }
                (1, Value::Span(from, to)) => {
                    let run = parse_run(&bytes[from..to])?;
                    expected += u64::from(run.count);
                    // Runs come before records.
                    sizes.reserve((run.count as usize).min(bytes.len() / 2));
                    if run.first_offset.checked_add(u64::from(run.count)).is_none() {
                        return Err(Malformed("delivery.runs: offsets"));
                    }
                    runs.push(run);
                }
                _ => {}
            }
        }
        let messages = sizes.len() as u64;
        if messages != expected {
            return Err(Malformed("delivery.runs: counts"));
        }
        runs.retain(|r| r.count > 0);
        Ok(DeliveryFrame {
            bytes,
            runs,
            sizes,
            messages,
            cost,
            at: 0,
            run: 0,
            within: 0,
        })
    }

    #[inline]
    pub(crate) fn next(&mut self) -> Option<RecordView> {
        let run = self.runs.get(self.run)?;
        let (from, to) = match span_at(&self.bytes, self.at, RECORDS_TAG) {
            Some(span) => span,
            None => self.search()?,
        };
        self.at = to;
        let offset = run.first_offset + u64::from(self.within);
        let appended_at_unix_ms = run.appended_at_unix_ms;
        self.within += 1;
        if self.within == run.count {
            self.run += 1;
            self.within = 0;
        }
        let (payload, extras) = match span_at(&self.bytes[..to], from, PAYLOAD_TAG) {
            Some((from, end)) if end == to => (self.bytes.slice(from..to), None),
            _ => self.contents(from, to),
        };
        Some(RecordView {
            offset,
            appended_at_unix_ms,
            payload,
            extras,
        })
    }

    /// All that is left of it, for who takes them in any order.
    pub(crate) fn into_records(mut self) -> Records {
        let mut payloads = Vec::with_capacity(self.messages as usize);
        let mut extras = Vec::new();
        while let Some(record) = self.next() {
            if let Some(more) = record.extras {
                extras.push((payloads.len() as u32, more));
            }
            payloads.push(record.payload);
        }
        Records {
            payloads,
            extras,
            bytes: self.bytes,
        }
    }

    /// Lets its buffer be used again.
    pub(crate) fn give_back(self, spare: &Spare) {
        spare.give(self.bytes);
    }

    /// The next record, past whatever else stands there.
    #[cold]
    fn search(&self) -> Option<(usize, usize)> {
        let mut fields = Fields::new_at(&self.bytes, self.at);
        loop {
            match fields.next() {
                Ok(Some((RECORDS, Value::Span(from, to)))) => return Some((from, to)),
                Ok(Some(_)) => {}
                _ => return None, // parse saw as many records as the runs have
            }
        }
    }

    /// Of a record that is not a payload alone.
    #[inline(never)]
    fn contents(&self, from: usize, to: usize) -> (Bytes, Option<Box<Extras>>) {
        let (mut payload, mut extras) = (Bytes::new(), None::<Box<Extras>>);
        let mut fields = Fields::new(&self.bytes[from..to]);
        while let Ok(Some((number, value))) = fields.next() {
            match (number, value) {
                (1, Value::Span(a, b)) => payload = self.bytes.slice(from + a..from + b),
                (2, Value::Span(a, b)) => {
                    extras.get_or_insert_default().key = self.bytes.slice(from + a..from + b);
                }
                (3, Value::Span(a, b)) => {
                    // The broker has checked it; a header that cannot be read is left out.
                    if let Ok(h) = pb::Header::decode(self.bytes.slice(from + a..from + b)) {
                        extras.get_or_insert_default().headers.push(Header {
                            name: h.name,
                            value: h.value,
                        });
                    }
                }
                _ => {}
            }
        }
        (payload, extras)
    }
}

fn parse_run(bytes: &[u8]) -> Result<Run, Malformed> {
    let mut run = Run {
        first_offset: 0,
        count: 0,
        appended_at_unix_ms: 0,
        attempt: 0,
    };
    let mut fields = Fields::new(bytes);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Value::Number(n)) => run.first_offset = n,
            (2, Value::Number(n)) => run.count = n as u32,
            (3, Value::Number(n)) => run.appended_at_unix_ms = n,
            (4, Value::Number(n)) => run.attempt = n as u32,
            _ => {}
        }
    }
    Ok(run)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(counts: &[u32]) -> pb::ConsumeResponse {
        let n: u32 = counts.iter().sum();
        pb::ConsumeResponse {
            frame: Some(pb::consume_response::Frame::Delivery(pb::Delivery {
                runs: counts
                    .iter()
                    .enumerate()
                    .map(|(i, &count)| pb::delivery::Run {
                        first_offset: 1000 * i as u64,
                        count,
                        appended_at_unix_ms: 1_700_000_000_000 + i as u64,
                        attempt: i as u32 + 1,
                    })
                    .collect(),
                partition: 0,
                records: (0..n)
                    .map(|i| pb::Record {
                        payload: vec![i as u8; i as usize * 50].into(),
                        key: format!("key {i}").into(),
                        headers: (0..i % 3)
                            .map(|h| pb::Header {
                                name: format!("h{h}"),
                                value: vec![9; h as usize].into(),
                            })
                            .collect(),
                    })
                    .collect(),
            })),
        }
    }

    #[test]
    fn decodes_as_prost_does() {
        let message = frame(&[1, 3, 2]);
        let bytes = Bytes::from(message.encode_to_vec());
        let ConsumeEvent::Delivery(mut d) = ConsumeEvent::decode(bytes.clone()).unwrap() else {
            panic!()
        };
        let Some(pb::consume_response::Frame::Delivery(expected)) = message.frame else {
            panic!()
        };
        let sizes: u64 = expected
            .records
            .iter()
            .map(|r| r.encoded_len() as u64)
            .sum();
        assert_eq!((d.messages, d.cost), (6, sizes));
        let runs: Vec<_> = d.runs.iter().map(|r| (r.first_offset, r.count)).collect();
        assert_eq!(runs, [(0, 1), (1000, 3), (2000, 2)]);
        assert_eq!(
            d.runs.iter().map(|r| r.attempt).collect::<Vec<_>>(),
            [1, 2, 3]
        );
        let ConsumeEvent::Delivery(again) = ConsumeEvent::decode(bytes.clone()).unwrap() else {
            panic!()
        };
        let records = again.into_records();
        let mut offsets = Vec::new();
        for (i, record) in (0u32..).zip(&expected.records) {
            let got = d.next().unwrap();
            offsets.push(got.offset);
            assert_eq!(got.payload, record.payload);
            assert_eq!(d.sizes[i as usize] as usize, record.encoded_len());
            let headers: Vec<_> = record
                .headers
                .iter()
                .map(|h| Header {
                    name: h.name.clone(),
                    value: h.value.clone(),
                })
                .collect();
            if !got.payload.is_empty() {
                let whole = bytes.as_ptr_range();
                assert!(whole.contains(&got.payload.as_ptr()), "payload was copied");
            }
            assert_eq!(records.payload(i), &record.payload);
            assert_eq!(records.key(i), &record.key);
            assert_eq!(records.headers(i), headers);
            let parts = (record.payload.clone(), record.key.clone(), headers);
            assert_eq!(got.into_parts(), parts);
        }
        assert!(d.next().is_none());
        assert_eq!(offsets, [0, 1000, 1001, 1002, 2000, 2001]);
    }

    #[test]
    fn records_without_extras_among_others() {
        let mut message = frame(&[4]);
        if let Some(pb::consume_response::Frame::Delivery(d)) = &mut message.frame {
            d.records[2].key = Bytes::new();
            d.records[2].headers.clear();
        }
        let bytes = Bytes::from(message.encode_to_vec());
        let ConsumeEvent::Delivery(mut d) = ConsumeEvent::decode(bytes).unwrap() else {
            panic!()
        };
        d.next();
        let mut records = d.into_records();
        assert_eq!(records.payload(1).len(), 100);
        assert_eq!(
            (&records.key(0)[..], &records.key(1)[..]),
            (&b"key 1"[..], &b""[..])
        );
        assert_eq!((records.headers(0).len(), records.headers(1).len()), (1, 0));
        assert_eq!(&records.key(2)[..], b"key 3");
        records.give_back(&Spare::default());
    }

    #[test]
    fn other_frames_and_garbage() {
        let end = pb::ConsumeResponse {
            frame: Some(pb::consume_response::Frame::End(pb::End {
                reason: 1,
                next_offset: 7,
            })),
        };
        let decoded = ConsumeEvent::decode(end.encode_to_vec().into()).unwrap();
        assert!(matches!(decoded, ConsumeEvent::Other(f) if Some(&f) == end.frame.as_ref()));
        let empty = ConsumeEvent::decode(Bytes::new()).unwrap();
        assert!(matches!(empty, ConsumeEvent::Unknown));

        let mut wrong = frame(&[2]);
        if let Some(pb::consume_response::Frame::Delivery(d)) = &mut wrong.frame {
            d.runs[0].count = 3;
        }
        assert!(ConsumeEvent::decode(wrong.encode_to_vec().into()).is_err());
        // Whatever the bytes, an error or a frame, and no panic.
        let good = frame(&[3, 1]).encode_to_vec();
        for cut in 0..good.len() {
            let _ = ConsumeEvent::decode(Bytes::copy_from_slice(&good[..cut]));
            let mut flipped = good.clone();
            flipped[cut] ^= 0x55;
            if let Ok(ConsumeEvent::Delivery(mut d)) = ConsumeEvent::decode(flipped.into()) {
                while d.next().is_some() {}
            }
        }
    }
}
