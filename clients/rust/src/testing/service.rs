//! The broker as a gRPC service.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_core::Stream;
use prost::Message as _;
use tokio::sync::watch;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Response, Status, Streaming};

use super::session::{End, Out};
use super::state::State;
use crate::error::ERROR_TRAILER;
use crate::{pb, registry};

/// The state, and the news that the broker ends.
pub(super) struct Shared {
    state: Mutex<State>,
    stopped: watch::Receiver<()>,
}

impl Shared {
    pub(super) fn new(state: State, stopped: watch::Receiver<()>) -> Self {
        Shared {
            state: Mutex::new(state),
            stopped,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // A tap may have panicked; the test that owns it fails by itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once the broker ends.
    pub(super) fn stopped(&self) -> impl std::future::Future<Output = ()> + Send + 'static {
        let mut stopped = self.stopped.clone();
        async move {
            // Nothing is ever sent: the sender is dropped.
            let _ = stopped.changed().await;
        }
    }
}

pub(super) fn status(error: Box<pb::Error>) -> Status {
    let info = registry::ERROR_KINDS
        .iter()
        .find(|k| k.number == error.kind);
    let code = info.map_or(Code::Internal, |k| Code::from_i32(k.grpc_code));
    let mut status = Status::new(code, error.message.clone());
    let value = MetadataValue::from_bytes(&error.encode_to_vec());
    status.metadata_mut().insert_bin(ERROR_TRAILER, value);
    status
}

#[derive(Clone)]
pub(super) struct Service(pub Arc<Shared>);

#[tonic::async_trait]
impl pb::broker_server::Broker for Service {
    type PublishStream = Link<pb::PublishRequest, pb::PublishResponse>;
    type ConsumeStream = Link<pb::ConsumeRequest, pb::ConsumeResponse>;

    async fn publish(
        &self,
        request: Request<Streaming<pb::PublishRequest>>,
    ) -> Result<Response<Self::PublishStream>, Status> {
        let mut inbound = request.into_inner();
        let first = inbound.message().await?.unwrap_or_default();
        let id = self.0.lock().open_producer(&first).map_err(status)?;
        Ok(Response::new(Link {
            shared: self.0.clone(),
            id,
            inbound: Some(inbound),
            receive: State::on_publish,
            send: |out| match out {
                Out::Publish(frame) => pb::PublishResponse { frame: Some(frame) },
                Out::Consume(_) => pb::PublishResponse::default(),
            },
        }))
    }

    async fn consume(
        &self,
        request: Request<Streaming<pb::ConsumeRequest>>,
    ) -> Result<Response<Self::ConsumeStream>, Status> {
        let mut inbound = request.into_inner();
        let first = inbound.message().await?.unwrap_or_default();
        let id = self.0.lock().open_consumer(&first).map_err(status)?;
        Ok(Response::new(Link {
            shared: self.0.clone(),
            id,
            inbound: Some(inbound),
            receive: State::on_consume,
            send: |out| match out {
                Out::Consume(frame) => pb::ConsumeResponse { frame: Some(frame) },
                Out::Publish(_) => pb::ConsumeResponse::default(),
            },
        }))
    }
}

/// Both directions of one stream, in the answer's task: it ends with the stream, so nothing
/// is left to be stopped.
pub(super) struct Link<Q, R> {
    shared: Arc<Shared>,
    id: u64,
    inbound: Option<Streaming<Q>>,
    receive: fn(&mut State, u64, Q),
    send: fn(Out) -> R,
}

impl<Q, R> Stream for Link<Q, R> {
    type Item = Result<R, Status>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<R, Status>>> {
        let link = &mut *self;
        while let Some(inbound) = &mut link.inbound {
            match Pin::new(inbound).poll_next(cx) {
                Poll::Ready(Some(Ok(m))) => (link.receive)(&mut link.shared.lock(), link.id, m),
                // Half-closed, which means nothing, or broken: then the stream is dropped.
                Poll::Ready(_) => link.inbound = None,
                Poll::Pending => break,
            }
        }
        let mut state = link.shared.lock();
        let silent = state.faults.silent;
        let Some(session) = state.sessions.get_mut(&link.id) else {
            return Poll::Ready(None);
        };
        if let Some(End::Broken) = session.ended {
            let e = Status::unavailable("the stream was broken by the test");
            return Poll::Ready(Some(Err(e)));
        }
        if !silent || session.ended.is_some() {
            if let Some(out) = session.out.pop_front() {
                return Poll::Ready(Some(Ok((link.send)(out))));
            }
        }
        match session.ended.clone() {
            Some(End::Refused(error)) => Poll::Ready(Some(Err(status(error)))),
            Some(_) => Poll::Ready(None),
            None => {
                session.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<Q, R> Drop for Link<Q, R> {
    fn drop(&mut self) {
        self.shared.lock().leave(self.id);
    }
}
