//! TCP listeners: bytes of any protocol, and rules that change while connections are open.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::support::message::Ending;
use super::support::squall::Squall;
use super::support::wire::Wire;
use super::support::{assert_same, closed_port, pattern, within};

/// A configuration with the TCP listener `db` before `server`, and rules.
fn configuration(server: SocketAddr, rules: &str) -> String {
    format!(
        "listeners: {{db: {{address: \"127.0.0.1:0\", protocol: tcp, upstream: server}}}}\n\
         upstreams: {{server: {{address: \"{server}\"}}}}\n\
         rules: {rules}\n"
    )
}

fn start(server: SocketAddr, rules: &str) -> Squall {
    Squall::start(&configuration(server, rules))
}

/// A server that sends back what it receives, and ends when its client does.
async fn echo() -> SocketAddr {
    serve(|mut stream| async move {
        let (mut read, mut write) = stream.split();
        let _over = tokio::io::copy(&mut read, &mut write).await;
        let _closed = write.shutdown().await;
    })
    .await
}

/// A server that does `with` to each connection.
async fn serve<F>(with: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(with(stream));
        }
    });
    address
}

/// How long the server's echo of a byte takes.
async fn round_trip(wire: &mut Wire) -> Duration {
    let began = Instant::now();
    wire.write("x").await;
    assert_eq!(wire.exactly(1).await, b"x");
    began.elapsed()
}

/// The quickest of several round trips: a busy machine makes some of them slow.
async fn quickest(wire: &mut Wire) -> Duration {
    let mut quickest = Duration::MAX;
    for _ in 0..5 {
        quickest = quickest.min(round_trip(wire).await);
    }
    quickest
}

async fn counted(squall: &Squall, fault: &str, times: f64) {
    let fault = format!("fault=\"{fault}\"");
    squall.until("squall_faults_injected_total", &[&fault], times).await;
}

