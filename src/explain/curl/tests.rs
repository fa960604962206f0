use http::HeaderMap;

use super::*;
use crate::explain::call::Place;

/// The method, the place, the target and the fields as `name: value`, sorted, without curl's own User-Agent and Accept.
fn shown(call: &Call) -> String {
    let place = match &call.place {
        Place::Anywhere => String::new(),
        Place::Tcp { host, port } => format!("{host}:{port}"),
        Place::Unix(path) => format!("unix:{}", path.display()),
    };
    let asked = &call.asked;
    let authority = asked
        .authority
        .as_deref()
        .map_or(String::new(), |authority| format!(" for {authority}"));
    format!("{} {place} {}{authority}", asked.method, asked.target) + &fields(&asked.headers)
}

fn fields(headers: &HeaderMap) -> String {
    let own = [("user-agent", "curl/8"), ("accept", "*/*"), ("host", "h")];
    let mut fields: Vec<String> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .filter(|field| !own.contains(field))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    fields.sort();
    fields.iter().map(|field| format!(" | {field}")).collect()
}

#[track_caller]
fn check(line: &str, expect: &str) {
    assert_eq!(parse(line).map(|call| shown(&call)).as_deref(), Ok(expect), "{line}");
}

#[track_caller]
fn refused(line: &str, part: &str) {
    let error = parse(line).unwrap_err();
    assert!(error.contains(part), "{line}: {error}");
}

#[track_caller]
fn noted(line: &str, part: &str) {
    let call = parse(line).unwrap();
    assert!(
        call.notes.iter().any(|note| note.contains(part)),
        "{line}: {:?}",
        call.notes
    );
}

const FORM: &str = "application/x-www-form-urlencoded";

#[test]
fn methods_are_inferred() {
    check("curl http://h/a", "GET h:80 /a");
    check("curl -I http://h/a", "HEAD h:80 /a");
    check("curl -sSX POST http://h/a", "POST h:80 /a");
    check("curl -XDELETE h", "DELETE h:80 /");
    check("curl --request PATCH --url http://h/a?x=1#y", "PATCH h:80 /a?x=1");
    check(
        "curl -d a=1 -d b=2 http://h/",
        &format!("POST h:80 / | content-length: 7 | content-type: {FORM}"),
    );
    check(
        "curl -X PUT -d '' http://h/",
        &format!("PUT h:80 / | content-length: 0 | content-type: {FORM}"),
    );
    check(
        "curl -da=1 http://h/ -XPUT",
        &format!("PUT h:80 / | content-length: 3 | content-type: {FORM}"),
    );
    check("curl -T notes.txt http://h/up/", "PUT h:80 /up/notes.txt");
    check(
        "curl -F file=@x -F a=b http://h/",
        "POST h:80 / | content-type: multipart/form-data; boundary=------------------------0000000000000000",
    );
    check(
        "curl --data-binary @big.bin http://h/",
        &format!("POST h:80 / | content-type: {FORM}"),
    );
}

#[test]
fn queries_are_added() {
    check(
        "curl -G -d a=1 --data-urlencode 'q=a b&c' http://h/find?x=0",
        "GET h:80 /find?x=0&a=1&q=a+b%26c",
    );
    check("curl -IG -d a=1 h", "HEAD h:80 /?a=1");
    check(
        "curl --url-query 'q=a/b' --url-query '+x=1' http://h/",
        "GET h:80 /?q=a%2Fb&x=1",
    );
    check(
        "curl --data-urlencode '=a b' http://h/",
        &format!("POST h:80 / | content-length: 3 | content-type: {FORM}"),
    );
}

#[test]
fn fields_follow_the_options() {
    check(
        "curl -H 'a: b' -H 'A: c' --header 'x-y:z' http://h/",
        "GET h:80 / | a: b | a: c | x-y: z",
    );
    check(
        "curl --json '{\"a\":1}' http://h/",
        "POST h:80 / | accept: application/json | content-length: 7 | content-type: application/json",
    );
    check(
        "curl --json '{}' -H 'Content-Type: application/x' http://h/",
        "POST h:80 / | accept: application/json | content-length: 2 | content-type: application/x",
    );
    check(
        "curl -u user:pw http://h/",
        "GET h:80 / | authorization: Basic dXNlcjpwdw==",
    );
    check(
        "curl http://user:p%40@h/",
        "GET h:80 / | authorization: Basic dXNlcjpwQA==",
    );
    check(
        "curl --oauth2-bearer abc http://h/",
        "GET h:80 / | authorization: Bearer abc",
    );
    check(
        "curl -b 'c=1' -A agent -e http://ref/ http://h/",
        "GET h:80 / | cookie: c=1 | referer: http://ref/ | user-agent: agent",
    );
    check("curl -b c=1 --cookie d=2 h", "GET h:80 / | cookie: c=1;d=2");
    check(
        "curl --compressed -r 0-99 h",
        "GET h:80 / | accept-encoding: deflate, gzip, br, zstd | range: bytes=0-99",
    );
    check(
        "curl -H 'Host: shop.example.com' -H 'X-Empty;' http://h:8080/",
        "GET h:8080 / | host: shop.example.com | x-empty: ",
    );
    let call = parse("curl -H 'User-Agent:' -H 'Accept:' -A x http://h:8080/").unwrap();
    assert_eq!(fields(&call.asked.headers), " | host: h:8080");
}

