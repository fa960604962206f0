use super::*;
use std::io::Write;
use std::time::Instant;
use tokio::io::AsyncReadExt;

async fn pair() -> (std::net::TcpStream, Arc<Socket>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (client, Arc::new(Socket::from(server)))
}

struct Reader<'a>(&'a Socket);

impl AsyncRead for Reader<'_> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read(cx, buf)
    }
}

#[tokio::test]
async fn waiting_for_the_end_neither_spins_nor_loses_bytes() {
    let (mut client, socket) = pair().await;
    client.write_all(&[7; 10_000]).unwrap();
    let started = Instant::now();
    assert!(
        tokio::time::timeout(Duration::from_millis(50), socket.peer_closed())
            .await
            .is_err()
    );
    assert!(started.elapsed() >= Duration::from_millis(50));

    // Small reads: more than one is needed after the mark was taken.
    let mut some = [0; 3000];
    Reader(&socket).read_exact(&mut some).await.unwrap();
    assert!(
        tokio::time::timeout(Duration::from_millis(10), socket.peer_closed())
            .await
            .is_err()
    );
    client.write_all(b"end").unwrap();
    drop(client);
    tokio::time::timeout(Duration::from_millis(100), socket.peer_closed())
        .await
        .unwrap();
    let mut rest = Vec::new();
    Reader(&socket).read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest.len(), 7003);
    assert!(socket.has_ended());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_and_a_waiter_may_run_side_by_side() {
    let (mut client, socket) = pair().await;
    let waiter = tokio::spawn({
        let socket = Arc::clone(&socket);
        async move { socket.peer_closed().await }
    });
    let writer = std::thread::spawn(move || {
        for round in 0..2000_u16 {
            client.write_all(&round.to_be_bytes().repeat(50)).unwrap();
            std::thread::yield_now();
        }
    });
    let mut all = Vec::new();
    let mut reader = Reader(&socket);
    let read = tokio::time::timeout(Duration::from_secs(10), reader.read_to_end(&mut all));
    assert_eq!(read.await.unwrap().unwrap(), 200_000);
    assert!(
        all.chunks(100)
            .zip(0_u16..)
            .all(|(chunk, round)| { chunk.chunks(2).all(|bytes| bytes == round.to_be_bytes()) })
    );
    waiter.await.unwrap();
    writer.join().unwrap();
}

#[tokio::test]
async fn a_reset_reaches_the_peer_as_one() {
    let (client, socket) = pair().await;
    socket.reset();
    let mut byte = [0];
    let error = std::io::Read::read(&mut &client, &mut byte).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    tokio::time::timeout(Duration::from_millis(100), socket.peer_closed())
        .await
        .unwrap();
}
