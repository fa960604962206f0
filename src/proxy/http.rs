//! Pingora's callbacks: one request's way through the house. They carry a plan out and decide nothing.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use axum::Router;
use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::{H1UpgradePolicy, HttpPeer};
use pingora::{Error, ErrorSource, ErrorType, Result};

use super::answer;
use super::bodies::{Bodies, Copied};
use super::carry::{Carrying, Ending};
use super::connection::Connection;
use super::heads::{self, http10};
use super::hold::Holder;
use super::log::{self, Access};
use super::session::{self, Handle, Phase};
use super::upgrade;
use super::upstream::{Outcome, Picked, RESOLVE_FAILED};
use super::{bodies, gone};
use crate::config::snapshot::{Target, View};
use crate::metrics::{Metrics, NO_STATUS};
use crate::rule::head::Head;
use crate::rule::state::Live;

/// The proxy behind one listener.
#[derive(Debug)]
pub struct Squall {
    /// The part of the configuration in force that is this listener's.
    pub view: Arc<ArcSwap<View>>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Holds requests in injected waits.
    pub holder: Arc<Holder>,
}

/// What one request carries through the callbacks.
#[derive(Debug)]
pub struct Request {
    view: Arc<View>,
    started: Instant,
    client: Option<IpAddr>,
    /// Present only where a rule hit.
    carrying: Option<Box<Carrying>>,
    picked: Option<Picked>,
    sent: Option<Instant>,
    /// Present while a request for an upgrade waits for its answer.
    waiting: Option<upgrade::Real>,
    /// From sending the request to the upstream until the head of its response.
    natural: Option<Duration>,
    /// The client left before the answer was complete.
    gone: bool,
    /// Whole bodies, where a rule has something to do with them.
    bodies: Bodies,
}

impl Squall {
    fn decide(&self, session: &Session, request: &mut Request) {
        let view = &request.view;
        let header = session.req_header();
        let peer = Connection::of(session).and_then(|connection| connection.client());
        let forwarded = match view.trusted_proxies.is_empty() {
            true => None,
            false => joined(header, "x-forwarded-for"),
        };
        request.client = view.client(peer, forwarded.as_deref());
        if view.rules.rules().is_empty() {
            return;
        }
        let target = header.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let authority = header.uri.authority().map(http::uri::Authority::as_str);
        let head = Head::new(&header.method, target, authority, &header.headers, request.client);
        if let Some(plan) = view.rules.decide(&head, &Live { now: request.started }) {
            request.carrying = Some(Box::new(Carrying::new(plan, request.started)));
        }
    }

    /// Carries out what comes before the upstream. `Some`: the request is over.
    async fn before_request(&self, session: &mut Session, request: &mut Request) -> Result<Option<bool>> {
        let Some(carrying) = &mut request.carrying else {
            return Ok(None);
        };
        let ending = carrying.before_request(session, &self.holder, &request.view).await;
        if let Some(done) = self.end(session, request, ending).await? {
            return Ok(Some(done));
        }
        if let Some(carrying) = &request.carrying {
            request.bodies.read(session, carrying).await?;
        }
        Ok(None)
    }

    /// Ends a request as a terminal fault says.
    async fn end(&self, session: &mut Session, request: &mut Request, ending: Ending) -> Result<Option<bool>> {
        match ending {
            Ending::GoOn => return Ok(None),
            Ending::ClientGone => request.gone = true,
            Ending::Close => gone::close_without_reply(session),
            Ending::Reset(code) => {
                session::restore(session).await;
                gone::reset_stream_or_connection(session, code.into());
            }
            Ending::Answer(answer, status) => {
                session::restore(session).await;
                let mut head = answer::head(&answer, status)?;
                self.reveal(request, &mut head)?;
                answer::send(session, head, answer.body.clone()).await?;
            }
            Ending::Grpc(status) => {
                session::restore(session).await;
                let mut head = answer::grpc_head(&status)?;
                self.reveal(request, &mut head)?;
                answer::send_trailers_only(session, head).await?;
            }
        }
        Ok(Some(true))
    }

    /// Shows on a response what was injected.
    fn reveal(&self, request: &Request, head: &mut ResponseHeader) -> Result<()> {
        match &request.carrying {
            Some(carrying) => carrying.reveal(request.view.reveal, head),
            None => Ok(()),
        }
    }

