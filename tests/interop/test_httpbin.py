"""The fake httpbin beside the real one (PyPI's httpbin under werkzeug): the same requests, the same answers."""

import json
import re
import socket
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

import pytest
import requests
from requests.auth import HTTPDigestAuth
from squall import binary

REAL = "import sys; from werkzeug.serving import run_simple; from httpbin import app; run_simple('127.0.0.1', int(sys.argv[1]), app, threaded=True)"

# Fields that say what an answer is; the others are the server's own affair.
FIELDS = [
    "content-type", "location", "www-authenticate", "proxy-authenticate", "etag", "content-range", "accept-ranges", "set-cookie",
    "cache-control", "allow", "content-encoding", "access-control-allow-origin", "access-control-allow-credentials",
    "access-control-allow-methods", "access-control-allow-headers", "access-control-max-age", "x-a",
]  # fmt: skip

# Where the two differ on purpose. What is compared: "status" (and nothing else), "head" (status and fields, not the text),
# or the status that is expected here instead.
DIFFERENT = {
    "page": "head",  # texts, pages and images are our own
    "random": "length",
    "bad parameter": 400,  # where httpbin's code raises (500)
    "bad credentials": 401,  # likewise
}

JSON = {"b": [1, 2.5, 1e30, 1e-7, {}, [], None, True], "a": 'ä😀\x7f\u2028/"\\'}
FORM = "application/x-www-form-urlencoded"


def case(method, path, same="all", **options):
    return pytest.param(method, path, same, options, id=f"{method} {path} {' '.join(map(str, options.get('headers', {}).values()))}"[:90])


def head(**fields):
    return {"headers": {name.replace("_", "-"): value for name, value in fields.items()}}


