//! The client's end of a wrapped request: the real session, and the ways to write to it, to hear from it and to end it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::protocols::http::{HttpTask, ServerSession};

use super::Phase;
use super::raw::{Spoil, Writer};
use crate::fault::abort::GrpcStatus;
use crate::proxy::bodies::request::Replay;
use crate::proxy::connection::Connection;
use crate::proxy::heads::http10;
use crate::shape::Finish;

/// What was written last gets this long to leave before the stream or the connection is ended: HTTP/2 throws queued DATA
/// away on a reset, and TCP what it has not sent.
const LAST_WORDS: Duration = Duration::from_millis(5);

/// So many times one after the other: on a busy machine one wait can be over before the task that writes has had its turn.
const LAST_TURNS: usize = 5;

/// The client's end.
pub(super) struct Client {
    end: End,
    connection: Option<Arc<Connection>>,
    /// The request's body, where it is not just what the session reads.
    supplied: Option<Replay>,
    upgraded: bool,
}

enum End {
    Session(Box<ServerSession>),
    /// HTTP/1, with a response that is broken on purpose.
    Raw(Box<Writer>),
    Over,
}

/// What a look at the client is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listen {
    /// The next piece of the request's body.
    Body,
    /// Only its leaving; the body was read.
    Idle,
    /// Only its leaving; there is no room for more of the body.
    Leaving,
    /// Nothing.
    Nothing,
}

/// What was heard.
#[derive(Debug)]
pub(super) enum Heard {
    /// A piece of the request's body, or its end.
    Body(Option<Bytes>),
    /// The client has left.
    Gone,
}

/// The client has left, or squall has ended the connection.
#[derive(Debug)]
pub(super) struct Lost;

impl Client {
    pub(super) fn new(real: ServerSession, connection: Option<Arc<Connection>>, supplied: Option<Replay>) -> Client {
        Client {
            upgraded: real.was_upgraded(),
            end: End::Session(Box::new(real)),
            connection,
            supplied,
        }
    }

    /// Whether the request has no body, or none any more.
    pub(super) fn has_no_body(&mut self) -> bool {
        match &mut self.end {
            End::Session(session) => match &self.supplied {
                Some(supplied) => supplied.is_done(session),
                None => session.is_body_done(),
            },
            End::Raw(_) | End::Over => true,
        }
    }

    /// Whether the client has asked for another protocol and has not got it.
    pub(super) fn waits_for_upgrade(&self) -> bool {
        matches!(&self.end, End::Session(session) if session.is_upgrade_req() && !self.upgraded)
    }

    /// Whether the connection has left HTTP.
    pub(super) fn upgraded(&self) -> bool {
        self.upgraded
    }

    /// The real session, if there is one.
    pub(super) fn into_session(self) -> Option<ServerSession> {
        match self.end {
            End::Session(session) => Some(*session),
            End::Raw(_) | End::Over => None,
        }
    }

    /// From now on (or no longer), each write leaves at once. HTTP/2 does that by itself, and shares its connection.
    pub(super) fn set_autoflush(&self, on: bool) {
        if let Some(connection) = &self.connection
            && !self.is_http2()
        {
            connection.set_autoflush(on);
        }
    }