    async fn before_response(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        request: &mut Request,
    ) -> Result<()> {
        if request.carrying.is_none() {
            return Ok(());
        }
        let natural = request.natural;
        if let Some(carrying) = &mut request.carrying {
            match carrying
                .before_response(session, &self.holder, &request.view, natural, head)
                .await
            {
                Ending::GoOn => {}
                ending => {
                    // The upstream's response is dropped; `fail_to_proxy` says what comes instead.
                    carrying.instead = Some(ending);
                    return Err(gone::silence());
                }
            }
        }
        if let Some(carrying) = &request.carrying
            && request.bodies.begin(session, carrying, head).await
        {
            // The head is not known before the body is.
            return Ok(());
        }
        self.finish_head(session, head, request).await
    }

    /// What the head of the response needs when its body is settled.
    async fn finish_head(&self, session: &mut Session, head: &mut ResponseHeader, request: &Request) -> Result<()> {
        if let Some(carrying) = &request.carrying {
            carrying
                .shape_response(session, &self.holder, &request.view, head)
                .await?;
        }
        self.reveal(request, head)
    }

    /// Asks a fake, and sends its response.
    async fn ask_fake(&self, session: &mut Session, router: &Router, request: &mut Request) -> Result<()> {
        let mut header = session.req_header().clone();
        if let Some(carrying) = &request.carrying {
            carrying.rewrite_request(&mut header)?;
            request.bodies.change_head(&mut header)?;
            let fake = (router, request.client, request.view.longest_wait);
            if request.bodies.ask_first(session, carrying, &header, fake).await? == Copied::ClientGone {
                request.gone = true;
                return Ok(());
            }
            let body = request.bodies.body();
            carrying.shape_request(session, &self.holder, &request.view, &mut header, body)?;
        }
        request.sent = Some(Instant::now());
        let body = request.bodies.body().as_ref();
        let Some((mut head, body)) = super::fakes::ask(session, &header, router, request.client, body).await? else {
            request.gone = true;
            return Ok(());
        };
        request.natural = request.sent.map(|sent| sent.elapsed());
        if let Err(error) = self.before_response(session, &mut head, request).await {
            return match request.carrying.as_mut().and_then(|carrying| carrying.instead.take()) {
                Some(ending) => self.end(session, request, ending).await.map(drop),
                None => Err(error),
            };
        }
        let Some(collecting) = request.bodies.collecting() else {
            return super::fakes::send(session, head, body).await;
        };
        let Some((mut head, body)) = bodies::fake::collect(session, collecting, head, body).await? else {
            request.gone = true;
            return Ok(());
        };
        self.finish_head(session, &mut head, request).await?;
        super::fakes::send(session, head, body).await
    }

    async fn answer_natural_failure(&self, session: &mut Session, error: &Error, request: &Request) -> u16 {
        let endpoint = request.picked.as_ref().map(Picked::label);
        let failure = super::upstream::describe_error(error, &request.view.upstream, endpoint);
        if session.response_written().is_some() {
            return failure.status;
        }
        let sent = async {
            session::restore(session).await;
            session.set_keepalive(None);
            let mut head = answer::text_head(failure.status)?;
            self.reveal(request, &mut head)?;
            answer::send(session, head, failure.text.into()).await
        };
        match sent.await {
            Ok(()) => failure.status,
            Err(_) => 0,
        }
    }
}

#[async_trait]
impl ProxyHttp for Squall {
    type CTX = Request;

    /// Called once a request's head has been read, not when its connection begins to wait for it.
    fn new_ctx(&self) -> Request {
        Request {
            view: self.view.load_full(),
            started: Instant::now(),
            client: None,
            carrying: None,
            picked: None,
            sent: None,
            waiting: None,
            natural: None,
            gone: false,
            bodies: Bodies::default(),
        }
    }

