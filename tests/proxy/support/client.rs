//! Clients of either HTTP version.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::Poll;

use bytes::Bytes;
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use http::HeaderMap;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::http2::{self, ending};
use super::message::{Body, Ending, Fields, HOST, Interim, Request, Response};
use super::wire::Wire;
use super::{Protocol, within};

/// A client with one connection.
pub(crate) enum Client {
    H1(Wire),
    H2(H2Client),
}

impl Client {
    /// Connects.
    pub(crate) async fn connect(protocol: Protocol, address: SocketAddr) -> Client {
        match protocol {
            Protocol::H1 => Client::H1(Wire::connect(address).await),
            Protocol::H2 => Client::H2(H2Client::connect(address).await),
        }
    }

    /// Sends a request, and reads the response meanwhile.
    pub(crate) async fn ask(&mut self, request: &Request) -> Response {
        match self {
            Client::H1(wire) => wire.ask(request).await,
            Client::H2(client) => client.ask(request).await,
        }
    }

    /// Gets a path.
    pub(crate) async fn get(&mut self, target: &str) -> Response {
        self.ask(&Request::get(target)).await
    }

    /// Waits until the connection ends, and says how.
    pub(crate) async fn end(&mut self) -> Ending {
        match self {
            Client::H1(wire) => wire.end().await.1,
            Client::H2(client) => client.end().await,
        }
    }
}

/// An HTTP/2 connection.
pub(crate) struct H2Client {
    sender: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl H2Client {
    /// Connects by prior knowledge.
    pub(crate) async fn connect(address: SocketAddr) -> H2Client {
        H2Client::connect_with(address, &h2::client::Builder::new()).await
    }

    /// Connects with settings.
    pub(crate) async fn connect_with(address: SocketAddr, builder: &h2::client::Builder) -> H2Client {
        let stream = within(TcpStream::connect(address)).await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        let (sender, connection) = within(builder.handshake(stream)).await.expect("a handshake");
        H2Client {
            sender,
            connection: tokio::spawn(connection),
        }
    }

    /// Sends a request's head, and its end where `ends`.
    pub(crate) async fn open(
        &self,
        request: &Request,
        ends: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        let mut sender = within(self.sender.clone().ready()).await?;
        let uri = match request.method.as_str() {
            "CONNECT" => request.target.clone(),
            _ => format!("http://{HOST}{}", request.target),
        };
        let mut head = http::Request::builder()
            .method(request.method.as_str())
            .uri(uri)
            .body(())
            .expect("a request");
        *head.headers_mut() = HeaderMap::from(&request.fields);
        if let Body::Sized(bytes) = &request.body {
            head.headers_mut().insert("content-length", bytes.len().into());
        }
        sender.send_request(head, ends)
    }

    /// Sends a request, and reads the response meanwhile.
    pub(crate) async fn ask(&self, request: &Request) -> Response {
        let body = request.body.bytes();
        let ends = body.is_empty() && request.trailers.0.is_empty();
        let (response, mut stream) = match self.open(request, ends).await {
            Ok(opened) => opened,
            Err(error) => return Response::none(ending(&error)),
        };
        let send = async {
            if !ends {
                http2::send_body(&mut stream, body, &request.trailers).await;
            }
        };
        let ((), response) = tokio::join!(send, read(response));
        response
    }

    /// Gets a path.
    pub(crate) async fn get(&self, target: &str) -> Response {
        self.ask(&Request::get(target)).await
    }

    /// Waits until the peer ends the connection.
    pub(crate) async fn end(&mut self) -> Ending {
        match within(&mut self.connection).await.expect("the connection's task") {
            Ok(()) => Ending::Closed,
            Err(error) => ending(&error),
        }
    }

    /// Whether the connection is open.
    pub(crate) fn is_open(&self) -> bool {
        !self.connection.is_finished()
    }

    /// Drops the connection with all that is under way.
    pub(crate) fn leave(self) {
        self.connection.abort();
    }
}

/// Waits for the head of a response, keeping interim ones.
pub(crate) async fn read_head(
    response: &mut ResponseFuture,
) -> (Vec<Interim>, Result<http::Response<h2::RecvStream>, h2::Error>) {
    let mut interim = Vec::new();
    let head = within(poll_fn(|context| {
        while let Poll::Ready(Some(Ok(head))) = response.poll_informational(context) {
            interim.push(Interim {
                status: head.status().as_u16(),
                fields: Fields::from(head.headers()),
            });
        }
        std::pin::Pin::new(&mut *response).poll(context)
    }))
    .await;
    (interim, head)
}

/// Reads a response to its end.
pub(crate) async fn read(mut response: ResponseFuture) -> Response {
    let (interim, head) = read_head(&mut response).await;
    let response = match head {
        Ok(response) => response,
        Err(error) => {
            return Response {
                interim,
                ..Response::none(ending(&error))
            };
        }
    };
    let (head, mut body) = response.into_parts();
    let head_only = body.is_end_stream();
    let (bytes, trailers, ending) = http2::read_body(&mut body).await;
    Response {
        interim,
        status: head.status.as_u16(),
        raw: String::new(),
        fields: Fields::from(&head.headers),
        body: bytes,
        trailers,
        ending,
        head_only,
    }
}
