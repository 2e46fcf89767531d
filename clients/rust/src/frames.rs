//! The messages of a response. One that came in one piece is not copied; others are put
//! together in buffers that are used again, once the application holds none of their bytes:
//! to have new ones of a quarter of a MiB from the system for each frame costs more than what
//! is copied.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::{Buf, Bytes, BytesMut};
use http::StatusCode;
use http_body::Body as _;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::wire::GRPC_HEADER;

/// What a message of a stream is decoded to.
pub(crate) trait Decode: Sized {
    fn decode(message: Bytes) -> Result<Self, Status>;
}

const MOST_SPARE: usize = 8;
const SMALLEST_SPARE: usize = 16 << 10;
const LARGEST_SPARE: usize = 1 << 20;

/// Buffers to be used again.
#[derive(Debug, Default)]
pub(crate) struct Spare(Mutex<Vec<BytesMut>>);

impl Spare {
    /// An empty buffer with this room, and not much more: whoever holds some bytes of a
    /// message holds its buffer.
    fn take(&self, room: usize) -> BytesMut {
        if room >= SMALLEST_SPARE {
            let mut spare = self.0.lock().unwrap();
            let fits = |b: &BytesMut| b.capacity() / 4 <= room;
            if let Some(i) = spare.iter().rposition(fits) {
                let mut buffer = spare.swap_remove(i);
                drop(spare);
                buffer.clear();
                buffer.reserve(room);
                return buffer;
            }
        }
        BytesMut::with_capacity(room)
    }

    /// Keeps a message's buffer, if nobody else holds any of it.
    pub(crate) fn give(&self, message: Bytes) {
        if message.len() < SMALLEST_SPARE {
            return;
        }
        let Ok(buffer) = message.try_into_mut() else {
            return;
        };
        let mut spare = self.0.lock().unwrap();
        if buffer.capacity() <= LARGEST_SPARE && spare.len() < MOST_SPARE {
            spare.push(buffer);
        }
    }
}

/// Cuts what comes into messages.
#[derive(Debug)]
struct Cutter {
    /// What came and is not cut yet.
    piece: Bytes,
    head: [u8; GRPC_HEADER],
    /// Of the head.
    read: usize,
    /// A message of which only a part came, and its length.
    part: Option<(BytesMut, usize)>,
    most: usize,
    spare: Arc<Spare>,
}

impl Cutter {
    fn new(most: usize, spare: Arc<Spare>) -> Cutter {
        Cutter {
            piece: Bytes::new(),
            head: [0; GRPC_HEADER],
            read: 0,
            part: None,
            most,
            spare,
        }
    }

    /// The next message; none once more has to come. REQUIRES: then `piece` is the next.
    fn next(&mut self) -> Result<Option<Bytes>, Status> {
        let (mut buffer, len) = match self.part.take() {
            Some(part) => part,
            None => {
                let n = self.piece.len().min(GRPC_HEADER - self.read);
                self.piece
                    .copy_to_slice(&mut self.head[self.read..self.read + n]);
                self.read += n;
                if self.read < GRPC_HEADER {
                    return Ok(None);
                }
                self.read = 0;
                let len = self.message_len()?;
                if self.piece.len() >= len {
                    return Ok(Some(self.piece.split_to(len)));
                }
                (self.spare.take(len), len)
            }
        };
        let n = self.piece.len().min(len - buffer.len());
        buffer.extend_from_slice(&self.piece[..n]);
        self.piece.advance(n);
        if self.piece.is_empty() {
            // Whoever read it may use its memory again.
            self.piece = Bytes::new();
        }
        if buffer.len() < len {
            self.part = Some((buffer, len));
            return Ok(None);
        }
        Ok(Some(buffer.freeze()))
    }

    fn message_len(&self) -> Result<usize, Status> {
        let mut head = &self.head[..];
        if head.get_u8() != 0 {
            return Err(Status::internal("a compressed message, without any asked"));
        }
        let len = head.get_u32() as usize;
        if len > self.most {
            let most = self.most;
            let text = format!("a message of {len} bytes, of at most {most}");
            return Err(Status::out_of_range(text));
        }
        Ok(len)
    }

    fn within_a_message(&self) -> bool {
        self.read > 0 || self.part.is_some()
    }
}

/// The messages of one response.
pub(crate) struct Messages {
    body: Body,
    http: StatusCode,
    cutter: Cutter,
}

impl Messages {
    pub(crate) fn new(body: Body, http: StatusCode, most: usize, spare: Arc<Spare>) -> Messages {
        Messages {
            body,
            http,
            cutter: Cutter::new(most, spare),
        }
    }