CASES = [
    case("GET", "/get"), case("GET", "/get?a=1&a=2&b=%C3%A4%20x+y&c&=z&&d=%ff"), case("GET", "/get?show_env=1", **head(X_Forwarded_Proto="https")),
    case("GET", "/get", **head(X_Forwarded_For="9.9.9.9, 8.8.8.8", X_a3b="x", Via="1.1 x", X_Request_Id="4")),
    case("GET", "/get", **head(X_Forwarded_Proto="https")), case("GET", "/get", **head(X_Forwarded_Ssl="on")),
    case("GET", "/get", **head(Origin="http://other.example")), case("HEAD", "/get"), case("OPTIONS", "/get"),
    case("OPTIONS", "/status/200", **head(Access_Control_Request_Headers="X-A, X-B")), case("OPTIONS", "/response-headers"),
    case("POST", "/get", "page"), case("PUT", "/bytes/4", "page"), case("GET", "/post", "page"), case("DELETE", "/cookies", "page"),
    case("GET", "/nope", "page"), case("GET", "/get/", "page"), case("GET", "/anything/", "page"), case("GET", "/bytes/x", "page"),
    case("GET", "/status", "page"), case("GET", "/links/3/x", "page"), case("GET", "/cache/x", "page"), case("GET", "/redirect/-1", "page"),
    case("GET", "/anything/a%20b/c%2Fd%25/%C3%A4?x=%7B%22%7D&y=[1]&z=%26%3D%2B"), case("TRACE", "/anything"), case("HEAD", "/anything"),
    case("GET", "/anything", data="a=1", **head(Content_Type=FORM)),
    case("POST", "/post", data={"a": ["1", "2"], "b": "ä"}), case("POST", "/post", json=JSON), case("POST", "/post", data=b"\xff\x00"),
    case("POST", "/post", data="x=1", **head(Content_Type="text/plain")), case("POST", "/post", data="{}", **head(Content_Type=FORM)),
    case("POST", "/post", files={"f": ("n.txt", b"hello\r\n", "text/x"), "g": ("n.bin", b"\xff", "image/z")}, data={"q": ["1", "2"], "ä": "ö"}),
    case("POST", "/post", files=[("f", ("a", b"1")), ("f", ("b", b"2"))]), case("POST", "/post", data="xx", **head(Content_Type="multipart/form-data")),
    case("POST", "/post", data="--b\r\nbroken", **head(Content_Type="multipart/form-data; boundary=b")), case("POST", "/post", data=""),
    case("POST", "/post", data=b"x" * 300_000), case("PUT", "/put", data="{}"), case("PATCH", "/patch", json=[1]), case("DELETE", "/delete", data="x"),
    case("GET", "/headers", **head(X_A="1", Accept="a, b")), case("GET", "/ip"), case("GET", "/ip", **head(X_Forwarded_For="1.2.3.4, 5")),
    case("GET", "/user-agent"), case("GET", "/user-agent", **head(User_Agent="me/1.0 (x)")),
    *[case("GET", f"/status/{code}") for code in (200, 201, 204, 226, 301, 302, 303, 304, 305, 307, 308, 401, 404, 406, 407, 429, 500, 503, 599)],
    *[case(method, "/status/202") for method in ("POST", "PUT", "DELETE", "PATCH", "HEAD", "TRACE")],
    case("GET", "/status/402", "page"), case("GET", "/status/418", "page"), case("GET", "/status/200:1", "head"), case("GET", "/status/200:1,200"), case("GET", "/status/500:0,503:3"),
    case("GET", "/status/abc", "head"), case("GET", "/status/200,x", "head"),
    case("GET", "/redirect/1", "page"), case("GET", "/redirect/3", "page"), case("GET", "/redirect/3?absolute=true", "page"),
    case("GET", "/relative-redirect/2", "status"), case("GET", "/absolute-redirect/2", "page"), case("GET", "/absolute-redirect/1", "page"),
    case("GET", "/redirect/0", "bad parameter"), case("GET", "/redirect-to?url=/get"), case("POST", "/redirect-to?url=http://e.example/%C3%A4%20b&status_code=307"),
    case("GET", "/redirect-to?URL=a&status_code=500"), case("GET", "/redirect-to?url=a&status_code=zz", "bad parameter"),
    case("GET", "/cookies", **head(Cookie='b=2; a=1; a=3; q="x y"; e; __utma=9; o="\\303\\244\\""')), case("GET", "/cookies"),
    case("GET", "/cookies?show_env=1", **head(Cookie="__utma=9")), case("GET", "/cookies/set", "page"), case("GET", "/cookies/set?a=1&b=x y;\"ä&a=2", "page"),
    case("GET", "/cookies/set/n/v%20w", "page"), case("GET", "/cookies/delete?a=&b", "page"),
    case("GET", "/basic-auth/u/p"), case("GET", "/basic-auth/u/p", auth=("u", "p")), case("GET", "/basic-auth/u/p", auth=("u", "wrong")),
    case("GET", "/hidden-basic-auth/u/p"), case("GET", "/hidden-basic-auth/u/p", auth=("u", "p")),
    case("GET", "/bearer"), case("GET", "/bearer", **head(Authorization="Bearer x y")), case("GET", "/bearer", **head(Authorization="Basic eA==")),
    *[case("GET", f"/digest-auth/{tail}") for tail in ("auth/u/p", "auth-int/u/p/MD5", "x/u/p/SHA-256/2", "auth/u/p/SHA-512", "auth/u/p/NONE/never")],
    case("GET", "/digest-auth/auth/u/p?require-cookie=1", **head(Authorization='Digest username="u", nonce="n"', Cookie="x=1")),
    case("GET", "/digest-auth/auth/u/p/MD5/1", **head(Authorization='Digest username="u", nonce="n"', Cookie="stale_after=0")),
    case("GET", "/digest-auth/auth/u/p", **head(Authorization="Basic dTpw")), case("GET", "/digest-auth/auth/u/p", "bad credentials", **head(Authorization="Digest foo")),
    case("GET", "/delay/0"), case("POST", "/delay/0.01", data={"a": "1"}), case("GET", "/delay/x", "bad parameter"), case("GET", "/delay/-1", "bad parameter"),
    case("GET", "/drip?duration=0.1&numbytes=3&code=500"), case("GET", "/drip?duration=0&numbytes=20000"), case("GET", "/drip?numbytes=0", "head"),
    case("GET", "/drip?numbytes=x", "bad parameter"), case("GET", "/stream/3?x=1"), case("GET", "/stream/0"), case("GET", "/stream/1000"),
    case("GET", "/bytes/16", "random"), case("GET", "/bytes/0", "random"), case("GET", "/bytes/200000", "random"), case("GET", "/bytes/9?seed=x", "bad parameter"),
    case("GET", "/bytes/1000?seed=42"), case("GET", "/bytes/9?seed=-7"), case("GET", "/bytes/9?seed=0"), case("GET", "/bytes/9?SEED=1_000"),
    case("GET", "/bytes/3000?seed=123456789012345678901234567890"), case("GET", "/bytes/200000?seed=1"),
    case("GET", "/stream-bytes/25000?seed=42"), case("GET", "/stream-bytes/100?seed=5&chunk_size=7"),
    case("GET", "/stream-bytes/1000?chunk_size=10", "random"), case("GET", "/range/26"), case("HEAD", "/range/26"), case("GET", "/range/40000?chunk_size=7000"),
    *[case("GET", "/range/100", **head(Range=text)) for text in ("bytes=0-9", "bytes=5-", "bytes=-3", "bytes=90-200", "bytes=9-3", "bytes=a-b",
                                                                   "x=1", "bytes=0-1,3-4", "bytes=-0", "bytes=-500", "bytes=99-", "bytes=100-")],
    case("GET", "/range/0", "head"), case("GET", "/range/200000", "head"), case("GET", "/links/3", "page"), case("GET", "/links/3/1"), case("GET", "/links/0/0"), case("GET", "/links/999/7"),
    case("GET", "/cache/60"), case("GET", "/cache/0"), case("GET", "/cache", **head(If_None_Match="x")), case("GET", "/cache", **head(If_Modified_Since="x")), case("GET", "/etag/e1"),
    *[case("GET", "/etag/e1", **head(**{name: text})) for name, text in (("If-None-Match", '"e1", W/"b"'), ("If-None-Match", '"x"'), ("If-None-Match", "*"),
                                                                          ("If-Match", '"x"'), ("If-Match", "*"))],
    case("GET", "/response-headers"), case("GET", "/response-headers?X-A=1&X-A=2&Content-Type=text/x"), case("POST", "/response-headers?X-A=%20b"),
    case("GET", "/base64/aGVsbG8="), case("GET", "/base64/zzz"), case("GET", "/base64/_w=="), case("GET", "/gzip"), case("GET", "/deflate"), case("GET", "/brotli"),
    *[case("GET", path, "page") for path in ("/html", "/xml", "/json", "/deny", "/encoding/utf8", "/forms/post", "/image/png", "/image/jpeg", "/image/svg", "/image/webp")],
    case("GET", "/robots.txt"), case("GET", "/image", **head(Accept="text/x")),
    *[case("GET", "/image", "page", **head(Accept=kind)) for kind in ("image/*", "image/svg+xml", "image/webp,image/png", "image/jpeg")],
]  # fmt: skip


