//! The least of HTTP: an upgrade is answered, any other request gets an empty 200 (the generator asks for `/gc`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// RFC 6455 section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const KEY: &[u8] = b"\r\nsec-websocket-key:";

pub(crate) enum Answer {
    /// The 101.
    Upgrade(String),
    /// Anything else; the connection ends after it.
    Plain(String),
}

/// The answer to a request and where its head ends; `None` while the head is not whole.
pub(crate) fn answer(bytes: &[u8]) -> Option<(Answer, usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = &bytes[..end];
    let answer = match head.windows(KEY.len()).position(|window| window.eq_ignore_ascii_case(KEY)) {
        None => Answer::Plain("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()),
        Some(at) => {
            let value = head[at + KEY.len()..].split(|&byte| byte == b'\r').next().unwrap_or_default();
            let digest = Sha1::new().chain_update(value.trim_ascii()).chain_update(GUID).finalize();
            Answer::Upgrade(format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {}\r\n\r\n",
                STANDARD.encode(digest)
            ))
        }
    };
    Some((answer, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_the_example_of_the_rfc() {
        let request = b"GET / HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nrest";
        let Some((Answer::Upgrade(text), end)) = answer(request) else { panic!("no upgrade") };
        assert!(text.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert_eq!(&request[end..], b"rest");
        assert!(answer(&request[..40]).is_none());
    }
}
