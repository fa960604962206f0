//! Upstreams that do what a test says.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, StatusCode};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::message::{Answer, Body, Ending, Fields, Interim, Seen, framed};
use super::wire::Wire;
use super::{Protocol, http2, within};

/// An HTTP/2 request, and where its answer goes.
pub(crate) type Call = (http::Request<RecvStream>, SendResponse<Bytes>);

/// A listening upstream.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    pub(crate) protocol: Protocol,
    seen: UnboundedReceiver<Seen>,
}

impl Upstream {
    /// Gives every request the same answer.
    pub(crate) async fn answering(protocol: Protocol, answer: Answer) -> Upstream {
        Upstream::choosing(protocol, move |_| answer.clone()).await
    }

    /// Answers by the request's target.
    pub(crate) async fn choosing(
        protocol: Protocol,
        choose: impl Fn(&str) -> Answer + Send + Sync + 'static,
    ) -> Upstream {
        let (report, seen) = unbounded_channel();
        let choose = Arc::new(choose);
        let address = match protocol {
            Protocol::H1 => {
                accept(move |number, stream| {
                    let (choose, report) = (Arc::clone(&choose), report.clone());
                    async move { answer_h1(number, Wire::new(stream), &*choose, &report).await }
                })
                .await
            }
            Protocol::H2 => {
                accept(move |number, stream| {
                    let (choose, report) = (Arc::clone(&choose), report.clone());
                    serve_h2(stream, move |call| {
                        let (choose, report) = (Arc::clone(&choose), report.clone());
                        async move { answer_h2(number, call, &*choose, &report).await }
                    })
                })
                .await
            }
        };
        Upstream {
            address,
            protocol,
            seen,
        }
    }

    /// Sends every request back: head fields that start with `x-`, body and trailers, each byte as soon as it comes.
    pub(crate) async fn echo(protocol: Protocol) -> Upstream {
        match protocol {
            Protocol::H1 => Upstream::h1(|_, wire| echo_h1(wire)).await,
            Protocol::H2 => Upstream::h2(echo_h2).await,
        }
    }

    /// Runs a script for each HTTP/1 connection, with the connection's number.
    pub(crate) async fn h1<F>(script: impl Fn(usize, Wire) -> F + Send + 'static) -> Upstream
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let address = accept(move |number, stream| script(number, Wire::new(stream))).await;
        Upstream {
            address,
            protocol: Protocol::H1,
            seen: unbounded_channel().1,
        }
    }

    /// Runs a script for each HTTP/2 request.
    pub(crate) async fn h2<F>(script: impl Fn(Call) -> F + Clone + Send + 'static) -> Upstream
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let address = accept(move |_, stream| serve_h2(stream, script.clone())).await;
        Upstream {
            address,
            protocol: Protocol::H2,
            seen: unbounded_channel().1,
        }
    }

    /// Runs a script for each TCP connection, which is to speak HTTP/2.
    pub(crate) async fn raw_h2<F>(script: impl Fn(usize, TcpStream) -> F + Send + 'static) -> Upstream
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Upstream {
            address: accept(script).await,
            protocol: Protocol::H2,
            seen: unbounded_channel().1,
        }
    }

    /// The next request that was read.
    pub(crate) async fn next(&mut self) -> Seen {
        within(self.seen.recv()).await.expect("the upstream runs")
    }

    /// Fails if there was a further request.
    #[track_caller]
    pub(crate) fn assert_no_more(&mut self) {
        if let Ok(seen) = self.seen.try_recv() {
            panic!("there was one more request: {seen:?}");
        }
    }
}

async fn accept<F>(script: impl Fn(usize, TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut number = 0;
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(script(number, stream));
            number += 1;
        }
    });
    address
}

