//! The option `history`: a draft of it, and the patterns of rooms.

use codes::error::{Code, ConfigError, quote};
use history::log::Bounds;
use history::pattern::{MAX_PATTERN_BYTES, Pattern};

use super::value::{Value, Wrong, explain, join};
use crate::broker::history::{DEFAULT_BOUNDS, HistoryConfig, MAX_PATTERNS, SIZES, TTLS_MS};

/// The option whose members may be patterns instead of bounds.
pub(super) const ROOMS: &str = "history.rooms";
/// The option with the members that those of a pattern are.
pub(super) const EACH_ROOM: &str = "history.users";
pub(super) const SIZE: &str = "an integer from 1 to 100000 (messages)";
pub(super) const TTL: &str = "an integer from 1000 to 2592000000 (milliseconds)";
pub(super) const KEPT: &str = "true, false or an object, such as { size: 100 }";

/// The option as far as it is known.
#[derive(Default)]
pub(super) struct HistoryDraft {
    is_on: bool,
    pub(super) all: SomeBounds,
    pub(super) users: Kept,
    pub(super) rooms: Kept,
    patterns: Option<Vec<(Pattern, Kept)>>,
    pub(super) trust_failover: bool,
}

/// Bounds as far as they are given.
#[derive(Clone, Copy, Default)]
pub(super) struct SomeBounds {
    size: Option<u32>,
    ttl_ms: Option<u64>,
}

/// Says how much is kept of a topic.
#[derive(Clone, Copy, Default)]
pub(super) struct Kept {
    is_off: bool,
    pub(super) bounds: SomeBounds,
}

impl HistoryDraft {
    /// A draft before its members are read.
    pub(super) fn new(value: Value) -> Result<HistoryDraft, Wrong> {
        Ok(HistoryDraft { is_on: is_on(value)?, ..HistoryDraft::default() })
    }

    /// Takes what is kept of the rooms whose names fit each pattern. `unknown` says of a place and a name that the place has no
    /// such member.
    pub(super) fn set_patterns(
        &mut self,
        inner: Vec<(String, Value)>,
        unknown: &dyn Fn(&str, &str) -> ConfigError,
    ) -> Result<(), ConfigError> {
        if inner.len() > MAX_PATTERNS {
            let expected = format!("an object with at most {MAX_PATTERNS} patterns");
            return Err(ConfigError::out_of_range(ROOMS, &expected, &format!("{} of them", inner.len())));
        }
        let patterns = inner.into_iter().map(|(name, value)| {
            let path = format!("{ROOMS}[{}]", quote(&name));
            let pattern = Pattern::parse(&name).map_err(|_| {
                let text = format!(
                    "{path} is no pattern: it has 1 to {MAX_PATTERN_BYTES} bytes, and between its colons either a text, * for \
                     any segment, or ** for any number of segments"
                );
                ConfigError::new(Code::OptionOutOfRange, &path, text)
            })?;
            Ok((pattern, Kept::of_pattern(&path, value, unknown)?))
        });
        self.patterns = Some(patterns.collect::<Result<_, ConfigError>>()?);
        Ok(())
    }

    pub(super) fn build(self) -> HistoryConfig {
        if !self.is_on {
            return HistoryConfig::default();
        }
        let within = |kept: Kept| kept.within(self.all);
        let rooms = match self.patterns {
            Some(patterns) => patterns.into_iter().map(|(pattern, kept)| (pattern, within(kept))).collect(),
            None => vec![(Pattern::all(), within(self.rooms))],
        };
        HistoryConfig { users: within(self.users), rooms, trust_failover: self.trust_failover }
    }
}

impl Kept {
    /// Takes a value, whose members are read later.
    pub(super) fn set(&mut self, value: Value) -> Result<(), Wrong> {
        self.is_off = !is_on(value)?;
        Ok(())
    }

    fn of_pattern(
        path: &str,
        value: Value,
        unknown: &dyn Fn(&str, &str) -> ConfigError,
    ) -> Result<Kept, ConfigError> {
        let mut kept = Kept::default();
        let got = value.describe();
        let inner = match value {
            Value::Object(inner) => inner,
            value => return explain(kept.set(value), path, KEPT, &got).map(|()| kept),
        };
        for (name, value) in inner {
            let (place, got) = (join(path, &name), value.describe());
            match name.as_str() {
                "size" => explain(kept.bounds.set_size(value), &place, SIZE, &got)?,
                "ttlMs" => explain(kept.bounds.set_ttl(value), &place, TTL, &got)?,
                _ => return Err(unknown(path, &name)),
            }
        }
        Ok(kept)
    }

    fn within(self, all: SomeBounds) -> Option<Bounds> {
        let SomeBounds { size, ttl_ms } = self.bounds;
        let bounds = Bounds {
            size: size.or(all.size).unwrap_or(DEFAULT_BOUNDS.size),
            ttl_ms: ttl_ms.or(all.ttl_ms).unwrap_or(DEFAULT_BOUNDS.ttl_ms),
        };
        (!self.is_off).then_some(bounds)
    }
}

impl SomeBounds {
    pub(super) fn set_size(&mut self, value: Value) -> Result<(), Wrong> {
        let size = value.integer(SIZES.0.into(), SIZES.1.into())?;
        self.size = u32::try_from(size).ok();
        Ok(())
    }

    pub(super) fn set_ttl(&mut self, value: Value) -> Result<(), Wrong> {
        self.ttl_ms = Some(value.integer(TTLS_MS.0, TTLS_MS.1)?);
        Ok(())
    }
}

fn is_on(value: Value) -> Result<bool, Wrong> {
    match value {
        Value::Flag(flag) => Ok(flag),
        value => value.object().map(|()| true),
    }
}

/// True if the members of `history.rooms` are patterns: `size` and `ttlMs` are bounds, unless they have the value of a pattern.
pub(super) fn are_patterns(members: &[(String, Value)]) -> bool {
    members.iter().any(|(name, value)| {
        !matches!(name.as_str(), "size" | "ttlMs") || matches!(value, Value::Flag(_) | Value::Object(_))
    })
}
