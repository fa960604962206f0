//! Interim responses pass between all sides that can have them (RFC 9110, section 15.2).

use std::sync::Arc;

use super::support::message::{Answer, Body, Interim, Request};
use super::support::squall::Squall;
use super::support::upstream::Upstream;
use super::support::{Pair, Protocol, each};

/// What of an interim response matters: the status and the custom fields.
fn essence(interim: &[Interim]) -> Vec<(u16, Vec<(String, String)>)> {
    interim
        .iter()
        .map(|interim| (interim.status, interim.fields.custom()))
        .collect()
}

async fn pass(pair: Pair, answer: Answer, request: Request) {
    let upstream = Upstream::answering(pair.up, answer.clone()).await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(pair.down).await;
    for _ in 0..2 {
        let response = client.ask(&request).await;
        response.assert(200, answer.body.bytes());
        assert_eq!(essence(&response.interim), essence(&answer.interim));
        assert_eq!(response.fields.custom(), answer.fields.custom());
    }
    squall.until("squall_requests_total", &["status=\"200\""], 2.0).await;
    squall.until("squall_requests_total", &[], 2.0).await;
    squall.assert_nobody_gone();
}

fn final_answer() -> Answer {
    Answer::ok(Body::sized("done")).field("x-final", "1")
}

async fn early_hints_pass(pair: Pair) {
    let answer = final_answer().interim(103, &[("x-hint", "</a.css>; rel=preload")]);
    pass(pair, answer, Request::get("/")).await;
}
each!(early_hints_pass {
    h1_to_h1
    h1_to_h2
    h2_to_h1
    h2_to_h2
});

async fn processing_passes(pair: Pair) {
    let answer = final_answer().interim(102, &[("x-progress", "50%")]);
    pass(pair, answer, Request::post("/", Body::sized("a body"))).await;
}
each!(processing_passes {
    h1_to_h1
    h1_to_h2
    h2_to_h1
    h2_to_h2
});

async fn several_interim_answers_pass(pair: Pair) {
    let answer = final_answer()
        .interim(102, &[("x-progress", "1")])
        .interim(103, &[("x-hint", "a")])
        .interim(102, &[("x-progress", "2")])
        .interim(103, &[("x-hint", "b")]);
    pass(pair, answer, Request::get("/")).await;
}
each!(several_interim_answers_pass {
    h1_to_h1
    h1_to_h2
    h2_to_h1
    h2_to_h2
});

async fn interim_answers_come_before_an_answer_without_a_body(pair: Pair) {
    let answer = Answer::new(204).interim(103, &[("x-hint", "a")]);
    let upstream = Upstream::answering(pair.up, answer).await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(pair.down).await;
    for _ in 0..2 {
        let response = client.get("/").await;
        response.assert(204, "");
        assert_eq!(response.interim.len(), 1);
    }
}
each!(interim_answers_come_before_an_answer_without_a_body {
    h1_to_h1
    h1_to_h2
    h2_to_h1
    h2_to_h2
});

/// The final response comes whole, whatever becomes of the interim one.
async fn interim_answers_do_not_hurt_the_final_one(pair: Pair) {
    let answer = final_answer().interim(103, &[("x-hint", "a")]);
    let upstream = Upstream::answering(pair.up, answer).await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(pair.down).await;
    for _ in 0..2 {
        client.get("/").await.assert(200, "done");
    }
}
each!(interim_answers_do_not_hurt_the_final_one {
    h1_to_h1
    h1_to_h2
    h2_to_h1
    h2_to_h2
});

/// An interim response is there before the final one is: that is what it is for.
#[tokio::test]
async fn interim_answers_do_not_wait_for_the_final_one() {
    let (go_on, wait) = tokio::sync::mpsc::channel::<()>(1);
    let wait = Arc::new(tokio::sync::Mutex::new(wait));
    let upstream = Upstream::h1(move |_, mut wire| {
        let wait = Arc::clone(&wait);
        async move {
            wire.head().await;
            wire.write("HTTP/1.1 103 Early Hints\r\nx-hint: a\r\n\r\n").await;
            wait.lock().await.recv().await;
            wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    wire.write(Request::get("/").wire()).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 103 "));
    go_on.send(()).await.unwrap();
    wire.response("GET").await.assert(200, "ok");
}

/// RFC 9110, section 15.2: a server must not send an interim response to an HTTP/1.0 client.
#[tokio::test]
async fn http10_clients_get_no_interim_answers() {
    let upstream = Upstream::answering(Protocol::H1, final_answer().interim(103, &[("x-hint", "a")])).await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    wire.write("GET / HTTP/1.0\r\nHost: origin.test\r\n\r\n").await;
    let response = wire.response("GET").await;
    response.assert(200, "done");
    assert!(response.interim.is_empty());
}

async fn close_after_an_interim_answer_is_502(pair: Pair) {
    let upstream = Upstream::h1(|_, mut wire| async move {
        if wire.reader().head().await.is_ok() {
            wire.write("HTTP/1.1 103 Early Hints\r\nx-hint: a\r\n\r\n").await;
        }
    })
    .await;
    let squall = Squall::before(&upstream);
    let response = squall.ask(pair.down, &Request::get("/")).await;
    assert_eq!(response.status, 502);
    squall.counted(502).await;
}
each!(close_after_an_interim_answer_is_502 {
    h1_to_h1
    h2_to_h1
});

/// RFC 9110, section 15.2.2: a server switches protocols only where the client has asked for it.
async fn unrequested_switching_protocols_is_502(pair: Pair) {
    let upstream = Upstream::h1(|_, mut wire| async move {
        if wire.reader().head().await.is_ok() {
            wire.try_write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
                .await;
            wire.end().await;
        }
    })
    .await;
    let squall = Squall::before(&upstream);
    let response = squall.ask(pair.down, &Request::get("/")).await;
    assert_eq!(response.status, 502);
}
each!(unrequested_switching_protocols_is_502 {
    h1_to_h1
    h2_to_h1
});
