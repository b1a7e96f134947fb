//! Options that there are not, and which was probably meant.

use codes::error::{Code, ConfigError, quote};

use super::option_paths;
use super::value::join;

/// The names of other libraries for options of ours.
pub(super) const FOREIGN: &[(&str, &str)] = &[
    ("cors", "allowedOrigins"),
    ("origin", "allowedOrigins"),
    ("origins", "allowedOrigins"),
    ("verifyClient", "auth.authenticate"),
    ("allowRequest", "auth.authenticate"),
    ("pingInterval", "heartbeat.intervalMs"),
    ("pingTimeout", "heartbeat.timeoutMs"),
    ("idleTimeout", "heartbeat.timeoutMs"),
    ("maxHttpBufferSize", "limits.maxPayload"),
    ("maxPayloadLength", "limits.maxPayload"),
    ("maxBackpressure", "limits.outboxBytes"),
    ("connectionStateRecovery", "history"),
    ("maxDisconnectionDuration", "history.ttlMs"),
    ("host", "redis.url"),
    ("port", "redis.url"),
    ("db", "redis.url"),
    ("database", "redis.url"),
];

/// Says which option was probably meant: what others call so, or the one of the most similar name, if any is similar. Else
/// which there are.
pub(super) fn unknown(parent: &str, name: &str) -> ConfigError {
    unknown_at(parent, parent, name)
}

/// The same where the option has no place in the table, but members as one that has.
pub(super) fn unknown_at(place: &str, parent: &str, name: &str) -> ConfigError {
    /// Longer names are no slips, and comparing takes time.
    const LONGEST: usize = 64;
    let distance = |path: &str| {
        let known = path.rsplit('.').next().unwrap_or(path);
        strsim::osa_distance(&known.to_lowercase(), &name.to_lowercase())
    };
    // The place of the name itself is near to nothing, unless it was written twice.
    let nearest = option_paths()
        .into_iter()
        .filter(|_| name.len() <= LONGEST)
        .map(|path| (distance(path), !is_member(parent, path), path))
        .filter(|(distance, _, path)| *distance == 0 || *path != parent)
        .min()
        .filter(|(distance, ..)| *distance <= 1 + name.len() / 5);
    let meant = FOREIGN.iter().find(|(foreign, _)| *foreign == name).map(|(_, path)| *path);
    let hint = match meant.or(nearest.map(|(_, _, path)| path)) {
        Some(path) if place != parent && is_member(parent, path) => {
            format!("; did you mean {place}{}?", &path[parent.len()..])
        }
        Some(path) => format!("; did you mean {path}?"),
        None => format!("; known are {}", members(parent).join(", ")),
    };
    let within = if place.is_empty() { String::new() } else { format!(" in {place}") };
    let message = format!("unknown option {}{within}{hint}", quote(name));
    ConfigError::new(Code::UnknownOption, &join(place, name), message)
}

fn is_member(parent: &str, path: &str) -> bool {
    path.rsplit_once('.').map_or("", |(parent, _)| parent) == parent
}

/// The names of the options directly under this one.
pub(super) fn members(parent: &str) -> Vec<&'static str> {
    let members = option_paths().into_iter().filter(|path| is_member(parent, path));
    members.map(|path| path.rsplit('.').next().unwrap_or(path)).collect()
}
