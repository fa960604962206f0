//! How an upstream keeps pages of another origin out (Fetch, "CORS-preflight fetch" and "CORS check").

use std::fmt;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, UPGRADE,
};
use http::{HeaderMap, HeaderName, Method, StatusCode};

use super::is_preflight;

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The methods that a page may always use (Fetch, "CORS-safelisted method").
const SAFELISTED: [&str; 3] = ["GET", "HEAD", "POST"];

/// Why a browser does not let a page send its request, or read the response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A preflight got another status than 2xx.
    Status(StatusCode),
    /// The response to a preflight does not allow the origin.
    Origin,
    /// The response to a preflight does not allow the method.
    Method(String),
    /// The response to a preflight does not allow a field.
    Field(String),
    /// A response that is not one to a preflight does not allow the origin.
    Unreadable,
}

/// How a response refuses the page that sent the request; `None` if it doesn't, or if no page of another origin asked.
/// `authority` is the host and port that the request names. Whether the page sends credentials can't be known of a preflight, so
/// `*` counts as everything.
pub fn of(
    (method, request, authority): (&Method, &HeaderMap, &str),
    (status, response): (StatusCode, &HeaderMap),
) -> Option<Refusal> {
    if is_preflight(method, request) {
        return of_preflight(request, status, response);
    }
    // A 304 refreshes a response that the browser has, with its fields.
    let is_plain = status != StatusCode::SWITCHING_PROTOCOLS && status != StatusCode::NOT_MODIFIED;
    (is_plain && is_cross_origin(request, authority) && !allows_origin(request, response))
        .then_some(Refusal::Unreadable)
}

fn of_preflight(request: &HeaderMap, status: StatusCode, response: &HeaderMap) -> Option<Refusal> {
    if !status.is_success() {
        return Some(Refusal::Status(status));
    }
    if !allows_origin(request, response) {
        return Some(Refusal::Origin);
    }
    let grants = |name: &HeaderName, asked: &str| {
        names(response, name).any(|granted| granted.eq_ignore_ascii_case(asked))
            || asked != "authorization" && names(response, name).any(|granted| granted == "*")
    };
    let method = names(request, &ACCESS_CONTROL_REQUEST_METHOD)
        .find(|method| !SAFELISTED.contains(method) && !grants(&ACCESS_CONTROL_ALLOW_METHODS, method));
    if let Some(method) = method {
        return Some(Refusal::Method(method.to_owned()));
    }
    names(request, &ACCESS_CONTROL_REQUEST_HEADERS)
        .find(|field| !grants(&ACCESS_CONTROL_ALLOW_HEADERS, field))
        .map(|field| Refusal::Field(field.to_owned()))
}

/// Whether a response allows the request's origin, with one field alone, as browsers demand.
fn allows_origin(request: &HeaderMap, response: &HeaderMap) -> bool {
    let mut allowed = response.get_all(ACCESS_CONTROL_ALLOW_ORIGIN).iter();
    match (allowed.next(), allowed.next()) {
        (Some(one), None) => one == "*" || Some(one) == request.get(ORIGIN),
        _ => false,
    }
}

/// Whether a script of a page of another origin sent a request. Browsers say so to hosts that they trust, such as localhost. Others
/// get `Origin` alone, which requests of the host's own pages have, too.
fn is_cross_origin(request: &HeaderMap, authority: &str) -> bool {
    let Some(origin) = request.get(ORIGIN).and_then(|origin| origin.to_str().ok()) else {
        return false;
    };
    match request.get(SEC_FETCH_MODE) {
        Some(mode) => mode == "cors" && request.get(SEC_FETCH_SITE).is_none_or(|site| site != "same-origin"),
        None => {
            let of_page = origin.split_once("://").map_or(origin, |(_, authority)| authority);
            !request.contains_key(UPGRADE) && of_page != authority
        }
    }
}

