//! A client of the admin API, for commands that speak to a running squall.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Where the admin API of a running squall is, and how to get in.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct AdminArgs {
    /// The admin API of the running squall: http://127.0.0.1:9900, or unix:/run/squall.sock
    #[arg(
        long = "admin",
        value_name = "URL",
        env = "SQUALL_ADMIN",
        default_value = crate::config::snapshot::DEFAULT_ADMIN,
        value_parser = place,
        global = true
    )]
    at: String,
    /// The admin API's token, if it needs one
    #[arg(
        long,
        value_name = "TOKEN",
        env = "SQUALL_TOKEN",
        hide_env_values = true,
        global = true
    )]
    token: Option<String>,
}

/// The place in an address: `host:port`, or `unix:/path`.
pub(super) fn place(url: &str) -> Result<String, String> {
    let place = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    let is_tcp = || {
        let port = place.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
        matches!(port, Some((host, Ok(_))) if !host.is_empty() && !host.contains('/'))
    };
    if place.starts_with("unix:/") || is_tcp() {
        return Ok(place.to_owned());
    }
    Err("use http://127.0.0.1:9900, 127.0.0.1:9900, or unix:/run/squall.sock".to_owned())
}

impl AdminArgs {
    /// The API at a [`place`] that needs no token.
    pub(super) fn at(place: &str) -> AdminArgs {
        AdminArgs {
            at: place.to_owned(),
            token: None,
        }
    }

    /// The place of the API, for messages.
    pub(super) fn place(&self) -> &str {
        &self.at
    }

    /// Sends a request on a connection of its own. Returns once the head of the response has arrived.
    ///
    /// # Errors
    /// The API can't be reached, or does not speak HTTP.
    pub(super) async fn send(
        &self,
        method: Method,
        target: &str,
        accept: &str,
        body: impl Into<Bytes>,
    ) -> io::Result<Response<Incoming>> {
        let mut request = Request::new(Full::new(body.into()));
        *request.method_mut() = method;
        *request.uri_mut() = target.parse().map_err(io::Error::other)?;
        let headers = request.headers_mut();
        // A unix socket has no host; the API takes this one.
        let host = if self.at.starts_with("unix:") {
            "localhost"
        } else {
            &self.at
        };
        headers.insert(HOST, HeaderValue::try_from(host).map_err(io::Error::other)?);
        headers.insert(ACCEPT, HeaderValue::try_from(accept).map_err(io::Error::other)?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/yaml"));
        if let Some(token) = &self.token {
            let value = HeaderValue::try_from(format!("Bearer {token}"));
            let mut value = value.map_err(|_| io::Error::other("the token has characters that no token can have"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        match self.at.strip_prefix("unix:") {
            Some(path) => exchange(timeout(CONNECT, UnixStream::connect(path)).await??, request).await,
            None => exchange(timeout(CONNECT, TcpStream::connect(&self.at)).await??, request).await,
        }
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> io::Result<Response<Incoming>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // Ends with the response's body.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_urls_or_places() {
        for (url, expected) in [
            ("http://127.0.0.1:9900/", "127.0.0.1:9900"),
            ("squall:9900", "squall:9900"),
            ("http://[::1]:9900", "[::1]:9900"),
            ("unix:/run/squall.sock", "unix:/run/squall.sock"),
        ] {
            assert_eq!(place(url).unwrap(), expected);
        }
        for wrong in ["", "https://127.0.0.1", "127.0.0.1", "http://a/b:1", "unix:", ":9900"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }
}
