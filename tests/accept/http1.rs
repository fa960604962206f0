use super::*;
use std::io::ErrorKind;

#[tokio::test]
async fn a_connection_serves_many_requests_and_knows_its_ends() {
    let (address, listener, _) = start();
    client(move || {
        let mut stream = connect(address);
        for _ in 0..3 {
            let (head, body) = ask(&mut stream, "/hello");
            assert!(
                head.starts_with("http/1.1 200 ok") && !head.contains("connection:"),
                "{head}"
            );
            assert_eq!(body, "hello");
        }
        assert_eq!(ask(&mut stream, "/who").1, "web 127.0.0.1");
    })
    .await;
    listener.stop_accepting();
    listener.drained().await;
}

#[tokio::test]
async fn the_shortest_http_1_0_request_is_answered_and_closed() {
    let (address, _listener, _) = start();
    client(move || {
        let mut stream = connect(address);
        stream.write_all(b"GET /hello HTTP/1.0\r\n\r\n").unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        assert!(all.ends_with("\r\n\r\nhello"), "{all}");
        // Shorter than the HTTP/2 preface, beginning like it, and in two pieces.
        let mut stream = connect(address);
        stream.write_all(b"P").unwrap();
        std::thread::sleep(Duration::from_millis(20));
        stream.write_all(b"UT /hello HTTP/1.0\r\n\r\n").unwrap();
        assert_eq!(read_response(&mut stream).1, "hello");
    })
    .await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (address, listener, _) = start();
    client(move || {
        let mut stream = connect(address);
        let body = "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody";
        stream
            .write_all((get("/slow") + &get("/hello") + body + &get("/who")).as_bytes())
            .unwrap();
        for expect in ["slow", "hello", "body", "web 127.0.0.1"] {
            assert_eq!(read_response(&mut stream).1, expect);
        }
        assert_eq!(ask(&mut stream, "/hello").1, "hello");
    })
    .await;
    listener.stop_accepting();
    listener.drained().await;
}

#[tokio::test]
async fn a_pipelined_request_that_has_begun_survives_the_stop() {
    let (address, listener, seen) = start();
    let mut stream = client(move || {
        let mut stream = connect(address);
        stream.write_all((get("/hello") + &get("/slow")).as_bytes()).unwrap();
        assert_eq!(read_response(&mut stream).1, "hello");
        stream
    })
    .await;
    seen.until(Seen::logged, 1, SOON).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(listener.requests(), 1);
    listener.stop_accepting();
    client(move || assert_eq!(read_response(&mut stream).1, "slow")).await;
    listener.drained().await;
}

#[tokio::test]
async fn an_error_response_outlives_an_unread_body() {
    let (address, _listener, _) = start();
    // The fake's answer to /hello comes without a look at the body.
    for (path, status) in [("/refuse", "503"), ("/hello", "200")].repeat(5) {
        client(move || {
            let mut stream = connect(address);
            let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 20000000\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            // More than any buffer holds: a connection that is closed at once would break this off.
            stream.write_all(&vec![0; 20_000_000]).unwrap();
            let (head, _) = read_response(&mut stream);
            assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}");
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        })
        .await;
    }
}

#[tokio::test]
async fn an_upstream_that_pauses_within_a_body_is_heard_at_once() {
    let pieces = &["HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf", "full"];
    let upstream = start_upstream(pieces, Duration::from_millis(500));
    let (address, _listener, _) = start_with(&options(), upstream);
    client(move || {
        let mut stream = connect(address);
        let started = Instant::now();
        stream.write_all(get("/proxied").as_bytes()).unwrap();
        let mut all = Vec::new();
        while !all.ends_with(b"half") {
            let mut some = [0; 1024];
            let count = stream.read(&mut some).unwrap();
            all.extend_from_slice(&some[..count]);
        }
        assert!(
            started.elapsed() < Duration::from_millis(400),
            "{:?}",
            started.elapsed()
        );
        stream.read_exact(&mut [0; 4]).unwrap();
        assert!(started.elapsed() >= Duration::from_millis(500));
    })
    .await;
}

