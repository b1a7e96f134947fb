//! Commands: what others ask of an endpoint. They are bits, so that any thread may set one, and share a word with flags.

/// Commands, taken all at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commands(pub u32);

impl Commands {
    /// Too much waits for the peer: drop it, and close with 4004.
    pub const SLOW: u32 = 1;
    /// Close with the request in [`Host::take_close`](super::Host::take_close).
    pub const CLOSE: u32 = 1 << 1;
    /// The peer is silent: close with 4003.
    pub const DEAD: u32 = 1 << 2;
    /// The socket failed under a write.
    pub const LOST: u32 = 1 << 3;
    /// The application has dealt with what came before the peer's last.
    pub const SETTLED: u32 = 1 << 4;
    /// The unfinished message takes too long: close with 1008, if it is still unfinished after a read.
    pub const OVERDUE: u32 = 1 << 5;
    /// All connections together hold too much: close with 4004 as if too much waited, or with 1013 if the unfinished message is
    /// more than that. Memory that would be held for long goes too.
    pub const EVICT: u32 = 1 << 6;
    /// Go, without a close handshake.
    pub const TERMINATE: u32 = 1 << 7;
    /// All of them. The bits above are their owner's.
    pub const MASK: u32 = 0xff;

    /// True if nothing is asked.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// True if one of these is among them.
    #[inline]
    pub fn has(self, command: u32) -> bool {
        self.0 & command != 0
    }

    /// True if the rest of a message that is on its way is given up, for it may take long: for an endpoint that is to go for memory, or
    /// at once, or that ends while the message is `held`.
    pub fn gives_up(self, held: impl FnOnce() -> bool) -> bool {
        self.has(Self::EVICT | Self::TERMINATE) || (self.has(Self::DEAD | Self::SLOW | Self::CLOSE) && held())
    }
}
