//! PublishRequest{publish} frames, encoded record by record into one buffer.

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{encode_varint, encoded_len_varint};

use super::{field_len, Fields, Value, GRPC_HEADER, PAYLOAD_TAG, RECORDS_TAG};
use crate::types::Message;

/// Room in front of the records for the gRPC prefix and the fields before them.
const HEAD: usize = 32;
const MAX_VARINT: usize = 10;
/// The tag of `publish` in PublishRequest, and of `first_sequence` in PublishBatch.
const PUBLISH_TAG: u8 = 2 << 3 | 2;
const FIRST_SEQUENCE_TAG: u8 = 1 << 3;

/// The cost of a message in bytes of credit: its encoded Record.
#[inline]
pub(crate) fn record_size(m: &Message) -> usize {
    let bytes = |b: &Bytes| if b.is_empty() { 0 } else { field_len(b.len()) };
    let headers: usize = m.headers.iter().map(|h| field_len(header_size(h))).sum();
    bytes(&m.payload) + bytes(&m.key) + headers
}

pub(crate) fn header_size(h: &crate::types::Header) -> usize {
    let part = |len: usize| if len == 0 { 0 } else { field_len(len) };
    part(h.name.len()) + part(h.value.len())
}

fn put_bytes(buf: &mut BytesMut, number: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        buf.put_u8(number << 3 | 2);
        encode_varint(bytes.len() as u64, buf);
        buf.put_slice(bytes);
    }
}

#[inline]
fn put_record(buf: &mut BytesMut, m: &Message, size: usize) {
    // What stands before the payload goes in one piece, for which the buffer looks for room
    // once; mostly of a length that the compiler knows.
    let payload = m.payload.len();
    let low = |n: usize| n as u8 & 0x7f;
    let (more, high) = (|n| low(n) | 0x80, |n: usize| (n >> 7) as u8);
    if payload > 0 && size < 0x80 {
        buf.extend_from_slice(&[RECORDS_TAG, low(size), PAYLOAD_TAG, low(payload)]);
    } else if payload >= 0x80 && size < 0x4000 {
        let (a, b) = ((more(size), high(size)), (more(payload), high(payload)));
        buf.extend_from_slice(&[RECORDS_TAG, a.0, a.1, PAYLOAD_TAG, b.0, b.1]);
    } else {
        put_head(buf, payload, size);
    }
    buf.extend_from_slice(&m.payload);
    if !m.key.is_empty() || !m.headers.is_empty() {
        put_extras(buf, m);
    }
}

fn put_head(buf: &mut BytesMut, payload: usize, size: usize) {
    let mut head = [0; 2 * (1 + MAX_VARINT)];
    let mut rest = &mut head[..];
    rest.put_u8(RECORDS_TAG);
    encode_varint(size as u64, &mut rest);
    if payload > 0 {
        rest.put_u8(PAYLOAD_TAG);
        encode_varint(payload as u64, &mut rest);
    }
    let len = 2 * (1 + MAX_VARINT) - rest.len();
    buf.extend_from_slice(&head[..len]);
}

fn put_extras(buf: &mut BytesMut, m: &Message) {
    put_bytes(buf, 2, &m.key);
    for h in &m.headers {
        buf.put_u8(3 << 3 | 2);
        encode_varint(header_size(h) as u64, buf);
        put_bytes(buf, 1, h.name.as_bytes());
        put_bytes(buf, 2, &h.value);
    }
}

/// A batch under construction. Records are encoded as they come; what stands before them is
/// put into the room in front when the batch is sealed, so nothing is copied twice.
#[derive(Debug)]
pub(crate) struct BatchBuffer {
    buf: BytesMut,
    records: u32,
    cost: u64,
}

impl BatchBuffer {
    pub(crate) fn new(mut buf: BytesMut, room: usize) -> Self {
        buf.clear();
        buf.reserve(HEAD + room);
        buf.put_bytes(0, HEAD);
        BatchBuffer {
            buf,
            records: 0,
            cost: 0,
        }
    }

