//! Scrapes: the metrics page is made off the threads that carry traffic, one at a time, and shared by all who wait for it.
//!
//! With thousands of rules a page takes a second to make and has many megabytes. However many scrapes there are at once, two
//! pages in a row serve them: the one that is being made, which began too early for those who came since, and the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, OwnedSemaphorePermit, Semaphore};

use super::Shared;
use super::explain::pairs;
use super::problem::{Accept, Problem};
use crate::metrics::Series;

/// The most pages in memory at once: callers that read slowly keep theirs.
const MOST_PAGES: usize = 4;

/// Makes pages, and lets those who wait at the same time share one.
#[derive(Debug)]
pub(super) struct Scrapes {
    /// Places for pages in memory.
    places: Arc<Semaphore>,
    /// Held while a page is made. tokio's lock, since others wait for it without blocking.
    making: AsyncMutex<()>,
    waiting: AtomicUsize,
    /// The last page, kept while others wait.
    latest: Mutex<Option<Page>>,
}

#[derive(Debug, Clone)]
struct Page {
    series: Series,
    /// When making it began.
    begun: Instant,
    text: Bytes,
}

/// The text of a page, and its place in memory.
struct Placed {
    text: String,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Placed {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

/// There are too many pages in memory, or squall is stopping.
#[derive(Debug)]
struct NoPage;

impl Scrapes {
    pub(super) fn new() -> Scrapes {
        Scrapes {
            places: Arc::new(Semaphore::new(MOST_PAGES)),
            making: AsyncMutex::default(),
            waiting: AtomicUsize::new(0),
            latest: Mutex::default(),
        }
    }

    /// A page that is not older than this call.
    async fn page(&self, series: Series, make: impl FnOnce() -> String + Send + 'static) -> Result<Bytes, NoPage> {
        let called = Instant::now();
        let _waiting = Waiting::begin(self);
        let _one_at_a_time = self.making.lock().await;
        if let Some(page) = &*self.latest.lock()
            && page.series == series
            && page.begun >= called
        {
            return Ok(page.text.clone());
        }
        // Frees the place of a page that nobody else needs.
        *self.latest.lock() = None;
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| NoPage)?;
        let begun = Instant::now();
        let made = tokio::task::spawn_blocking(move || Placed {
            text: make(),
            _place: place,
        });
        let text = Bytes::from_owner(made.await.map_err(|_| NoPage)?);
        let page = Page { series, begun, text };
        *self.latest.lock() = Some(page.clone());
        Ok(page.text)
    }
}

/// One who waits for a page. The last one to stop waiting forgets the page.
struct Waiting<'a>(&'a Scrapes);

impl<'a> Waiting<'a> {
    fn begin(scrapes: &'a Scrapes) -> Self {
        scrapes.waiting.fetch_add(1, Ordering::AcqRel);
        Waiting(scrapes)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.0.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            *self.0.latest.lock() = None;
        }
    }
}

/// The metrics in the text format of Prometheus, version 0.0.4; `?rules=matched` leaves out rules that have matched nothing.
pub(super) async fn metrics(State(context): Shared, headers: HeaderMap, uri: Uri) -> Response {
    let series = match series(&uri) {
        Ok(series) => series,
        Err(problem) => return problem.answer(Accept::of(&headers)),
    };
    let server = Arc::clone(&context.server);
    let page = context.scrapes.page(series, move || server.metrics_page(series)).await;
    match page {
        Ok(page) => ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page).into_response(),
        Err(NoPage) => {
            let detail = format!("{MOST_PAGES} pages of metrics are being read by slow callers");
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
            let mut response = problem.answer(Accept::of(&headers));
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
    }
}

fn series(uri: &Uri) -> Result<Series, Problem> {
    match pairs(uri)?.as_slice() {
        [] => Ok(Series::All),
        [(name, value)] if name == "rules" && value == "all" => Ok(Series::All),
        [(name, value)] if name == "rules" && value == "matched" => Ok(Series::Matched),
        _ => Err(Problem::bad_request(
            "`rules` is the only parameter: use all or matched",
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Makes pages that are numbered, each in 20 ms.
    fn numbered(made: &Arc<AtomicUsize>) -> impl FnOnce() -> String + Send + 'static {
        let made = Arc::clone(made);
        move || {
            std::thread::sleep(Duration::from_millis(20));
            (made.fetch_add(1, Ordering::SeqCst) + 1).to_string()
        }
    }

    #[tokio::test]
    async fn those_who_wait_share_a_page() {
        let (scrapes, made) = (Scrapes::new(), Arc::new(AtomicUsize::new(0)));
        let all = (0..50).map(|_| scrapes.page(Series::All, numbered(&made)));
        let pages = futures_util::future::join_all(all).await;
        let shared = pages.iter().filter(|page| page.as_ref().is_ok_and(|page| page == "2"));
        assert_eq!((made.load(Ordering::SeqCst), shared.count()), (2, 49));
        assert!(scrapes.latest.lock().is_none(), "nobody waits");
        drop(pages);
        assert_eq!(scrapes.places.available_permits(), MOST_PAGES);
        let next = scrapes.page(Series::All, numbered(&made)).await;
        assert_eq!(next.unwrap(), "3", "no page is older than the call");
    }

    #[tokio::test]
    async fn pages_in_memory_are_bounded() {
        let (scrapes, made) = (Scrapes::new(), Arc::new(AtomicUsize::new(0)));
        let mut kept = Vec::new();
        for _ in 0..MOST_PAGES {
            kept.push(scrapes.page(Series::All, numbered(&made)).await.unwrap());
        }
        assert!(scrapes.page(Series::All, numbered(&made)).await.is_err());
        kept.pop();
        assert!(scrapes.page(Series::All, numbered(&made)).await.is_ok());
    }

    #[tokio::test]
    async fn callers_that_leave_do_no_harm() {
        let (scrapes, made) = (Scrapes::new(), Arc::new(AtomicUsize::new(0)));
        for _ in 0..10 {
            let page = scrapes.page(Series::All, numbered(&made));
            let _left = tokio::time::timeout(Duration::from_millis(1), page).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(scrapes.page(Series::All, numbered(&made)).await.is_ok());
        assert!(made.load(Ordering::SeqCst) <= MOST_PAGES + 1);
    }

    #[test]
    fn the_query_says_which_series() {
        let of = |query: &str| series(&format!("/metrics{query}").parse().unwrap()).ok();
        assert_eq!(of(""), Some(Series::All));
        assert_eq!(of("?rules=all"), Some(Series::All));
        assert_eq!(of("?rules=matched"), Some(Series::Matched));
        for wrong in ["?rules=none", "?rule=matched", "?rules=matched&rules=all", "?rules"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
