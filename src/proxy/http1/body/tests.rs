use proptest::prelude::*;
use std::task::{Context, Poll, Waker};

use super::*;

/// What a decoder makes of bytes that come in pieces of this size: the body, the trailers, and whether it is done.
fn decode(framing: Framing, bytes: &[u8], piece: usize) -> Result<(Vec<u8>, HeaderMap, bool), &'static str> {
    let mut decoder = Decoder::new(framing);
    let mut input = BytesMut::new();
    let (mut body, mut fields) = (Vec::new(), HeaderMap::new());
    for piece in bytes.chunks(piece.max(1)) {
        input.extend_from_slice(piece);
        while let Some(part) = decoder.decode(&mut input).map_err(|malformed| malformed.reason)? {
            match part {
                Part::Data(data) => body.extend_from_slice(&data),
                Part::Trailers(trailers) => fields = trailers,
            }
        }
    }
    Ok((body, fields, decoder.is_done()))
}

fn encode(framing: Framing, pieces: &[Vec<u8>], trailers: Option<&HeaderMap>) -> (Vec<u8>, bool) {
    let mut encoder = Encoder::new(framing);
    let mut output = Output::default();
    for piece in pieces {
        encoder.data(piece.clone().into(), &mut output);
    }
    let whole = encoder.end(trailers, &mut output);
    let mut sent = std::io::Cursor::new(Vec::new());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(output.poll_flush(&mut sent, &mut cx), Poll::Ready(Ok(()))));
    (sent.into_inner(), whole)
}

#[track_caller]
fn refused(bytes: &str, reason: &str) {
    for piece in [1, 1000] {
        let error = decode(Framing::Chunked, bytes.as_bytes(), piece).unwrap_err();
        assert!(error.contains(reason), "{bytes:?}: {error}");
    }
}

/// RFC 9112, section 7.1: `chunk-size = 1*HEXDIG`.
#[test]
fn a_chunk_without_a_size_is_not_a_last_chunk() {
    refused("5\r\nhello\r\n\r\n5\r\nworld\r\n0\r\n\r\n", "not a hexadecimal number");
    for line in [
        "\r\n",
        ";\r\n",
        " 5\r\n",
        "-5\r\n",
        "+5\r\n",
        "0x5\r\n",
        "5 6\r\n",
        "5;a=\x00\r\n",
        "11111111111111111\r\n",
    ] {
        refused(line, "not a hexadecimal number");
    }
    refused("5\n", "without CR");
    refused("5\r\nhellothere", "longer than its size");
    refused("0\r\nno field\r\n\r\n", "trailer section is malformed");
    refused("0\r\na: b\rc: d\r\n\r\n", "trailer section is malformed");
    refused(&"5".repeat(5000), "too long");
    refused(&format!("0\r\n{}", "a: b\r\n".repeat(20_000)), "trailer section");
    refused(&format!("0\r\na: {}\r\n\r\n", "b".repeat(MAX_TRAILERS)), "too large");
}

#[test]
fn chunks_extensions_and_trailers_are_understood() {
    let bytes = b"5 ; a=\"b c\"\r\nhello\r\n00006\r\n world\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\nGET /";
    for piece in 1..bytes.len() {
        let (body, fields, done) = decode(Framing::Chunked, bytes, piece).unwrap();
        assert_eq!((&body[..], done), (&b"hello world"[..], true));
        assert_eq!(fields.get_all("x-sum").iter().count(), 2);
    }
}

/// RFC 9110, section 6.5.1.
#[test]
fn trailers_neither_frame_nor_route() {
    let bytes = b"0\r\nContent-Length: 5\r\nx-a: 1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (_, fields, done) = decode(Framing::Chunked, bytes, 1000).unwrap();
    assert_eq!((fields.len(), done), (1, true));
    assert!(fields.contains_key("x-a"));
}

#[test]
fn only_an_unframed_body_ends_with_its_connection() {
    for (framing, whole) in [
        (Framing::UntilClose, true),
        (Framing::Chunked, false),
        (Framing::Length(3), false),
    ] {
        assert_eq!(Decoder::new(framing).end_of_input(), whole);
    }
    assert!(Decoder::new(Framing::NONE).end_of_input());
}

#[test]
fn a_body_is_as_long_as_its_length_says() {
    assert_eq!(
        encode(Framing::Length(3), &[b"abcd".to_vec()], None),
        (b"abc".to_vec(), true)
    );
    assert_eq!(
        encode(Framing::Length(3), &[b"ab".to_vec()], None),
        (b"ab".to_vec(), false)
    );
}

fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(*name, HeaderValue::from_static(value));
    }
    map
}

#[test]
fn framing_is_read_as_rfc_9112_says() {
    let request = |lines: &[_]| Framing::of_request(&fields(lines)).map_err(|malformed| malformed.status);
    assert_eq!(request(&[]), Ok(Framing::NONE));
    assert_eq!(request(&[("content-length", "5")]), Ok(Framing::Length(5)));
    assert_eq!(
        request(&[("content-length", "5, 5"), ("content-length", "5")]),
        Ok(Framing::Length(5))
    );
    assert_eq!(request(&[("transfer-encoding", "gzip, Chunked")]), Ok(Framing::Chunked));
    for bad in ["5, 6", "+5", "", "5 5", "-1", "0x5", "99999999999999999999"] {
        assert_eq!(request(&[("content-length", bad)]), Err(400), "{bad}");
    }
    assert_eq!(request(&[("transfer-encoding", "chunked, gzip")]), Err(400));

    let response = |method, status: u16, lines: &[_]| {
        let status = StatusCode::from_u16(status).unwrap();
        Framing::of_response(&method, status, &fields(lines)).unwrap()
    };
    let length = [("content-length", "5")];
    assert_eq!(response(Method::GET, 200, &length), Framing::Length(5));
    assert_eq!(response(Method::HEAD, 200, &length), Framing::NONE);
    assert_eq!(response(Method::GET, 304, &length), Framing::NONE);
    assert_eq!(
        response(Method::GET, 204, &[("transfer-encoding", "chunked")]),
        Framing::NONE
    );
    assert_eq!(response(Method::GET, 200, &[]), Framing::UntilClose);
    assert_eq!(
        response(Method::GET, 200, &[("transfer-encoding", "gzip")]),
        Framing::UntilClose
    );
    let twice = fields(&[("transfer-encoding", "chunked, chunked")]);
    assert!(Framing::of_response(&Method::GET, StatusCode::OK, &twice).is_err());
}

proptest! {
    #[test]
    fn encoded_bodies_decode_to_the_original(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4000), 0..8),
        step in 1_usize..3000,
        with_trailers: bool,
    ) {
        let body = pieces.concat();
        let trailers = fields(&[("x-a", "1"), ("x-b", "2")]);
        let trailers = with_trailers.then_some(&trailers);
        for framing in [Framing::Chunked, Framing::Length(body.len() as u64), Framing::UntilClose] {
            let (wire, whole) = encode(framing, &pieces, trailers);
            prop_assert!(whole);
            let (got, fields, done) = decode(framing, &wire, step).unwrap();
            prop_assert_eq!(&got, &body);
            prop_assert_eq!(done, framing != Framing::UntilClose);
            prop_assert_eq!(fields.len(), if with_trailers && framing == Framing::Chunked { 2 } else { 0 });
        }
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes: Vec<u8>, piece in 1_usize..20) {
        let _any = decode(Framing::Chunked, &bytes, piece);
    }
}
