//! A response is held until its body has come, and goes on changed; or as it was, where it can't be changed.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora::protocols::http::HttpTask;
use pingora::proxy::Session;

use super::collector::Collector;
use super::{Change, accepted, change, change_response_head, limit, patience};
use crate::fault::rewrite::Message;
use crate::proxy::carry::Carrying;
use crate::shape::Direction;

/// The stage that holds a response: tasks go in, those that are due come out.
#[derive(Debug)]
pub struct Collecting {
    changes: Vec<Change>,
    /// The natural body need not be waited for: it may never end, or is too large.
    at_once: Option<&'static str>,
    began: Instant,
    patience: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The head has not come.
    Before,
    Holding(Box<ResponseHeader>, Collector),
    /// The rest passes as it is.
    Passing,
    /// All has been said; what still comes is dropped.
    Over,
}

/// What ended the natural message.
enum End {
    Head,
    Body,
    Trailer(HttpTask),
    Failed(HttpTask),
    /// It has not ended: it is given up, for this reason.
    Not(&'static str),
}

impl Collecting {
    /// Carries out changes that the head accepts. `at_once` is why the natural body is not waited for, if it is not.
    pub fn new(changes: Vec<Change>, at_once: Option<&'static str>, now: Instant) -> Collecting {
        Collecting {
            patience: patience(&changes),
            changes,
            at_once,
            began: now,
            state: State::Before,
        }
    }

    /// Whether the client has got all that it gets, although the natural response goes on.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// How long it holds a response.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Whether tasks pass as they are from now on.
    pub fn passes(&self) -> bool {
        matches!(self.state, State::Passing)
    }

    /// Takes what has come, and returns what is due.
    pub async fn turn(&mut self, tasks: Vec<HttpTask>, now: Instant) -> Vec<HttpTask> {
        let mut due = Vec::new();
        for task in tasks {
            self.take(task, &mut due).await;
        }
        if matches!(self.state, State::Holding(..)) && now.saturating_duration_since(self.began) > self.patience {
            self.conclude(End::Not("body too slow"), &mut due).await;
        }
        due
    }

    async fn take(&mut self, task: HttpTask, due: &mut Vec<HttpTask>) {
        match (&mut self.state, task) {
            (State::Before, HttpTask::Header(head, ends)) if !head.status.is_informational() => {
                self.state = State::Holding(head, Collector::new(limit(&self.changes)));
                match (ends, self.at_once) {
                    (true, _) => self.conclude(End::Head, due).await,
                    (false, Some(reason)) => self.conclude(End::Not(reason), due).await,
                    (false, None) => {}
                }
            }
            (State::Holding(_, held), HttpTask::Body(piece, ends)) => {
                let fits = held.push(piece.unwrap_or_default());
                match (fits, ends) {
                    (false, ends) => {
                        self.conclude(End::Not("body too large"), due).await;
                        if ends && self.passes() {
                            due.push(HttpTask::Body(None, true));
                        }
                    }
                    (true, true) => self.conclude(End::Body, due).await,
                    (true, false) => {}
                }
            }
            (State::Holding(..), task @ HttpTask::Trailer(_)) => self.conclude(End::Trailer(task), due).await,
            (State::Holding(..), task @ HttpTask::Failed(_)) => self.conclude(End::Failed(task), due).await,
            (State::Holding(..), HttpTask::Done) => self.conclude(End::Body, due).await,
            (State::Over, _) => {}
            (_, task) => due.push(task),
        }
    }

    /// Lets go of what is held: changed, or as it was.
    async fn conclude(&mut self, end: End, due: &mut Vec<HttpTask>) {
        let State::Holding(mut head, held) = std::mem::replace(&mut self.state, State::Passing) else {
            return;
        };
        let old = match &end {
            End::Head | End::Body | End::Trailer(_) => Ok(held.whole()),
            End::Failed(_) => Err("body broke off"),
            End::Not(reason) => Err(*reason),
        };
        match self.settle(&mut head, old).await {
            Some(body) => self.emit_new(head, body, end, due),
            None => emit_old(head, held, end, due),
        }
    }

    /// Carries the changes out, and makes the head fit. Returns the new body, if there is one.
    async fn settle(&self, head: &mut ResponseHeader, old: Result<Bytes, &'static str>) -> Option<Bytes> {
        let changed = change(&self.changes, old).await;
        for fields in &changed.fields {
            change_response_head(fields, head);
        }
        changed.body
    }

