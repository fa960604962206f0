//! The page at `/`.

use axum::response::Response;

use super::request::HttpbinRequest;
use crate::fake::page::{page, rows};

const INTRODUCTION: &str = "A fake served by squall: httpbin, with parts of go-httpbin. On every route, fortio's query parameters work too: \
    <code>delay=150us:10,2ms:5</code>, <code>status=503:5</code>, <code>size=1000</code>, <code>close=5.3</code>, \
    <code>header=Name:value</code>; the route's own parameters take precedence.";

/// The rows of the page, see [`rows`].
const ROWS: &str = r#"
GET | /get | The request as JSON | also /post, /put, /patch, /delete with their methods | /get?a=1
any | /anything[/…] | Any request, as JSON |  | -d x=1 /anything/here
GET | /headers /ip /user-agent | A part of the request | show_env | /headers
GET | /hostname | The Host field |  | /hostname
any | /dump/request | The request's head and body as text |  | /dump/request
any | /status/{codes} | A status, or one of several by weight | 200:0.9,500:0.1 | /status/418
any | /delay/{seconds} | Waits, at most 10 s | fractions too | /delay/0.5
GET | /drip | Bytes over a time | duration, numbytes, code, delay | /drip?duration=2&numbytes=10
GET | /stream/{n} | Up to 100 lines of JSON |  | /stream/3
GET | /bytes/{n} /stream-bytes/{n} | Random bytes, up to 100 KiB | seed, chunk_size | /stream-bytes/10?seed=1
GET | /range/{n} | Bytes that support range requests | duration, chunk_size | -r 5-9 /range/26
GET | /links/{n}/{offset} | A page with links |  | /links/5/0
GET | /redirect/{n} /relative-redirect/{n} /absolute-redirect/{n} | n redirects | absolute | -L /redirect/3
any | /redirect-to | A redirect to a URL | url, status_code | /redirect-to?url=/get
GET | /cookies /cookies/set /cookies/set/{name}/{value} /cookies/delete | Cookies | name=value | /cookies/set?a=1
GET | /basic-auth/{user}/{password} /hidden-basic-auth/… /bearer | Authentication |  | -u me:pw /basic-auth/me/pw
GET | /digest-auth/{qop}/{user}/{password}[/{algorithm}[/{stale_after}]] | Digest authentication | MD5, SHA-256, SHA-512; require-cookie | --digest -u me:pw /digest-auth/auth/me/pw
GET | /gzip /deflate /brotli | Compressed JSON |  | --compressed /gzip
GET | /html /json /xml /robots.txt /deny /encoding/utf8 /forms/post | Documents |  | /json
GET | /image[/png|jpeg|svg|webp] | Images, by Accept |  | /image/svg
GET | /base64/{text} /uuid | Decodes; makes a UUID |  | /base64/aGVsbG8=
GET | /cache /cache/{seconds} /etag/{tag} | Conditional requests |  | /etag/one
GET, POST | /response-headers | Fields of your choice | Name=value | /response-headers?X-A=1
GET | /unstable | A 500 now and then | failure_rate, seed | /unstable?failure_rate=0.5
GET | /sse | Server-Sent Events | count, duration, delay | -N /sse?count=3&duration=1
GET | /trailers | Trailer fields, for clients that send TE: trailers | name=value | --raw -H 'TE: trailers' /trailers?a=1
"#;

pub(super) fn response(request: &HttpbinRequest) -> Response {
    page("httpbin", INTRODUCTION, &rows(ROWS), &request.address)
}
