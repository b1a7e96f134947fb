//! The topics that have a history, and how much of it is kept; a page of one.

use std::sync::atomic::{AtomicU64, Ordering};

use codes::error::{Code, ConfigError, Error, quote};
use history::log::Bounds;
use history::meta::{Meta, Reason, Resume};
use history::pattern::Pattern;
use history::position::{Epoch, NAME_BYTES, Position};
use history::seen::Seen;

use crate::outcome::{HistoryPage, KeptMessage};
use crate::registry::recipients::Topic;

/// Messages that are kept of a topic where the embedder doesn't say.
pub const DEFAULT_BOUNDS: Bounds = Bounds { size: 100, ttl_ms: 300_000 };
/// Permitted values of [`Bounds::size`].
pub const SIZES: (u32, u32) = (1, 100_000);
/// Permitted values of [`Bounds::ttl_ms`]: a second to thirty days.
pub const TTLS_MS: (u64, u64) = (1_000, 30 * 24 * 60 * 60 * 1_000);
/// Most patterns of [`HistoryConfig::rooms`]. Each message for a room is compared with them.
pub const MAX_PATTERNS: usize = 64;
/// Most bytes of what is read at once, of which the last message may have more.
pub(super) const MAX_READ_BYTES: usize = 256 << 10;
/// Most bytes of an idempotency key.
pub const MAX_KEY_BYTES: usize = 256;
/// Most messages that are read at once.
pub const MAX_READ: u32 = 1000;

/// The option `history`.
#[derive(Clone, Debug, Default)]
pub struct HistoryConfig {
    /// The bounds of each user's history. Default none.
    pub users: Option<Bounds>,
    /// The bounds of rooms' histories: the first pattern that its name fits counts. Default none.
    pub rooms: Vec<(Pattern, Option<Bounds>)>,
    /// True if the store loses no acknowledged message when a replica takes over or when it restarts. Default false.
    pub trust_failover: bool,
}

impl HistoryConfig {
    /// True if any topic has a history.
    pub fn is_on(&self) -> bool {
        self.users.is_some() || self.rooms.iter().any(|(_, bounds)| bounds.is_some())
    }

    /// The bounds of all topics.
    pub(super) fn bounds(&self) -> impl Iterator<Item = Bounds> {
        self.users.into_iter().chain(self.rooms.iter().filter_map(|(_, bounds)| *bounds))
    }

    /// The bounds of a topic's history, if it has one.
    pub fn bounds_of(&self, topic: Topic<'_>) -> Option<Bounds> {
        match topic {
            Topic::User(_) => self.users,
            Topic::Room(room) => self.rooms.iter().find(|(pattern, _)| pattern.fits(room))?.1,
        }
    }

    /// # Errors
    /// `ERR_NO_HISTORY` if nothing is kept of a topic.
    pub(super) fn check(&self, topic: Topic<'_>) -> Result<Bounds, Error> {
        self.bounds_of(topic).ok_or_else(|| {
            let (kind, name) = match topic {
                Topic::User(user) => ("user", user),
                Topic::Room(room) => ("room", room),
            };
            let text = format!("the option history keeps nothing of {kind} {}", quote(name));
            Error::new(Code::NoHistory, text)
        })
    }

    /// Checks that every value is a permitted one.
    ///
    /// # Errors
    /// `ERR_OPTION_OUT_OF_RANGE`
    pub fn validate(&self) -> Result<(), ConfigError> {
        for bounds in self.bounds() {
            let is_size = (SIZES.0..=SIZES.1).contains(&bounds.size);
            if !is_size || !(TTLS_MS.0..=TTLS_MS.1).contains(&bounds.ttl_ms) {
                let text = format!(
                    "history: size must be {} to {}, ttlMs {} to {}",
                    SIZES.0, SIZES.1, TTLS_MS.0, TTLS_MS.1
                );
                return Err(ConfigError::new(Code::OptionOutOfRange, "history", text));
            }
        }
        if self.rooms.len() > MAX_PATTERNS {
            let text = format!("history.rooms has more than {MAX_PATTERNS} patterns");
            return Err(ConfigError::new(Code::OptionOutOfRange, "history.rooms", text));
        }
        Ok(())
    }
}

/// The place from which somebody reads who has come to a position, or nowhere yet; and why he has missed something before it.
pub(super) fn resume(meta: &Meta, after: Option<Position>, trust_failover: bool) -> Resume {
    let beginning = Resume { from: 1, lost: None };
    after.map_or(beginning, |after| meta.resume(&Seen::from(after), trust_failover))
}

/// The page of a topic that the store knows nothing of.
pub(super) fn no_page(after: Option<Position>) -> HistoryPage {
    let lost = after.map(|_| Reason::Emptied);
    HistoryPage { messages: Vec::new(), position: None, lost, has_more: false }
}

/// The page that the store gives who [resumes](resume) after a position. `found`: the first and the last offset of what it has from there on.
pub(super) fn page(
    meta: &Meta,
    after: Option<Position>,
    resume: Resume,
    found: Option<(u64, u64)>,
    messages: Vec<KeptMessage>,
    has_more: bool,
) -> HistoryPage {
    let first = found.map_or(meta.offset + 1, |(first, _)| first);
    let is_trimmed = after.is_some() && first > resume.from;
    HistoryPage {
        messages,
        position: Some(found.map_or(meta.last(), |(_, last)| meta.at(last))),
        lost: resume.lost.or(is_trimmed.then_some(Reason::Trimmed)),
        has_more,
    }
}

/// Names for epochs, none twice.
#[derive(Debug)]
pub(super) struct Epochs {
    seed: u64,
    last: AtomicU64,
}

impl Epochs {
    pub(super) fn new() -> Epochs {
        let mut seed = [0; 8];
        if getrandom::fill(&mut seed).is_err() {
            seed = crate::time_of_day::unix_ms().to_ne_bytes();
        }
        Epochs { seed: u64::from_ne_bytes(seed), last: AtomicU64::new(0) }
    }

    /// A name for an epoch that may begin now.
    pub(super) fn next(&self) -> [u8; NAME_BYTES] {
        const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        // SplitMix64 (Steele, Lea and Flood 2014): a bijection, so that no two are the same before they are cut.
        let step = self.last.fetch_add(1, Ordering::Relaxed);
        let mut random = self.seed.wrapping_add(step.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        random = (random ^ (random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        random = (random ^ (random >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        random ^= random >> 31;
        std::array::from_fn(|at| LETTERS[(random >> (5 * at)) as usize % 32])
    }

    /// The same, as what it is.
    pub(super) fn next_epoch(&self) -> Option<Epoch> {
        Epoch::new(&self.next())
    }
}
