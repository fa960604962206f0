//! A page that squall itself asks for, such as a health check: no listener, no rule and no traffic of others is involved.

use std::future::poll_fn;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{StatusCode, Uri};
use pingora::Error;
use pingora::http::RequestHeader;

use super::spec::UpstreamSpec;
use super::{Connector, Upstream, failure};
use crate::proxy::body::{Part, Sink, Source};
use crate::yaml::decode::Spanned;
use crate::yaml::report::Diagnostic;

/// A page of an HTTP server.
#[derive(Debug)]
pub struct Page {
    upstream: Upstream,
    head: RequestHeader,
}

impl Page {
    /// The page of a URL, with `more` behind its path.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn new(url: &Spanned<String>, more: &str, now: Instant) -> Result<Page, Vec<Diagnostic>> {
        let wrong = || {
            let message = format!(
                "`{}` is not a valid URL: use http://HOST:PORT/PATH or https://…",
                url.value
            );
            vec![Diagnostic::error(url.span, message)]
        };
        let uri: Uri = url.value.parse().map_err(|_| wrong())?;
        let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong());
        };
        let spec = UpstreamSpec {
            url: Some(Spanned {
                value: format!("{scheme}://{authority}"),
                span: url.span,
            }),
            ..UpstreamSpec::default()
        };
        let upstream = Upstream::build("a page", url.span, &spec, Path::new("."), now)?;
        let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let path = if more.is_empty() {
            path
        } else {
            path.trim_end_matches('/')
        };
        let mut head = RequestHeader::build("GET", format!("{path}{more}").as_bytes(), None).map_err(|_| wrong())?;
        let agent = concat!("squall/", env!("CARGO_PKG_VERSION"));
        for (name, value) in [(HOST, authority.as_str()), (USER_AGENT, agent), (ACCEPT, "*/*")] {
            head.insert_header(name, value).map_err(|_| wrong())?;
        }
        Ok(Page { upstream, head })
    }

    /// Asks for the page over a connection of its own. Redirects are not followed. At most `most` bytes of the body are read. There
    /// is no limit of time besides those of the network.
    ///
    /// # Errors
    /// Why there is no whole response, in words.
    pub async fn get(&self, connector: &Connector, most: usize) -> Result<(StatusCode, Bytes), String> {
        let picked = self.upstream.select(Instant::now()).ok_or("not an HTTP server")?;
        let asked = async {
            let destination = picked.destination().await?;
            let mut session = connector.session(&destination, true).await?;
            session.ask(&self.head, picked.host(), false, false)?;
            // Sends what `ask` has written.
            poll_fn(|cx| session.poll_end(cx, None)).await?;
            let head = loop {
                let head = poll_fn(|cx| session.poll_head(cx)).await?;
                if !head.status.is_informational() {
                    break head;
                }
            };
            let mut body = Vec::new();
            while let Some(part) = session.part().await? {
                if let Part::Data(piece) = part {
                    let room = most.saturating_sub(body.len()).min(piece.len());
                    body.extend_from_slice(piece.get(..room).unwrap_or_default());
                    if body.len() >= most {
                        break;
                    }
                }
            }
            Ok::<_, Box<Error>>((head.status, Bytes::from(body)))
        };
        asked.await.map_err(|error| failure::cause(&error))
    }
}
