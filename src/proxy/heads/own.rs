//! `Date` and `Connection` of HTTP/1 responses, which Pingora writes itself: as the upstream sent them.

use http::Version;
use http::header::{CONNECTION, DATE, HeaderValue};
use pingora::http::ResponseHeader;

/// What an upstream said in the fields that Pingora writes itself in an HTTP/1 response.
#[derive(Debug)]
pub(in crate::proxy) struct Own {
    /// The whole line `Date: …`, without its end.
    date: Option<Vec<u8>>,
    /// It sent a `Connection`, or the client needs to be told that the connection stays.
    connection: bool,
}

impl Own {
    /// To be asked when `response` is as it is to be sent.
    pub(in crate::proxy) fn of(client: Version, response: &ResponseHeader) -> Self {
        let dates = || response.headers.get(DATE);
        let line = |name: &[u8], value: &HeaderValue| [name, b": ", value.as_bytes()].concat();
        let written = response
            .case_header_iter()
            .find(|(name, _)| name.as_slice().eq_ignore_ascii_case(DATE.as_str().as_bytes()))
            .map(|(name, value)| line(name.as_slice(), value));
        Self {
            date: written.or_else(|| dates().map(|value| line(b"Date", value))),
            connection: response.headers.contains_key(CONNECTION)
                || client != Version::HTTP_11
                || response.version != Version::HTTP_11,
        }
    }

    /// The head that is to leave in place of the one that Pingora wrote; `None` where `head` is no final HTTP/1 head.
    pub(in crate::proxy) fn restore(&self, head: &[u8]) -> Option<Vec<u8>> {
        if !head.starts_with(b"HTTP/1.") {
            return None;
        }
        let end = head.windows(4).position(|four| four == b"\r\n\r\n")?;
        let mut restored = Vec::with_capacity(head.len() + 64);
        for (number, line) in head.get(..end)?.split(|byte| *byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let line = match line {
                line if number > 0 && line.starts_with(b"Date: ") => match &self.date {
                    Some(date) => date,
                    None => continue,
                },
                b"Connection: keep-alive" if !self.connection => continue,
                line => line,
            };
            restored.extend_from_slice(line);
            restored.extend_from_slice(b"\r\n");
        }
        restored.extend_from_slice(head.get(end + 2..)?);
        Some(restored)
    }
}

/// Whether bytes begin the head of an interim response (RFC 9110, section 15.2), behind which the final one comes.
pub(in crate::proxy) fn begins_interim_head(bytes: &[u8]) -> bool {
    let status = bytes.get(b"HTTP/1.1 ".len()..);
    bytes.starts_with(b"HTTP/1.")
        && status.is_some_and(|status| status.starts_with(b"1") && !status.starts_with(b"101"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn restored(client: Version, fields: &[(&'static str, &'static str)], pingoras: &str) -> String {
        let mut response = ResponseHeader::build(200, None).unwrap();
        response.set_version(Version::HTTP_11);
        for (name, value) in fields {
            response.append_header(*name, *value).unwrap();
        }
        let restored = Own::of(client, &response).restore(pingoras.as_bytes()).unwrap();
        String::from_utf8(restored).unwrap()
    }

    const PINGORAS: &str =
        "HTTP/1.1 200 OK\r\nX: Date: 1\r\nDate: today\r\nConnection: keep-alive\r\n\r\nDate: x\r\n\r\n";

    #[test]
    fn what_the_upstream_did_not_send_is_left_out() {
        let head = restored(Version::HTTP_11, &[], PINGORAS);
        assert_eq!(head, "HTTP/1.1 200 OK\r\nX: Date: 1\r\n\r\nDate: x\r\n\r\n");
    }

    #[test]
    fn what_the_upstream_sent_replaces_the_proxys() {
        let fields = [("dAte", "yesterday"), ("connection", "Keep-Alive")];
        let head = restored(Version::HTTP_11, &fields, PINGORAS);
        assert_eq!(
            head,
            "HTTP/1.1 200 OK\r\nX: Date: 1\r\ndAte: yesterday\r\nConnection: keep-alive\r\n\r\nDate: x\r\n\r\n"
        );
    }

    #[test]
    fn a_client_learns_what_it_can_not_know() {
        let head = restored(Version::HTTP_10, &[], PINGORAS);
        assert!(head.contains("\r\nConnection: keep-alive\r\n"), "{head}");
        let close = PINGORAS.replace("keep-alive", "close");
        assert!(restored(Version::HTTP_11, &[], &close).contains("\r\nConnection: close\r\n"));
    }

    #[test]
    fn interim_heads_are_told_from_final_ones() {
        for head in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\n\r\n"] {
            assert!(begins_interim_head(head.as_bytes()));
        }
        for head in [
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "1",
        ] {
            assert!(!begins_interim_head(head.as_bytes()));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_left_alone_or_restored(bytes: Vec<u8>) {
            let own = Own { date: None, connection: false };
            prop_assert_eq!(own.restore(&bytes), None);
            let head = [b"HTTP/1.1 ".as_slice(), &bytes].concat();
            let _any = own.restore(&head);
        }
    }
}
