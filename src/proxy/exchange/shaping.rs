//! Turns the parts of a plan that shape bodies into lanes, and fits the heads to them.

use std::sync::Arc;

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, UPGRADE};
use http::{HeaderMap, HeaderValue, Version};
use pingora::http::{RequestHeader, ResponseHeader};

use super::fields::Fields;
use super::lane::{Lane, Rules, Stage};
use crate::fault::effect::Effect;
use crate::fault::rewrite::{content_length, is_bodiless, is_encoded, media_type};
use crate::grpc;
use crate::proxy::client::{Client, Connection, MalformedResponse};
use crate::proxy::execute::Execution;
use crate::proxy::record::Record;
use crate::shape::{
    Act, Bucket, Direction, Framing, Length, Malformed, Protocol, Rate, Scope, Shaper, Stream, TOO_SHORT,
};

const EXTENSIONS: &str = "sec-websocket-extensions";

/// What the shaping of an exchange needs from its request.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy) struct Shaping<'a> {
    pub(in crate::proxy) execution: &'a Execution,
    /// The plan and its counters.
    pub(in crate::proxy) record: &'a Arc<Record>,
    /// Bytes that a shaped body may buffer.
    pub(in crate::proxy) buffer: usize,
}

/// The acts on one direction, each with the index of its action.
type Acts = Vec<(usize, Act)>;

/// The shaping of a response, and of the upload once the connection is upgraded.
#[derive(Default)]
pub(super) struct ShapedResponse {
    pub(super) download: Lane,
    pub(super) upload: Lane,
    pub(super) malformed: Option<MalformedResponse>,
}

