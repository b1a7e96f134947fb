//! Tokens, as mio calls them: the numbers of a worker's connections.

/// Number of a connection among those of its worker. It is free for another once the connection has ended.
pub(crate) type Token = usize;