def start(argv, log):
    out = log.open("w+")
    process = subprocess.Popen([str(word) for word in argv], stdout=out, stderr=out)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(r"(?:listening|Running) on (http://127\.0\.0\.1:\d+)", log.read_text()):
            return process, found[1]
        time.sleep(0.05)
    process.kill()
    raise RuntimeError(log.read_text())


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """The addresses of the real httpbin and of the fake."""
    folder = tmp_path_factory.mktemp("httpbin")
    real, real_url = start([sys.executable, "-c", REAL, "0"], folder / "real.log")
    fake, fake_url = start([binary(), "fake", "httpbin", "-a", "127.0.0.1:0"], folder / "fake.log")
    yield real_url, fake_url
    for process in (real, fake):
        process.kill()
        process.wait()


@pytest.fixture
def fake(servers):
    return servers[1]


def masked(text):
    """Without what differs from server to server and from moment to moment."""
    text = re.sub(r"127\.0\.0\.1:\d+", "HOST", text)
    text = re.sub(r'(nonce|opaque)="[0-9a-f]+"', lambda found: f'{found[1]}="{len(found[0])}"', text)
    return re.sub(r"boundary=[0-9a-f]{32}", "boundary=B", text)


def fields(response):
    found = {name: masked(response.headers[name]) for name in FIELDS if name in response.headers}
    if "allow" in found:
        found["allow"] = set(found["allow"].split(", "))
    return found


