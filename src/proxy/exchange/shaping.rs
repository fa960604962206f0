//! Which parts of a plan shape the bodies of an exchange, and what that does to their heads.

use std::sync::Arc;

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, UPGRADE};
use http::{HeaderMap, HeaderValue, Version};
use pingora::http::{RequestHeader, ResponseHeader};

use super::fields::Fields;
use super::lane::{Lane, Rules};
use crate::fault::effect::Effect;
use crate::fault::rewrite::{content_length, is_bodiless, is_encoded, media_type};
use crate::proxy::client::{Client, Connection, MalformedResponse};
use crate::proxy::execute::Execution;
use crate::proxy::record::Record;
use crate::shape::{
    Act, Bucket, Direction, Framing, Length, Malformed, Protocol, Rate, Scope, Shaper, Stream, TOO_SHORT,
};

const EXTENSIONS: &str = "sec-websocket-extensions";

/// What shaping an exchange depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shaping<'a> {
    pub(super) execution: &'a Execution,
    /// The plan, and where it is counted.
    pub(super) record: &'a Arc<Record>,
    /// Bytes that a shaped body may keep.
    pub(super) buffer: usize,
}

/// Acts on one direction, with their actions.
type Acts = Vec<(usize, Act)>;

/// What shapes a response, and the other direction of a connection that it upgrades.
#[derive(Default)]
pub(super) struct ShapedResponse {
    pub(super) download: Lane,
    pub(super) upload: Lane,
    pub(super) malformed: Option<MalformedResponse>,
}

impl Shaping<'_> {
    /// What shapes the body of a request that is about to be sent with `head`, which is changed as that needs. `body`:
    /// there is one. A WebSocket's messages are shaped from the answer on; if some are to be dropped, repeated or changed, the
    /// client's offer of extensions is withdrawn: compression (RFC 7692) would make messages depend on the ones before them.
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

    /// What shapes a response whose head is about to be sent, which is changed as that needs. `upgraded`: both directions go
    /// on in another protocol. `asked`: the client had asked for that.
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
            // Without the other protocol there is nothing more to read.
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

    /// Whether the plan has anything for a direction.
    fn has(&self, direction: Direction) -> bool {
        self.parts().any(|(_, part)| part.direction == direction)
    }

    /// All parts that shape bytes, with their actions.
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

    /// Whether messages of a stream vanish, or come twice.
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

    /// The acts that a stream accepts; the others are noted.
    fn acts(&self, stream: &Stream) -> Acts {
        let resized = self.resizes(stream);
        let mut acts = Vec::new();
        for (action, part) in self.parts().filter(|(_, part)| part.direction == stream.direction) {
            if self.record.is_shadow(action) {
                self.record.shadow(action);
                continue;
            }
            match stream.accepts(&part.act) {
                // The length in the head is not the one that leaves: the shaper finds out whether the place comes.
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
        let mut actions: Vec<usize> = acts.iter().map(|(action, _)| *action).collect();
        actions.dedup();
        let bucket = |action: usize, rate: &Rate| self.bucket(connection, stream.direction, action, rate);
        let shaper = Shaper::new(stream, acts, self.buffer, bucket);
        let length = shaper.length();
        let rules = Rules {
            record: Arc::clone(self.record),
            holder: Arc::clone(self.execution.holder()),
            bounds: self.execution.bounds(),
        };
        (Lane::shaped(shaper, actions, rules), length)
    }

    fn bucket(&self, connection: &Arc<Connection>, direction: Direction, action: usize, rate: &Rate) -> Arc<Bucket> {
        let plan = self.record.plan();
        match &rate.scope {
            Scope::Rule(bucket) => Arc::clone(bucket),
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

    /// Changes the head for what makes it lie; `Some` if its framing has to, too.
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

/// Takes the acts out that are not for the shaper. A body that is encoded already is broken by its bytes, not by its head.
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

/// How the bytes of an upgraded connection fall into messages.
fn upgraded_framing(headers: &HeaderMap) -> Framing {
    let protocol = headers.get(UPGRADE).map_or(&b""[..], |protocol| protocol.as_bytes());
    if protocol.eq_ignore_ascii_case(b"websocket") {
        Framing::WebSocket
    } else {
        Framing::Opaque
    }
}

/// Whether a response has content (RFC 9110, section 6.4.1), as far as its head tells.
fn has_body(client: &Client, head: &ResponseHeader) -> bool {
    let is_bare = !client.wants_body() || head.status.is_informational() || is_bodiless(head.status);
    // A gRPC status in the head means that there is nothing else (gRPC over HTTP/2, "Trailers-Only").
    !is_bare && !head.headers.contains_key("grpc-status")
}