    fn emit_new(&mut self, head: Box<ResponseHeader>, body: Bytes, end: End, due: &mut Vec<HttpTask>) {
        if let End::Not(_) | End::Failed(_) = end {
            self.state = State::Over;
        }
        match end {
            End::Trailer(trailer) => {
                due.push(HttpTask::Header(head, false));
                due.push(HttpTask::Body(Some(body), false));
                due.push(trailer);
            }
            _ if body.is_empty() => due.push(HttpTask::Header(head, true)),
            _ => {
                due.push(HttpTask::Header(head, false));
                due.push(HttpTask::Body(Some(body), true));
            }
        }
    }
}

fn emit_old(head: Box<ResponseHeader>, held: Collector, end: End, due: &mut Vec<HttpTask>) {
    if let End::Head = end {
        due.push(HttpTask::Header(head, true));
        return;
    }
    due.push(HttpTask::Header(head, false));
    let pieces = held.into_pieces().into_iter();
    due.extend(pieces.map(|piece| HttpTask::Body(Some(piece), false)));
    match end {
        End::Body => due.push(HttpTask::Body(None, true)),
        End::Trailer(task) | End::Failed(task) => due.push(task),
        End::Head | End::Not(_) => {}
    }
}

/// Looks at a response's head: what is to be done once its body has come, or `None` where nothing is. What concerns the
/// head alone is done at once.
pub async fn begin(session: &Session, carrying: &Carrying, head: &mut ResponseHeader) -> Option<Collecting> {
    let changes = carrying.body_changes(Direction::Response);
    if changes.is_empty() {
        return None;
    }
    let to_head = session.req_header().method == Method::HEAD;
    let message = Message {
        headers: &head.headers,
        status: Some(head.status),
        empty: to_head,
        upgraded: head.status == StatusCode::SWITCHING_PROTOCOLS,
    };
    let endless = message.is_endless();
    let large = message.length();
    let changes = accepted(changes, &message);
    if changes.is_empty() {
        return None;
    }
    let at_once = match large {
        _ if endless => Some("a stream"),
        Some(length) if length > limit(&changes) as u64 => Some("body too large"),
        _ => None,
    };
    let collecting = Collecting::new(changes, at_once, Instant::now());
    if to_head {
        collecting.settle(head, Err("no body")).await;
        return None;
    }
    Some(collecting)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pingora::{Error, ErrorType};
    use serde_json::json;

    use super::*;
    use crate::fault::Context;
    use crate::fault::rewrite::RewriteSpec;
    use crate::proxy::session::record::Record;
    use crate::rule::plan::Plan;

    fn collecting(rewrites: &[serde_json::Value], at_once: Option<&'static str>) -> Collecting {
        let context = Context {
            folder: std::path::Path::new("."),
            read: &|_| Err(std::io::ErrorKind::NotFound.into()),
            keys: std::num::NonZeroUsize::MIN,
            longest_wait: Duration::from_secs(1),
            rule: "r",
        };
        // An empty plan counts nothing.
        let record = Record::new(Arc::new(Plan::default()));
        let changes = rewrites.iter().map(|rewrite| {
            let spec: RewriteSpec = serde_json::from_value(rewrite.clone()).unwrap();
            let rewrite = Arc::new(spec.compile(&context).unwrap());
            Change::of(&rewrite, Direction::Response, 0, &record).unwrap()
        });
        Collecting::new(changes.collect(), at_once, Instant::now())
    }

    fn edit() -> serde_json::Value {
        json!({"replace": {"find": "a", "with": "bb"}, "limit": 10})
    }

    fn whole() -> serde_json::Value {
        json!({"body": "new", "limit": 10})
    }

    fn head(status: u16, end: bool) -> HttpTask {
        let mut head = ResponseHeader::build(status, None).unwrap();
        if status == 200 {
            head.insert_header("transfer-encoding", "chunked").unwrap();
        }
        HttpTask::Header(Box::new(head), end)
    }

    fn body(text: &'static str, end: bool) -> HttpTask {
        HttpTask::Body(Some(Bytes::from_static(text.as_bytes())), end)
    }

    /// What came out, in short: the status, with the length if it is stated; the bodies; `.` where it ends.
    async fn turn(collecting: &mut Collecting, tasks: Vec<HttpTask>, later: Duration) -> String {
        let due = collecting.turn(tasks, Instant::now() + later).await;
        let end = |end: &bool| if *end { "." } else { "" };
        let shown = due.iter().map(|task| match task {
            HttpTask::Header(head, ends) => {
                let length = head
                    .headers
                    .get("content-length")
                    .map(|length| length.to_str().unwrap());
                format!("{}{:?}{}", head.status.as_u16(), length, end(ends)).replace("None", "~")
            }
            HttpTask::Body(piece, ends) => {
                let piece = piece.clone().unwrap_or_default();
                format!("{}{}", String::from_utf8_lossy(&piece), end(ends))
            }
            other => other.type_str().to_owned(),
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[tokio::test]
    async fn an_edit_waits_for_the_end() {
        let mut held = collecting(&[edit()], None);
        let now = Duration::ZERO;
        assert_eq!(
            turn(&mut held, vec![head(103, false), head(200, false)], now).await,
            "103~"
        );
        assert_eq!(turn(&mut held, vec![body("xa", false)], now).await, "");
        assert_eq!(
            turn(&mut held, vec![body("ya", true)], now).await,
            r#"200Some("6") xbbybb."#
        );
        assert!(held.passes());
    }

    #[tokio::test]
    async fn ends_of_all_kinds() {
        for (end, wanted) in [
            (HttpTask::Done, r#"200Some("2") bb."#),
            (HttpTask::Trailer(None), r#"200Some("2") bb Trailer"#),
            (HttpTask::Body(None, true), r#"200Some("2") bb."#),
            (HttpTask::Failed(Error::new(ErrorType::ReadError)), "200~ a Failed"),
        ] {
            let mut held = collecting(&[edit()], None);
            let tasks = vec![head(200, false), body("a", false), end];
            assert_eq!(turn(&mut held, tasks, Duration::ZERO).await, wanted);
        }
    }

    #[tokio::test]
    async fn what_is_too_large_or_too_slow_passes_as_it_came() {
        let mut held = collecting(&[edit()], None);
        let now = Duration::ZERO;
        let tasks = vec![head(200, false), body("0123", false), body("4567", false)];
        assert_eq!(turn(&mut held, tasks, now).await, "");
        let tasks = vec![body("89a", false), body("b", false)];
        assert_eq!(turn(&mut held, tasks, now).await, "200~ 0123 4567 89a b");
        assert_eq!(turn(&mut held, vec![body("c", true)], now).await, "c.");

        let mut held = collecting(&[edit()], None);
        let tasks = vec![head(200, false), body("0123456789", false), body("a", true)];
        assert_eq!(turn(&mut held, tasks, now).await, "200~ 0123456789 a .");

        let mut held = collecting(&[edit()], None);
        assert_eq!(turn(&mut held, vec![head(200, false), body("a", false)], now).await, "");
        let late = Duration::from_secs(11);
        assert_eq!(turn(&mut held, vec![body("b", false)], late).await, "200~ a b");
        assert!(held.passes());
    }

    #[tokio::test]
    async fn a_whole_new_body_comes_when_the_old_one_is_over_or_not_worth_it() {
        let now = Duration::ZERO;
        let new = r#"200Some("3") new."#;
        let mut held = collecting(&[whole()], None);
        assert_eq!(
            turn(&mut held, vec![head(200, false), body("old", false)], now).await,
            ""
        );
        assert_eq!(turn(&mut held, vec![HttpTask::Done], now).await, new);
        assert!(!held.is_over());

        let mut held = collecting(&[whole()], None);
        let tasks = vec![head(200, false), body("longer than ten", false), body("more", true)];
        assert_eq!(turn(&mut held, tasks, now).await, new);
        assert!(held.is_over());

        let mut held = collecting(&[whole()], Some("a stream"));
        assert_eq!(turn(&mut held, vec![head(200, false)], now).await, new);
        assert!(held.is_over());
        assert_eq!(turn(&mut held, vec![body("data", false)], now).await, "");

        let mut held = collecting(&[whole()], None);
        assert_eq!(
            turn(&mut held, vec![head(200, false), body("old", false)], now).await,
            ""
        );
        assert_eq!(
            turn(&mut held, vec![body("er", false)], Duration::from_secs(2)).await,
            new
        );
        assert!(held.is_over());

        let mut held = collecting(&[whole()], None);
        assert_eq!(turn(&mut held, vec![head(200, true)], now).await, new);
    }

    #[tokio::test]
    async fn one_change_after_the_other() {
        let now = Duration::ZERO;
        let to_a = json!({"replace": {"find": "n", "with": "a"}});
        let mut held = collecting(&[edit(), whole(), to_a.clone(), edit()], None);
        let tasks = vec![head(200, false), body("x", true)];
        assert_eq!(turn(&mut held, tasks, now).await, r#"200Some("4") bbew."#);
        let empty = json!({"replace": {"find": ".*", "with": ""}});
        let mut held = collecting(&[empty, to_a], None);
        let tasks = vec![head(200, false), body("x", true)];
        assert_eq!(turn(&mut held, tasks, now).await, r#"200Some("0")."#);
    }
}