async fn answer_h1(
    number: usize,
    mut wire: Wire,
    choose: &(dyn Fn(&str) -> Answer + Send + Sync),
    report: &UnboundedSender<Seen>,
) {
    while let Ok(raw) = wire.reader().head().await {
        let mut seen = seen_h1(number, raw);
        let answer = choose(&seen.target);
        for interim in &answer.interim {
            wire.write(interim_head(interim)).await;
        }
        if !answer.early {
            read_h1(&mut wire, &mut seen).await;
            let _ = report.send(seen.clone());
        }
        let head = seen.method == "HEAD" || matches!(answer.status, 204 | 304);
        match send_h1(&mut wire, &answer, head).await {
            Ending::Whole => {}
            Ending::Reset => return wire.reset(),
            _ => return,
        }
        if answer.early {
            read_h1(&mut wire, &mut seen).await;
            let _ = report.send(seen);
        }
    }
}

/// An interim response as HTTP/1.1 has it.
pub(crate) fn interim_head(interim: &Interim) -> String {
    format!("HTTP/1.1 {} Interim\r\n{}\r\n", interim.status, interim.fields.lines())
}

/// A request's head as it came over HTTP/1.
pub(crate) fn seen_h1(connection: usize, raw: String) -> Seen {
    let (first, lines) = raw.split_once("\r\n").expect("lines");
    let mut words = first.split(' ').map(str::to_owned);
    Seen {
        method: words.next().unwrap_or_default(),
        target: words.next().unwrap_or_default(),
        fields: Fields::parse(lines),
        body: Vec::new(),
        trailers: Fields::default(),
        ending: Ending::Whole,
        connection,
        raw,
    }
}

/// Reads the body of a request.
pub(crate) async fn read_h1(wire: &mut Wire, seen: &mut Seen) {
    (seen.body, seen.trailers, seen.ending) = wire.reader().body(&seen.fields, false).await;
}

/// Sends an answer. Anything but [`Ending::Whole`]: that is how the connection is to end.
async fn send_h1(wire: &mut Wire, answer: &Answer, head_only: bool) -> Ending {
    let mut bytes = answer.head().into_bytes();
    if !head_only {
        bytes.extend(match &answer.body {
            Body::Chunked(body) if answer.broken.is_some() => {
                let part = body.slice(..answer.broken.map_or(0, |(after, _)| after));
                let mut whole = framed(&Body::Chunked(part), &Fields::default());
                whole.truncate(whole.len() - 5);
                whole
            }
            body => framed(body, &answer.trailers),
        });
        if let (Some((after, _)), Body::Sized(body)) = (answer.broken, &answer.body) {
            bytes.truncate(bytes.len() - (body.len() - after));
        }
    }
    let taken = wire.try_write(bytes).await;
    match (answer.broken, &answer.body) {
        (Some((_, ending)), _) => {
            if ending == Ending::Reset {
                // A reset throws away what has not left yet.
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            ending
        }
        (None, Body::UntilClose(_)) => Ending::Closed,
        _ if !taken => Ending::Closed,
        _ => Ending::Whole,
    }
}

async fn echo_h1(mut wire: Wire) {
    use tokio::io::AsyncWriteExt;
    while let Ok(raw) = wire.reader().head().await {
        let seen = seen_h1(0, raw);
        let custom = Fields(seen.fields.custom());
        let framing = match seen.fields.get("content-length") {
            Some(length) => format!("Content-Length: {length}\r\n"),
            None => "Transfer-Encoding: chunked\r\n".to_owned(),
        };
        wire.write(format!("HTTP/1.1 200 OK\r\n{}{framing}\r\n", custom.lines()))
            .await;
        let Some(length) = seen.fields.get("content-length") else {
            // Chunks come back as they are, so the end of the body has to be seen in them.
            let mut tail = Vec::new();
            while !tail.ends_with(b"0\r\n\r\n") {
                let piece = wire.reader().some().await;
                if piece.is_empty() {
                    return;
                }
                tail.extend_from_slice(&piece);
                tail.drain(..tail.len().saturating_sub(5));
                if !wire.try_write(piece).await {
                    return;
                }
            }
            continue;
        };
        let mut left: usize = length.parse().expect("a length");
        let (reader, writer) = wire.split();
        while left > 0 {
            let piece = reader.some().await;
            if piece.is_empty() || within(writer.write_all(&piece)).await.is_err() {
                return;
            }
            left -= piece.len();
        }
    }
}

/// Serves an HTTP/2 connection, each request by itself.
pub(crate) async fn serve_h2<F>(stream: TcpStream, script: impl Fn(Call) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    stream.set_nodelay(true).expect("no delay");
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok(call)) = connection.accept().await {
        tokio::spawn(script(call));
    }
}

