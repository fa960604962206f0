//! A time limit between pieces, which starts again with every piece.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A time limit, which allocates its timer only at the first wait.
#[derive(Debug)]
pub(super) struct Patience {
    limit: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
    /// When the current wait began; `None` if there is none.
    since: Option<Instant>,
}

impl Patience {
    pub(super) fn new(limit: Option<Duration>) -> Patience {
        Patience {
            limit,
            timer: None,
            since: None,
        }
    }

    /// Ends the current wait, because a piece arrived.
    pub(super) fn rest(&mut self) {
        self.since = None;
    }

    /// Ready when the limit is exceeded. The first call after [`Patience::rest`] begins a wait.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(limit) = self.limit else { return Poll::Pending };
        let since = *self.since.get_or_insert_with(Instant::now);
        let Some(deadline) = since.checked_add(limit) else {
            return Poll::Pending;
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        ready!(timer.as_mut().poll(cx));
        while timer.deadline() < deadline {
            // The timer was set for an earlier wait. Resetting it only here is cheaper than resetting it for each piece.
            timer.as_mut().reset(deadline);
            ready!(timer.as_mut().poll(cx));
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_limit_begins_anew_with_everything_that_comes() {
        let second = Duration::from_secs(1);
        let mut patience = Patience::new(Some(10 * second));
        let began = Instant::now();
        for _ in 0..3 {
            let over = std::future::poll_fn(|cx| patience.poll_over(cx));
            assert!(tokio::time::timeout(9 * second, over).await.is_err());
            patience.rest();
        }
        std::future::poll_fn(|cx| patience.poll_over(cx)).await;
        assert_eq!(began.elapsed().as_secs(), 3 * 9 + 10);
        let mut none = Patience::new(None);
        let over = std::future::poll_fn(|cx| none.poll_over(cx));
        assert!(tokio::time::timeout(1000 * second, over).await.is_err());
    }
}