impl Shaping<'_> {
    /// Returns the lane of a request body, and fits `head`, which is about to be sent, to it. `body` says whether there is a
    /// body. A WebSocket is shaped from its response on; if messages are to be dropped, repeated or changed, the client's
    /// offer of extensions is removed, since with compression (RFC 7692) messages depend on the ones before them.
    pub(super) fn request(&self, client: &Client, head: &mut RequestHeader, body: bool, upgrade: bool) -> Lane {
        if upgrade && self.needs_plain_messages() {
            head.remove_header(EXTENSIONS);
        }
        if upgrade || !self.has(Direction::Request) {
            return Lane::default();
        }
        let mut stream = stream(Direction::Request, protocol(client.head().version), &head.headers, true);
        stream.body &= body;
        let acts = self.acts(&stream);
        if acts.is_empty() {
            return Lane::default();
        }
        let (lane, length) = self.lane(client.connection(), &stream, acts);
        head.set_length(length);
        lane
    }

    /// Returns the shaping of a response, and fits `head`, which is about to be sent, to it. `asked`: the client asked for
    /// another protocol. `upgraded`: the upstream has switched to it.
    pub(super) fn response(
        &self,
        client: &Client,
        head: &mut ResponseHeader,
        body: bool,
        (asked, upgraded): (bool, bool),
    ) -> ShapedResponse {
        if !self.has(Direction::Response) && !self.has(Direction::Request) {
            return ShapedResponse::default();
        }
        let body = body && (upgraded || has_body(client, head));
        let mut response = stream(
            Direction::Response,
            protocol(client.head().version),
            &head.headers,
            body,
        );
        if upgraded {
            response.protocol = Protocol::WebSocket;
            response.framing = upgraded_framing(&head.headers);
        }
        let request = Stream {
            direction: Direction::Request,
            ..response
        };
        let mut acts = self.acts(&response);
        let uploads = match (upgraded, asked) {
            (true, _) => self.acts(&request),
            // The upgrade was refused, so there is no upload to shape: its acts are noted as missed.
            (false, true) => self.acts(&Stream { body: false, ..request }),
            (false, false) => Vec::new(),
        };
        let malformed = take_malformed(&mut acts, &response);
        self.record.settle();
        let mut shaped = ShapedResponse::default();
        if !acts.is_empty() {
            let (lane, length) = self.lane(client.connection(), &response, acts);
            head.set_length(length);
            shaped.download = lane;
        }
        if !uploads.is_empty() {
            shaped.upload = self.lane(client.connection(), &request, uploads).0;
        }
        shaped.malformed = self.malform(head, malformed);
        shaped
    }

    /// Returns the stage of one direction of a TCP connection; `None` if the plan does not shape it. `passed` are the bytes before
    /// it, where positions begin to count.
    pub(in crate::proxy) fn connection(
        &self,
        connection: &Arc<Connection>,
        direction: Direction,
        passed: u64,
        id: u64,
    ) -> Option<Stage> {
        let stream = Stream::of_connection(direction);
        let acts = self.acts(&stream);
        if acts.is_empty() {
            return None;
        }
        let (shaper, actions) = self.shaper(connection, &stream, acts);
        Some(Stage::new(id, shaper.continuing(passed), actions, self.rules()))
    }

    /// Whether the plan shapes a direction.
    fn has(&self, direction: Direction) -> bool {
        self.parts().any(|(_, part)| part.direction == direction)
    }

    /// The plan's parts that shape bytes, each with the index of its action.
    fn parts(&self) -> impl Iterator<Item = (usize, &crate::shape::Part)> {
        let actions = self.record.plan().actions.iter().enumerate();
        actions.flat_map(|(at, action)| {
            let parts = match &action.effect {
                Effect::Shape(parts) => parts.as_slice(),
                _ => &[],
            };
            parts.iter().map(move |part| (at, part))
        })
    }

    /// Whether messages of a stream are dropped or duplicated.
    fn resizes(&self, stream: &Stream) -> bool {
        self.parts().any(|(action, part)| {
            part.direction == stream.direction
                && matches!(part.act, Act::Drop(_) | Act::Duplicate(_))
                && !self.record.is_shadow(action)
                && stream.accepts(&part.act).is_ok()
        })
    }

    fn needs_plain_messages(&self) -> bool {
        self.parts()
            .filter(|(action, _)| !self.record.is_shadow(*action))
            .any(|(_, part)| matches!(part.act, Act::Drop(_) | Act::Duplicate(_) | Act::Corrupt(_)))
    }

    /// Returns the acts that apply to a stream, and records why the others don't.
    fn acts(&self, stream: &Stream) -> Acts {
        let resized = self.resizes(stream);
        let mut acts = Vec::new();
        for (action, part) in self.parts().filter(|(_, part)| part.direction == stream.direction) {
            if self.record.is_let_go(action) {
                continue;
            }
            if self.record.is_shadow(action) {
                self.record.shadow(action);
                continue;
            }
            match stream.accepts(&part.act) {
                // The length in the head is not the final one, so only the shaper finds out whether the position is reached.
                Err(reason) if !(resized && reason == TOO_SHORT) => self.record.refuse(action, reason),
                _ => {
                    self.record.accept(action);
                    acts.push((action, part.act.clone()));
                }
            }
        }
        acts
    }

    fn lane(&self, connection: &Arc<Connection>, stream: &Stream, acts: Acts) -> (Lane, Length) {
        let (shaper, actions) = self.shaper(connection, stream, acts);
        let length = shaper.length();
        (Lane::shaped(Stage::new(0, shaper, actions, self.rules())), length)
    }

    fn shaper(&self, connection: &Arc<Connection>, stream: &Stream, acts: Acts) -> (Shaper, Vec<usize>) {
        let mut actions: Vec<usize> = acts.iter().map(|(action, _)| *action).collect();
        actions.dedup();
        let bucket = |action: usize, rate: &Rate| self.bucket(connection, stream.direction, action, rate);
        (Shaper::new(stream, acts, self.buffer, bucket), actions)
    }

    fn rules(&self) -> Rules {
        Rules {
            record: Arc::clone(self.record),
            holder: Arc::clone(self.execution.holder()),
            bounds: self.execution.bounds(),
        }
    }

    fn bucket(&self, connection: &Arc<Connection>, direction: Direction, action: usize, rate: &Rate) -> Arc<Bucket> {
        let plan = self.record.plan();
        match &rate.scope {
            Scope::Rule(bucket) => Arc::clone(bucket),
            Scope::Listener(buckets) => buckets.of(connection.listener().name()),
            Scope::Connection => {
                let action = plan.actions.get(action);
                let hit = action.and_then(|action| plan.hits.get(action.hit));
                match (action, hit) {
                    (Some(action), Some(hit)) => connection.bucket(&hit.rule, (action.fault, direction), rate.rate),
                    _ => Arc::new(Bucket::new(rate.rate)),
                }
            }
            Scope::Request => Arc::new(Bucket::new(rate.rate)),
        }
    }

    /// Applies the malformations that are changes to the head. Returns those that concern the written bytes, if any.
    fn malform(&self, head: &mut ResponseHeader, malformed: Vec<(usize, Malformed)>) -> Option<MalformedResponse> {
        let mut acts = Vec::new();
        for (action, malformed) in malformed {
            match malformed {
                Malformed::Encoding => {
                    head.set(&CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                    self.record.done(action);
                    continue;
                }
                Malformed::Chunk => head.set_length(Length::Unknown),
                Malformed::Length(by) => {
                    if let Some(length) = content_length(&head.headers) {
                        head.set(&CONTENT_LENGTH, length.saturating_add_signed(by).into());
                    }
                }
                Malformed::StatusLine | Malformed::Header | Malformed::Json => {}
            }
            acts.push((action, malformed));
        }
        (!acts.is_empty()).then(|| MalformedResponse::new(Arc::clone(self.record), acts))
    }
}