    /// REQUIRES: `size` is `record_size(m)`.
    #[inline]
    pub(crate) fn push(&mut self, m: &Message, size: usize) {
        debug_assert_eq!(size, record_size(m));
        put_record(&mut self.buf, m, size);
        self.records += 1;
        self.cost += size as u64;
    }

    fn push_encoded(&mut self, record: &[u8]) {
        put_bytes_always(&mut self.buf, record);
        self.records += 1;
        self.cost += record.len() as u64;
    }

    #[inline]
    pub(crate) fn records(&self) -> u32 {
        self.records
    }

    /// At most how long the frame would be with one more record.
    #[inline]
    pub(crate) fn frame_len_with(&self, size: usize) -> usize {
        self.buf.len() - GRPC_HEADER + field_len(size)
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.buf.len()
    }

    pub(crate) fn seal(mut self, first_sequence: u64) -> SealedBatch {
        let body = self.buf.len() - HEAD;
        let batch = 1 + encoded_len_varint(first_sequence) + body;
        let request = field_len(batch);
        let start = HEAD + body - request - GRPC_HEADER;
        let mut head = &mut self.buf[start..HEAD];
        head.put_u8(0);
        head.put_u32(request as u32);
        head.put_u8(PUBLISH_TAG);
        encode_varint(batch as u64, &mut head);
        head.put_u8(FIRST_SEQUENCE_TAG);
        encode_varint(first_sequence, &mut head);
        debug_assert!(head.is_empty());
        SealedBatch {
            frame: self.buf.freeze(),
            start,
            first_sequence,
            records: self.records,
            cost: self.cost,
        }
    }
}

fn put_bytes_always(buf: &mut BytesMut, record: &[u8]) {
    buf.put_u8(RECORDS_TAG);
    encode_varint(record.len() as u64, buf);
    buf.put_slice(record);
}

/// A batch as it goes over the wire, kept until it is confirmed.
#[derive(Debug)]
pub(crate) struct SealedBatch {
    frame: Bytes,
    start: usize,
    pub(crate) first_sequence: u64,
    pub(crate) records: u32,
    pub(crate) cost: u64,
}

impl SealedBatch {
    /// The gRPC message.
    pub(crate) fn frame(&self) -> Bytes {
        self.frame.slice(self.start..)
    }

    pub(crate) fn end_sequence(&self) -> u64 {
        self.first_sequence + u64::from(self.records)
    }

    fn spans(&self) -> Vec<(usize, usize)> {
        let mut fields = Fields::new(&self.frame[HEAD..]);
        let mut spans = Vec::with_capacity(self.records as usize);
        while let Ok(Some((_, Value::Span(from, to)))) = fields.next() {
            spans.push((HEAD + from, HEAD + to));
        }
        spans
    }

    /// How many records from the front cost no more than `bytes`, and the first one's cost.
    pub(crate) fn fitting(&self, messages: u64, bytes: u64) -> (u32, u64) {
        let (mut n, mut sum) = (0, 0);
        let spans = self.spans();
        for (from, to) in &spans {
            sum += (to - from) as u64;
            if sum > bytes || u64::from(n) >= messages {
                break;
            }
            n += 1;
        }
        (n, spans.first().map_or(0, |(from, to)| (to - from) as u64))
    }

    /// Two batches: the first `n` records and the others.
    /// REQUIRES: 0 < n < records.
    pub(crate) fn split(&self, n: u32) -> (SealedBatch, SealedBatch) {
        let spans = self.spans();
        let (a, b) = spans.split_at(n as usize);
        let part = |spans: &[(usize, usize)], first: u64| {
            let room = spans.iter().map(|(from, to)| field_len(to - from)).sum();
            let mut batch = BatchBuffer::new(BytesMut::new(), room);
            for &(from, to) in spans {
                batch.push_encoded(&self.frame[from..to]);
            }
            batch.seal(first)
        };
        (
            part(a, self.first_sequence),
            part(b, self.first_sequence + u64::from(n)),
        )
    }

