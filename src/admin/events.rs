//! The event stream: what happens in squall, as server-sent events (WHATWG HTML, section 9.2).
//!
//! A stream begins with `hello`. A comment every 15 s shows both ends that the connection lives. A client that reads too slowly
//! loses the oldest events, and gets `lost` with their number in their place. Streams may outlive the age of other connections (see
//! [`serve`](super::serve)); their number is bounded, so that they leave places for others.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::explain::pairs;
use super::problem::{Accept, Problem};
use super::serve::Lasting;
use super::{Context, Shared};
use crate::events::{Event, KINDS};

/// The most streams at once: a quarter of the places of connections.
pub(super) const MOST_STREAMS: usize = 64;
/// The time between two comments that keep a connection alive.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// `?kinds=stats,request`, or without it events of all kinds.
pub(super) async fn events(State(context): Shared, headers: HeaderMap, uri: Uri) -> Response {
    match kinds(&uri).and_then(|kinds| Listening::begin(&context, kinds)) {
        Ok(listening) => {
            let events = stream::unfold(listening, |mut listening| async move {
                let event = listening.next().await?;
                Some((Ok::<_, Infallible>(event), listening))
            });
            let mut response = Sse::new(events)
                .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
                .into_response();
            response.extensions_mut().insert(Lasting);
            response
        }
        Err(problem) => {
            let is_full = problem.status == StatusCode::SERVICE_UNAVAILABLE;
            let mut response = problem.answer(Accept::of(&headers));
            if is_full {
                response
                    .headers_mut()
                    .insert(RETRY_AFTER, HeaderValue::from_static("5"));
            }
            response
        }
    }
}

/// The kinds that a query asks for; all of them if it asks for none.
fn kinds(uri: &Uri) -> Result<Vec<&'static str>, Problem> {
    let pairs = pairs(uri)?;
    let list = match pairs.as_slice() {
        [] => return Ok(KINDS.to_vec()),
        [(name, list)] if name == "kinds" => list,
        _ => {
            return Err(Problem::bad_request(
                "`kinds` is the only parameter: use ?kinds=stats,request",
            ));
        }
    };
    let known = |name: &str| KINDS.into_iter().find(|kind| *kind == name);
    let names = list.split(',').map(str::trim);
    names
        .map(|name| {
            known(name)
                .ok_or_else(|| Problem::bad_request(format!("unknown kind `{name}`; there are {}", KINDS.join(", "))))
        })
        .collect()
}

/// A stream, and its place among those that are open.
struct Listening {
    kinds: Vec<&'static str>,
    receiver: Receiver<Arc<Event>>,
    /// What comes before the next event.
    first: VecDeque<sse::Event>,
    _place: OwnedSemaphorePermit,
}

impl Listening {
    fn begin(context: &Arc<Context>, kinds: Vec<&'static str>) -> Result<Listening, Problem> {
        let place = Arc::clone(&context.streams).try_acquire_owned().map_err(|_| {
            let detail = format!("{MOST_STREAMS} event streams are open, which is the limit");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        })?;
        // Before `hello` is made, so that nothing that changes after it is missed.
        let receiver = context.server.events().listen();
        context.ticker.start(&context.server);
        Ok(Listening {
            first: VecDeque::from([event("hello", &context.hello())]),
            kinds,
            receiver,
            _place: place,
        })
    }

    /// The next event that was asked for. `None` if nothing is told any more.
    async fn next(&mut self) -> Option<sse::Event> {
        if let Some(first) = self.first.pop_front() {
            return Some(first);
        }
        loop {
            match self.receiver.recv().await {
                Ok(told) if self.kinds.contains(&told.kind) => {
                    return Some(event(told.kind, &told.data).id(told.id.to_string()));
                }
                Ok(_) => {}
                Err(RecvError::Lagged(count)) => return Some(event("lost", &json!({"count": count}))),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

/// An event in one line. JSON escapes line breaks, so none can end it early.
fn event(kind: &str, data: &Value) -> sse::Event {
    sse::Event::default().event(kind).data(data.to_string())
}

impl Context {
    /// What a stream begins with: enough to notice that squall has restarted, or runs another version.
    fn hello(&self) -> Value {
        let snapshot = self.server.snapshot();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": self.started.elapsed().as_secs_f64(),
            "config_hash": snapshot.hash,
            "revision": snapshot.revision,
            "armed": self.server.is_armed(),
            "kinds": KINDS,
        })
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use http::header::CONTENT_TYPE;
    use http_body_util::BodyExt;

    use super::*;
    use crate::admin::tests::{Asked, admin};

    #[test]
    fn the_query_chooses_kinds() {
        let of = |query: &str| kinds(&format!("/api/v1/events{query}").parse().unwrap());
        assert_eq!(of("").unwrap(), KINDS);
        assert_eq!(of("?kinds=stats,%20rule").unwrap(), ["stats", "rule"]);
        let unknown = of("?kinds=stats,rules").unwrap_err();
        assert_eq!(
            unknown.detail,
            "unknown kind `rules`; there are stats, request, rule, armed, guard, space, reload, scenario"
        );
        for wrong in ["?kinds=", "?kind=stats", "?kinds=stats&kinds=rule"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    async fn stream(admin: &Asked, query: &str) -> Response {
        let target = format!("/api/v1/events{query}");
        admin.send(Method::GET, &target, &[], "").await
    }

    /// The next part of a stream.
    async fn part(stream: &mut Response) -> String {
        let frame = stream.body_mut().frame().await.unwrap().unwrap();
        String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_stream_has_hello_and_what_was_asked_for() {
        let admin = admin("");
        let mut stream = stream(&admin, "?kinds=reload").await;
        assert_eq!(stream.headers()[CONTENT_TYPE], "text/event-stream");
        let hello = part(&mut stream).await;
        assert!(hello.starts_with("event: hello\ndata: {\"version\":"), "{hello}");
        let events = admin.server.events();
        events.tell("rule", || json!({"name": "not asked for"}));
        events.tell("reload", || json!({"error": "line 1\nline 2"}));
        assert_eq!(
            part(&mut stream).await,
            "event: reload\ndata: {\"error\":\"line 1\\nline 2\"}\nid: 2\n\n"
        );
    }

    #[tokio::test]
    async fn a_slow_client_learns_how_many_events_it_lost() {
        let admin = admin("");
        let mut stream = stream(&admin, "").await;
        for n in 0..2000 {
            admin.server.events().tell("rule", || json!(n));
        }
        assert!(part(&mut stream).await.contains("hello"));
        assert_eq!(part(&mut stream).await, "event: lost\ndata: {\"count\":976}\n\n");
        assert_eq!(part(&mut stream).await, "event: rule\ndata: 976\nid: 977\n\n");
    }

    #[tokio::test]
    async fn streams_are_bounded() {
        let admin = admin("");
        let mut open = Vec::new();
        for _ in 0..MOST_STREAMS {
            open.push(stream(&admin, "").await);
        }
        let refused = stream(&admin, "").await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()[RETRY_AFTER], "5");
        drop(open);
        assert_eq!(stream(&admin, "").await.status(), StatusCode::OK);
        assert!(!admin.server.events().are_heard(), "those who left are forgotten");
    }
}
