//! The session of a client, which outlives its connections: its name stands among the offered subprotocols.

/// Stands before the name.
const PREFIX: &str = "session.";
/// Most bytes of a name.
pub const MAX_NAME: usize = 64;

/// The name of the session that a client offers to go on with. `bearer`: the subprotocol that a token follows, which is none.
pub fn offered<'a>(protocols: impl Iterator<Item = &'a str>, bearer: &str) -> Option<&'a str> {
    let mut previous = "";
    for protocol in protocols {
        if let Some(name) = protocol.strip_prefix(PREFIX)
            && previous != bearer
        {
            return Some(name).filter(|name| is_name(name));
        }
        previous = protocol;
    }
    None
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_found_wherever_it_stands_but_for_the_place_of_a_token() {
        let found = |list: &str| offered(list.split(", "), "bearer").map(str::to_owned);
        for list in ["actory.v1, session.a-B_9", "session.a-B_9, actory.v1", "bearer, x, session.a-B_9"] {
            assert_eq!(found(list).as_deref(), Some("a-B_9"), "{list}");
        }
        for list in ["actory.v1", "bearer, session.a", "session.", "session.a.b", "session.a+b", "sessions.a"]
        {
            assert_eq!(found(list), None, "{list}");
        }
        assert_eq!(found(&format!("session.{}", "x".repeat(MAX_NAME + 1))), None);
    }
}