/// A request's head as it came over HTTP/2.
pub(crate) fn seen_h2(connection: usize, head: &http::request::Parts) -> Seen {
    let mut fields = Fields::default();
    if let Some(authority) = head.uri.authority() {
        fields.push("host", authority.as_str());
    }
    fields.0.extend(Fields::from(&head.headers).0);
    Seen {
        method: head.method.to_string(),
        target: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        raw: String::new(),
        fields,
        body: Vec::new(),
        trailers: Fields::default(),
        ending: Ending::Whole,
        connection,
    }
}

async fn answer_h2(
    number: usize,
    (request, mut respond): Call,
    choose: &(dyn Fn(&str) -> Answer + Send + Sync),
    report: &UnboundedSender<Seen>,
) {
    let (head, mut body) = request.into_parts();
    let mut seen = seen_h2(number, &head);
    let answer = choose(&seen.target);
    for interim in &answer.interim {
        respond.send_informational(interim_h2(interim)).expect("an open stream");
    }
    if answer.early {
        send_h2(&mut respond, &answer, seen.method == "HEAD").await;
    }
    (seen.body, seen.trailers, seen.ending) = http2::read_body(&mut body).await;
    let method = seen.method.clone();
    let _ = report.send(seen);
    if !answer.early {
        send_h2(&mut respond, &answer, method == "HEAD").await;
    }
}

/// An interim response as HTTP/2 has it.
pub(crate) fn interim_h2(interim: &Interim) -> http::Response<()> {
    let mut head = http::Response::new(());
    *head.status_mut() = StatusCode::from_u16(interim.status).expect("a status");
    *head.headers_mut() = HeaderMap::from(&interim.fields);
    head
}

/// Sends an answer. The client may be gone.
pub(crate) async fn send_h2(respond: &mut SendResponse<Bytes>, answer: &Answer, head_only: bool) {
    let mut head = http::Response::new(());
    *head.status_mut() = StatusCode::from_u16(answer.status).expect("a status");
    *head.headers_mut() = HeaderMap::from(&answer.fields);
    if let Body::Sized(body) = &answer.body {
        head.headers_mut().insert("content-length", body.len().into());
    }
    let bodiless = head_only || (answer.body.bytes().is_empty() && answer.trailers.0.is_empty());
    let ends = bodiless && answer.broken.is_none();
    let Ok(mut stream) = respond.send_response(head, ends) else {
        return;
    };
    if ends {
        return;
    }
    match answer.broken {
        None => drop(http2::send_body(&mut stream, answer.body.bytes(), &answer.trailers).await),
        Some((after, ending)) => {
            http2::send_piece(&mut stream, answer.body.bytes().slice(..after), false).await;
            // DATA that has not left yet goes with the stream.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            stream.send_reset(match ending {
                Ending::Stream(code) => code,
                _ => h2::Reason::INTERNAL_ERROR,
            });
        }
    }
}

async fn echo_h2((request, mut respond): Call) {
    let (head, mut body) = request.into_parts();
    let mut answer = http::Response::new(());
    *answer.headers_mut() = HeaderMap::from(&Fields(Fields::from(&head.headers).custom()));
    let Ok(mut stream) = respond.send_response(answer, false) else {
        return;
    };
    while let Some(Ok(piece)) = body.data().await {
        let length = piece.len();
        if !http2::send_piece(&mut stream, piece, false).await {
            return;
        }
        let _ = body.flow_control().release_capacity(length);
    }
    match body.trailers().await {
        Ok(Some(trailers)) => drop(stream.send_trailers(trailers)),
        Ok(None) => drop(stream.send_data(Bytes::new(), true)),
        Err(_) => stream.send_reset(h2::Reason::CANCEL),
    }
}
