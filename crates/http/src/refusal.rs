//! A refused upgrade and its HTTP answer.

use codes::close;
use codes::error::Code;

use crate::header_lines::HeaderLines;

/// The refusal of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status of the answer.
    pub status: u16,
    /// The stable code, `ERR_…`, that it counts as.
    pub code: &'static str,
    /// A sentence for people; never holds a secret.
    pub message: String,
    /// Headers the status calls for.
    pub headers: Vec<(&'static str, String)>,
    /// The embedder's words in place of ours.
    own: Option<Box<Own>>,
}

/// The rest of a refusal of the embedder's own, beside its status and its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// The code that the client is told, without white space.
    pub code: String,
    /// The close code under `rejectWith: 'close'`, 4000 to 4999.
    pub close_code: u16,
    /// Further headers of the answer.
    pub headers: HeaderLines,
}

impl Refusal {
    /// A refusal with the status and the headers that belong to the code.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let mut headers = headers_of(code.http_status());
        // RFC 9110 section 10.2.3, in seconds: by then those that wait have passed, unless more have come.
        if matches!(code, Code::TooManyHandshakes) {
            headers.push(("Retry-After", "1".to_owned()));
        }
        Self {
            // Any other code would be a mistake of ours.
            status: if code.http_status() == 0 { 500 } else { code.http_status() },
            code: code.as_str(),
            message: message.into(),
            headers,
            own: None,
        }
    }

    /// A refusal of the embedder's own; `status` is from 400 to 599. Of the headers that the status calls for it may have its own.
    pub fn own(status: u16, own: Own, message: impl Into<String>) -> Self {
        let mut headers = headers_of(status);
        headers.retain(|(name, _)| !own.headers.has(&name.to_ascii_lowercase()));
        Self {
            status,
            code: Code::Refused.as_str(),
            message: message.into(),
            headers,
            own: Some(Box::new(own)),
        }
    }

    /// The code that the client is told.
    pub fn told_code(&self) -> &str {
        self.own.as_ref().map_or(self.code, |own| &own.code)
    }

    /// The lines that the embedder adds to the answer's head.
    pub fn lines(&self) -> HeaderLines {
        self.own.as_ref().map_or_else(HeaderLines::default, |own| own.headers.clone())
    }

    /// The whole HTTP/1.1 answer, with the JSON body `{"code":…,"message":…}`; the connection closes after it.
    pub fn response(&self) -> Vec<u8> {
        let body = self.body();
        [self.head_before(&body), body.into_bytes()].concat()
    }

    /// The answer to a HEAD request: all but the body (RFC 9110 section 9.3.2).
    pub fn head(&self) -> Vec<u8> {
        self.head_before(&self.body())
    }

    fn body(&self) -> String {
        serde_json::json!({ "code": self.told_code(), "message": self.message }).to_string()
    }

    fn head_before(&self, body: &str) -> Vec<u8> {
        // A sender of Upgrade must name it in Connection (RFC 9110 section 7.8).
        let upgrade = self.headers.iter().any(|(name, _)| *name == "Upgrade");
        let mut answer = format!(
            "HTTP/1.1 {} {}\r\nConnection: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
            self.status,
            reason(self.status),
            if upgrade { "close, Upgrade" } else { "close" },
            body.len(),
        );
        for (name, value) in &self.headers {
            answer.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.own.as_ref().is_some_and(|own| own.headers.has("cache-control")) {
            answer.push_str("Cache-Control: no-store\r\n");
        }
        let own = self.own.as_ref().map_or(&[] as &[u8], |own| own.headers.as_bytes());
        [answer.as_bytes(), own, b"\r\n"].concat()
    }

    /// The close code under `rejectWith: 'close'`; `None` where there is nothing a browser's script could act on.
    pub fn close_code(&self) -> Option<u16> {
        match self.status {
            _ if self.own.is_some() => self.own.as_ref().map(|own| own.close_code),
            // As while it is connected: with a fresh token the client may come back.
            401 if self.code == Code::TokenExpired.as_str() => Some(close::TOKEN_EXPIRED),
            401 => Some(close::UNAUTHORIZED),
            403 => Some(close::FORBIDDEN),
            _ => None,
        }
    }
}

/// The headers that a status calls for.
fn headers_of(status: u16) -> Vec<(&'static str, String)> {
    let headers: &[(&str, &str)] = match status {
        401 => &[("WWW-Authenticate", "Bearer")],
        405 => &[("Allow", "GET")],
        // RFC 9110 section 15.5.22 asks for Upgrade, RFC 6455 section 4.2.2 for the version.
        426 => &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")],
        _ => &[],
    };
    headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

/// The reason phrase, which may be empty (RFC 9112 section 4). Ours are those of the catalogue; an application may refuse with any.
fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        414 => "URI Too Long",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "",
    }
}
