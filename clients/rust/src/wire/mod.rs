//! Frames as bytes: batches are encoded once, in place, and deliveries alias the frame that
//! they came in. Everything else goes through prost.

mod deliver;
mod publish;

pub(crate) use deliver::{ConsumeEvent, DeliveryFrame, RecordView, Records, Run};
pub(crate) use publish::{record_size, BatchBuffer, SealedBatch};

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{decode_varint, encoded_len_varint};
use prost::Message;
use tonic::Status;

use crate::frames::Decode;
use crate::pb;

/// The prefix of a gRPC message: not compressed, and its length.
pub(crate) const GRPC_HEADER: usize = 5;
/// The tag of `records` in PublishBatch and Delivery: field 15, length-delimited.
pub(crate) const RECORDS_TAG: u8 = 15 << 3 | 2;
/// The tag of `payload` in Record.
pub(crate) const PAYLOAD_TAG: u8 = 1 << 3 | 2;

/// A whole gRPC message, prefix included.
pub(crate) fn grpc_frame<M: Message>(message: &M) -> Bytes {
    let len = message.encoded_len();
    let mut buf = BytesMut::with_capacity(GRPC_HEADER + len);
    buf.put_u8(0);
    buf.put_u32(len as u32);
    message.encode_raw(&mut buf);
    buf.freeze()
}

/// The bytes that a length-delimited field takes, with a tag of one byte.
pub(crate) fn field_len(len: usize) -> usize {
    1 + encoded_len_varint(len as u64) + len
}

/// Where the bytes of the field at `at` are, if it is of this tag (length-delimited) and
/// shorter than 2 MiB: what frames consist of, read without walking their fields.
#[inline]
pub(crate) fn span_at(all: &[u8], at: usize, tag: u8) -> Option<(usize, usize)> {
    let low = |byte: u8| usize::from(byte & 0x7f);
    let (len, head) = match *all.get(at..)? {
        [t, a, ..] if t == tag && a < 0x80 => (low(a), 2),
        [t, a, b, ..] if t == tag && b < 0x80 => (low(a) | low(b) << 7, 3),
        [t, a, b, c, ..] if t == tag && c < 0x80 => (low(a) | low(b) << 7 | low(c) << 14, 4),
        _ => return None,
    };
    let (from, to) = (at + head, at + head + len);
    (to <= all.len()).then_some((from, to))
}

/// A malformed message of the broker.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub &'static str);

impl From<Malformed> for Status {
    fn from(m: Malformed) -> Status {
        Status::internal(format!("malformed frame: {}", m.0))
    }
}

/// Walks the fields of one encoded message.
pub(crate) struct Fields<'a> {
    all: &'a [u8],
    at: usize,
}

/// A field's value; groups are not read.
pub(crate) enum Value {
    Number(u64),
    /// Where the bytes are in the message.
    Span(usize, usize),
    Other,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(all: &'a [u8]) -> Self {
        Fields::new_at(all, 0)
    }

    /// From this position on.
    pub(crate) fn new_at(all: &'a [u8], at: usize) -> Self {
        Fields { all, at }
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        if let Some(&byte) = self.all.get(self.at) {
            if byte < 0x80 {
                self.at += 1;
                return Ok(u64::from(byte));
            }
        }
        let mut rest = &self.all[self.at..];
        let before = rest.len();
        let value = decode_varint(&mut rest).map_err(|_| Malformed("varint"))?;
        self.at += before - rest.len();
        Ok(value)
    }

    fn skip(&mut self, n: u64) -> Result<(usize, usize), Malformed> {
        let left = (self.all.len() - self.at) as u64;
        if n > left {
            return Err(Malformed("length"));
        }
        let from = self.at;
        self.at += n as usize;
        Ok((from, self.at))
    }

    pub(crate) fn next(&mut self) -> Result<Option<(u32, Value)>, Malformed> {
        if self.at == self.all.len() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| Malformed("tag"))?;
        if number == 0 {
            return Err(Malformed("tag"));
        }
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => {
                self.skip(8)?;
                Value::Other
            }
            2 => {
                let len = self.varint()?;
                let (from, to) = self.skip(len)?;
                Value::Span(from, to)
            }
            5 => {
                self.skip(4)?;
                Value::Other
            }
            _ => return Err(Malformed("wire type")),
        };
        Ok(Some((number, value)))
    }
}

impl Decode for pb::PublishResponse {
    fn decode(message: Bytes) -> Result<Self, Status> {
        <Self as Message>::decode(message)
            .map_err(|e| Status::internal(format!("malformed frame: {e}")))
    }
}

impl Decode for ConsumeEvent {
    fn decode(message: Bytes) -> Result<Self, Status> {
        ConsumeEvent::decode(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::encoding::encode_varint;

    #[test]
    fn a_span_is_what_walking_the_fields_finds() {
        for len in [0, 1, 127, 128, 16_383, 16_384, (1 << 21) - 1, 1 << 21] {
            let mut all = vec![8, 1, RECORDS_TAG];
            encode_varint(len as u64, &mut all);
            all.resize(all.len() + len, 0);
            let mut fields = Fields::new_at(&all, 2);
            let Ok(Some((15, Value::Span(from, to)))) = fields.next() else {
                panic!("{len}");
            };
            let short = len < 1 << 21;
            let found = span_at(&all, 2, RECORDS_TAG);
            assert_eq!(found, short.then_some((from, to)), "{len}");
            assert_eq!(span_at(&all, 0, RECORDS_TAG), None, "another field");
            assert_eq!(span_at(&all, all.len(), RECORDS_TAG), None);
            if len > 0 {
                let cut = &all[..all.len() - 1];
                assert_eq!(span_at(cut, 2, RECORDS_TAG), None, "cut short");
            }
        }
    }
}
