//! The rooms that clients may join by themselves. Nobody may, unless the configuration says so.

use history::pattern::Pattern;
use serde_json::Value;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authorize {
    /// The claim of a client's token that lists patterns of rooms, which it may join. Default none; at most 256 bytes.
    pub claim: Option<String>,
    /// True if the embedder is asked about rooms that no claim permits. Default false.
    pub asks: bool,
}

/// The answer to a client that wants to join a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permission {
    Granted,
    Refused,
    /// The embedder decides.
    Asked,
}

impl Authorize {
    /// True if clients may join rooms at all.
    pub(super) fn is_on(&self) -> bool {
        self.claim.is_some() || self.asks
    }

    /// Decides about a room. `claims`: JSON of the client's token.
    pub(super) fn permission(&self, claims: Option<&str>, room: &str) -> Permission {
        match &self.claim {
            Some(claim) if claims.is_some_and(|claims| permits(claims, claim, room)) => Permission::Granted,
            _ if self.asks => Permission::Asked,
            _ => Permission::Refused,
        }
    }
}

/// True if a pattern of the claim fits the room. Whatever is no pattern permits nothing.
fn permits(claims: &str, claim: &str, room: &str) -> bool {
    let Ok(claims) = serde_json::from_str::<Value>(claims) else { return false };
    let fits = |pattern: &str| Pattern::parse(pattern).is_ok_and(|pattern| pattern.fits(room));
    match claims.get(claim) {
        Some(Value::String(pattern)) => fits(pattern),
        Some(Value::Array(patterns)) => patterns.iter().filter_map(Value::as_str).any(fits),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_permits_the_rooms_that_its_patterns_fit_and_no_others() {
        let authorize = Authorize { claim: Some("rooms".into()), asks: false };
        let permission = |claims, room| authorize.permission(Some(claims), room);
        let claims = r#"{"sub":"ada","rooms":["chat:*","org:7:**",5,"","a*"]}"#;
        for room in ["chat:1", "org:7", "org:7:a:b"] {
            assert_eq!(permission(claims, room), Permission::Granted, "{room}");
        }
        for room in ["chat", "chat:1:2", "org:8", "a*", "ab", "5", ""] {
            assert_eq!(permission(claims, room), Permission::Refused, "{room}");
        }
        assert_eq!(permission(r#"{"rooms":"tea"}"#, "tea"), Permission::Granted);
        for claims in [r#"{"rooms":{"tea":1}}"#, r#"{"room":["tea"]}"#, "[]", "x"] {
            assert_eq!(permission(claims, "tea"), Permission::Refused, "{claims}");
        }
        assert_eq!(authorize.permission(None, "tea"), Permission::Refused);
    }

    #[test]
    fn the_embedder_is_asked_only_about_what_no_claim_permits() {
        let authorize = Authorize { claim: Some("rooms".into()), asks: true };
        assert_eq!(authorize.permission(Some(r#"{"rooms":"tea"}"#), "tea"), Permission::Granted);
        assert_eq!(authorize.permission(Some(r#"{"rooms":"tea"}"#), "coffee"), Permission::Asked);
        assert_eq!(Authorize::default().permission(None, "tea"), Permission::Refused);
        assert!(!Authorize::default().is_on());
    }
}
