use super::*;

#[tokio::test]
async fn a_port_is_free_again_at_once_while_a_request_is_in_flight() {
    let (address, listener, _) = start();
    let slow = tokio::spawn(client(move || ask(&mut connect(address), "/slow")));
    let idle = tokio::spawn(client(move || {
        let mut stream = connect(address);
        ask(&mut stream, "/hello");
        let started = Instant::now();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "closed, not reset");
        started.elapsed()
    }));
    let silent = tokio::spawn(client(move || connect(address).read(&mut [0]).unwrap()));
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!((listener.connections(), listener.requests()), (3, 1));

    listener.stop_accepting();
    let mut again = options();
    again.address = AddressSpec::Tcp(address);
    again.name = "again".into();
    let (second_address, second, _) = start_with(&again, App::default());
    assert_eq!(second_address, address);
    let who = client(move || ask(&mut connect(address), "/who").1).await;
    assert_eq!(who, "again 127.0.0.1");

    let (head, body) = slow.await.unwrap();
    assert!(head.contains("connection: close"), "{head}");
    assert_eq!(body, "slow");
    assert!(idle.await.unwrap() < Duration::from_secs(1));
    assert_eq!(silent.await.unwrap(), 0);
    tokio::time::timeout(Duration::from_secs(1), listener.drained())
        .await
        .unwrap();
    assert_eq!(listener.connections(), 0);
    drop(second);
}

#[tokio::test]
async fn a_stopped_port_refuses() {
    let (address, listener, _) = start();
    listener.stop_accepting();
    assert!(client(move || TcpStream::connect(address)).await.is_err());
    listener.drained().await;
}

#[tokio::test]
async fn an_abort_spares_nothing() {
    let (address, listener, seen) = start();
    let waiting = tokio::spawn(client(move || {
        let mut stream = connect(address);
        stream.write_all(get("/wait").as_bytes()).unwrap();
        stream.read(&mut [0]).unwrap_or(0)
    }));
    seen.until(Seen::waiting, 1, Duration::from_secs(1)).await;
    listener.abort();
    tokio::time::timeout(Duration::from_secs(1), listener.drained())
        .await
        .unwrap();
    assert_eq!(waiting.await.unwrap(), 0);
    seen.until(Seen::active, 0, SOON).await;
    assert_eq!(seen.waiting(), 0);
}

#[tokio::test]
async fn a_thousand_connections_leave_nothing_behind() {
    fn descriptors() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }
    let (address, listener, _) = start();
    let before = descriptors();
    client(move || {
        for _ in 0..1000 {
            ask(&mut connect(address), "/hello");
        }
    })
    .await;
    listener.stop_accepting();
    tokio::time::timeout(Duration::from_secs(3), listener.drained())
        .await
        .unwrap();
    // Other tests of this process open and close at the same time: their few are no leak of a thousand.
    assert!(descriptors() < before + 100, "{before} {}", descriptors());
}
