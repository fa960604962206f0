//! Requests and responses in a form that both HTTP versions can carry.

use bytes::Bytes;
use http::HeaderMap;

/// Header fields or trailers: names as they were sent, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields(pub(crate) Vec<(String, String)>);

impl Fields {
    /// The first value of a name, in any case.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let same = |(other, _): &&(String, String)| other.eq_ignore_ascii_case(name);
        self.0.iter().find(same).map(|(_, value)| value.as_str())
    }

    /// All values of a name, in any case.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let same = move |(other, _): &&(String, String)| other.eq_ignore_ascii_case(name);
        self.0.iter().filter(same).map(|(_, value)| value.as_str())
    }

    /// The fields that start with `x-`, in lower case: those that no proxy has an opinion about.
    pub(crate) fn custom(&self) -> Vec<(String, String)> {
        let lower = |(name, value): &(String, String)| (name.to_ascii_lowercase(), value.clone());
        let custom = |(name, _): &(String, String)| name.starts_with("x-");
        self.0.iter().map(lower).filter(custom).collect()
    }

    /// Adds a field.
    pub(crate) fn push(&mut self, name: &str, value: &str) {
        self.0.push((name.to_owned(), value.to_owned()));
    }

    /// The lines of an HTTP/1 head or trailer section, without the empty line behind them.
    pub(crate) fn lines(&self) -> String {
        self.0
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect()
    }

    /// Reads lines as HTTP/1 has them.
    pub(crate) fn parse(lines: &str) -> Fields {
        let field = |line: &str| {
            let (name, value) = line
                .split_once(':')
                .unwrap_or_else(|| panic!("`{line}` is not a field"));
            (name.to_owned(), value.trim().to_owned())
        };
        Fields(lines.split("\r\n").filter(|line| !line.is_empty()).map(field).collect())
    }
}

impl From<&HeaderMap> for Fields {
    fn from(map: &HeaderMap) -> Fields {
        let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            (
                name.as_str().to_owned(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        };
        Fields(map.iter().map(field).collect())
    }
}

impl From<&Fields> for HeaderMap {
    fn from(fields: &Fields) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in &fields.0 {
            map.append(
                name.to_ascii_lowercase()
                    .parse::<http::HeaderName>()
                    .expect("a field name"),
                value.parse().expect("a field value"),
            );
        }
        map
    }
}

/// A body, and how HTTP/1 frames it. HTTP/2 sends DATA frames for all, with `content-length` for [`Body::Sized`] only.
#[derive(Debug, Clone, Default)]
pub(crate) enum Body {
    /// No body, and no field that speaks of one.
    #[default]
    None,
    /// `Content-Length`.
    Sized(Bytes),
    /// `Transfer-Encoding: chunked`.
    Chunked(Bytes),
    /// The end of the connection ends it; for responses.
    UntilClose(Bytes),
}

impl Body {
    /// A body with `Content-Length`.
    pub(crate) fn sized(bytes: impl AsRef<[u8]>) -> Body {
        Body::Sized(Bytes::copy_from_slice(bytes.as_ref()))
    }

    /// A body of unknown length.
    pub(crate) fn chunked(bytes: impl AsRef<[u8]>) -> Body {
        Body::Chunked(Bytes::copy_from_slice(bytes.as_ref()))
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> Bytes {
        match self {
            Body::None => Bytes::new(),
            Body::Sized(bytes) | Body::Chunked(bytes) | Body::UntilClose(bytes) => bytes.clone(),
        }
    }

    /// The framing field of an HTTP/1 head.
    pub(crate) fn framing(&self) -> String {
        match self {
            Body::None | Body::UntilClose(_) => String::new(),
            Body::Sized(bytes) => format!("Content-Length: {}\r\n", bytes.len()),
            Body::Chunked(_) => "Transfer-Encoding: chunked\r\n".to_owned(),
        }
    }
}

/// A request to send.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) fields: Fields,
    pub(crate) body: Body,
    pub(crate) trailers: Fields,
}

/// The authority of all requests.
pub(crate) const HOST: &str = "origin.test";

impl Request {
    /// A request without a body.
    pub(crate) fn new(method: &str, target: &str) -> Request {
        Request {
            method: method.to_owned(),
            target: target.to_owned(),
            ..Request::default()
        }
    }

    /// A GET.
    pub(crate) fn get(target: &str) -> Request {
        Request::new("GET", target)
    }

    /// A POST.
    pub(crate) fn post(target: &str, body: Body) -> Request {
        Request {
            body,
            ..Request::new("POST", target)
        }
    }

    /// With one more header field.
    pub(crate) fn field(mut self, name: &str, value: &str) -> Request {
        self.fields.push(name, value);
        self
    }

    /// With one more trailer field.
    pub(crate) fn trailer(mut self, name: &str, value: &str) -> Request {
        self.trailers.push(name, value);
        self
    }

    /// The HTTP/1.1 head.
    pub(crate) fn head(&self) -> String {
        format!(
            "{} {} HTTP/1.1\r\nHost: {HOST}\r\n{}{}\r\n",
            self.method,
            self.target,
            self.fields.lines(),
            self.body.framing()
        )
    }

