//! Trailers pass in both directions, over both protocols (RFC 9110, section 6.5).

use super::support::message::{Answer, Body, Request};
use super::support::squall::Squall;
use super::support::upstream::Upstream;
use super::support::{Pair, Protocol, each, pattern};

fn asking(request: Request, down: Protocol) -> Request {
    match down {
        Protocol::H1 => request.field("Connection", "TE").field("TE", "trailers"),
        Protocol::H2 => request.field("te", "trailers"),
    }
}

async fn response_trailers_pass(pair: Pair) {
    let answer = Answer::ok(Body::chunked(pattern(50_000)))
        .field("trailer", "x-sum, x-more")
        .trailer("x-sum", "42")
        .trailer("x-more", "a, b");
    let upstream = Upstream::answering(pair.up, answer.clone()).await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(pair.down).await;
    for _ in 0..2 {
        let response = client.ask(&asking(Request::get("/"), pair.down)).await;
        response.assert(200, answer.body.bytes());
        assert_eq!(response.trailers.custom(), answer.trailers.custom());
    }
}
each!(response_trailers_pass {
    h1_to_h1
    h1_to_h2
    h2_to_h1
    h2_to_h2
});

async fn response_trailers_may_be_all(pair: Pair) {
    let answer = Answer::ok(Body::chunked("")).trailer("x-sum", "0");
    let upstream = Upstream::answering(pair.up, answer.clone()).await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(pair.down).await;
    for _ in 0..2 {
        let response = client.ask(&asking(Request::get("/"), pair.down)).await;
        response.assert(200, "");
        assert_eq!(response.trailers.custom(), answer.trailers.custom());
    }
}
each!(response_trailers_may_be_all {
    h1_to_h1
    h1_to_h2
    h2_to_h1
    h2_to_h2
});

async fn request_trailers_pass(pair: Pair) {
    let mut upstream = Upstream::answering(pair.up, Answer::ok(Body::sized("ok"))).await;
    let request = Request::post("/", Body::chunked(pattern(50_000)))
        .trailer("x-sum", "42")
        .trailer("x-more", "a, b");
    let squall = Squall::before(&upstream);
    let mut client = squall.client(pair.down).await;
    for _ in 0..2 {
        client.ask(&request).await.assert(200, "ok");
        let seen = upstream.next().await;
        assert_eq!(seen.body.len(), 50_000);
        assert_eq!(seen.trailers.custom(), request.trailers.custom());
    }
}
each!(request_trailers_pass {
    h1_to_h1
    h1_to_h2
    h2_to_h1
    h2_to_h2
});

/// Whatever becomes of the trailers, the messages are whole and the connections stay sound.
async fn trailers_do_not_hurt(pair: Pair) {
    let answer = Answer::ok(Body::chunked("answer")).trailer("x-sum", "1");
    let mut upstream = Upstream::answering(pair.up, answer).await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(pair.down).await;
    for _ in 0..3 {
        let request = Request::post("/", Body::chunked("question")).trailer("x-sum", "2");
        client.ask(&request).await.assert(200, "answer");
        assert_eq!(upstream.next().await.body, b"question");
    }
    squall.assert_nobody_gone();
}
each!(trailers_do_not_hurt);