/// The names that a field lists.
fn names<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Status(status) => write!(
                f,
                "its response to a preflight has the status {}, not 2xx",
                status.as_u16()
            ),
            Refusal::Origin => f.write_str("its response to a preflight does not allow the origin"),
            Refusal::Method(method) => write!(f, "its response to a preflight does not allow {method}"),
            Refusal::Field(field) => write!(f, "its response to a preflight does not allow the field {field}"),
            Refusal::Unreadable => f.write_str("its response does not allow the origin"),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const HOST: &str = "localhost:8080";
    const PAGE: (&str, &str) = ("origin", "http://localhost:5173");
    const ALLOWED: (&str, &str) = ("access-control-allow-origin", "http://localhost:5173");

    fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[track_caller]
    fn check(
        method: &Method,
        request: &[(&'static str, &'static str)],
        status: u16,
        response: &[(&'static str, &'static str)],
        expect: Option<&str>,
    ) {
        let (request, response) = (fields(request), fields(response));
        let status = StatusCode::from_u16(status).unwrap();
        let refusal = of((method, &request, HOST), (status, &response));
        assert_eq!(refusal.map(|refusal| refusal.to_string()).as_deref(), expect);
    }

    #[test]
    fn a_preflight_is_refused_by_status_origin_method_or_field() {
        let check = |asked: &[_], status, response: &[_], expect| {
            check(&Method::OPTIONS, &[&[PAGE], asked].concat(), status, response, expect);
        };
        let post = ("access-control-request-method", "POST");
        let put = ("access-control-request-method", "PUT");
        let wanted = ("access-control-request-headers", "authorization,content-type");
        check(
            &[post],
            404,
            &[ALLOWED],
            Some("its response to a preflight has the status 404, not 2xx"),
        );
        let other = ("access-control-allow-origin", "http://localhost:3000");
        for origins in [&[][..], &[other], &[ALLOWED, other]] {
            check(
                &[post],
                204,
                origins,
                Some("its response to a preflight does not allow the origin"),
            );
        }
        check(&[post], 204, &[ALLOWED], None);
        check(&[post], 200, &[("access-control-allow-origin", "*")], None);
        check(
            &[put],
            204,
            &[ALLOWED],
            Some("its response to a preflight does not allow PUT"),
        );
        for methods in ["GET, PUT", "*"] {
            check(&[put], 204, &[ALLOWED, ("access-control-allow-methods", methods)], None);
        }
        let unnamed = Some("its response to a preflight does not allow the field authorization");
        check(&[post, wanted], 204, &[ALLOWED], unnamed);
        check(
            &[post, wanted],
            204,
            &[ALLOWED, ("access-control-allow-headers", "*")],
            unnamed,
        );
        let both = ("access-control-allow-headers", "Content-Type, Authorization");
        check(&[post, wanted], 204, &[ALLOWED, both], None);
    }

    #[test]
    fn a_response_is_unreadable_for_pages_of_another_origin_alone() {
        let check = |request: &[_], status, response: &[_], expect: Option<()>| {
            let expect = expect.map(|()| "its response does not allow the origin");
            check(&Method::GET, request, status, response, expect);
        };
        check(&[PAGE], 200, &[], Some(()));
        check(&[PAGE], 200, &[ALLOWED], None);
        check(&[PAGE], 304, &[], None);
        check(&[PAGE, ("upgrade", "websocket")], 400, &[], None);
        check(&[], 200, &[], None);
        check(&[("origin", "http://localhost:8080")], 200, &[], None);
        check(&[("origin", "null")], 200, &[], Some(()));
        let (cors, navigate) = (("sec-fetch-mode", "cors"), ("sec-fetch-mode", "navigate"));
        check(&[PAGE, cors, ("sec-fetch-site", "same-site")], 500, &[], Some(()));
        check(&[PAGE, cors, ("sec-fetch-site", "same-origin")], 500, &[], None);
        check(&[PAGE, navigate], 200, &[], None);
    }
}