    /// The whole HTTP/1.1 message.
    pub(crate) fn wire(&self) -> Vec<u8> {
        let mut bytes = self.head().into_bytes();
        bytes.extend(framed(&self.body, &self.trailers));
        bytes
    }
}

/// A body as HTTP/1 frames it: one chunk of at most 16 KiB after the other where it is chunked.
pub(crate) fn framed(body: &Body, trailers: &Fields) -> Vec<u8> {
    let Body::Chunked(bytes) = body else {
        return body.bytes().to_vec();
    };
    let mut wire = Vec::new();
    for piece in bytes.chunks(16 * 1024) {
        wire.extend(format!("{:x}\r\n", piece.len()).bytes());
        wire.extend_from_slice(piece);
        wire.extend(b"\r\n");
    }
    wire.extend(format!("0\r\n{}\r\n", trailers.lines()).bytes());
    wire
}

/// How a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// As its framing says.
    Whole,
    /// The connection was closed before that: FIN, or GOAWAY and FIN.
    Closed,
    /// The connection was reset: RST.
    Reset,
    /// RST_STREAM with this code.
    Stream(h2::Reason),
}

/// An interim response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interim {
    pub(crate) status: u16,
    pub(crate) fields: Fields,
}

/// What a client got.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) interim: Vec<Interim>,
    /// 0: no head came.
    pub(crate) status: u16,
    /// The head as HTTP/1 carried it.
    pub(crate) raw: String,
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Fields,
    pub(crate) ending: Ending,
    /// HTTP/2: the head had END_STREAM.
    pub(crate) head_only: bool,
}

impl Response {
    /// No head came, and this is how that ended.
    pub(crate) fn none(ending: Ending) -> Response {
        Response {
            interim: Vec::new(),
            status: 0,
            raw: String::new(),
            fields: Fields::default(),
            body: Vec::new(),
            trailers: Fields::default(),
            ending,
            head_only: false,
        }
    }

    /// A header field's first value.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name)
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Fails unless the response is whole, with this status and this body.
    #[track_caller]
    pub(crate) fn assert(&self, status: u16, body: impl AsRef<[u8]>) {
        assert_eq!(
            (self.status, self.ending),
            (status, Ending::Whole),
            "{:?}",
            self.text_start()
        );
        assert_same_start(&self.body, body.as_ref());
    }

    /// Fails unless nothing came but this end.
    #[track_caller]
    pub(crate) fn assert_none(&self, ending: Ending) {
        assert_eq!((self.status, self.ending), (0, ending));
    }

    fn text_start(&self) -> String {
        self.text().chars().take(200).collect()
    }
}

#[track_caller]
fn assert_same_start(got: &[u8], wanted: &[u8]) {
    super::assert_same(got, wanted);
}

/// A request as the upstream got it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    /// The head as HTTP/1 carried it.
    pub(crate) raw: String,
    /// HTTP/2: `:authority` is among them as `host`.
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Fields,
    pub(crate) ending: Ending,
    /// Which connection it came on, from 0.
    pub(crate) connection: usize,
}

/// What an upstream answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) interim: Vec<Interim>,
    pub(crate) status: u16,
    pub(crate) fields: Fields,
    pub(crate) body: Body,
    pub(crate) trailers: Fields,
    /// Answers before the request's body was read.
    pub(crate) early: bool,
    /// Breaks off after so many bytes of the body.
    pub(crate) broken: Option<(usize, Ending)>,
}

impl Answer {
    /// An answer without a body.
    pub(crate) fn new(status: u16) -> Answer {
        Answer {
            status,
            ..Answer::default()
        }
    }

    /// 200 with a body.
    pub(crate) fn ok(body: Body) -> Answer {
        Answer {
            body,
            ..Answer::new(200)
        }
    }

    /// With one more header field.
    pub(crate) fn field(mut self, name: &str, value: &str) -> Answer {
        self.fields.push(name, value);
        self
    }

    /// With one more trailer field.
    pub(crate) fn trailer(mut self, name: &str, value: &str) -> Answer {
        self.trailers.push(name, value);
        self
    }

    /// After one more interim response.
    pub(crate) fn interim(mut self, status: u16, fields: &[(&str, &str)]) -> Answer {
        let fields = Fields(fields.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect());
        self.interim.push(Interim { status, fields });
        self
    }

    /// Sent before the request's body was read.
    pub(crate) fn early(mut self) -> Answer {
        self.early = true;
        self
    }

    /// Broken off after so many bytes of the body.
    pub(crate) fn broken(mut self, after: usize, ending: Ending) -> Answer {
        self.broken = Some((after, ending));
        self
    }

    /// The HTTP/1.1 head.
    pub(crate) fn head(&self) -> String {
        format!(
            "HTTP/1.1 {} As Scripted\r\n{}{}\r\n",
            self.status,
            self.fields.lines(),
            self.body.framing()
        )
    }
}
