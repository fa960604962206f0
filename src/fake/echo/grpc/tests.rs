use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use prost::Message as _;

use super::messages::framed;
use super::proto::{EchoMessage, EchoSummary, HealthCheckRequest, HealthCheckResponse};
use super::*;

/// The head, the messages and the trailers of a call with these messages and fields.
async fn calling(method: &str, sent: &[Vec<u8>], fields: &[(&str, &str)]) -> (HeaderMap, Vec<Bytes>, HeaderMap) {
    let body: Vec<u8> = sent.iter().flat_map(|message| framed(message)).collect();
    let mut request = Request::post(method)
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body)).unwrap();
    assert!(is_call(&request));
    let (head, body) = call(request).await.into_parts();
    assert_eq!(
        (head.status.as_u16(), &head.headers["content-type"]),
        (200, &HeaderValue::from_static("application/grpc"))
    );
    let whole = body.collect().await.unwrap();
    let trailers = whole.trailers().cloned().unwrap_or_default();
    let mut messages = Messages::new(Body::from(whole.to_bytes()), Encoding::Identity, Default::default());
    let mut came = Vec::new();
    while let Some(message) = messages.next().await.unwrap() {
        came.push(message);
    }
    (head.headers, came, trailers)
}

fn echo(text: &str) -> EchoMessage {
    EchoMessage {
        text: text.into(),
        ..EchoMessage::default()
    }
}

#[tokio::test]
async fn one_message_comes_back_with_its_metadata_and_unknown_fields() {
    let mut sent = echo("hi").encode_to_vec();
    sent.extend([0xf8, 0x07, 0x01]);
    let fields = [("echo-head-a", "1"), ("echo-trailer-b-bin", "AP8"), ("x-other", "2")];
    let (head, came, trailers) = calling("/squall.echo.v1.Echo/Echo", &[sent.clone()], &fields).await;
    assert_eq!(came, [sent]);
    assert_eq!(
        (&head["echo-head-a"], head.get("x-other")),
        (&HeaderValue::from_static("1"), None)
    );
    assert_eq!(
        (&trailers["grpc-status"], &trailers["echo-trailer-b-bin"]),
        (&"0".parse().unwrap(), &"AP8".parse().unwrap())
    );
}

#[tokio::test]
async fn streams_of_each_kind() {
    let asked = EchoMessage {
        count: 3,
        status: 8,
        status_message: "enough".into(),
        ..echo("x")
    };
    let (_, came, trailers) = calling("/squall.echo.v1.Echo/Repeat", &[asked.encode_to_vec()], &[]).await;
    let numbers: Vec<u32> = came
        .iter()
        .map(|message| EchoMessage::decode(message.clone()).unwrap().number)
        .collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(
        (&trailers["grpc-status"], &trailers["grpc-message"]),
        (&"8".parse().unwrap(), &"enough".parse().unwrap())
    );

    let sent = ["a", "bb"].map(|text| echo(text).encode_to_vec());
    let (_, came, _) = calling("/squall.echo.v1.Echo/Collect", &sent, &[]).await;
    let summary = EchoSummary::decode(came[0].clone()).unwrap();
    assert_eq!((summary.messages, summary.bytes), (2, 7));
    assert_eq!(calling("/squall.echo.v1.Echo/Chat", &sent, &[]).await.1, sent);
}

#[tokio::test(start_paused = true)]
async fn what_goes_wrong_has_a_status() {
    let status = async |method: &str, sent: &[Vec<u8>], fields: &[(&str, &str)]| {
        let (head, _, trailers) = calling(method, sent, fields).await;
        let field = head.get("grpc-status").or(trailers.get("grpc-status")).unwrap();
        field.to_str().unwrap().to_owned()
    };
    let echo_method = "/squall.echo.v1.Echo/Echo";
    let one = [echo("x").encode_to_vec()];
    assert_eq!(status("/squall.echo.v1.Echo/Nope", &one, &[]).await, "12");
    assert_eq!(status(echo_method, &[], &[]).await, "13");
    assert_eq!(status(echo_method, &[vec![0xff]], &[]).await, "13");
    assert_eq!(status(echo_method, &one, &[("grpc-encoding", "zstd")]).await, "12");
    assert_eq!(status(echo_method, &one, &[("grpc-encoding", "identity")]).await, "0");
    assert_eq!(status(echo_method, &one, &[("grpc-timeout", "1s")]).await, "13");
    let failing = EchoMessage {
        status: 5,
        ..EchoMessage::default()
    };
    assert_eq!(status(echo_method, &[failing.encode_to_vec()], &[]).await, "5");
    let unknown = EchoMessage {
        status: 99,
        ..EchoMessage::default()
    };
    assert_eq!(status(echo_method, &[unknown.encode_to_vec()], &[]).await, "3");
    let slow = EchoMessage {
        count: 3,
        every_ms: 60_000,
        ..EchoMessage::default()
    };
    let (_, came, trailers) = calling(
        "/squall.echo.v1.Echo/Repeat",
        &[slow.encode_to_vec()],
        &[("grpc-timeout", "90S")],
    )
    .await;
    assert_eq!((came.len(), &trailers["grpc-status"]), (2, &"4".parse().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn health_is_checked_and_watched() {
    let asking = |service: &str| {
        [HealthCheckRequest {
            service: service.into(),
        }
        .encode_to_vec()]
    };
    for (service, expected) in [
        ("", 1),
        ("squall.echo.v1.Echo", 1),
        ("grpc.reflection.v1alpha.ServerReflection", 1),
    ] {
        let (_, came, _) = calling("/grpc.health.v1.Health/Check", &asking(service), &[]).await;
        assert_eq!(HealthCheckResponse::decode(came[0].clone()).unwrap().status, expected);
    }
    let (head, _, _) = calling("/grpc.health.v1.Health/Check", &asking("nope"), &[]).await;
    assert_eq!(head["grpc-status"], "5");
    for (service, expected) in [("", 1), ("nope", 3)] {
        let watched = calling(
            "/grpc.health.v1.Health/Watch",
            &asking(service),
            &[("grpc-timeout", "5S")],
        )
        .await;
        assert_eq!(
            HealthCheckResponse::decode(watched.1[0].clone()).unwrap().status,
            expected
        );
        assert_eq!((watched.1.len(), &watched.2["grpc-status"]), (1, &"4".parse().unwrap()));
    }
}

#[test]
fn only_grpc_over_http2_is_a_call() {
    let request = |version, kind: &str, method: &str| {
        let request = Request::builder()
            .version(version)
            .method(method)
            .header("content-type", kind);
        is_call(&request.body(Body::empty()).unwrap())
    };
    assert!(request(Version::HTTP_2, "application/grpc+proto", "POST"));
    assert!(!request(Version::HTTP_11, "application/grpc", "POST"));
    assert!(!request(Version::HTTP_2, "application/grpc-web", "POST"));
    assert!(!request(Version::HTTP_2, "application/grpc", "GET"));
}
