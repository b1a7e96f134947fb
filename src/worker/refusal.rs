//! Refusals: the error frames that tell a client why its message was not relayed.

use std::sync::{Arc, OnceLock};

use codes::error::{Code, Error};
use subprotocol::server_message;

use super::handle::Handle;
use super::outgoing::Encoding;
use super::receipts::Receipt;

/// A refusal whose text never changes: it is made once, so that a flood of them costs a copy each.
#[derive(Debug)]
pub(crate) struct RelayRefusal {
    code: Code,
    message: &'static str,
    body: OnceLock<String>,
}

impl RelayRefusal {
    pub(crate) const fn new(code: Code, message: &'static str) -> Self {
        RelayRefusal { code, message, body: OnceLock::new() }
    }

    fn body(&self) -> &str {
        self.body.get_or_init(|| body(self.code, self.message))
    }
}

/// The refusal of a message.
#[derive(Debug)]
pub(crate) enum Refused {
    /// For a reason of its own.
    Fixed(&'static RelayRefusal),
    /// For a reason of the broker's.
    Error(Error),
}

impl From<&'static RelayRefusal> for Refused {
    fn from(refusal: &'static RelayRefusal) -> Self {
        Refused::Fixed(refusal)
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Refused::Error(error)
    }
}

impl Refused {
    /// Tells the sender: by the receipt of the message if there is one, else in a frame of its own. The connection stays open.
    pub(crate) fn tell(&self, sender: &Arc<Handle>, receipt: Option<Receipt>, outbox_limit: usize) {
        let (code, message) = match self {
            Refused::Fixed(refusal) => (refusal.code, refusal.message),
            Refused::Error(error) => (error.kind, &*error.message),
        };
        match (receipt, self) {
            (Some(receipt), _) => receipt.refuse(code.as_str(), message),
            _ if sender.encoding() == Encoding::Enveloped => {
                sender.push_text(&server_message::error(None, code.as_str(), message), outbox_limit);
            }
            (None, Refused::Fixed(refusal)) => sender.push_text(refusal.body(), outbox_limit),
            (None, Refused::Error(_)) => sender.push_text(&body(code, message), outbox_limit),
        }
    }
}

fn body(code: Code, message: &str) -> String {
    serde_json::json!({ "error": { "code": code.as_str(), "message": message } }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_made_once() {
        static REFUSAL: RelayRefusal = RelayRefusal::new(Code::InvalidJson, "the message is not JSON");
        let made = REFUSAL.body();
        assert_eq!(made, r#"{"error":{"code":"ERR_INVALID_JSON","message":"the message is not JSON"}}"#);
        assert!(std::ptr::eq(made, REFUSAL.body()), "the same bytes");
    }
}
