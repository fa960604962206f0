//! A wrapped request between a client in memory and somebody who does what Pingora does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method};
use pingora::http::ResponseHeader;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::{Error, ErrorSource, ErrorType};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::timeout;

use super::record::Record;
use super::{Handle, Phase, Shaping, restore, shape_request, shape_response};
use crate::config::load_text;
use crate::config::snapshot::{Inputs, Snapshot, View};
use crate::metrics::Metrics;
use crate::proxy::gone;
use crate::proxy::hold::Holder;
use crate::rule::head::Head;
use crate::rule::state::Live;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(100);

/// A request whose head has been read, with the rules that hit it.
struct Stage {
    client: DuplexStream,
    session: ServerSession,
    snapshot: Snapshot,
    record: Arc<Record>,
    holder: Arc<Holder>,
    metrics: Arc<Metrics>,
}

impl Stage {
    async fn new(top: &str, faults: &str, request: &str) -> Stage {
        let metrics = Metrics::new().unwrap();
        let text = format!(
            "seed: 1\n{top}\nlisteners:\n  web: {{address: 127.0.0.1:8080, upstream: e}}\nupstreams:\n  e: {{fake: echo}}\n\
             rules:\n  - name: r\n    match: {{path: /}}\n    faults: [{faults}]\n"
        );
        let snapshot = load_text("test.yaml", &text, Inputs::new(&metrics, Instant::now()))
            .map_err(|report| report.render(false))
            .unwrap();
        let headers = HeaderMap::new();
        let head = Head::new(&Method::GET, "/", None, &headers, None);
        let rules = &snapshot.listeners[0].view.rules;
        let plan = rules.decide(&head, &Live { now: Instant::now() }).unwrap();
        let (mut client, server) = tokio::io::duplex(16 * 1024);
        client.write_all(request.as_bytes()).await.unwrap();
        let mut session = ServerSession::new_http1(Box::new(server));
        session.set_keepalive(Some(60));
        session.read_request().await.unwrap();
        Stage {
            client,
            session,
            record: Record::new(Arc::from(plan)),
            holder: Holder::new(Arc::clone(&metrics)),
            snapshot,
            metrics,
        }
    }

    fn view(&self) -> &View {
        &self.snapshot.listeners[0].view
    }

    /// Wraps the request as if it were sent on.
    fn wrap_request(&mut self) {
        let shaping = Shaping {
            record: &self.record,
            holder: &self.holder,
            view: &self.snapshot.listeners[0].view,
        };
        let mut head = self.session.req_header().clone();
        shape_request(&mut self.session, shaping, &mut head, &mut None).unwrap();
    }

    /// Wraps the response to this head, and hands the head over.
    async fn respond(&mut self, fields: &[(&'static str, &'static str)]) {
        let mut head = ResponseHeader::build(200, None).unwrap();
        for (name, value) in fields {
            head.append_header(*name, *value).unwrap();
        }
        let shaping = Shaping {
            record: &self.record,
            holder: &self.holder,
            view: &self.snapshot.listeners[0].view,
        };
        shape_response(&mut self.session, shaping, &mut head, false)
            .await
            .unwrap();
        self.tasks(vec![HttpTask::Header(Box::new(head), false)]).await.unwrap();
    }

    async fn tasks(&mut self, tasks: Vec<HttpTask>) -> Result<bool, Box<Error>> {
        timeout(LONG, self.session.response_duplex_vec(tasks)).await.unwrap()
    }

    fn phase(&self) -> Phase {
        Handle::of(&self.session).unwrap().phase()
    }

    /// What the client gets until it has read `end`.
    async fn read_until(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(end) {
            let byte = timeout(LONG, self.client.read_u8()).await.unwrap();
            text.push(char::from(byte.unwrap()));
        }
        text
    }

    fn counted(&self, line: &str) -> bool {
        self.metrics.page().lines().any(|other| other == line)
    }
}