#[test]
fn values_of_other_options_are_no_urls() {
    check(
        "curl -o out.txt -w '%{http_code}' --max-time 5 --retry 3 -x '' --resolve h:80:127.0.0.1 h",
        "GET h:80 /",
    );
    check(
        "curl -fsSLk4 --http2 --no-progress-meter -m5 --cacert ca.pem https://h/",
        "GET h:443 /",
    );
    check("/usr/bin/curl -sv -- -h", "GET -h:80 / | host: -h");
    check("$ curl -s h | jq .", "GET h:80 /");
    check("-s h", "GET h:80 /");
}

#[test]
fn connections_may_lead_elsewhere() {
    check(
        "curl -x http://127.0.0.1:8080 http://h/a",
        "GET 127.0.0.1:8080 /a for h",
    );
    check(
        "curl --unix-socket /run/squall.sock http://h/a",
        "GET unix:/run/squall.sock /a",
    );
    check(
        "curl --connect-to h:80:127.0.0.1:8080 http://h/a",
        "GET 127.0.0.1:8080 /a",
    );
    check("curl --connect-to other:80:127.0.0.1:8080 http://h/a", "GET h:80 /a");
    check("curl --connect-to ::[::1]:8080 http://h/a", "GET [::1]:8080 /a");
    check("curl --request-target '*' -X OPTIONS http://h", "OPTIONS h:80 *");
    check("curl http://[::1]:8080/", "GET [::1]:8080 / | host: [::1]:8080");
}

#[test]
fn lines_copied_from_a_browser() {
    let line = "curl 'http://h/api?x=1' \\\n  -X 'POST' \\\n  -H 'accept: */*' \\\n  -H 'content-type: application/json' \\\n  \
                --data-raw $'{\"a\":\"it\\'s\"}' \\\n  --compressed";
    check(
        line,
        "POST h:80 /api?x=1 | accept-encoding: deflate, gzip, br, zstd | content-length: 12 | content-type: application/json",
    );
}

#[test]
fn unreadable_lines_are_errors() {
    refused("curl --frobnicate http://h/", "no option `--frobnicate`");
    refused("curl --heeder 'a: b' http://h/", "did you mean `--header`?");
    refused("curl --data=x http://h/", "`--data …`");
    refused("curl -ß http://h/", "no option `-ß`");
    refused("curl http://h/ -d", "`-d` needs a value");
    refused("curl http://h/ --header", "`--header` needs a value");
    refused("curl -s", "no URL");
    refused(
        "curl http://h/a http://h/b",
        "more than one URL (the second is `http://h/b`)",
    );
    refused("curl h --next h", "--next");
    refused("curl -I -d x h", "`-I` can't be combined with `-d`");
    refused("curl -T file -F a=b h", "`-T` can't be combined with `-F`");
    refused("curl 'http://h/{a,b}'", "several requests");
    refused("curl -K file", "`file`");
    refused("curl -V", "sends no request");
    refused("curl 'h", "quote");
    refused("curl -X 'A B' h", "not a valid method");
    refused("curl -H 'a b: c' h", "not a valid header name");
    refused("curl ftp://h/", "`ftp`");
    check("curl -g 'http://h/{a}'", "GET h:80 /{a}");
}

#[test]
fn unknown_details_are_noted() {
    noted("curl -b jar.txt h", "`jar.txt`");
    noted("curl -H @fields h", "`fields`");
    noted("curl -u user h", "password");
    noted("curl --digest -u a:b h", "first request that `--digest` sends");
    noted("curl -n h", "netrc");
    noted("curl -G --data-urlencode q@file h", "files");
    assert!(
        parse("curl --digest -u a:b h")
            .unwrap()
            .asked
            .headers
            .get("authorization")
            .is_none()
    );
}