def body(response):
    text = response.content
    if "json" not in response.headers.get("content-type", ""):
        return text
    lines = [masked(line) for line in text.decode().splitlines()]
    # Header fields come in the client's order in /stream's lines, and sorted elsewhere.
    return [json.loads(line) if line.startswith('{"url') else line for line in lines if "Content-Length" not in line]


def ask(base, method, path, options):
    return requests.request(method, base + path, allow_redirects=False, timeout=20, **options)


def compare(real, fake, same):
    expected = DIFFERENT.get(same, same)
    if isinstance(expected, int):
        assert (real.status_code, fake.status_code) == (500, expected)
        return
    assert fake.status_code == real.status_code
    wanted, got = fields(real), fields(fake)
    if expected == "status":
        wanted, got = wanted.get("location"), got.get("location")
    if same == "head":
        wanted.pop("content-type", None), got.pop("content-type", None)
    assert got == wanted
    if expected == "length":
        assert len(fake.content) == len(real.content)
    if expected == "all":
        assert body(fake) == body(real)


@pytest.mark.parametrize(("method", "path", "same", "options"), CASES)
def test_answers_are_the_same(servers, method, path, same, options):
    real, fake = (ask(base, method, path, options) for base in servers)
    compare(real, fake, same)


def test_enough_routes_are_compared():
    routes = {param.values[1].split("?")[0].split("/")[1] for param in CASES}
    assert len(CASES) > 80 and len(routes) >= 40, (len(CASES), len(routes))


PROXIED = ["/get?a=1", "/status/503", "/redirect/2", "/cookies/set/a/b", "/range/100", "/stream/3", "/gzip", "/stream-bytes/50", "/etag/x", "/links/2/0"]


def test_through_the_proxy(servers, squall):
    proxy = squall("listeners: {web: {address: '127.0.0.1:0', upstream: bin}}\nupstreams: {bin: {fake: httpbin}}")
    for path in PROXIED:
        real, fake = ask(servers[0], "GET", path, {}), ask(proxy.url("").rstrip("/"), "GET", path, {})
        assert fake.status_code == real.status_code
        assert fields(fake).get("location") == fields(real).get("location")
        if path.startswith(("/range", "/links", "/etag", "/gzip", "/get")):
            assert fields(fake) == fields(real)
    posted = requests.post(proxy.url("/post"), files={"f": b"x" * 500_000}, timeout=20)
    assert len(posted.json()["files"]["f"]) == 500_000


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "SHA-512"])
def test_digest_authentication_succeeds(servers, algorithm):
    for base in servers:
        session = requests.Session()
        url = f"{base}/digest-auth/auth/u/p/{algorithm}"
        good = session.get(url, auth=HTTPDigestAuth("u", "p"), timeout=10)
        assert (good.status_code, good.json()) == (200, {"authenticated": True, "user": "u"})
        assert requests.get(url, auth=HTTPDigestAuth("u", "wrong"), timeout=10).status_code == 401


def test_redirects_are_followed_and_cookies_kept(servers):
    for base in servers:
        followed = requests.get(f"{base}/redirect/4", timeout=10)
        assert (len(followed.history), urlsplit(followed.url).path) == (4, "/get")
        session = requests.Session()
        assert session.get(f"{base}/cookies/set?a=1&b=2", timeout=10).json() == {"cookies": {"a": "1", "b": "2"}}
        assert session.get(f"{base}/cookies/delete?a", timeout=10).json() == {"cookies": {"b": "2"}}


