//! The calls of operators as a gRPC service.

use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;
use futures_util::stream::{self, StreamExt};
use tokio::time::MissedTickBehavior;
use tonic::{Request, Response, Status};

use super::admin::{describe, page_size};
use super::service::{status, Service};
use super::state::{refusal, Answer, State};
use crate::pb::{self, ErrorKind};
use crate::registry;

impl Service {
    fn call<T>(&self, f: impl FnOnce(&mut State) -> Answer<T>) -> Result<Response<T>, Status> {
        f(&mut self.0.lock()).map(Response::new).map_err(status)
    }
}

#[tonic::async_trait]
impl pb::admin_server::Admin for Service {
    async fn create_queue(
        &self,
        request: Request<pb::CreateQueueRequest>,
    ) -> Result<Response<pb::CreateQueueResponse>, Status> {
        let r = request.into_inner();
        self.call(|state| {
            let queue = state.create(&r.name, r.tuning.unwrap_or_default())?;
            Ok(pb::CreateQueueResponse { queue: Some(queue) })
        })
    }

    async fn update_queue(
        &self,
        request: Request<pb::UpdateQueueRequest>,
    ) -> Result<Response<pb::UpdateQueueResponse>, Status> {
        self.call(|state| {
            let queue = state.update(request.into_inner())?;
            Ok(pb::UpdateQueueResponse { queue: Some(queue) })
        })
    }

    async fn get_queue(
        &self,
        request: Request<pb::GetQueueRequest>,
    ) -> Result<Response<pb::GetQueueResponse>, Status> {
        self.call(|state| {
            let queue = state.with(&request.get_ref().name, |q, sessions| {
                Ok(q.describe(sessions))
            });
            Ok(pb::GetQueueResponse {
                queue: Some(queue?),
            })
        })
    }

    async fn list_queues(
        &self,
        request: Request<pb::ListQueuesRequest>,
    ) -> Result<Response<pb::ListQueuesResponse>, Status> {
        let r = request.into_inner();
        self.call(|state| {
            // The token is the last name of the page before.
            let listed = |name: &str| name.starts_with(&r.prefix) && *name > *r.page_token;
            let mut queues = state.queues.values().filter(|q| listed(&q.name)).peekable();
            let size = page_size(r.page_size, registry::LIMIT_MAX_PAGE_SIZE);
            let page: Vec<_> = queues.by_ref().take(size).collect();
            let more = queues.peek().is_some();
            let last = page.last().filter(|_| more);
            Ok(pb::ListQueuesResponse {
                next_page_token: last.map_or(String::new(), |q| q.name.clone()),
                queues: page.iter().map(|q| q.describe(&state.sessions)).collect(),
            })
        })
    }

    async fn delete_queue(
        &self,
        request: Request<pb::DeleteQueueRequest>,
    ) -> Result<Response<pb::DeleteQueueResponse>, Status> {
        self.call(|state| {
            state.delete(request.get_ref())?;
            Ok(pb::DeleteQueueResponse {})
        })
    }

    async fn purge_queue(
        &self,
        request: Request<pb::PurgeQueueRequest>,
    ) -> Result<Response<pb::PurgeQueueResponse>, Status> {
        let r = request.into_inner();
        self.call(|state| {
            state.with(&r.name, |queue, sessions| {
                let before = r.before_offset.unwrap_or(u64::MAX);
                Ok(pb::PurgeQueueResponse {
                    purged_messages: queue.purge(before, pb::GapReason::Purged, sessions),
                    head_offset: queue.log.head,
                })
            })
        })
    }

    async fn peek(
        &self,
        request: Request<pb::PeekRequest>,
    ) -> Result<Response<pb::PeekResponse>, Status> {
        let r = request.get_ref();
        self.call(|state| state.find(&r.queue)?.peek(r))
    }

