//! A request: what a client asks for, and what Node makes of it.

use auth::Identity;
use http::RequestHead;

use super::identity;
use crate::engine::Upgrade;

/// An upgrade as a client asks for it, and what is to be done with it.
pub(crate) struct Request {
    /// Method and target of the first line.
    pub line: String,
    /// Header lines.
    pub headers: Vec<String>,
    /// Bytes of the client right after its head.
    pub early: Vec<u8>,
    /// The number of these that Node read along with the head.
    pub taken: usize,
    /// The identity, if it is known.
    pub identity: Option<Identity>,
    /// True if the outcome is to be reported.
    pub report: bool,
    /// The address that Node saw.
    pub peer: &'static str,
    /// True if Node saw TLS.
    pub tls: bool,
}

/// Key and answer of RFC 6455, section 1.3.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

impl Default for Request {
    fn default() -> Self {
        let headers = [
            "Host: localhost",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ];
        Request {
            line: "GET /api/websocket".into(),
            headers: headers.map(String::from).into(),
            early: Vec::new(),
            taken: 0,
            identity: None,
            report: false,
            peer: "127.0.0.1",
            tls: false,
        }
    }
}

impl Request {
    /// A request of a user.
    pub(crate) fn of(user: &str, rooms: &[&str]) -> Request {
        Request { identity: Some(identity(user, rooms)), ..Request::default() }
    }

    /// With a header line more.
    pub(crate) fn with(mut self, header: &str) -> Request {
        self.headers.push(header.into());
        self
    }

    /// Without the header of this name.
    pub(crate) fn without(mut self, name: &str) -> Request {
        self.headers.retain(|header| !header.starts_with(name));
        self
    }

    /// The head's bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        format!("{} HTTP/1.1\r\n{}\r\n\r\n", self.line, self.headers.join("\r\n")).into_bytes()
    }
}

/// Parses what Node would hand over.
fn parse(head: &[u8]) -> RequestHead {
    let head = String::from_utf8(head.to_vec()).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let mut line = lines.next().unwrap().split(' ');
    RequestHead {
        method: line.next().unwrap().into(),
        target: line.next().unwrap().into(),
        version: (1, 1),
        headers: lines.filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.into(), v.into())).collect(),
    }
}

pub(super) fn upgrade(head: &[u8], first: Vec<u8>, request: &Request) -> Upgrade {
    Upgrade {
        head: parse(head),
        first,
        remote: request.peer.into(),
        tls: request.tls,
        is_cut: false,
        report: request.report,
        admission: request.identity.clone().map(Into::into),
    }
}