/// Removes and returns the malformations that the shaper does not carry out. An encoded body is malformed by its bytes
/// and stays with the shaper; for any other, the head claims an encoding.
fn take_malformed(acts: &mut Acts, stream: &Stream) -> Vec<(usize, Malformed)> {
    let mut malformed = Vec::new();
    acts.retain(|(action, act)| match act {
        Act::Malform(Malformed::Json) => true,
        Act::Malform(Malformed::Encoding) if stream.encoded => true,
        Act::Malform(kind) => {
            malformed.push((*action, *kind));
            false
        }
        _ => true,
    });
    malformed
}

fn stream(direction: Direction, protocol: Protocol, headers: &HeaderMap, body: bool) -> Stream {
    let length = content_length(headers);
    let media_type = media_type(headers);
    let (_, subtype) = media_type.split_once('/').unwrap_or_default();
    Stream {
        direction,
        protocol,
        framing: Framing::of(&media_type),
        length,
        body: body && length != Some(0),
        json: subtype == "json" || subtype.ends_with("+json"),
        encoded: is_encoded(headers),
    }
}

fn protocol(version: Version) -> Protocol {
    match version {
        Version::HTTP_2 => Protocol::Http2,
        Version::HTTP_11 => Protocol::Http11,
        _ => Protocol::Http10,
    }
}

/// The framing of messages on an upgraded connection.
fn upgraded_framing(headers: &HeaderMap) -> Framing {
    let protocol = headers.get(UPGRADE).map_or(&b""[..], |protocol| protocol.as_bytes());
    if protocol.eq_ignore_ascii_case(b"websocket") {
        Framing::WebSocket
    } else {
        Framing::Opaque
    }
}

/// Whether a response has content (RFC 9110, section 6.4.1), judged by its head.
fn has_body(client: &Client, head: &ResponseHeader) -> bool {
    let is_bare = !client.wants_body() || head.status.is_informational() || is_bodiless(head.status);
    // A gRPC status in the head means that there is no body (gRPC over HTTP/2, "Trailers-Only").
    !is_bare && !head.headers.contains_key(grpc::STATUS)
}