    /// Writes a head at once, whatever its body has to wait for. `end`: there is nothing else.
    pub(super) async fn head(
        &mut self,
        mut head: Box<ResponseHeader>,
        end: bool,
        spoil: Option<Spoil>,
    ) -> Result<(), Lost> {
        if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
            self.settle_connection(&head);
        }
        if let Some(spoil) = spoil {
            return self.spoil(spoil, &mut head).await;
        }
        let End::Session(session) = &mut self.end else {
            return Err(Lost);
        };
        let task = HttpTask::Header(head, end);
        let written = session.response_duplex_vec(vec![task]).await;
        self.upgraded |= session.was_upgraded();
        written.map(drop).map_err(|_| Lost)
    }

    /// What Pingora's side can't say of the connection, because it does not have it.
    fn settle_connection(&mut self, head: &ResponseHeader) {
        let End::Session(session) = &mut self.end else {
            return;
        };
        let request = session.req_header();
        let ends = request.version == Version::HTTP_10 && http10::ends_with_connection(&request.method, head);
        let connection = self.connection.as_ref();
        if ends || connection.is_some_and(|connection| connection.listener().stopping()) {
            session.set_keepalive(None);
        }
    }

    /// Takes the connection out of the session: from here on it is of no other use.
    async fn spoil(&mut self, spoil: Spoil, head: &mut ResponseHeader) -> Result<(), Lost> {
        let End::Session(session) = std::mem::replace(&mut self.end, End::Over) else {
            return Err(Lost);
        };
        // HTTP/2 was refused when the response was looked at.
        let ServerSession::H1(session) = *session else {
            return Err(Lost);
        };
        let mut writer = Box::new(Writer::new(session.into_inner(), spoil));
        let written = writer.head(head).await;
        self.end = End::Raw(writer);
        written.map_err(|_| Lost)
    }

    /// Writes a piece of the body, to its end. False: nothing may follow it.
    pub(super) async fn body(&mut self, piece: Bytes) -> Result<bool, Lost> {
        match &mut self.end {
            End::Session(session) => match session.write_response_body(piece, false).await {
                Ok(()) => Ok(true),
                Err(_) => Err(Lost),
            },
            End::Raw(writer) => writer.body(&piece).await.map_err(|_| Lost),
            End::Over => Err(Lost),
        }
    }

    /// Ends the response, and the stream or the connection where that is the end.
    pub(super) async fn finish(&mut self, finish: Finish, trailers: Option<HeaderMap>) -> Phase {
        match finish {
            Finish::Natural => self.finish_body(trailers, Phase::Done).await,
            Finish::Clean(clean) => {
                let trailers = clean.grpc.as_deref().map(grpc_trailers);
                self.finish_body(trailers, Phase::Cut).await
            }
            Finish::Close => {
                self.last_words().await;
                if let Some(connection) = &self.connection {
                    connection.close();
                }
                Phase::Ended
            }
            Finish::Reset(code) => {
                self.last_words().await;
                match (&mut self.end, &self.connection) {
                    (End::Session(session), _) if session.is_http2() => session.shutdown_with_reason(code.into()),
                    (_, Some(connection)) => connection.reset(),
                    (_, None) => {}
                }
                Phase::Ended
            }
        }
    }

    async fn finish_body(&mut self, trailers: Option<HeaderMap>, phase: Phase) -> Phase {
        let finished = match &mut self.end {
            End::Session(session) => match trailers {
                Some(trailers) if session.is_http2() => session.write_response_trailers(trailers).await,
                _ => session.finish_body().await,
            },
            End::Raw(writer) => {
                return match writer.end().await {
                    Ok(()) => Phase::Ended,
                    Err(_) => Phase::Gone,
                };
            }
            End::Over => return Phase::Ended,
        };
        match finished {
            Ok(()) => phase,
            Err(_) => Phase::Gone,
        }
    }

    async fn last_words(&mut self) {
        for _ in 0..LAST_TURNS {
            // Who leaves in that time hears no end, and needs none.
            if tokio::time::timeout(LAST_WORDS, self.hear(Listen::Leaving))
                .await
                .is_ok()
            {
                return;
            }
        }
    }

    /// Listens to the client. Cancel-safe.
    pub(super) async fn hear(&mut self, listen: Listen) -> Heard {
        // With a known length, Pingora knows the end with the last byte and does not tell it once more.
        if listen == Listen::Body && self.has_no_body() {
            return Heard::Body(None);
        }
        match (&mut self.end, listen) {
            (_, Listen::Nothing) | (End::Over, _) => return std::future::pending().await,
            (End::Raw(writer), _) => writer.client_gone().await,
            (End::Session(session), Listen::Body) => {
                let body = match &mut self.supplied {
                    Some(supplied) => supplied.read_or_idle(session, false).await,
                    None => session.read_body_or_idle(false).await,
                };
                if let Ok(body) = body {
                    return Heard::Body(body);
                }
            }
            (End::Session(session), Listen::Idle) => match (&mut **session, &self.connection) {
                (ServerSession::H2(stream), _) => drop(stream.idle().await),
                // Reading also writes what is pending; watching also sees an end behind a pipelined request.
                (session, Some(connection)) => tokio::select! {
                    _ = session.read_body_or_idle(true) => {}
                    () = connection.gone() => {}
                },
                (session, None) => drop(session.read_body_or_idle(true).await),
            },
            (End::Session(session), Listen::Leaving) => match (&mut **session, &self.connection) {
                (ServerSession::H2(stream), _) => drop(stream.idle().await),
                (_, Some(connection)) => connection.gone().await,
                (_, None) => return std::future::pending().await,
            },
        }
        Heard::Gone
    }

    fn is_http2(&self) -> bool {
        matches!(&self.end, End::Session(session) if session.is_http2())
    }
}

fn grpc_trailers(status: &GrpcStatus) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    trailers.insert("grpc-status", HeaderValue::from(u16::from(status.code.number())));
    if let Ok(message) = HeaderValue::try_from(status.message.as_str())
        && !message.is_empty()
    {
        trailers.insert("grpc-message", message);
    }
    trailers
}
