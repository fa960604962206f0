//! WebSocket frames (RFC 6455, section 5.2), short ones.

use super::wire::Wire;

/// The opcode of a text message.
pub(crate) const TEXT: u8 = 1;
/// The opcode of a close frame.
pub(crate) const CLOSE: u8 = 8;

/// A client's opening handshake.
pub(crate) const HANDSHAKE: &str = "GET /fault/chat HTTP/1.1\r\nHost: origin.test\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A server's opening handshake.
pub(crate) const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

const MASK: [u8; 4] = [1, 2, 3, 4];

/// A whole message in one frame, masked as a client's must be, or not as a server's must be.
pub(crate) fn frame(opcode: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    assert!(payload.len() < 126, "short frames only");
    let mut frame = vec![0x80 | opcode, payload.len() as u8 | if masked { 0x80 } else { 0 }];
    if masked {
        frame.extend(MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    } else {
        frame.extend(payload);
    }
    frame
}

/// Reads a frame: its opcode and its payload, unmasked.
pub(crate) async fn read(wire: &mut Wire) -> (u8, Vec<u8>) {
    let head = wire.exactly(2).await;
    let length = usize::from(head[1] & 0x7f);
    assert!(length < 126, "short frames only");
    let mask = match head[1] & 0x80 {
        0 => vec![0; 4],
        _ => wire.exactly(4).await,
    };
    let payload = wire.exactly(length).await;
    let unmasked = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    (head[0] & 0x0f, unmasked.collect())
}
