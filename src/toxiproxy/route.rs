//! Which endpoint a request is for, decided as Toxiproxy's router (gorilla/mux) does.
//!
//! The path is percent-decoded first, so a name with a slash, as `%2F` too, has no endpoint: such a proxy can be created and
//! listed, but not addressed. A path with `//`, `.` or `..` is redirected to the clean one. HEAD is not GET.

use http::Method;
use percent_encoding::percent_decode_str;

/// An endpoint, with the names in its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    Proxies,
    CreateProxy,
    Populate,
    Proxy(String),
    UpdateProxy(String),
    DeleteProxy(String),
    Toxics(String),
    CreateToxic(String),
    Toxic(String, String),
    UpdateToxic(String, String),
    DeleteToxic(String, String),
    Reset,
    Version,
    Metrics,
}

/// Why a request has no endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Elsewhere {
    /// An escape in the path is malformed.
    Malformed,
    /// The same path in its clean form.
    Moved(String),
    /// No endpoint has the path.
    Unknown,
    /// Endpoints have the path, but not for this method.
    WrongMethod,
}

/// The endpoint of a request.
///
/// # Errors
/// There is none.
pub(super) fn route(method: &Method, path: &str) -> Result<Endpoint, Elsewhere> {
    let decoded = decode(path).ok_or(Elsewhere::Malformed)?;
    let clean = clean(&decoded);
    if clean != decoded {
        return Err(Elsewhere::Moved(clean));
    }
    let segments: Vec<&str> = decoded.split('/').skip(1).collect();
    let (get, post) = (method == Method::GET, method == Method::POST);
    let update = post || method == Method::PATCH;
    let delete = method == Method::DELETE;
    // A name is never empty.
    let found = match segments.as_slice() {
        ["proxies"] if get => Endpoint::Proxies,
        ["proxies"] if post => Endpoint::CreateProxy,
        ["populate"] if post => Endpoint::Populate,
        ["reset"] if post => Endpoint::Reset,
        ["version"] if get => Endpoint::Version,
        ["metrics"] => Endpoint::Metrics,
        ["proxies", proxy] if get && !proxy.is_empty() => Endpoint::Proxy((*proxy).into()),
        ["proxies", proxy] if update && !proxy.is_empty() => Endpoint::UpdateProxy((*proxy).into()),
        ["proxies", proxy] if delete && !proxy.is_empty() => Endpoint::DeleteProxy((*proxy).into()),
        ["proxies", proxy, "toxics"] if get => Endpoint::Toxics((*proxy).into()),
        ["proxies", proxy, "toxics"] if post => Endpoint::CreateToxic((*proxy).into()),
        ["proxies", proxy, "toxics", toxic] if get && !toxic.is_empty() => {
            Endpoint::Toxic((*proxy).into(), (*toxic).into())
        }
        ["proxies", proxy, "toxics", toxic] if update && !toxic.is_empty() => {
            Endpoint::UpdateToxic((*proxy).into(), (*toxic).into())
        }
        ["proxies", proxy, "toxics", toxic] if delete && !toxic.is_empty() => {
            Endpoint::DeleteToxic((*proxy).into(), (*toxic).into())
        }
        ["proxies" | "populate" | "reset" | "version"] | ["proxies", _, "toxics"] => {
            return Err(Elsewhere::WrongMethod);
        }
        ["proxies", name] | ["proxies", _, "toxics", name] if !name.is_empty() => return Err(Elsewhere::WrongMethod),
        _ => return Err(Elsewhere::Unknown),
    };
    Ok(found)
}

/// The path with its escapes decoded; `None` if one is malformed.
fn decode(path: &str) -> Option<String> {
    let is_escape = |rest: &str| {
        rest.as_bytes()
            .get(..2)
            .is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit))
    };
    if !path.split('%').skip(1).all(is_escape) {
        return None;
    }
    Some(percent_decode_str(path).decode_utf8_lossy().into_owned())
}

/// The path without empty segments, `.` and `..`. A slash at its end stays.
fn clean(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let end = if path.ends_with('/') && !segments.is_empty() {
        "/"
    } else {
        ""
    };
    format!("/{}{end}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_those_of_toxiproxy() {
        let check = |method: &str, path: &str, expected: Result<Endpoint, Elsewhere>| {
            assert_eq!(route(&method.parse().unwrap(), path), expected, "{method} {path}");
        };
        let (unknown, wrong) = (|| Err(Elsewhere::Unknown), || Err(Elsewhere::WrongMethod));
        let moved = |path: &str| Err(Elsewhere::Moved(path.into()));
        check("GET", "/proxies", Ok(Endpoint::Proxies));
        check("POST", "/proxies", Ok(Endpoint::CreateProxy));
        check("HEAD", "/proxies", wrong());
        check("PUT", "/proxies", wrong());
        check("GET", "/proxies/", unknown());
        check("GET", "/", unknown());
        check("GET", "//proxies", moved("/proxies"));
        check("GET", "/proxies/../version", moved("/version"));
        check("GET", "/populate", wrong());
        check("POST", "/reset", Ok(Endpoint::Reset));
        check("GET", "/proxies/a%20b", Ok(Endpoint::Proxy("a b".into())));
        check("PATCH", "/proxies/a", Ok(Endpoint::UpdateProxy("a".into())));
        check("POST", "/proxies/a", Ok(Endpoint::UpdateProxy("a".into())));
        check("PUT", "/proxies/a", wrong());
        check("GET", "/proxies/a%2Fb", unknown());
        check("GET", "/proxies/a%2Ftoxics", Ok(Endpoint::Toxics("a".into())));
        check("GET", "/proxies/a%2", Err(Elsewhere::Malformed));
        check("GET", "/proxies/a%zz", Err(Elsewhere::Malformed));
        check("GET", "/proxies/%ff", Ok(Endpoint::Proxy("\u{fffd}".into())));
        check("PATCH", "/proxies/a/toxics", wrong());
        check(
            "DELETE",
            "/proxies/a/toxics/t",
            Ok(Endpoint::DeleteToxic("a".into(), "t".into())),
        );
        check("PUT", "/proxies/a/toxics/t", wrong());
        check("GET", "/proxies/a/toxics/", unknown());
        check("GET", "/proxies/a/other", unknown());
        check("DELETE", "/metrics", Ok(Endpoint::Metrics));
    }
}