    /// The same records from this sequence on.
    pub(crate) fn renumbered(&self, first_sequence: u64) -> SealedBatch {
        let spans = self.spans();
        let room = self.frame.len();
        let mut batch = BatchBuffer::new(BytesMut::new(), room);
        for (from, to) in spans {
            batch.push_encoded(&self.frame[from..to]);
        }
        batch.seal(first_sequence)
    }

    /// The buffer, to be used again, if nobody else holds it.
    pub(crate) fn reclaim(self) -> Option<BytesMut> {
        self.frame.try_into_mut().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb;
    use prost::Message as _;

    fn messages() -> Vec<Message> {
        vec![
            Message::new(""),
            Message::new("payload"),
            Message::new(vec![7u8; 200]).key("k"),
            Message::new("x")
                .header("a", "1")
                .header("a", "")
                .header("long", vec![1u8; 300]),
            Message::new(vec![0u8; 70_000]).key(vec![2u8; 1024]),
        ]
    }

    fn record(m: &Message) -> pb::Record {
        pb::Record {
            payload: m.payload.clone(),
            key: m.key.clone(),
            headers: m
                .headers
                .iter()
                .map(|h| pb::Header {
                    name: h.name.clone(),
                    value: h.value.clone(),
                })
                .collect(),
        }
    }

    fn decode(batch: &SealedBatch) -> pb::PublishBatch {
        let frame = batch.frame();
        let len = u32::from_be_bytes(frame[1..5].try_into().unwrap()) as usize;
        assert_eq!((frame[0], len), (0, frame.len() - GRPC_HEADER));
        let request = pb::PublishRequest::decode(frame.slice(GRPC_HEADER..)).unwrap();
        match request.frame {
            Some(pb::publish_request::Frame::Publish(p)) => p,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn encodes_as_prost_does() {
        for sequence in [1, 127, 128, 1 << 20, u64::MAX / 2] {
            let mut b = BatchBuffer::new(BytesMut::new(), 0);
            let mut expected = 0;
            let mut all = messages();
            // Around where lengths take a byte more.
            for n in [123, 124, 125, 126, 127, 128, 16_378, 16_379, 16_380, 16_384] {
                all.extend([
                    Message::new(vec![7u8; n]),
                    Message::new(vec![7u8; n]).key("k"),
                ]);
            }
            for m in &all {
                let size = record_size(m);
                assert_eq!(size, record(m).encoded_len());
                expected += size;
                let limit = b.frame_len_with(size);
                b.push(m, size);
                assert!(b.len() - GRPC_HEADER <= limit);
            }
            let sealed = b.seal(sequence);
            assert_eq!(sealed.cost, expected as u64);
            let p = decode(&sealed);
            assert_eq!((p.first_sequence, p.partition), (sequence, 0));
            assert_eq!(p.records, all.iter().map(record).collect::<Vec<_>>());
            let prost = pb::PublishRequest {
                frame: Some(pb::publish_request::Frame::Publish(p)),
            };
            assert_eq!(super::super::grpc_frame(&prost), sealed.frame());
        }
    }

    #[test]
    fn splits_at_a_record() {
        let mut b = BatchBuffer::new(BytesMut::new(), 0);
        for m in messages() {
            b.push(&m, record_size(&m));
        }
        let whole = b.seal(10);
        assert_eq!(whole.fitting(100, u64::MAX), (5, 0));
        assert_eq!(whole.fitting(2, u64::MAX), (2, 0));
        assert_eq!(whole.fitting(100, 9), (2, 0));
        assert_eq!(whole.fitting(100, 8), (1, 0));
        let (a, b) = whole.split(2);
        let (pa, pb) = (decode(&a), decode(&b));
        assert_eq!((pa.first_sequence, pb.first_sequence), (10, 12));
        assert_eq!((a.end_sequence(), b.end_sequence()), (12, 15));
        assert_eq!(a.cost + b.cost, whole.cost);
        let moved = decode(&b.renumbered(7));
        assert_eq!((moved.first_sequence, &moved.records), (7, &pb.records));
        let joined: Vec<_> = pa.records.into_iter().chain(pb.records).collect();
        assert_eq!(joined, messages().iter().map(record).collect::<Vec<_>>());
    }
}
