//! Which parts of a plan shape a request and its response, and what that does to their heads.

use std::sync::Arc;

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::ServerSession;

use super::lane::{Lane, Rules};
use super::raw::Spoil;
use super::record::Record;
use super::{Down, Handle, taken, wrap};
use crate::config::snapshot::View;
use crate::proxy::bodies::request::Replay;
use crate::proxy::carry::is_bodiless;
use crate::proxy::connection::Connection;
use crate::proxy::hold::Holder;
use crate::rule::plan::Effect;
use crate::shape::{Act, After, Bucket, Carrier, Direction, Framing, Garble, Length, Pace, Scope, Shaper, Stream};

const EXTENSIONS: &str = "sec-websocket-extensions";

/// What shaping a request depends on.
#[derive(Clone, Copy, Debug)]
pub struct Shaping<'a> {
    /// The plan, and where it is counted.
    pub record: &'a Arc<Record>,
    /// What bounds the requests that are held.
    pub holder: &'a Arc<Holder>,
    /// The bounds.
    pub view: &'a View,
}

/// Acts on one direction, with their actions.
type Acts = Vec<(usize, Act)>;

/// Begins to shape the body of a request that is about to be sent on with `head`. To be called each time it is.
///
/// The body is `supplied` where it is not just the client's; it is taken if there is something to shape.
///
/// A WebSocket's messages are shaped from the answer on. If some are to be dropped, repeated or changed, the client's
/// offer of extensions is withdrawn: compression (RFC 7692) would make messages depend on the ones before them.
///
/// # Errors
/// None but of Pingora's, for header fields.
pub fn shape_request(
    session: &mut ServerSession,
    shaping: Shaping<'_>,
    head: &mut RequestHeader,
    supplied: &mut Option<Replay>,
) -> Result<()> {
    if let Some(handle) = Handle::of(session) {
        return again(session.req_header(), handle.request_length, head);
    }
    if session.is_upgrade_req() {
        if shaping.needs_plain_messages() {
            head.remove_header(EXTENSIONS);
        }
        return Ok(());
    }
    if !shaping.has(Direction::Request) {
        return Ok(());
    }
    let request = session.req_header();
    let (version, headers) = match supplied {
        Some(_) => (request.version, &head.headers),
        None => (request.version, &request.headers),
    };
    let mut stream = stream(Direction::Request, carrier(version), headers, true);
    stream.body &= match supplied {
        Some(supplied) => !supplied.is_empty(),
        None => !session.is_body_empty(),
    };
    let acts = shaping.acts(&stream);
    if !acts.is_empty() {
        let (lane, length) = shaping.lane(session, &stream, acts);
        set_request_length(head, length)?;
        wrap(session, shaping.holder, lane, length, supplied.take());
    }
    Ok(())
}

/// Begins to shape a response whose head is about to be sent, and changes the head as that needs. `no_body`: its body is
/// going to be dropped.
///
/// # Errors
/// If the client has left meanwhile, and Pingora's for header fields.
pub async fn shape_response(
    session: &mut ServerSession,
    shaping: Shaping<'_>,
    head: &mut ResponseHeader,
    no_body: bool,
) -> Result<()> {
    if !shaping.has(Direction::Response) && !shaping.has(Direction::Request) {
        return Ok(());
    }
    let upgraded = session.is_upgrade(head) == Some(true);
    let body = !no_body && (upgraded || has_body(session.req_header(), head));
    let way = match upgraded {
        true => Carrier::WebSocket,
        false => carrier(session.req_header().version),
    };
    let response = Stream {
        framing: framing(&head.headers, upgraded),
        ..stream(Direction::Response, way, &head.headers, body)
    };
    let mut acts = shaping.acts(&response);
    let mut uploads = Vec::new();
    let request = Stream {
        direction: Direction::Request,
        ..response
    };
    if upgraded {
        uploads = shaping.acts(&request);
    } else if session.is_upgrade_req() {
        // Without the other protocol there is nothing more to read.
        shaping.acts(&Stream { body: false, ..request });
    }
    let garbles = take_garbles(&mut acts, &response);
    shaping.record.settle();
    if acts.is_empty() && uploads.is_empty() && garbles.is_empty() {
        return Ok(());
    }
    let lane = (!acts.is_empty()).then(|| shaping.lane(session, &response, acts));
    let (lane, length) = lane.unwrap_or_else(|| (Lane::plain(), Length::Same));
    set_response_length(head, length)?;
    let spoil = shaping.spoil(head, garbles)?;
    let upload = (!uploads.is_empty()).then(|| shaping.lane(session, &request, uploads).0);
    let handle = match Handle::of(session) {
        Some(handle) => Arc::clone(handle),
        None => wrap(session, shaping.holder, Lane::plain(), Length::Same, None),
    };
    let down = &handle.down;
    taken(down.send(Down::Response(Box::new(lane), spoil)).await, &handle.link)?;
    if let Some(upload) = upload {
        taken(down.send(Down::Request(Box::new(upload))).await, &handle.link)?;
    }
    Ok(())
}

