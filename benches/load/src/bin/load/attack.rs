//! The shapes that a flood can have.

use load::frame::{BINARY, CONTINUATION, PING, PONG, TEXT, client_fragment, client_frame, json_text};

/// A flood's writes are about this long, so that the generator's own system calls are few.
const BLOCK: usize = 64 * 1024;

/// Messages of [`Attack::Waits`] at once.
const AT_ONCE: usize = 7;

/// The attack that every connection of a flood makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attack {
    /// Empty pings.
    Pings,
    /// Pings with the largest payload, 125 bytes.
    FullPings,
    /// Empty pongs.
    Pongs,
    /// One message of empty fragments that never ends.
    Fragments,
    /// Messages of two fragments, whose text is JSON.
    Halves,
    /// The text `1`, which is JSON.
    Texts,
    /// The text `x`, which is not.
    NoJson,
    /// JSON texts of 512 bytes.
    Echoes,
    /// JSON texts of 60,000 bytes.
    Large,
    /// Binary messages of 16 KiB.
    Binary,
    /// JSON texts of 512 bytes, a byte a write.
    Crumbs,
    /// Seven texts `1`, and the next seven once those are back.
    Waits,
    /// Nothing at all.
    Silence,
    /// Nothing: the server refuses the upgrade, and the client tries again.
    Upgrades,
}

/// The bytes that go over each connection of a flood.
pub(crate) struct Payload {
    /// First, once.
    pub(crate) opening: Vec<u8>,
    /// Then again and again: whole frames.
    pub(crate) block: Vec<u8>,
    /// Messages (for control frames and never-ending fragments: frames) in the block.
    pub(crate) messages: u64,
    /// Bytes that one write has at most.
    pub(crate) piece: usize,
    /// Bytes that come back for a block, and are waited for before the next one. 0: nothing is waited for.
    pub(crate) echo: usize,
}

impl Attack {
    const ALL: [Attack; 14] = [
        Attack::Pings,
        Attack::FullPings,
        Attack::Pongs,
        Attack::Fragments,
        Attack::Halves,
        Attack::Texts,
        Attack::NoJson,
        Attack::Echoes,
        Attack::Large,
        Attack::Binary,
        Attack::Crumbs,
        Attack::Waits,
        Attack::Silence,
        Attack::Upgrades,
    ];

    pub(crate) fn from_name(name: &str) -> Option<Attack> {
        Attack::ALL.into_iter().find(|attack| attack.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Attack::Pings => "pings",
            Attack::FullPings => "full-pings",
            Attack::Pongs => "pongs",
            Attack::Fragments => "fragments",
            Attack::Halves => "halves",
            Attack::Texts => "texts",
            Attack::NoJson => "no-json",
            Attack::Echoes => "echoes",
            Attack::Large => "large",
            Attack::Binary => "binary",
            Attack::Crumbs => "crumbs",
            Attack::Waits => "waits",
            Attack::Silence => "silence",
            Attack::Upgrades => "upgrades",
        }
    }

    pub(crate) fn payload(self) -> Payload {
        let mut opening = Vec::new();
        let unit = match self {
            Attack::Pings => client_frame(PING, b""),
            Attack::FullPings => client_frame(PING, &[b'p'; 125]),
            Attack::Pongs => client_frame(PONG, b""),
            Attack::Fragments => {
                opening = client_fragment(TEXT, b"");
                client_fragment(CONTINUATION, b"")
            }
            Attack::Halves => [client_fragment(TEXT, b"1"), client_frame(CONTINUATION, b"2")].concat(),
            Attack::Texts | Attack::Waits => client_frame(TEXT, b"1"),
            Attack::NoJson => client_frame(TEXT, b"x"),
            Attack::Echoes | Attack::Crumbs => client_frame(TEXT, &json_text(512)),
            Attack::Large => client_frame(TEXT, &json_text(60_000)),
            Attack::Binary => client_frame(BINARY, &[7; 16 * 1024]),
            Attack::Silence | Attack::Upgrades => Vec::new(),
        };
        let messages = match self {
            Attack::Waits => AT_ONCE,
            _ => BLOCK.checked_div(unit.len()).map_or(0, |count| count.max(1)),
        };
        // A server's frame has no mask.
        let echo = if self == Attack::Waits { (unit.len() - 4) * AT_ONCE } else { 0 };
        let piece = if self == Attack::Crumbs { 1 } else { usize::MAX };
        Payload { opening, block: unit.repeat(messages), messages: messages as u64, piece, echo }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use load::frame::Header;

    use super::*;

    #[test]
    fn a_block_is_whole_frames() {
        for attack in Attack::ALL {
            let Payload { opening, block, messages, .. } = attack.payload();
            let (mut rest, mut count) = (&block[..], 0);
            while let Some(header) = Header::parse(rest) {
                rest = &rest[header.header_len + header.payload_len..];
                count += 1;
            }
            assert!(rest.is_empty(), "{}", attack.name());
            assert_eq!(count, if attack == Attack::Halves { 2 * messages } else { messages });
            assert_eq!(block.is_empty(), matches!(attack, Attack::Silence | Attack::Upgrades));
            assert_eq!(opening.is_empty(), attack != Attack::Fragments);
        }
    }

    #[test]
    fn never_ending_fragments_never_end() {
        let Payload { opening, block, .. } = Attack::Fragments.payload();
        assert!(!Header::parse(&opening).unwrap().is_final());
        assert!(!Header::parse(&block).unwrap().is_final());
    }

    #[test]
    fn every_attack_is_found_by_its_name() {
        for attack in Attack::ALL {
            assert_eq!(Attack::from_name(attack.name()), Some(attack));
        }
        assert_eq!(Attack::from_name("kindness"), None);
    }
}
