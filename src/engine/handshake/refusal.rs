//! A refused upgrade and its HTTP answer.

use crate::engine::close;
use crate::engine::error::Code;

/// Why an upgrade was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status of the answer.
    pub status: u16,
    /// The stable code, `ERR_…`.
    pub code: &'static str,
    /// A sentence for people; never holds a secret.
    pub message: String,
    /// Headers the status calls for.
    pub headers: Vec<(&'static str, String)>,
}

impl Refusal {
    /// A refusal with the status and the headers that belong to the code.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let headers: &[(&str, &str)] = match code.http_status() {
            401 => &[("WWW-Authenticate", "Bearer")],
            405 => &[("Allow", "GET")],
            // RFC 9110 section 15.5.22 asks for Upgrade, RFC 6455 section 4.2.2 for the version.
            426 => &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")],
            // RFC 9110 section 10.2.3, in seconds: by then those that wait have passed, unless more have come.
            503 if matches!(code, Code::TooManyHandshakes) => &[("Retry-After", "1")],
            _ => &[],
        };
        Self {
            // Any other code would be a mistake of ours.
            status: if code.http_status() == 0 { 500 } else { code.http_status() },
            code: code.as_str(),
            message: message.into(),
            headers: headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
        }
    }

    /// The whole HTTP/1.1 answer, with the JSON body `{"code":…,"message":…}`; the connection closes after it.
    pub fn response(&self) -> Vec<u8> {
        let body = self.body();
        [self.head_before(&body).as_bytes(), body.as_bytes()].concat()
    }

    /// The answer to a HEAD request: all but the body (RFC 9110 section 9.3.2).
    pub fn head(&self) -> Vec<u8> {
        self.head_before(&self.body()).into_bytes()
    }

    fn body(&self) -> String {
        serde_json::json!({ "code": self.code, "message": self.message }).to_string()
    }

    fn head_before(&self, body: &str) -> String {
        // A sender of Upgrade must name it in Connection (RFC 9110 section 7.8).
        let upgrade = self.headers.iter().any(|(name, _)| *name == "Upgrade");
        let mut answer = format!(
            "HTTP/1.1 {} {}\r\nConnection: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nCache-Control: no-store\r\n",
            self.status,
            reason(self.status),
            if upgrade { "close, Upgrade" } else { "close" },
            body.len(),
        );
        for (name, value) in &self.headers {
            answer.push_str(&format!("{name}: {value}\r\n"));
        }
        answer.push_str("\r\n");
        answer
    }

    /// The close code under `rejectWith: 'close'`; `None` where there is nothing a browser's script could act on.
    pub fn close_code(&self) -> Option<u16> {
        match self.status {
            // As while it is connected: with a fresh token the client may come back.
            401 if self.code == Code::TokenExpired.as_str() => Some(close::TOKEN_EXPIRED),
            401 => Some(close::UNAUTHORIZED),
            403 => Some(close::FORBIDDEN),
            _ => None,
        }
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        414 => "URI Too Long",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}
