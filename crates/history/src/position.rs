//! The place of a message among those of its topic.

use std::fmt;
use std::str::FromStr;

/// Bytes of an epoch and of a term.
pub const NAME_BYTES: usize = 8;

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name([u8; NAME_BYTES]);

        impl $name {
            /// From eight ASCII letters or digits.
            pub fn new(text: &[u8]) -> Option<Self> {
                let bytes: [u8; NAME_BYTES] = text.try_into().ok()?;
                bytes.iter().all(u8::is_ascii_alphanumeric).then_some(Self(bytes))
            }

            /// Those letters and digits.
            pub fn as_str(&self) -> &str {
                std::str::from_utf8(&self.0).unwrap_or_default()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )+};
}

names! {
    /// The life of a topic: a new one begins when the store has lost the topic, so that offsets begin at 1 again.
    Epoch;
    /// The life of a store as the one that gives offsets: a new one begins when a replica becomes the master and when the store
    /// restarts, for either may go on from an older state than the one that was acknowledged. On Redis it is the beginning of
    /// `master_replid` (command `INFO replication`).
    Term;
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// See [`Epoch`].
    pub epoch: Epoch,
    /// See [`Term`].
    pub term: Term,
    /// Its number among the topic's messages, from 1.
    pub offset: u64,
}

impl Position {
    /// From its text: each message has one, and each answer to a publish.
    pub fn read(text: &[u8]) -> Option<Position> {
        let (epoch, rest) = text.split_first_chunk::<NAME_BYTES>()?;
        let (term, rest) = rest.strip_prefix(b".")?.split_first_chunk::<NAME_BYTES>()?;
        let offset = plain_number(rest.strip_prefix(b".")?)?;
        Some(Position { epoch: Epoch::new(epoch)?, term: Term::new(term)?, offset })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.epoch, self.term, self.offset)
    }
}

/// Somebody's place in a topic, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// It is not known, or the topic has no history.
    #[default]
    Unknown,
    /// Before the topic's first message.
    Beginning,
    /// Behind a message.
    After(Position),
}

impl From<Option<Position>> for Place {
    fn from(last: Option<Position>) -> Place {
        last.map_or(Place::Beginning, Place::After)
    }
}

/// A text that is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPosition;

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        Position::read(text.as_bytes()).ok_or(NoPosition)
    }
}

/// The largest offset. Lua, which counts them on Redis, and JavaScript have no larger whole number next to its neighbours.
pub const MAX_OFFSET: u64 = (1 << 53) - 1;

/// A number as it is written here: decimal digits without sign and leading zeros, up to [`MAX_OFFSET`].
fn plain_number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 1 && digits[0] == b'0' {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(digit.into()).filter(|number| *number <= MAX_OFFSET)
    })
}

/// The same, from a text.
pub(crate) fn number(text: &str) -> Option<u64> {
    plain_number(text.as_bytes())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_position_has_one_text_and_no_other_text_is_one() {
        let text = "k3f9x2ab.7c1d09aa.1042";
        let position: Position = text.parse().unwrap();
        assert_eq!((position.to_string().as_str(), position.offset), (text, 1042));
        for wrong in [
            "",
            "k3f9x2ab.7c1d09aa",
            "k3f9x2ab.7c1d09aa.",
            "k3f9x2ab.7c1d09aa.-1",
            "k3f9x2ab.7c1d09aa.+1",
            "k3f9x2ab.7c1d09aa.01",
            "k3f9x2ab.7c1d09aa.1.",
            "k3f9x2a.7c1d09aa.1",
            "k3f9x2ab.7c1d09a-.1",
            "k3f9x2ab.7c1d09aa.9007199254740992",
            "k3f9x2ab.7c1d09aa.18446744073709551616",
        ] {
            assert_eq!(wrong.parse::<Position>(), Err(NoPosition), "{wrong:?}");
        }
    }
}