    /// The next message; none at the end of a call that succeeded.
    ///
    /// Cancel-safe.
    pub(crate) async fn next<M: Decode>(&mut self) -> Result<Option<M>, Status> {
        loop {
            if let Some(message) = self.cutter.next()? {
                return M::decode(message).map(Some);
            }
            let frame = match poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await {
                Some(frame) => frame?,
                None if self.cutter.within_a_message() => {
                    return Err(Status::internal("the stream ended within a message"));
                }
                None => return ended(None, self.http),
            };
            match frame.into_data().map_err(http_body::Frame::into_trailers) {
                Ok(piece) => self.cutter.piece = piece,
                Err(Ok(trailers)) => return ended(Status::from_header_map(&trailers), self.http),
                Err(Err(_)) => {}
            }
        }
    }
}

/// How a call ended, by its trailers or without any.
fn ended<M>(status: Option<Status>, http: StatusCode) -> Result<Option<M>, Status> {
    match status {
        Some(status) if status.code() == Code::Ok => Ok(None),
        Some(status) => Err(status),
        None => Err(Status::new(
            code_of(http),
            "the stream ended without a status",
        )),
    }
}

/// As gRPC maps them.
fn code_of(http: StatusCode) -> Code {
    match http {
        StatusCode::BAD_REQUEST => Code::Internal,
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::Unimplemented,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Code::Unavailable,
        _ => Code::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(message: &[u8]) -> Vec<u8> {
        let mut out = vec![0];
        out.extend((message.len() as u32).to_be_bytes());
        out.extend(message);
        out
    }

    #[test]
    fn cuts_whatever_the_pieces_are() {
        let messages: Vec<Vec<u8>> = [0, 1, 300, 5, 0, 70_000]
            .iter()
            .map(|&n| (0..n).map(|i: u32| i as u8).collect())
            .collect();
        let all: Vec<u8> = messages.iter().flat_map(|m| framed(m)).collect();
        for size in [1, 2, 5, 7, 299, 310, 16_384, all.len()] {
            let mut cutter = Cutter::new(70_000, Arc::default());
            let mut got = Vec::new();
            for piece in all.chunks(size) {
                cutter.piece = Bytes::copy_from_slice(piece);
                while let Some(message) = cutter.next().unwrap() {
                    got.push(message);
                }
                assert!(cutter.piece.is_empty());
            }
            assert_eq!(got, messages, "pieces of {size}");
            assert!(!cutter.within_a_message());
        }
    }

    #[test]
    fn a_whole_message_is_not_copied() {
        let mut cutter = Cutter::new(100, Arc::default());
        cutter.piece = framed(b"abc").into();
        let at = cutter.piece.as_ptr_range();
        let message = cutter.next().unwrap().unwrap();
        assert!(at.contains(&message.as_ptr()));
    }

    #[test]
    fn refuses_what_is_too_long_or_compressed() {
        let mut cutter = Cutter::new(3, Arc::default());
        cutter.piece = framed(b"abcd").into();
        assert_eq!(cutter.next().unwrap_err().code(), Code::OutOfRange);
        let mut cutter = Cutter::new(3, Arc::default());
        cutter.piece = Bytes::from_static(&[1, 0, 0]);
        assert!(cutter.next().unwrap().is_none() && cutter.within_a_message());
        cutter.piece = Bytes::from_static(&[0, 0, 0]);
        assert_eq!(cutter.next().unwrap_err().code(), Code::Internal);
    }

    #[test]
    fn a_buffer_is_used_again_once_it_is_free() {
        let spare = Arc::new(Spare::default());
        let mut cutter = Cutter::new(1 << 20, spare.clone());
        let mut message = || {
            let all = framed(&[7; 100_000]);
            let mut out = None;
            for piece in all.chunks(16_384) {
                cutter.piece = Bytes::copy_from_slice(piece);
                out = cutter.next().unwrap();
            }
            out.unwrap()
        };
        let (a, b) = (message(), message());
        let (at, held) = (a.as_ptr(), b.slice(10..20));
        spare.give(a.slice(..)); // held by `a`
        spare.give(b);
        assert!(spare.0.lock().unwrap().is_empty());
        // What is given back may be a part of the message, past its first fields.
        let rest = a.slice(8..);
        drop(a);
        spare.give(rest);
        assert_eq!(spare.0.lock().unwrap().len(), 1);
        let again = message();
        assert_eq!(again.as_ptr(), at);
        assert_eq!((&again[..], &held[..]), (&[7; 100_000][..], &[7; 10][..]));
        drop(held);
        spare.give(again);
        assert!(spare.take(SMALLEST_SPARE).capacity() < 100_000);
        assert!(spare.take(100).capacity() < 1000, "a small one has its own");
        assert_eq!(spare.take(100_000).as_ptr(), at);
    }
}
