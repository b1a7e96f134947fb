//! The members of a JSON object, each read only when it is asked for.
//!
//! `JSON.stringify` writes half of a surrogate pair as an escape. No Rust string can hold it, but JavaScript reads it. So
//! nothing fails for a member that nobody checks, and texts are compared as bytes.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A JSON object. Its names are different, escapes resolved.
pub(super) struct JsonMembers<'a>(HashMap<Vec<u8>, Member<'a>>);

/// The value of a member, as it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member<'a>(&'a str);

/// The fault of a text that should be an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemberFault {
    /// It is not JSON, or no object.
    NoObject,
    /// Two members have one name (RFC 7519, section 4). Each reader would be free to believe another one.
    Twice,
}

impl fmt::Display for MemberFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoObject => "must be a JSON object",
            Self::Twice => "must not have two members of one name",
        })
    }
}

impl<'a> JsonMembers<'a> {
    /// The object that is this text. Any depth of nesting is taken, without recursion.
    pub(super) fn parse(text: &'a str) -> Result<Self, MemberFault> {
        let Pairs(pairs) = serde_json::from_str(text).map_err(|_| MemberFault::NoObject)?;
        let mut members = HashMap::with_capacity(pairs.len());
        for (name, value) in pairs {
            if members.insert(name, Member(value)).is_some() {
                return Err(MemberFault::Twice);
            }
        }
        Ok(Self(members))
    }

    /// The member of this name.
    pub(super) fn get(&self, name: &str) -> Option<Member<'a>> {
        self.0.get(name.as_bytes()).copied()
    }
}

impl<'a> Member<'a> {
    /// The characters of a string, in UTF-8 but for halves of surrogate pairs, which are in it by themselves (WTF-8).
    pub(super) fn text(self) -> Option<Vec<u8>> {
        serde_json::from_str(self.0).ok().map(|JsonText(bytes)| bytes)
    }

    /// A number as it is written.
    pub(super) fn number(self) -> Option<&'a str> {
        self.0.starts_with(|first: char| first == '-' || first.is_ascii_digit()).then_some(self.0)
    }

    /// True if it is `true`.
    pub(super) fn is_true(self) -> bool {
        self.0 == "true"
    }

    /// The elements of an array.
    pub(super) fn elements(self) -> Option<Vec<Member<'a>>> {
        let elements: Vec<&RawValue> = serde_json::from_str(self.0).ok()?;
        Some(elements.into_iter().map(|element| Member(element.get())).collect())
    }
}

/// The members of an object, in its order.
struct Pairs<'a>(Vec<(Vec<u8>, &'a str)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                // Raw first: read as bytes at once, a name could hold what JSON does not permit.
                while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                    let name = Member(name.get()).text().ok_or_else(|| A::Error::custom("no name"))?;
                    pairs.push((name, value.get()));
                }
                Ok(Pairs(pairs))
            }
        }

        from.deserialize_map(Object)
    }
}

/// A string as `serde_json` gives it to who asks for bytes.
struct JsonText(Vec<u8>);

impl<'de> Deserialize<'de> for JsonText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = JsonText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<JsonText, E> {
                Ok(JsonText(bytes.to_vec()))
            }
        }

        from.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn member(text: &str) -> Option<Member<'_>> {
        JsonMembers::parse(text).unwrap().get("a")
    }

    #[test]
    fn texts_have_their_escapes_resolved_and_may_hold_halves_of_characters() {
        for (written, bytes) in [
            (r#""""#, &b""[..]),
            (r#""\u0061\n\"\\""#, b"a\n\"\\"),
            (r#""\ud83c\udf89""#, "🎉".as_bytes()),
            (r#""x\ud83c""#, b"x\xed\xa0\xbc"),
            (r#""\udf89y""#, b"\xed\xbe\x89y"),
        ] {
            assert_eq!(member(&format!(r#"{{"a":{written}}}"#)).unwrap().text().as_deref(), Some(bytes));
        }
        for other in ["1", "null", "[97]", "{}", "true"] {
            assert_eq!(member(&format!(r#"{{"a":{other}}}"#)).unwrap().text(), None, "{other}");
        }
    }

    #[test]
    fn names_are_found_however_they_are_written() {
        assert_eq!(member(r#" { "\u0061" : -1.5e3 } "#).unwrap().number(), Some("-1.5e3"));
        assert!(member(r#"{"b":1,"\ud83c":2}"#).is_none());
    }

    #[test]
    fn two_members_of_one_name_are_a_fault_and_near_ones_are_not() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":1,"b":2,"\u0061":3}"#, r#"{"\ud83c":1,"\uD83C":1}"#] {
            assert_eq!(JsonMembers::parse(text).err(), Some(MemberFault::Twice), "{text}");
        }
        for text in ["{}", r#"{"a":1,"A":1}"#, r#"{"\ud83c":1,"\ud83d":1}"#, r#"{"a":{"b":1,"b":1}}"#] {
            assert!(JsonMembers::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_no_object_or_no_json_is_a_fault() {
        let broken =
            [r#"{"a":"\ud8"}"#, "{\"a\":\"\n\"}", "{\"\n\":1}", r#"{"a":01}"#, r#"{"a":NaN}"#, r#"{a:1}"#];
        for text in ["", "[]", "1", "null", "\"a\"", "{", "{}x", r#"{"a":1,}"#].into_iter().chain(broken) {
            assert_eq!(JsonMembers::parse(text).err(), Some(MemberFault::NoObject), "{text}");
        }
    }

    #[test]
    fn numbers_of_any_size_and_nesting_of_any_depth_are_left_as_they_are() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for value in ["1e999", "-1e-999", &"9".repeat(5000), &deep] {
            let text = format!(r#"{{"a":{value}}}"#);
            assert_eq!(member(&text).unwrap().0, value);
        }
    }
}