def test_cache_and_uuid_have_their_shape(servers):
    for base in servers:
        cached = requests.get(f"{base}/cache", timeout=10)
        assert re.fullmatch("[0-9a-f]{32}", cached.headers["etag"])
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", cached.headers["last-modified"])
        found = requests.get(f"{base}/uuid", timeout=10).json()["uuid"]
        assert re.fullmatch("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", found)


def test_a_delay_and_a_drip_take_their_time(fake):
    for path, seconds in (("/delay/0.4", 0.4), ("/drip?duration=0.4&numbytes=4&delay=0.2", 0.5), ("/get?delay=300ms", 0.3)):
        began = time.monotonic()
        assert requests.get(fake + path, timeout=10).status_code == 200
        assert seconds - 0.01 < time.monotonic() - began < seconds + 3


def test_unstable_and_weights_are_shares_that_repeat(fake):
    session = requests.Session()
    failed = sum(session.get(f"{fake}/unstable?failure_rate=0.5", timeout=10).status_code == 500 for _ in range(100))
    assert 20 < failed < 80
    weighted = [session.get(f"{fake}/status/200:0.5,503:0.5", timeout=10).status_code for _ in range(100)]
    assert 20 < weighted.count(503) < 80
    assert len({session.get(f"{fake}/unstable?failure_rate=0.5&seed=7", timeout=10).status_code for _ in range(5)}) == 1
    assert session.get(f"{fake}/bytes/9?seed=7", timeout=10).content == session.get(f"{fake}/stream-bytes/9?seed=7", timeout=10).content
    assert session.get(f"{fake}/unstable?failure_rate=2", timeout=10).status_code == 400


def test_events(fake):
    answer = requests.get(f"{fake}/sse?count=3&duration=0.2&delay=0.1", timeout=10)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [event.splitlines() for event in answer.text.strip().split("\n\n")]
    assert [event[0] for event in events] == ["event: ping"] * 3
    assert [json.loads(event[1].removeprefix("data: "))["id"] for event in events] == [0, 1, 2]


def test_trailers(fake):
    with socket.create_connection(("127.0.0.1", urlsplit(fake).port), timeout=10) as client:
        client.sendall(b"GET /trailers?x-sum=42 HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: close\r\n\r\n")
        text = b"".join(iter(lambda: client.recv(4096), b""))
    assert b"trailer: x-sum\r\n" in text.lower()
    assert text.endswith(b"0\r\nx-sum: 42\r\n\r\n"), text


def test_fortio_parameters(fake):
    assert requests.get(f"{fake}/get?status=503", timeout=10).status_code == 503
    assert requests.get(f"{fake}/get?status=503:0", timeout=10).status_code == 200
    assert requests.get(f"{fake}/get?status=active", timeout=10).json()["args"] == {"status": "active"}
    assert len(requests.get(f"{fake}/get?size=1000", timeout=10).content) == 1000
    assert requests.get(f"{fake}/get?header=X-A:b", timeout=10).headers["x-a"] == "b"
    assert requests.get(f"{fake}/get?close=true", timeout=10).headers["connection"] == "close"
    session = requests.Session()
    codes = [session.get(f"{fake}/ip?status=503:50", timeout=10).status_code for _ in range(100)]
    assert 20 < codes.count(503) < 80


def test_bodies_are_bounded_and_may_come_in_chunks(fake):
    assert requests.post(f"{fake}/post", data=(piece for piece in (b"a", b"b")), timeout=10).json()["data"] == "ab"
    assert requests.post(f"{fake}/post", data=b"x" * (16 << 20 | 1), timeout=30).status_code == 413


def test_waits_do_not_keep_others_waiting(fake):
    waiting = threading.Thread(target=requests.get, args=[f"{fake}/delay/1"])
    waiting.start()
    began = time.monotonic()
    assert requests.get(f"{fake}/ip", timeout=10).status_code == 200
    assert time.monotonic() - began < 0.9
    waiting.join()


def test_the_page_documents_the_routes(fake):
    page = requests.get(fake, timeout=10)
    assert page.status_code == 200 and "/digest-auth/" in page.text and "/unstable" in page.text
