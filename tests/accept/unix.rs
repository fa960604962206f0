use super::*;
use std::os::unix::net::UnixStream;

#[tokio::test]
async fn a_unix_socket_serves_and_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("squall.sock");
    let (squall, seen) = app("local", App::default());
    let listener = bind(ListenerOptions::new("local", AddressSpec::Unix(path.clone())))
        .unwrap()
        .serve(Service::Http(squall));
    let at = path.clone();
    let waiting = client(move || {
        let mut stream = UnixStream::connect(&at).unwrap();
        assert_eq!(ask(&mut stream, "/who").1, "local nobody");
        for path in ["/close", "/reset"] {
            let mut stream = UnixStream::connect(&at).unwrap();
            stream.write_all(get(path).as_bytes()).unwrap();
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        }
        let mut stream = UnixStream::connect(&at).unwrap();
        stream.write_all(get("/wait").as_bytes()).unwrap();
        stream
    })
    .await;
    seen.until(Seen::waiting, 1, Duration::from_secs(1)).await;
    drop(waiting);
    seen.until_gone(1).await;
    listener.stop_accepting();
    assert!(!path.exists());
    tokio::time::timeout(Duration::from_secs(2), listener.drained())
        .await
        .unwrap();
}
