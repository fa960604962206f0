//! Long computations, off the threads that carry traffic.

use std::sync::LazyLock;
use std::thread::available_parallelism;

use tokio::sync::Semaphore;

/// Places for as many computations as there are processors: more at once would only take time from each other, and from the
/// threads that carry traffic.
static PLACES: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(available_parallelism().map_or(1, usize::from)));

/// A computation that did not end: it panicked, or the runtime is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aborted;

/// Runs a computation on tokio's blocking pool, once there is a place for it. Dropping the future before that cancels it;
/// after that it runs to its end, and keeps its place until then.
///
/// # Errors
/// See [`Aborted`].
pub async fn run<T: Send + 'static>(compute: impl FnOnce() -> T + Send + 'static) -> Result<T, Aborted> {
    // Never closed.
    let place = PLACES.acquire().await.map_err(|_| Aborted)?;
    let done = tokio::task::spawn_blocking(move || {
        let _place = place;
        compute()
    });
    done.await.map_err(|_| Aborted)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn no_more_run_at_once_than_there_are_processors() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let all = (0..100).map(|number| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            run(move || {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(1));
                now.fetch_sub(1, Ordering::SeqCst);
                number
            })
        });
        let results = futures_util::future::join_all(all).await;
        assert_eq!(results, (0..100).map(Ok).collect::<Vec<_>>());
        assert!(most.load(Ordering::SeqCst) <= available_parallelism().unwrap().get());
    }

    #[tokio::test]
    async fn a_panic_frees_the_place() {
        for _ in 0..available_parallelism().unwrap().get() + 1 {
            let panics: Result<(), Aborted> = run(|| panic!("asked for")).await;
            assert_eq!(panics, Err(Aborted));
        }
        assert_eq!(run(|| 1).await, Ok(1));
    }
}