#[tokio::test]
async fn idle_connections_end_after_the_idle_timeout() {
    let cases = [(true, ""), (true, "/hello"), (false, ""), (false, "/hello")];
    let ended = cases.map(|(h2c, first)| async move {
        let mut options = options();
        options.entrance.timeouts.idle = Duration::from_secs(1);
        options.h2c = h2c;
        let (address, _listener, _) = start_with(&options, App::default());
        client(move || {
            let mut stream = connect(address);
            if !first.is_empty() {
                ask(&mut stream, first);
            }
            let started = Instant::now();
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
            assert!(started.elapsed() >= Duration::from_millis(950) && started.elapsed() < Duration::from_secs(4));
        })
        .await;
    });
    futures_util::future::join_all(ended).await;
}

#[tokio::test]
async fn a_head_has_a_limit_from_its_first_byte() {
    let ended = [true, false].map(|h2c| async move {
        let mut options = options();
        options.entrance.timeouts.header = Duration::from_secs(1);
        options.h2c = h2c;
        let (address, _listener, seen) = start_with(&options, App::default());
        client(move || {
            let mut stream = connect(address);
            let pause = || std::thread::sleep(Duration::from_millis(600));
            // The wait for a head does not count towards its limit.
            for _ in 0..2 {
                pause();
                stream.write_all(b"GET /hello HTTP/1.1\r\n").unwrap();
                pause();
                stream.write_all(b"host: x\r\n\r\n").unwrap();
                assert_eq!(read_response(&mut stream).1, "hello");
            }
            pause();
            stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            stream.write_all(b"GET /hello HTTP/1.1\r\nx-slow: ").unwrap();
            let started = Instant::now();
            loop {
                // Bytes that keep coming don't put the end off.
                stream.write_all(b"x").unwrap();
                match stream.read(&mut [0]) {
                    Ok(1) => break,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    other => panic!("{other:?}"),
                }
            }
            let mut answer = String::new();
            stream.set_read_timeout(None).unwrap();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("TTP/1.1 408 "), "{answer}");
            assert!(started.elapsed() >= Duration::from_millis(950) && started.elapsed() < Duration::from_secs(4));
        })
        .await;
        assert_eq!(seen.logged(), 3);
    });
    futures_util::future::join_all(ended).await;
}

#[tokio::test]
async fn a_panic_ends_its_own_connection_only() {
    let (address, listener, _) = start();
    client(move || {
        let mut other = connect(address);
        ask(&mut other, "/hello");
        let mut stream = connect(address);
        stream.write_all(get("/panic").as_bytes()).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
        ask(&mut other, "/hello");
        ask(&mut connect(address), "/hello");
    })
    .await;
    listener.stop_accepting();
    listener.drained().await;
}

