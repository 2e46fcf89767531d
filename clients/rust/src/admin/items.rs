//! Answers that come one after another.

use std::fmt;
use std::future::{poll_fn, Future};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

use futures_core::Stream;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::error::{Error, Result};

/// Items of a list, fetched page by page as they are taken, or the snapshots of a watch. A
/// [`Stream`]; an error ends it.
///
/// ```no_run
/// # async fn f(admin: spillway::Admin) -> spillway::Result<()> {
/// let mut queues = admin.list_queues("");
/// while let Some(queue) = queues.try_next().await? {
///     println!("{}: {} messages", queue.name, queue.stats.depth_messages);
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is asked for before the first item is taken"]
pub struct Items<T> {
    stream: Option<Pin<Box<dyn Stream<Item = Result<T>> + Send>>>,
}

impl<T> Items<T> {
    /// The next item; `None` at the end.
    ///
    /// Cancel-safe: the next call goes on with the same item.
    pub async fn try_next(&mut self) -> Result<Option<T>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx))
            .await
            .transpose()
    }

    /// All items that are left. Of a watch it would not return.
    ///
    /// Not cancel-safe: the items that were taken are lost with it.
    pub async fn collect(mut self) -> Result<Vec<T>> {
        let mut all = Vec::new();
        while let Some(item) = self.try_next().await? {
            all.push(item);
        }
        Ok(all)
    }
}

impl<T> Stream for Items<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(None);
        };
        let next = stream.as_mut().poll_next(cx);
        if matches!(next, Poll::Ready(None | Some(Err(_)))) {
            self.stream = None;
        }
        next
    }
}

impl<T> fmt::Debug for Items<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = self.stream.is_none();
        f.debug_struct("Items")
            .field("ended", &ended)
            .finish_non_exhaustive()
    }
}

/// Pages from a first token on. `fetch` returns a page and the token of the next one, if any.
pub(super) fn pages<T, K, F, Fut>(first: K, fetch: F) -> Items<T>
where
    T: Send + 'static,
    K: Send + 'static,
    F: Fn(K) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(Vec<T>, Option<K>)>> + Send + 'static,
{
    struct State<T, K, F> {
        page: vec::IntoIter<T>,
        token: Option<K>,
        fetch: F,
    }
    let state = State {
        page: Vec::new().into_iter(),
        token: Some(first),
        fetch,
    };
    let stream = stream::try_unfold(state, |mut state| async move {
        loop {
            if let Some(item) = state.page.next() {
                return Ok(Some((item, state)));
            }
            let Some(token) = state.token.take() else {
                return Ok(None);
            };
            let (page, token) = (state.fetch)(token).await?;
            (state.page, state.token) = (page.into_iter(), token);
        }
    });
    Items {
        stream: Some(stream.boxed()),
    }
}

/// The answers of one call that the broker streams.
pub(super) fn answers<T, M, Fut>(call: Fut, convert: fn(M) -> T) -> Items<T>
where
    T: Send + 'static,
    M: Send + 'static,
    Fut: Future<Output = Result<tonic::Streaming<M>>> + Send + 'static,
{
    let stream = stream::once(call)
        .map_ok(move |answers| answers.map_err(Error::from_status).map_ok(convert))
        .try_flatten();
    Items {
        stream: Some(stream.boxed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[tokio::test]
    async fn pages_are_fetched_as_they_are_needed() {
        let list = || {
            pages(0u32, |token| async move {
                match token {
                    0 => Ok((vec![1, 2], Some(1))),
                    1 => Ok((vec![], Some(2))),
                    2 => Ok((vec![3], Some(3))),
                    _ => Err(Error::new(ErrorKind::NotFound, "")),
                }
            })
        };
        let mut items = list();
        for expected in 1..=3 {
            assert_eq!(items.try_next().await.unwrap(), Some(expected));
        }
        assert_eq!(
            items.try_next().await.unwrap_err().kind(),
            ErrorKind::NotFound
        );
        assert_eq!(items.try_next().await.unwrap(), None, "an error ends it");
        assert!(list().collect().await.is_err());
    }
}
