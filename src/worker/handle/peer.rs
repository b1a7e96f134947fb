//! The peer of a connection: what was learned of it in the handshake.

/// The part of a connection that does not change over its life.
#[derive(Debug, Default)]
pub struct Peer {
    /// Subprotocol agreed on, empty if none.
    pub protocol: Box<str>,
    /// Address of the client and, behind a line break, what is kept of its request: one text, so that a connection which keeps
    /// nothing has no room for it.
    seen: Box<str>,
    /// JSON that came with the identity: the claims of a JWT.
    pub data: Option<Box<str>>,
}

impl Peer {
    /// `remote` and `request` as [`Peer::remote`] and [`Peer::request`] say them.
    pub fn new(protocol: Box<str>, remote: Box<str>, request: Option<&str>, data: Option<Box<str>>) -> Self {
        let seen = match request {
            None if !remote.contains('\n') => remote,
            None => remote.lines().next().unwrap_or_default().into(),
            Some(request) => format!("{}\n{request}", remote.lines().next().unwrap_or_default()).into(),
        };
        Peer { protocol, seen, data }
    }

    /// Address of the client, empty if it has none or that isn't known.
    pub fn remote(&self) -> &str {
        self.seen.split_once('\n').map_or(&self.seen, |(remote, _)| remote)
    }

    /// The kept part of the request, as [`http`] joins it.
    pub fn request(&self) -> Option<&str> {
        self.seen.split_once('\n').map(|(_, request)| request)
    }
}
