//! The server's side of a WebSocket that gives each message back: bytes in, bytes out, without a socket.

use std::io::{self, ErrorKind, Read, Write};

use bytes::{Buf as _, Bytes, BytesMut};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

use crate::limits::bodies::{Budget, Charge};

/// The longest message, in bytes. Longer ones end the session with 1009.
const MESSAGE_LIMIT: usize = 16 * 1024 * 1024;

/// A session.
pub(super) struct Session {
    context: WebSocketContext,
    wire: Wire,
    budget: Budget,
    /// For the message that is being received.
    charge: Charge,
    received: usize,
    over: bool,
}

impl Session {
    /// What it holds of a message counts against `budget`.
    pub(super) fn new(budget: &Budget) -> Session {
        let config = WebSocketConfig::default()
            .read_buffer_size(4096)
            .write_buffer_size(0)
            .max_message_size(Some(MESSAGE_LIMIT))
            .max_frame_size(Some(MESSAGE_LIMIT));
        Session {
            context: WebSocketContext::new(Role::Server, Some(config)),
            wire: Wire::default(),
            budget: budget.clone(),
            charge: budget.charge(),
            received: 0,
            over: false,
        }
    }

    /// Takes bytes from the client.
    pub(super) fn receive(&mut self, bytes: Bytes) {
        self.received += bytes.len();
        if self.charge.grow_to(self.received).is_err() {
            return self.fail(
                CloseCode::Again,
                "squall holds as many bodies as `bounds.bodies` allows",
            );
        }
        self.wire.input = bytes;
        while !self.over {
            match self.context.read(&mut self.wire) {
                Ok(message @ (Message::Text(_) | Message::Binary(_))) => self.give_back(message),
                // Pings and close frames are answered by the context.
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => break,
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => self.over = true,
                Err(error) => self.fail(code_of(&error), &error.to_string()),
            }
        }
    }

    fn give_back(&mut self, message: Message) {
        self.charge = self.budget.charge();
        self.received = 0;
        let sent = self.context.write(&mut self.wire, message);
        // Can't fail but for the end: writing to memory always succeeds.
        if sent.and_then(|()| self.context.flush(&mut self.wire)).is_err() {
            self.over = true;
        }
    }

    /// Closes with a code, and ends.
    fn fail(&mut self, code: CloseCode, reason: &str) {
        let reason = reason.to_owned().into();
        // Fails only if it is closed already.
        let _closed = self.context.close(&mut self.wire, Some(CloseFrame { code, reason }));
        self.over = true;
    }

    /// The bytes for the client so far.
    pub(super) fn take_output(&mut self) -> Bytes {
        self.wire.output.split().freeze()
    }

    /// Whether nothing follows the bytes so far, and the connection is to be closed.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }
}

/// The close code that says what is wrong with the client's bytes (RFC 6455, section 7.4.1).
fn code_of(error: &Error) -> CloseCode {
    match error {
        Error::Capacity(_) => CloseCode::Size,
        Error::Utf8(_) => CloseCode::Invalid,
        Error::Protocol(_) => CloseCode::Protocol,
        _ => CloseCode::Error,
    }
}

/// The bytes of both directions.
#[derive(Default)]
struct Wire {
    input: Bytes,
    output: BytesMut,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let length = buffer.len().min(self.input.len());
        self.input
            .split_to(length)
            .copy_to_slice(buffer.get_mut(..length).unwrap_or_default());
        Ok(length)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use std::sync::Arc;

    use crate::limits::bodies::Bodies;

    /// A client's frame, masked.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            short @ 0..126 => frame.push(0x80 | u8::try_from(short).unwrap()),
            long @ 126..65_536 => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(long).unwrap().to_be_bytes());
            }
            longer => {
                frame.push(0x80 | 127);
                frame.extend((longer as u64).to_be_bytes());
            }
        }
        let mask = [0x11, 0x22, 0x33, 0x44];
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    /// What comes back for these bytes, given in pieces of a size; and whether that is the end.
    fn answers(bytes: &[u8], piece: usize) -> (Vec<u8>, bool) {
        let mut session = Session::new(&Budget::default());
        let mut output = Vec::new();
        for piece in bytes.chunks(piece) {
            if !session.is_over() {
                session.receive(Bytes::copy_from_slice(piece));
                output.extend(session.take_output());
            }
        }
        (output, session.is_over())
    }

    /// The frames of a client, what comes back for them, and whether that is the end.
    type Case = (&'static [(u8, &'static [u8])], &'static [u8], bool);

    const CASES: &[Case] = &[
        (&[(0x81, b"hi")], b"\x81\x02hi", false),
        (&[(0x82, b"\xff")], b"\x82\x01\xff", false),
        (&[(0x81, b"")], b"\x81\x00", false),
        (
            &[(0x01, b"a"), (0x89, b"p"), (0x80, b"b")],
            b"\x8a\x01p\x81\x02ab",
            false,
        ),
        (&[(0x8a, b"unasked")], b"", false),
        (&[(0x88, b"\x03\xe8bye")], b"\x88\x05\x03\xe8bye", true),
        (&[(0x88, b"")], b"\x88\x00", true),
        (
            &[(0x81, b"x"), (0x88, b"\x03\xe9"), (0x81, b"late")],
            b"\x81\x01x\x88\x02\x03\xe9",
            true,
        ),
    ];

    #[test]
    fn messages_come_back_and_control_frames_are_answered() {
        for (frames, expected, over) in CASES {
            let bytes: Vec<u8> = frames
                .iter()
                .flat_map(|(first, payload)| frame(*first, payload))
                .collect();
            for piece in [1, 3, 1000] {
                assert_eq!(answers(&bytes, piece), (expected.to_vec(), *over), "{frames:?}");
            }
        }
    }

    #[test]
    fn what_breaks_the_protocol_is_closed_with_a_code() {
        let mut unmasked = frame(0x81, b"x");
        unmasked[1] &= 0x7f;
        let long = vec![b'x'; MESSAGE_LIMIT + 1];
        for (bytes, code) in [
            (unmasked, 1002_u16),
            (frame(0xc1, b"compressed"), 1002),
            (frame(0x80, b"nothing to continue"), 1002),
            (frame(0x83, b"reserved"), 1002),
            (frame(0x09, b"part of a ping"), 1002),
            (frame(0x89, &[0; 126]), 1002),
            (frame(0x88, b"\x03\xed"), 1002),
            (frame(0x81, b"\xff"), 1007),
            (frame(0x82, &long), 1009),
        ] {
            let (output, over) = answers(&bytes, 100_000);
            assert!(over && output[0] == 0x88, "{code}: {output:?}");
            assert_eq!(
                output[2..4],
                code.to_be_bytes(),
                "{:?}",
                String::from_utf8_lossy(&output)
            );
        }
        let bodies = Arc::new(Bodies::default());
        let mut session = Session::new(&Budget::new(&bodies, 10));
        session.receive(frame(0x81, &[b'x'; 20]).into());
        assert_eq!(session.take_output()[2..4], 1013_u16.to_be_bytes());
        assert!(session.is_over());
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes: Vec<u8>, piece in 1usize..20) {
            answers(&bytes, piece);
        }

        #[test]
        fn what_comes_back_does_not_depend_on_the_pieces(payload: Vec<u8>, piece in 1usize..20) {
            let whole = answers(&frame(0x82, &payload), 1_000_000);
            prop_assert_eq!(answers(&frame(0x82, &payload), piece), whole);
        }
    }
}
