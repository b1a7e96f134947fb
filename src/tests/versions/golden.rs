//! The envelopes of every format that a version of this package has written to Redis, byte by byte. `golden.json` has them;
//! `__test__/versions/` compares them with what the versions themselves write.

use history::position::Position;
use serde::Deserialize;

/// The format that servers write and read which know nothing of positions: 0.1, which is commit 25303e4, and all until history.
pub(crate) const PLAIN: u32 = 1;
/// The same with messages that have a position.
pub(crate) const POSITIONED: u32 = 2;

/// A format, and what is written in it that none before had.
#[derive(Debug, Deserialize)]
pub(crate) struct Format {
    #[serde(rename = "format")]
    pub number: u32,
    pub envelopes: Vec<Envelope>,
}

/// A payload on a channel.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Envelope {
    /// Without prefix and hash tag.
    pub channel: String,
    payload: Option<String>,
    payload_hex: Option<String>,
    pub means: Meaning,
}

/// The meaning of a payload for a server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Meaning {
    /// Hand this text to the channel's members.
    Text(String),
    /// Hand these bytes to the channel's members.
    #[serde(rename = "binaryHex", deserialize_with = "read_hex")]
    Binary(Vec<u8>),
    /// Hand this text to the members of a user.
    Shared { user: String, text: String },
    /// Close a user's connections.
    Disconnect { user: String, code: u16, reason: String },
    /// Count connections, and answer to a server.
    Count { id: u64, node: String, user: Option<String> },
    /// Add up.
    Counted { id: u64, connections: u64 },
    /// Hand this on unless the place is one that was handed on before.
    #[serde(deserialize_with = "read_positioned")]
    Positioned(Position, Box<Meaning>),
}

impl Envelope {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match (&self.payload, &self.payload_hex) {
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(hex)) => unhex(hex),
            other => panic!("one of payload and payloadHex is needed, got {other:?}"),
        }
    }
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digits).collect()
}

fn read_hex<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    String::deserialize(from).map(|hex| unhex(&hex))
}

fn read_positioned<'de, D: serde::Deserializer<'de>>(from: D) -> Result<(Position, Box<Meaning>), D::Error> {
    #[derive(Deserialize)]
    struct Positioned {
        position: String,
        means: Box<Meaning>,
    }
    let Positioned { position, means } = Positioned::deserialize(from)?;
    Ok((position.parse().unwrap(), means))
}

/// All formats, the oldest first.
pub(crate) fn formats() -> Vec<Format> {
    serde_json::from_str(include_str!("golden.json")).unwrap()
}

/// The envelopes that came with a format.
pub(crate) fn envelopes(format: u32) -> Vec<Envelope> {
    formats().into_iter().find(|each| each.number == format).unwrap().envelopes
}