    /// Pingora's default would add a compression module to each request.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, request: &mut Request) -> Result<bool> {
        if session.req_header().version == http::Version::HTTP_10 {
            // Nor does it know interim responses (RFC 9110, section 15.2).
            session.downstream_session.set_ignore_info_resp(true);
            session.downstream_modules_ctx = http10::modules();
        }
        heads::forget_own(session);
        self.decide(session, request);
        if let Some(done) = self.before_request(session, request).await? {
            return Ok(done);
        }
        let view = request.view.clone();
        let Target::Fake(router) = &view.target.as_ref() else {
            return Ok(false);
        };
        self.ask_fake(session, router, request).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, session: &mut Session, request: &mut Request) -> Result<Box<HttpPeer>> {
        upgrade::put_back(session, &mut request.waiting);
        request.bodies.step_back(session);
        let Target::Real(upstream) = request.view.target.as_ref() else {
            return Err(Error::explain(ErrorType::InternalError, "a fake has no peer"));
        };
        let now = Instant::now();
        let Some(mut picked) = upstream.select(now) else {
            return Err(Error::explain(
                ErrorType::InternalError,
                "the upstream does not speak http",
            ));
        };
        if upstream.original_destination().is_some() {
            let http2 = session.req_header().version == http::Version::HTTP_2;
            picked.aim(original_destination(session)?, http2);
        }
        let mut peer = picked.peer().await;
        if let (Some(carrying), Ok(peer)) = (&request.carrying, &peer) {
            let upstream = (&**peer, picked.host(), request.view.longest_wait);
            if request.bodies.send_first(session, carrying, upstream).await? == Copied::ClientGone {
                request.gone = true;
                return Err(gone::silence());
            }
        }
        request.sent = Some(Instant::now());
        if let Ok(peer) = &mut peer
            && !session.is_body_empty()
        {
            picked.wait_for_upload(peer);
        }
        request.picked = Some(picked);
        let mut peer = peer?;
        if heads::passes_upgrade(session.req_header()) {
            peer.options.http_upstream_request_policy.h1_upgrade = H1UpgradePolicy::Preserve;
        }
        Ok(peer)
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        _request: &mut Request,
    ) -> Result<()> {
        if end_of_stream && body.as_ref().is_some_and(Bytes::is_empty) {
            // Pingora would write it as a last chunk, and another one behind it.
            *body = None;
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream_request: &mut RequestHeader,
        request: &mut Request,
    ) -> Result<()> {
        if let Some(picked) = &request.picked {
            match picked.host() {
                Some(host) => upstream_request.insert_header(http::header::HOST, host)?,
                None => heads::complete_host(upstream_request, picked.label())?,
            }
        }
        if let Some(carrying) = &request.carrying {
            carrying.rewrite_request(upstream_request)?;
            request.bodies.change_head(upstream_request)?;
        }
        heads::restore_request(session.req_header(), upstream_request)?;
        let asks_leave = !request.bodies.continued() && heads::expects_continue(session.req_header());
        if upstream_request.version == http::Version::HTTP_2 && asks_leave {
            // The upstream's own leave does not come through over HTTP/2.
            session.downstream_session.write_continue_response().await?;
        }
        // Last: these may exchange the session.
        if let Some(carrying) = &request.carrying {
            let body = request.bodies.body();
            carrying.shape_request(session, &self.holder, &request.view, upstream_request, body)?;
            request.bodies.step_between(session);
        }
        request.waiting = upgrade::stand_in(session, upstream_request);
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        upstream_response: &mut ResponseHeader,
        request: &mut Request,
    ) -> Result<()> {
        if upstream_response.status.is_informational()
            && upstream_response.status != http::StatusCode::SWITCHING_PROTOCOLS
        {
            return Ok(());
        }
        upgrade::put_back(session, &mut request.waiting);
        request.bodies.step_back_if_read(session);
        request.natural = request.sent.map(|sent| sent.elapsed());
        if let Some(picked) = &request.picked {
            picked.report(Outcome::Answered(upstream_response.status.as_u16()), Instant::now());
        }
        self.before_response(session, upstream_response, request).await?;
        let client = session.req_header();
        if client.version == http::Version::HTTP_10 && http10::ends_with_connection(&client.method, upstream_response) {
            session.set_keepalive(None);
        }
        gone::close_if_stopping(session);
        heads::keep_own(session, upstream_response)?;
        if let Some(carrying) = &request.carrying {
            request
                .bodies
                .hold_response(session, carrying, &self.holder, &request.view);
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end_of_stream: bool,
        request: &mut Request,
    ) -> Result<Option<Duration>> {
        if request.carrying.as_ref().is_some_and(|carrying| carrying.drops_body()) {
            *body = None;
        }
        Ok(None)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        request: &mut Request,
        client_reused: bool,
    ) -> Box<Error> {
        if gone::is_silent(&error) {
            return error;
        }
        // A kept-alive connection that the upstream closed meanwhile: safe to try again where the request is idempotent
        // (RFC 9110, section 9.2.2) and its body can be sent again.
        let again = client_reused
            && request.natural.is_none()
            && session.req_header().method.is_idempotent()
            && !session.as_ref().retry_buffer_truncated();
        error.retry.decide_reuse(again);
        if !again {
            error.set_retry(false);
        }
        error
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        request: &mut Request,
        error: Box<Error>,
    ) -> Box<Error> {
        if let (Some(picked), Some(outcome)) = (&request.picked, Outcome::of_error(&error)) {
            picked.report(outcome, Instant::now());
        }
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, request: &mut Request) -> FailToProxy
    where
        Self::CTX: Send + Sync,
    {
        let over = |status| FailToProxy {
            error_code: status,
            can_reuse_downstream: false,
        };
        upgrade::put_back(session, &mut request.waiting);
        request.bodies.step_back(session);
        // Pingora ends the connection after an error, and the client is to know.
        session.set_keepalive(None);
        if let Some(ending) = request.carrying.as_mut().and_then(|carrying| carrying.instead.take()) {
            // Whether the end could be sent changes nothing any more.
            let _ = self.end(session, request, ending).await;
            return over(0);
        }
        if gone::is_silent(error) {
            return over(0);
        }
        if *error.esource() == ErrorSource::Downstream {
            request.gone = true;
            return over(0);
        }
        if let (Some(picked), Some(outcome)) = (&request.picked, Outcome::of_error(error)) {
            picked.report(outcome, Instant::now());
        }
        request.view.metrics.upstream_errors.inc();
        over(self.answer_natural_failure(session, error, request).await)
    }

    fn suppress_error_log(&self, _session: &Session, _request: &Request, _error: &Error) -> bool {
        // The access log has a line for it.
        true
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, request: &mut Request) {
        upgrade::put_back(session, &mut request.waiting);
        request.bodies.step_back(session);
        let handle = Handle::of(session).cloned();
        let cut = session::restore(session).await;
        let phase = handle.map(|handle| handle.phase());
        let total = request.started.elapsed();
        let status = session
            .response_written()
            .map_or(NO_STATUS, |head| head.status.as_u16());
        let metrics = &request.view.metrics;
        match phase {
            // What looks like a client's leaving was an injected end.
            Some(Phase::Cut | Phase::Ended) => request.gone = false,
            Some(Phase::Gone) => request.gone = true,
            _ if error.is_some_and(|error| *error.esource() == ErrorSource::Downstream) => request.gone = true,
            _ => {}
        }
        if let Some(counter) = metrics.requests(status) {
            counter.inc();
        }
        metrics.request_seconds.observe(total.as_secs_f64());
        if let Some(natural) = request.natural {
            metrics.upstream_seconds.observe(natural.as_secs_f64());
        }
        if request.gone {
            metrics.clients_gone.inc();
        }
        let carrying = request.carrying.take();
        if log::wanted(&request.view, carrying.is_some(), status) {
            let access = Access {
                view: &request.view,
                client: request.client,
                status,
                total,
                natural: request.natural,
                carrying: carrying.as_deref(),
                gone: request.gone,
                error,
            };
            access.write(session);
        }
        // Places and permits are given back with it.
        drop(carrying);
        request.picked = None;
        if let Some(real) = cut {
            session::keep_alive(session, real).await;
        }
    }
}

/// Where the request's connection was headed before it was redirected to squall.
fn original_destination(session: &Session) -> Result<SocketAddr> {
    let found = match Connection::of(session) {
        Some(connection) => connection.original_destination(),
        None => Err(std::io::ErrorKind::NotConnected.into()),
    };
    found.map_err(|error| {
        let message = format!("can't resolve the original destination: {error}");
        Error::explain(RESOLVE_FAILED, message).into_up()
    })
}

/// A field's values as one list (RFC 9110, section 5.3).
fn joined(header: &RequestHeader, name: &str) -> Option<String> {
    let values: Vec<&str> = header
        .headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    (!values.is_empty()).then(|| values.join(","))
}