#[tokio::test]
async fn bytes_pass_both_ways_and_sides_end_one_by_one() {
    let squall = start(echo().await, "[]");
    let mut wire = squall.wire().await;
    let sent = pattern(3_000_000);
    let (reader, writer) = wire.split();
    let send = async {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let ((got, ending), ()) = within(async { tokio::join!(reader.end(), send) }).await;
    assert_same(&got, &sent);
    assert_eq!(ending, Ending::Closed);
    squall.until("squall_connections", &[], 0.0).await;
    for direction in ["request", "response"] {
        let direction = format!("direction=\"{direction}\"");
        squall.until("squall_tcp_bytes_total", &[&direction], 3_000_000.0).await;
    }
    squall.until("squall_tcp_connections_total", &[], 1.0).await;
}

#[tokio::test]
async fn a_server_that_speaks_first_and_ends_first_still_hears_its_client() {
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let server = serve(move |mut stream| {
        let told = told.clone();
        async move {
            stream.write_all(b"220 hello\r\n").await.unwrap();
            stream.shutdown().await.unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            told.send(rest).unwrap();
        }
    })
    .await;
    let squall = start(server, "[]");
    let mut wire = squall.wire().await;
    assert_eq!(wire.end().await, (b"220 hello\r\n".to_vec(), Ending::Closed));
    wire.write("QUIT\r\n").await;
    wire.finish().await;
    assert_eq!(within(heard.recv()).await.unwrap(), b"QUIT\r\n");
}

#[tokio::test]
async fn bytes_are_counted_while_the_connection_is_open() {
    let squall = start(echo().await, "[]");
    let mut wire = squall.wire().await;
    for count in 1..=3 {
        round_trip(&mut wire).await;
        squall
            .until("squall_tcp_bytes_total", &["direction=\"response\""], f64::from(count))
            .await;
    }
    squall.until("squall_connections", &[], 1.0).await;
}

#[tokio::test]
async fn a_server_that_is_down_looks_like_a_closed_port() {
    let (closed, _bound) = closed_port();
    let squall = start(closed, "[]");
    let mut wire = squall.wire().await;
    assert_eq!(wire.end().await, (Vec::new(), Ending::Reset));
    squall.until("squall_upstream_errors_total", &[], 1.0).await;
}

#[tokio::test]
async fn resets_pass_on_to_the_other_side() {
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let server = serve(move |mut stream| {
        let told = told.clone();
        async move {
            let mut first = [0];
            stream.read_exact(&mut first).await.unwrap();
            if &first == b"r" {
                stream.set_zero_linger().unwrap();
            } else {
                told.send(stream.read(&mut first).await.unwrap_err().kind()).unwrap();
            }
        }
    })
    .await;
    let squall = start(server, "[]");
    let mut wire = squall.wire().await;
    wire.write("r").await;
    assert_eq!(wire.end().await, (Vec::new(), Ending::Reset));
    let mut wire = squall.wire().await;
    wire.write("c").await;
    squall
        .until("squall_tcp_bytes_total", &["direction=\"request\""], 2.0)
        .await;
    wire.reset();
    assert_eq!(within(heard.recv()).await.unwrap(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_delay_comes_to_open_connections_and_goes() {
    let server = echo().await;
    let squall = start(server, "[]");
    let mut wire = squall.wire().await;
    assert!(quickest(&mut wire).await < Duration::from_millis(90));
    let slow = "[{name: r, faults: [{delay: 100ms}]}]";
    squall.reload(&configuration(server, slow)).await.unwrap();
    for _ in 0..3 {
        let time = round_trip(&mut wire).await;
        assert!(time >= Duration::from_millis(100), "{time:?}");
    }
    counted(&squall, "delay", 1.0).await;
    squall.reload(&configuration(server, "[]")).await.unwrap();
    assert!(quickest(&mut wire).await < Duration::from_millis(90));
}

#[tokio::test]
async fn delays_of_several_rules_add_up_and_each_can_go() {
    let server = echo().await;
    let rule = |name: &str, direction: &str| {
        format!("{{name: {name}, faults: [{{delay: {{fixed: 100ms, before: message, direction: {direction}}}}}]}}")
    };
    let (one, two, three) = (rule("a", "response"), rule("b", "request"), rule("c", "response"));
    let squall = start(server, &format!("[{one}, {two}, {three}]"));
    let mut wire = squall.wire().await;
    let time = quickest(&mut wire).await;
    assert!(time >= Duration::from_millis(300), "{time:?}");
    squall
        .reload(&configuration(server, &format!("[{one}, {three}]")))
        .await
        .unwrap();
    let time = quickest(&mut wire).await;
    assert!(
        time >= Duration::from_millis(200) && time < Duration::from_millis(290),
        "{time:?}"
    );
}

#[tokio::test]
async fn no_byte_is_lost_while_rules_come_and_go() {
    let server = echo().await;
    let squall = start(server, "[]");
    let mut wire = squall.wire().await;
    let sent = pattern(20_000_000);
    let faults = [
        "[]",
        "[{name: a, faults: [{delay: {uniform: [1ms, 5ms]}}]}]",
        "[{name: a, faults: [{delay: 3ms}]}, {name: b, faults: [{bandwidth: {request: 40MB/s, response: 30MB/s}}]}]",
        "[{name: b, faults: [{dribble: {chunk: 4KiB, gap: 1ms}}]}]",
        "[{name: c, faults: [{stall: {limit: 5ms}}]}, {name: a, faults: [{delay: {fixed: 2ms, before: message, direction: request}}]}]",
    ];
    let (reader, writer) = wire.split();
    let send = async {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let change = async {
        loop {
            for rules in faults {
                squall.reload(&configuration(server, rules)).await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    let moved = async { tokio::join!(reader.end(), send) };
    let ((got, ending), ()) = tokio::select! {
        moved = within(moved) => moved,
        () = change => unreachable!("it goes on for ever"),
    };
    assert_same(&got, &sent);
    assert_eq!(ending, Ending::Closed);
}

#[tokio::test]
async fn a_cut_is_exact_and_a_changed_one_counts_on() {
    let server = echo().await;
    let cut = |bytes: u32| format!("[{{name: r, faults: [{{truncate: {{after: {bytes}B, end: close}}}}]}}]");
    let squall = start(server, &cut(1000));
    let mut wire = squall.wire().await;
    wire.write(pattern(900)).await;
    assert_same(&wire.exactly(900).await, &pattern(900));
    squall.reload(&configuration(server, &cut(950))).await.unwrap();
    wire.write(pattern(500)).await;
    assert_eq!(wire.end().await, (pattern(50), Ending::Closed));
    counted(&squall, "truncate", 1.0).await;
}

#[tokio::test]
async fn endings_come_to_open_connections() {
    for (fault, ending) in [("reset", Ending::Reset), ("close", Ending::Closed)] {
        let server = echo().await;
        let squall = start(server, "[]");
        let mut wire = squall.wire().await;
        round_trip(&mut wire).await;
        let rules = format!("[{{name: r, faults: [{{{fault}: {{}}}}]}}]");
        squall.reload(&configuration(server, &rules)).await.unwrap();
        assert_eq!(wire.end().await, (Vec::new(), ending));
        assert_eq!(squall.wire().await.end().await, (Vec::new(), ending), "a new one");
        counted(&squall, fault, 2.0).await;
        squall.until("squall_faults_active", &[], 0.0).await;
    }
}

#[tokio::test]
async fn a_connection_that_hangs_goes_on_without_the_rule() {
    let server = echo().await;
    let squall = start(server, "[{name: r, faults: [{hang: {}}]}]");
    let mut wire = squall.wire().await;
    wire.write("x").await;
    squall.until("squall_requests_held", &[], 1.0).await;
    squall.reload(&configuration(server, "[]")).await.unwrap();
    assert_eq!(wire.exactly(1).await, b"x");
    squall.until("squall_requests_held", &[], 0.0).await;
}

#[tokio::test]
async fn rules_match_clients_and_draw_for_connections() {
    let server = echo().await;
    let squall = start(
        server,
        "[{name: r, match: {client: 127.0.0.1}, when: {every: 2}, faults: [{reset: {}}]}, \
          {name: other, match: {client: 10.0.0.0/8}, faults: [{reset: {}}]}]",
    );
    for number in 1..=6 {
        let mut wire = squall.wire().await;
        if number % 2 == 0 {
            assert_eq!(wire.end().await, (Vec::new(), Ending::Reset));
        } else {
            round_trip(&mut wire).await;
        }
    }
    squall.until("squall_rules_matched_total", &["rule=\"r\""], 6.0).await;
    squall
        .until("squall_rules_matched_total", &["rule=\"other\""], 0.0)
        .await;
}

#[tokio::test]
async fn a_limit_on_concurrency_holds_for_as_long_as_connections_last() {
    let server = echo().await;
    let squall = start(server, "[{name: r, faults: [{concurrency: {limit: 1, queue: 1}}]}]");
    let mut first = squall.wire().await;
    round_trip(&mut first).await;
    let mut second = squall.wire().await;
    second.write("x").await;
    squall.until("squall_requests_held", &[], 1.0).await;
    assert_eq!(
        squall.wire().await.end().await.1,
        Ending::Closed,
        "there is no place in the queue"
    );
    drop(first);
    assert_eq!(second.exactly(1).await, b"x");
}

#[tokio::test]
async fn what_concerns_requests_is_skipped_on_connections() {
    let server = echo().await;
    let web = "web: {address: \"127.0.0.1:0\", upstream: web}";
    let configuration = configuration(server, "[{name: r, faults: [{abort: 503}]}]")
        .replace("listeners: {", &format!("listeners: {{{web}, "))
        .replace("upstreams: {", "upstreams: {web: {fake: echo}, ");
    let squall = Squall::start(&configuration);
    let addresses = squall.server.addresses();
    let (_, address) = addresses.iter().find(|(name, _)| &**name == "db").unwrap();
    let mut wire = Wire::connect(address.parse().unwrap()).await;
    round_trip(&mut wire).await;
    squall.skipped("abort", "not HTTP").await;
}

#[tokio::test]
async fn a_client_that_never_reads_holds_up_nothing_else() {
    let server = echo().await;
    let squall = start(server, "[{name: r, faults: [{delay: 1ms}]}]");
    let mut stuck = squall.wire().await;
    let (_, writer) = stuck.split();
    // Until neither side takes any more.
    let fill = async { while writer.write(&[0; 65536]).await.is_ok() {} };
    assert!(tokio::time::timeout(Duration::from_millis(500), fill).await.is_err());
    for rules in ["[]", "[{name: r, faults: [{delay: 1ms}]}]", "[]"] {
        squall.reload(&configuration(server, rules)).await.unwrap();
        round_trip(&mut squall.wire().await).await;
    }
}

#[tokio::test]
async fn a_stop_closes_idle_connections_and_lets_bytes_arrive() {
    let squall = start(echo().await, "[]");
    let mut idle = squall.wire().await;
    round_trip(&mut idle).await;
    let began = Instant::now();
    assert!(squall.server.drain(Duration::from_secs(8)).await);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(idle.end().await, (Vec::new(), Ending::Closed));
}

#[tokio::test]
async fn the_proxy_protocol_tells_addresses_in_and_out() {
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let server = serve(move |mut stream| {
        let told = told.clone();
        async move {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            told.send(all).unwrap();
        }
    })
    .await;
    for (version, header) in [
        ("v1", &b"PROXY TCP4 10.1.2.3 10.0.0.9 258 80\r\n"[..]),
        (
            "v2",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\x01\x02\x03\x0a\0\0\x09\x01\x02\0\x50",
        ),
    ] {
        let rules = "[{name: r, match: {client: 10.1.0.0/16}, faults: [{delay: {fixed: 1ms, before: message, direction: request}}]}]";
        let configuration = configuration(server, rules)
            .replace("protocol: tcp", "protocol: tcp, proxy_protocol: true")
            .replace(
                &format!("{{address: \"{server}\"}}"),
                &format!("{{address: \"{server}\", proxy_protocol: {version}}}"),
            );
        let squall = Squall::start(&configuration);
        let mut wire = squall.wire().await;
        // In pieces, with the first bytes of the client behind it.
        let (first, rest) = header.split_at(5);
        wire.write(first).await;
        wire.write([rest, b"hello"].concat()).await;
        wire.finish().await;
        let got = within(heard.recv()).await.unwrap();
        assert_eq!(
            got.escape_ascii().to_string(),
            [header, b"hello"].concat().escape_ascii().to_string()
        );
        counted(&squall, "delay", 1.0).await;
        let mut other = squall.wire().await;
        other.write("GET / HTTP/1.1\r\n\r\n").await;
        let (bytes, _closed) = other.end().await;
        assert!(bytes.is_empty());
    }
}

#[tokio::test]
async fn a_window_opens_and_closes_on_open_connections() {
    let rules = "[{name: r, when: {schedule: {start: 1s, duration: 1500ms}}, faults: [{delay: 150ms}]}]";
    // Before the start: the rule's time begins somewhere within it, which takes a while on a busy machine.
    let began = Instant::now();
    let squall = start(echo().await, rules);
    let mut wire = squall.wire().await;
    assert!(round_trip(&mut wire).await < Duration::from_millis(150));
    squall.until("squall_faults_active", &[], 1.0).await;
    assert!(began.elapsed() > Duration::from_millis(900), "{:?}", began.elapsed());
    assert!(quickest(&mut wire).await >= Duration::from_millis(150));
    squall.until("squall_faults_active", &[], 0.0).await;
    assert!(quickest(&mut wire).await < Duration::from_millis(150));
}

#[tokio::test]
async fn a_client_that_resets_while_its_bytes_are_held_frees_everything() {
    for fault in ["stall: {}", "stall: {direction: request}", "delay: 1m", "hang: {}"] {
        let squall = start(echo().await, &format!("[{{name: r, faults: [{{{fault}}}]}}]"));
        let mut wire = squall.wire().await;
        wire.write(pattern(100_000)).await;
        squall.until("squall_faults_active", &[], 1.0).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        wire.reset();
        squall.until("squall_faults_active", &[], 0.0).await;
        squall.until("squall_connections", &[], 0.0).await;
        squall.until("squall_requests_held", &[], 0.0).await;
    }
}

#[tokio::test]
async fn the_stop_switch_lets_go_of_open_connections_and_arming_takes_hold_again() {
    let rules = "[{name: r, faults: [{delay: {fixed: 1h, before: message, direction: request}}]}]";
    let squall = start(echo().await, rules);
    let mut wire = squall.wire().await;
    wire.write("abc").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    squall.server.arm(false, None);
    assert_eq!(wire.exactly(3).await, b"abc", "what was held passes on first");
    assert!(quickest(&mut wire).await < Duration::from_secs(1));
    squall.server.arm(true, None);
    squall.until("squall_faults_active", &[], 1.0).await;
    squall.server.switch(
        &squall::rule::id::RuleId::new(None, "r"),
        squall::rule::switch::Switch::Off,
    );
    squall.until("squall_faults_active", &[], 0.0).await;
    assert!(quickest(&mut wire).await < Duration::from_secs(1));
}

#[tokio::test]
async fn a_held_connection_and_a_stalled_one_go_on_when_their_rule_is_switched_off() {
    for fault in ["hang: {}", "stall: {after: 1B}"] {
        let squall = start(echo().await, &format!("[{{name: r, faults: [{{{fault}}}]}}]"));
        let mut wire = squall.wire().await;
        wire.write("abc").await;
        squall.until("squall_requests_held", &[], 1.0).await;
        squall.server.switch(
            &squall::rule::id::RuleId::new(None, "r"),
            squall::rule::switch::Switch::Off,
        );
        assert_eq!(wire.exactly(3).await, b"abc", "{fault}");
        squall.until("squall_requests_held", &[], 0.0).await;
    }
}

#[tokio::test]
async fn natural_failures_of_the_server_stop_a_rule_and_injected_ones_do_not() {
    let (closed, _kept) = closed_port();
    let stop = "stop_when: [{errors: {above: 50%, at_least: 3}}]";
    let squall = start(closed, &format!("[{{name: r, faults: [{{delay: 1ms}}], {stop}}}]"));
    for _ in 0..3 {
        let mut wire = squall.wire().await;
        wire.end().await;
    }
    squall
        .until("squall_guard_tripped", &["guard=\"errors of r\""], 1.0)
        .await;
    squall.server.switch(
        &squall::rule::id::RuleId::new(None, "r"),
        squall::rule::switch::Switch::Configured,
    );
    assert_eq!(squall.metric("squall_guard_tripped", &[]), 0.0);
    let squall = start(
        echo().await,
        &format!("[{{name: r, faults: [{{reset: {{}}}}], {stop}}}]"),
    );
    for _ in 0..5 {
        squall.wire().await.end().await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(squall.metric("squall_guard_trips_total", &[]), 0.0);
}