impl Shaping<'_> {
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

    fn is_shadow(&self, action: usize) -> bool {
        let plan = self.record.plan();
        let hit = plan.actions.get(action).and_then(|action| plan.hits.get(action.hit));
        hit.is_some_and(|hit| hit.rule.shadow)
    }

    fn needs_plain_messages(&self) -> bool {
        self.parts()
            .filter(|(action, _)| !self.is_shadow(*action))
            .any(|(_, part)| matches!(part.act, Act::Drop(_) | Act::Repeat(_) | Act::Flip(_)))
    }

    /// The acts that a stream accepts; the others are noted.
    fn acts(&self, stream: &Stream) -> Acts {
        let mut acts = Vec::new();
        for (action, part) in self.parts().filter(|(_, part)| part.direction == stream.direction) {
            if self.is_shadow(action) {
                self.record.shadow(action);
                continue;
            }
            match stream.accepts(&part.act).and_then(|()| self.reaches(stream, &part.act)) {
                Ok(()) => {
                    self.record.accept(action);
                    acts.push((action, part.act.clone()));
                }
                Err(reason) => self.record.refuse(action, reason),
            }
        }
        acts
    }

    /// Whether an act finds what it needs, beyond what a stream's kind tells. A body of a known length has to be long
    /// enough for a stall or a cut to come before its end; where messages vanish or come twice, nobody knows how long.
    fn reaches(&self, stream: &Stream, act: &Act) -> Result<(), &'static str> {
        let after = match act {
            Act::Stall(stall) => stall.after,
            Act::Cut(cut) => cut.after,
            Act::Garble(Garble::Length(_)) if stream.length.is_none() => return Err("length unknown"),
            Act::Garble(Garble::Encoding) if stream.carrier == Carrier::WebSocket => return Err("no body"),
            _ => return Ok(()),
        };
        let resized = self.parts().any(|(action, part)| {
            let resizes = matches!(part.act, Act::Drop(_) | Act::Repeat(_));
            part.direction == stream.direction && resizes && !self.is_shadow(action)
        });
        let short = match (after, stream.length) {
            (After::Bytes(bytes), Some(length)) => bytes >= length,
            (After::Share(ppm), Some(_)) => ppm >= 1_000_000,
            _ => false,
        };
        match short && !resized {
            true => Err("body too short"),
            false => Ok(()),
        }
    }

    fn lane(&self, session: &ServerSession, stream: &Stream, acts: Acts) -> (Lane, Length) {
        let mut actions: Vec<usize> = acts.iter().map(|(action, _)| *action).collect();
        actions.dedup();
        let connection = Connection::of(session);
        let bucket = |action: usize, pace: &Pace| self.bucket(connection, stream.direction, action, pace);
        let shaper = Shaper::new(stream, acts, self.view.buffer, bucket);
        let length = shaper.length();
        let rules = Rules {
            record: Arc::clone(self.record),
            holder: Arc::clone(self.holder),
            held: self.view.held,
            longest: self.view.longest_wait,
        };
        (Lane::shaped(shaper, actions, rules), length)
    }

    fn bucket(
        &self,
        connection: Option<&Arc<Connection>>,
        direction: Direction,
        action: usize,
        pace: &Pace,
    ) -> Arc<Bucket> {
        let plan = self.record.plan();
        match &pace.scope {
            Scope::Rule(bucket) => Arc::clone(bucket),
            Scope::Connection => {
                let action = plan.actions.get(action);
                let hit = action.and_then(|action| plan.hits.get(action.hit));
                match (connection, action, hit) {
                    (Some(connection), Some(action), Some(hit)) => {
                        connection.bucket(&hit.rule, (action.fault, direction), pace.rate)
                    }
                    _ => Arc::new(Bucket::new(pace.rate)),
                }
            }
            Scope::Request => Arc::new(Bucket::new(pace.rate)),
        }
    }

    /// Changes the head for what makes it lie; `Some` if its framing has to, too.
    fn spoil(&self, head: &mut ResponseHeader, garbles: Vec<(usize, Garble)>) -> Result<Option<Spoil>> {
        let mut acts = Vec::new();
        for (action, garble) in garbles {
            match garble {
                Garble::Encoding => {
                    head.insert_header(CONTENT_ENCODING, HeaderValue::from_static("gzip"))?;
                    self.record.done(action);
                    continue;
                }
                Garble::Chunk => set_response_length(head, Length::Unknown)?,
                Garble::Length(by) => {
                    if let Some(length) = content_length(&head.headers) {
                        head.insert_header(CONTENT_LENGTH, length.saturating_add_signed(by))?;
                    }
                }
                Garble::StatusLine | Garble::Header | Garble::Json => {}
            }
            acts.push((action, garble));
        }
        Ok((!acts.is_empty()).then(|| Spoil {
            record: Arc::clone(self.record),
            acts,
        }))
    }
}