fn body(text: &'static str, end: bool) -> HttpTask {
    HttpTask::Body(Some(Bytes::from_static(text.as_bytes())), end)
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const LENGTH_5: &[(&str, &str)] = &[("Content-Length", "5")];

#[tokio::test]
async fn a_shaped_response_is_whole_and_the_session_comes_back() {
    let mut stage = Stage::new("", "bandwidth: {response: 10MiB/s}", GET).await;
    stage.respond(LENGTH_5).await;
    assert!(stage.tasks(vec![body("he", false), body("llo", true)]).await.unwrap());
    stage.session.finish_body().await.unwrap();
    assert!(stage.read_until("hello").await.starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(stage.phase(), Phase::Done);
    assert!(restore_in(&mut stage).await.is_none());
    assert!(matches!(stage.session, ServerSession::H1(_)));
    assert_eq!(stage.session.response_written().unwrap().status, 200);
    assert_eq!(stage.session.body_bytes_sent(), 5);
    assert!(stage.counted(r#"squall_faults_injected_total{fault="bandwidth",rule="r"} 1"#));
    assert!(
        stage.session.finish().await.unwrap().is_some(),
        "the connection can be used again"
    );
}

#[tokio::test]
async fn a_response_that_waits_holds_no_request_back() {
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
    let mut stage = Stage::new("", "stall: {}", post).await;
    stage.respond(LENGTH_5).await;
    stage.tasks(vec![body("hello", true)]).await.unwrap();
    stage.client.write_all(b"12345").await.unwrap();
    let piece = timeout(LONG, stage.session.read_body_or_idle(false)).await.unwrap();
    assert_eq!(piece.unwrap().unwrap(), "12345");
    let end = timeout(LONG, stage.session.read_body_or_idle(false)).await.unwrap();
    assert_eq!(end.unwrap(), None);
    stage.read_until("\r\n\r\n").await;
    assert!(timeout(SHORT, stage.client.read_u8()).await.is_err(), "only the head");
    assert!(stage.counted("squall_requests_held 1"));
}

#[tokio::test]
async fn who_leaves_while_held_frees_everything() {
    let mut stage = Stage::new("", "stall: {}", GET).await;
    stage.respond(LENGTH_5).await;
    stage.tasks(vec![body("hello", true)]).await.unwrap();
    stage.read_until("\r\n\r\n").await;
    let Stage {
        client,
        mut session,
        metrics,
        ..
    } = stage;
    drop(client);
    let error = timeout(LONG, session.read_body_or_idle(true))
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(*error.esource(), ErrorSource::Downstream);
    assert!(!gone::is_silent(&error));
    let handle = Arc::clone(Handle::of(&session).unwrap());
    assert_eq!(handle.phase(), Phase::Gone);
    assert!(handle.give_back().await.is_none());
    assert!(metrics.page().contains("squall_requests_held 0"));
}

#[tokio::test]
async fn dropping_pingoras_side_leaves_nothing_behind() {
    let mut stage = Stage::new("", "stall: {}", GET).await;
    stage.respond(LENGTH_5).await;
    stage.tasks(vec![body("hello", true)]).await.unwrap();
    stage.read_until("\r\n\r\n").await;
    let Stage {
        mut client, session, ..
    } = stage;
    drop(session);
    let end = timeout(LONG, client.read_u8()).await.unwrap();
    assert!(end.is_err(), "the connection is closed");
}

#[tokio::test]
async fn a_clean_end_is_told_at_once_and_keeps_the_connection() {
    let mut stage = Stage::new("", "truncate: {after: 3, end: clean}", GET).await;
    stage.respond(LENGTH_5).await;
    // Where the upstream says nothing more, Pingora waits for the client: there it learns of the end.
    stage.tasks(vec![body("hell", false)]).await.unwrap();
    let error = timeout(LONG, stage.session.read_body_or_idle(true))
        .await
        .unwrap()
        .unwrap_err();
    assert!(gone::is_silent(&error));
    let error = stage.tasks(vec![body("o", true)]).await.unwrap_err();
    assert!(gone::is_silent(&error));
    let text = stage.read_until("hel").await;
    assert!(text.contains("Content-Length: 3\r\n"), "{text}");
    assert_eq!(stage.phase(), Phase::Cut);
    let real = restore_in(&mut stage).await.unwrap();
    assert!(real.finish().await.unwrap().is_some());
}

#[tokio::test]
async fn an_upstreams_failure_comes_after_what_it_sent() {
    let mut stage = Stage::new("", "bandwidth: {response: 1KiB/s}", GET).await;
    stage.respond(&[("Content-Length", "200")]).await;
    let sent: &'static str = Box::leak("x".repeat(100).into_boxed_str());
    let failed = HttpTask::Failed(Error::new_up(ErrorType::ReadError));
    let began = Instant::now();
    let error = stage.tasks(vec![body(sent, false), failed]).await.unwrap_err();
    assert_eq!(*error.esource(), ErrorSource::Upstream);
    assert!(began.elapsed() >= Duration::from_millis(50));
    assert!(stage.read_until("xxxx").await.contains("200 OK"));
}

#[tokio::test]
async fn uploads_leave_at_their_rate_and_can_be_sent_again() {
    let post = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200\r\n\r\n{}",
        "y".repeat(200)
    );
    let mut stage = Stage::new("", "bandwidth: {request: 1KiB/s}", &post).await;
    stage.wrap_request();
    stage.session.enable_retry_buffering();
    let began = Instant::now();
    let mut read = Vec::new();
    while let Some(piece) = timeout(LONG, stage.session.read_body_or_idle(false))
        .await
        .unwrap()
        .unwrap()
    {
        read.extend_from_slice(&piece);
    }
    assert_eq!(read, "y".repeat(200).into_bytes());
    assert!(began.elapsed() >= Duration::from_millis(120));
    assert!(stage.session.is_body_done());
    assert_eq!(stage.session.get_retry_buffer().unwrap(), read);
    assert!(!stage.session.retry_buffer_truncated());
    assert_eq!(stage.session.body_bytes_read(), 200);
}

#[tokio::test]
async fn a_stall_without_a_place_is_left_out() {
    let mut stage = Stage::new("bounds: {held: 1}", "stall: {}", GET).await;
    let held = Holder::place(&stage.holder, stage.view().held).unwrap();
    stage.respond(LENGTH_5).await;
    stage.tasks(vec![body("hello", true)]).await.unwrap();
    stage.read_until("hello").await;
    assert!(stage.counted(r#"squall_faults_skipped_total{fault="stall",reason="too many held",rule="r"} 1"#));
    assert!(stage.counted(r#"squall_faults_injected_total{fault="stall",rule="r"} 0"#));
    drop(held);
}

#[tokio::test]
async fn stopping_ends_a_stall() {
    let mut stage = Stage::new("", "stall: {}", GET).await;
    stage.respond(LENGTH_5).await;
    stage.tasks(vec![body("hello", true)]).await.unwrap();
    stage.read_until("\r\n\r\n").await;
    stage.holder.stop();
    let ended = timeout(LONG, stage.session.finish_body()).await.unwrap();
    assert!(ended.is_ok());
    assert_ne!(stage.phase(), Phase::Running);
}

#[tokio::test]
async fn what_is_too_short_is_neither_announced_nor_counted() {
    let mut stage = Stage::new("", "truncate: 5, bandwidth: {request: 1KiB/s}", GET).await;
    stage.respond(LENGTH_5).await;
    assert!(
        matches!(stage.session, ServerSession::H1(_)),
        "there is nothing to shape"
    );
    assert_eq!(stage.record.announced(), Vec::<usize>::new());
    assert!(stage.counted(r#"squall_faults_skipped_total{fault="truncate",reason="body too short",rule="r"} 1"#));
    assert!(stage.counted(r#"squall_faults_injected_total{fault="truncate",rule="r"} 0"#));
}

#[tokio::test]
async fn a_fault_with_several_actions_counts_once() {
    let mut stage = Stage::new("", "bandwidth: 10MiB/s, profile: 3g", GET).await;
    stage.respond(LENGTH_5).await;
    let profile: Vec<usize> = (0..stage.record.plan().actions.len())
        .filter(|at| stage.record.plan().actions[*at].fault == 1)
        .collect();
    assert!(profile.len() > 1, "a profile delays and throttles");
    for at in profile {
        stage.record.done(at);
        stage.record.done(at);
    }
    assert!(stage.counted(r#"squall_faults_injected_total{fault="profile",rule="r"} 1"#));
    assert_eq!(stage.record.announced().len(), 2);
}

async fn restore_in(stage: &mut Stage) -> Option<ServerSession> {
    timeout(LONG, restore(&mut stage.session)).await.unwrap()
}