    async fn list_groups(
        &self,
        request: Request<pb::ListGroupsRequest>,
    ) -> Result<Response<pb::ListGroupsResponse>, Status> {
        self.call(|state| {
            let queue = state.find(&request.get_ref().queue)?;
            let groups = queue.groups.values().map(|g| g.describe(&queue.log));
            Ok(pb::ListGroupsResponse {
                groups: groups.collect(),
            })
        })
    }

    async fn seek_group(
        &self,
        request: Request<pb::SeekGroupRequest>,
    ) -> Result<Response<pb::SeekGroupResponse>, Status> {
        let r = request.get_ref();
        self.call(|state| {
            let group = state.with(&r.queue, |queue, sessions| queue.seek(r, sessions))?;
            Ok(pb::SeekGroupResponse { group: Some(group) })
        })
    }

    async fn delete_group(
        &self,
        request: Request<pb::DeleteGroupRequest>,
    ) -> Result<Response<pb::DeleteGroupResponse>, Status> {
        let r = request.get_ref();
        self.call(|state| {
            state.with(&r.queue, |queue, sessions| {
                queue.delete_group(&r.group, sessions)
            })?;
            Ok(pb::DeleteGroupResponse {})
        })
    }

    async fn list_parked(
        &self,
        request: Request<pb::ListParkedRequest>,
    ) -> Result<Response<pb::ListParkedResponse>, Status> {
        let r = request.get_ref();
        self.call(|state| state.find(&r.queue)?.parked(r))
    }

    async fn release_parked(
        &self,
        request: Request<pb::ReleaseParkedRequest>,
    ) -> Result<Response<pb::ReleaseParkedResponse>, Status> {
        let r = request.get_ref();
        self.call(|state| {
            let released_messages =
                state.with(&r.queue, |queue, sessions| queue.unpark(r, sessions))?;
            Ok(pb::ReleaseParkedResponse { released_messages })
        })
    }

    async fn list_sessions(
        &self,
        request: Request<pb::ListSessionsRequest>,
    ) -> Result<Response<pb::ListSessionsResponse>, Status> {
        let queue = request.into_inner().queue;
        self.call(|state| {
            let all = state.sessions.values();
            let listed = all.filter(|s| queue.is_empty() || s.queue == queue);
            // One page, whatever its size: there are not many in a test.
            Ok(pb::ListSessionsResponse {
                sessions: listed.map(describe).collect(),
                next_page_token: String::new(),
            })
        })
    }

    async fn close_session(
        &self,
        request: Request<pb::CloseSessionRequest>,
    ) -> Result<Response<pb::CloseSessionResponse>, Status> {
        let id = request.into_inner().id;
        self.call(|state| {
            let found = state.sessions.values_mut().find(|s| s.name == id);
            let none = || refusal(ErrorKind::NotFound, "", "no such session");
            let session = found.ok_or_else(none)?;
            let message = "an operator closed the session";
            session.refuse(refusal(ErrorKind::Closed, &session.queue, message));
            Ok(pb::CloseSessionResponse {})
        })
    }

    async fn explain(
        &self,
        request: Request<pb::ExplainRequest>,
    ) -> Result<Response<pb::ExplainResponse>, Status> {
        self.call(|state| state.explain(request.into_inner()))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<pb::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let r = request.into_inner();
        let ms = match r.interval_ms {
            0 => registry::LIMIT_DEFAULT_WATCH_INTERVAL_MS,
            ms => ms.clamp(
                registry::LIMIT_MIN_WATCH_INTERVAL_MS,
                registry::LIMIT_MAX_WATCH_INTERVAL_MS,
            ),
        };
        let mut interval = tokio::time::interval(Duration::from_millis(ms));
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stopped = self.0.stopped();
        let state = (self.0.clone(), r.queue, interval);
        let snapshots = stream::unfold(state, |(shared, queue, mut interval)| async move {
            interval.tick().await;
            let snapshot = shared.lock().watch(&queue);
            Some((Ok(snapshot), (shared, queue, interval)))
        });
        Ok(Response::new(snapshots.take_until(stopped).boxed()))
    }
}