#[tokio::test]
async fn further_connections_wait_at_the_limit() {
    let mut options = options();
    options.max_connections = 1;
    let (address, listener, _) = start_with(&options, App::default());
    client(move || {
        let mut first = connect(address);
        ask(&mut first, "/hello");
        let mut second = connect(address);
        second.write_all(get("/hello").as_bytes()).unwrap();
        second.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert_eq!(second.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(first);
        second.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert_eq!(read_response(&mut second).1, "hello");
    })
    .await;
    listener.stop_accepting();
    listener.drained().await;
}

#[tokio::test]
async fn a_reset_is_a_reset_and_a_close_a_close() {
    let (address, listener, seen) = start();
    client(move || {
        for body in [0, 10, 100_000] {
            let reset = Err(ErrorKind::ConnectionReset);
            for (path, expect) in [("/reset", reset), ("/close", Ok(0))] {
                let mut stream = connect(address);
                let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {body}\r\n\r\n");
                stream.write_all(head.as_bytes()).unwrap();
                // A client that is reset while it sends is told so there, once.
                let told = stream.write_all(&vec![0; body]).is_err_and(|_| path == "/reset");
                let read = stream.read(&mut [0]).map_err(|error| error.kind());
                assert!(read == expect || told, "{path} {body} {read:?}");
            }
        }
    })
    .await;
    seen.until(Seen::logged, 6, Duration::from_secs(1)).await;
    listener.stop_accepting();
    listener.drained().await;
}

#[tokio::test]
async fn the_same_before_the_response() {
    let upstream = start_upstream(&["HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfull"], Duration::ZERO);
    let (address, _listener, seen) = start_with(&options(), upstream);
    let waiting = client(move || {
        for (path, expect) in [
            ("/reset-response", Err(ErrorKind::ConnectionReset)),
            ("/close-response", Ok(0)),
        ] {
            let mut stream = connect(address);
            stream.write_all(get(path).as_bytes()).unwrap();
            assert_eq!(stream.read(&mut [0]).map_err(|error| error.kind()), expect);
        }
        let mut stream = connect(address);
        stream.write_all(get("/wait-response").as_bytes()).unwrap();
        stream
    })
    .await;
    seen.until(Seen::waiting, 1, Duration::from_secs(1)).await;
    drop(waiting);
    seen.until_gone(1).await;
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed() {
    let (address, _listener, seen) = start();
    let mut expected = 0;
    for (path, body, sent) in [
        ("/wait", 0, 0),
        ("/wait", 10_000, 10_000),
        ("/wait", 10_000, 5_000),
        ("/wait", 200_000, 200_000),
        ("/wait-after-body", 10_000, 10_000),
    ] {
        let stream = client(move || {
            let mut stream = connect(address);
            let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {body}\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&vec![0; sent]).unwrap();
            stream
        })
        .await;
        expected += 1;
        seen.until(Seen::waiting, 1, Duration::from_secs(1)).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(seen.gone(), expected - 1, "too early");
        drop(stream);
        seen.until_gone(expected).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_behind_a_pipelined_request() {
    let (address, _listener, seen) = start();
    let stream = client(move || {
        let mut stream = connect(address);
        stream.write_all((get("/wait") + &get("/hello")).as_bytes()).unwrap();
        stream
    })
    .await;
    seen.until(Seen::waiting, 1, Duration::from_secs(1)).await;
    drop(stream);
    seen.until_gone(1).await;
    assert_eq!(seen.logged(), 1);
}

#[tokio::test]
async fn a_pipelined_request_that_has_come_in_part_survives_the_stop() {
    let (address, listener, seen) = start();
    let mut stream = client(move || {
        let mut stream = connect(address);
        let both = get("/hello") + "GET /slow HTTP/1.1\r\n";
        stream.write_all(both.as_bytes()).unwrap();
        assert_eq!(read_response(&mut stream).1, "hello");
        stream
    })
    .await;
    seen.until(Seen::logged, 1, SOON).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    listener.stop_accepting();
    client(move || {
        stream.write_all(b"host: x\r\n\r\n").unwrap();
        assert_eq!(read_response(&mut stream).1, "slow");
    })
    .await;
    listener.drained().await;
}

#[tokio::test]
async fn a_refusal_of_a_malformed_request_outlives_an_unread_body() {
    let (address, _listener, _) = start();
    for before in [String::new(), get("/hello")] {
        client(move || {
            let mut stream = connect(address);
            let head = "POST / HTTP/1.1\r\nhost: x\r\nhost: y\r\ncontent-length: 20000000\r\n\r\n";
            let mut all = (before.clone() + head).into_bytes();
            all.resize(all.len() + 20_000_000, 0);
            stream.write_all(&all).unwrap();
            if !before.is_empty() {
                assert_eq!(read_response(&mut stream).1, "hello");
            }
            assert!(read_response(&mut stream).0.starts_with("http/1.1 400"));
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        })
        .await;
    }
}

#[tokio::test]
async fn a_head_that_begins_like_a_preface_has_the_limit_of_any_other() {
    let mut options = options();
    options.entrance.timeouts.header = Duration::from_secs(1);
    let (address, _listener, _) = start_with(&options, App::default());
    client(move || {
        let mut stream = connect(address);
        std::thread::sleep(Duration::from_millis(600));
        stream.write_all(b"P").unwrap();
        std::thread::sleep(Duration::from_millis(600));
        stream.write_all(b"UT /hello HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        assert_eq!(read_response(&mut stream).1, "hello");
    })
    .await;
}
