//! A TCP proxy of the plainest design, for the benchmark to compare with: for each connection two tasks, one a direction, each with a
//! buffer of 32 KiB that it reads into and writes from. It is what proxies like Toxiproxy do, without their toxics.
//!
//! `copy_loop LISTEN UPSTREAM`, with one thread for all of it.

use std::env::args;
use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

const BUFFER: usize = 32 * 1024;

fn main() -> io::Result<()> {
    let (Some(listen), Some(upstream)) = (args().nth(1), args().nth(2)) else {
        return Err(io::Error::other("two addresses are needed: LISTEN UPSTREAM"));
    };
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async { tokio::spawn(serve(listen, upstream)).await? })
}

async fn serve(listen: String, upstream: String) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (downstream, _) = listener.accept().await?;
        tokio::spawn(relay(downstream, upstream.clone()));
    }
}

async fn relay(downstream: TcpStream, upstream: String) -> io::Result<()> {
    let upstream = TcpStream::connect(upstream).await?;
    downstream.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    let (from_client, to_client) = downstream.into_split();
    let (from_server, to_server) = upstream.into_split();
    tokio::spawn(copy(from_client, to_server));
    tokio::spawn(copy(from_server, to_client));
    Ok(())
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(buffer.get(..count).unwrap_or_default()).await?;
    }
}