/// Takes the acts out that are not for the shaper. A body that is encoded already is broken by its bytes, not by its head.
fn take_garbles(acts: &mut Acts, stream: &Stream) -> Vec<(usize, Garble)> {
    let mut garbles = Vec::new();
    acts.retain(|(action, act)| match act {
        Act::Garble(Garble::Json) => true,
        Act::Garble(Garble::Encoding) if stream.encoded => true,
        Act::Garble(garble) => {
            garbles.push((*action, *garble));
            false
        }
        _ => true,
    });
    garbles
}

/// A request is sent again: what the first time has changed.
fn again(request: &RequestHeader, length: Length, head: &mut RequestHeader) -> Result<()> {
    // Pingora takes it away from sessions that are not its own, and gRPC needs it.
    let te = request.headers.get(TE).filter(|te| te.as_bytes() == b"trailers");
    if let (Some(te), Version::HTTP_2) = (te, head.version) {
        head.insert_header(TE, te.clone())?;
    }
    set_request_length(head, length)
}

fn set_request_length(head: &mut RequestHeader, length: Length) -> Result<()> {
    match length {
        Length::Same => {}
        Length::Exactly(length) => {
            head.remove_header(&TRANSFER_ENCODING);
            head.insert_header(CONTENT_LENGTH, length)?;
        }
        // Pingora adds the chunks where the upstream needs them.
        Length::Unknown => drop(head.remove_header(&CONTENT_LENGTH)),
    }
    Ok(())
}

fn set_response_length(head: &mut ResponseHeader, length: Length) -> Result<()> {
    match length {
        Length::Same => {}
        Length::Exactly(length) => {
            head.remove_header(&TRANSFER_ENCODING);
            head.insert_header(CONTENT_LENGTH, length)?;
        }
        Length::Unknown => {
            head.remove_header(&CONTENT_LENGTH);
            if !head.headers.contains_key(TRANSFER_ENCODING) && head.status != StatusCode::SWITCHING_PROTOCOLS {
                // HTTP/2 and HTTP/1.0 leave it out again.
                head.set_version(Version::HTTP_11);
                head.insert_header(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
            }
        }
    }
    Ok(())
}

fn stream(direction: Direction, carrier: Carrier, headers: &HeaderMap, body: bool) -> Stream {
    let length = content_length(headers);
    Stream {
        direction,
        carrier,
        framing: framing(headers, false),
        length,
        body: body && length != Some(0),
        json: media_type(headers).is_some_and(|media| {
            let (_, subtype) = media.split_once('/').unwrap_or_default();
            subtype.eq_ignore_ascii_case("json") || subtype.to_ascii_lowercase().ends_with("+json")
        }),
        encoded: headers
            .get_all(CONTENT_ENCODING)
            .iter()
            .any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")),
    }
}

fn carrier(version: Version) -> Carrier {
    match version {
        Version::HTTP_2 => Carrier::Http2,
        Version::HTTP_11 => Carrier::Http11,
        _ => Carrier::Http10,
    }
}

fn framing(headers: &HeaderMap, upgraded: bool) -> Framing {
    let websocket = upgraded
        && headers
            .get(UPGRADE)
            .is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"));
    match upgraded && !websocket {
        true => Framing::Opaque,
        false => Framing::of(text(headers, &CONTENT_TYPE), websocket),
    }
}

fn media_type(headers: &HeaderMap) -> Option<&str> {
    text(headers, &CONTENT_TYPE).and_then(|value| value.split(';').next().map(str::trim))
}

fn text<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    // With chunks, a length says nothing (RFC 9112, section 6.3).
    match headers.contains_key(TRANSFER_ENCODING) {
        true => None,
        false => text(headers, &CONTENT_LENGTH).and_then(|length| length.trim().parse().ok()),
    }
}

/// Whether a response has content (RFC 9110, section 6.4.1), as far as its head tells.
fn has_body(request: &RequestHeader, head: &ResponseHeader) -> bool {
    let is_bare = request.method == Method::HEAD || head.status.is_informational() || is_bodiless(head.status);
    // A gRPC status in the head means that there is nothing else (gRPC over HTTP/2, "Trailers-Only").
    !is_bare && !head.headers.contains_key("grpc-status")
}
