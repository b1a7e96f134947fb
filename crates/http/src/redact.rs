//! The part of a request's URL and origin that may be told: its destination, and nothing that could let somebody in.
//!
//! No look at a value says whether it is a token: opaque ones have no form. So no value is shown, and no text that is hardly a name.

use std::borrow::Cow;

const HIDDEN: &str = "[redacted]";
/// Longest name, and longest segment of a path, that is shown. A JWT is longer.
const MAX_PLAIN: usize = 64;
/// Marks behind which a value may begin in a name or segment, also percent-encoded by a client that did so once too often.
const MARKS: [&str; 18] = [
    "?", "#", ";", "=", "&", "@", "+", " ", "\\", "%3f", "%23", "%3b", "%3d", "%26", "%40", "%2b", "%20",
    "%25",
];

/// A request target (RFC 9112 section 3.2): its path and the names of its parameters. Its scheme and its authority, which may
/// name a user, and its fragment are left out.
pub fn target(target: &str) -> String {
    let (target, _fragment) = target.split_once('#').unwrap_or((target, ""));
    let (place, query) = match target.split_once('?') {
        Some((place, query)) => (place, Some(query)),
        None => (target, None),
    };
    let path = match place {
        "" | "*" => place.to_owned(),
        _ => path(place).map_or_else(|| HIDDEN.to_owned(), |path| each(path, '/', segment)),
    };
    match query {
        Some(query) => format!("{path}?{}", each(query, '&', parameter)),
        None => path,
    }
}

/// A request target without the value of one parameter, which is found as the token's place is.
pub fn parameter_of(target: &str, name: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let hide = |pair: &str| {
        let is_named = form_urlencoded::parse(pair.as_bytes()).any(|(param, _)| param == name);
        match pair.split_once('=') {
            Some((param, _)) if is_named => format!("{param}={HIDDEN}"),
            _ => pair.to_owned(),
        }
    };
    format!("{path}?{}", query.split('&').map(hide).collect::<Vec<_>>().join("&"))
}

/// An `Origin`: scheme, host and port.
pub fn origin(origin: &str) -> String {
    let Some((scheme, rest)) = origin.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) else {
        return if is_plain(origin) && !origin.contains(':') { origin } else { HIDDEN }.to_owned();
    };
    let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
    let (authority, more) = rest.split_at(end);
    let (user, host) =
        authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    if !host.chars().all(|char| char.is_alphanumeric() || "-._:[]".contains(char)) {
        return format!("{scheme}://{HIDDEN}");
    }
    let user = user.map_or(String::new(), |_| format!("{HIDDEN}@"));
    let more = if more.is_empty() { String::new() } else { format!("/{HIDDEN}") };
    format!("{scheme}://{user}{host}{more}")
}

/// The path of a target in origin-form or absolute-form; `None` for what has none, such as `user:password@host`.
fn path(place: &str) -> Option<&str> {
    let is_slash = |char| matches!(char, '/' | '\\');
    let schemeless = place.split_once(':').filter(|(scheme, _)| is_scheme(scheme)).map(|(_, rest)| rest);
    let rest = schemeless.unwrap_or(place);
    let authority = rest.trim_start_matches(is_slash);
    match rest.len() - authority.len() {
        0 => None,
        1 if schemeless.is_none() => Some(rest),
        _ => Some(authority.find(is_slash).map_or("/", |end| &authority[end..])),
    }
}

/// The parts of a text, each as it may be shown.
fn each<'a>(text: &'a str, separator: char, show: fn(&'a str) -> Cow<'a, str>) -> String {
    text.split(separator).map(show).collect::<Vec<_>>().join(separator.encode_utf8(&mut [0; 4]))
}

fn segment(text: &str) -> Cow<'_, str> {
    if is_plain(text) { text.into() } else { HIDDEN.into() }
}

/// A name that has a value. A text without one may be the token itself, padded with `=` perhaps.
fn parameter(pair: &str) -> Cow<'_, str> {
    match pair.split_once('=') {
        None if pair.is_empty() => "".into(),
        Some((name, value))
            if !name.is_empty() && is_plain(name) && value.bytes().any(|byte| byte != b'=') =>
        {
            format!("{name}={HIDDEN}").into()
        }
        _ => HIDDEN.into(),
    }
}

fn is_plain(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    text.len() <= MAX_PLAIN && !MARKS.iter().any(|mark| lower.contains(mark))
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_shown_as_its_path_and_the_names_of_its_parameters() {
        for (text, shown) in [
            ("/", "/"),
            ("", ""),
            ("*", "*"),
            ("/api/websocket/", "/api/websocket/"),
            ("/caf%C3%A9/chat.v2", "/caf%C3%A9/chat.v2"),
            ("/a?room=1&token=x.y", "/a?room=[redacted]&token=[redacted]"),
            ("/a?%74oken=x&b[]=y", "/a?%74oken=[redacted]&b[]=[redacted]"),
            ("/a?token=x=y?z&&", "/a?token=[redacted]&&"),
            ("/a?", "/a?"),
        ] {
            assert_eq!(target(text), shown, "{text}");
        }
    }

    #[test]
    fn no_token_is_shown_wherever_a_target_has_it() {
        const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJlLXNpZ25hdHVyZS1zaWduYXR1cmU";
        for token in
            ["hunter2", "Bearer%20hunter2", "Bearer+hunter2", "%68unter2", JWT, &format!("Bearer%20{JWT}")]
        {
            for place in [
                "/a?token=~",
                "/a?b=1&c=~&d",
                "/a?~",
                "/a?~=",
                "/a?~==",
                "/a?b&~",
                "/a?token%3D~",
                "/a?token%3d~=1",
                "/a?=~",
                "/a?b=1;c=~",
                "/a?b;c=~",
                "/a#~",
                "/a#access_token=~",
                "/a?b=1#~",
                "/a#?token=~",
                "/a;v=~",
                "/a%3Ftoken=~",
                "/a%3ftoken%3d~/b",
                "/a%253Ftoken%253D~",
                "http://~@host/a",
                "http://user:~@host/a",
                "wss://~@host",
                "//~@host/a",
                "//user:~@host",
                "http:/~@host/a",
                "http:~@host/a",
                "\\\\~@host/a",
                "/\\~@host/a",
                "~@host:80",
                "user:~@host",
                "/http://user:~@host/a",
                "https://host/a?b=~",
            ] {
                let text = place.replace('~', token);
                let shown = target(&text);
                assert!(!shown.contains("unter2") && !shown.contains("eyJ"), "{text} shown as {shown}");
            }
        }
        // The path itself is shown; a JWT is too long to be a part of one.
        assert_eq!(target(&format!("/a/{JWT}/b")), "/a/[redacted]/b");
        assert_eq!(target(&format!("/a?{JWT}=1")), "/a?[redacted]");
    }

    #[test]
    fn a_parameter_has_no_value_however_its_name_is_written() {
        for (text, shown) in [
            ("/a", "/a"),
            ("/a?room=1&x", "/a?room=1&x"),
            ("/a?room=1&to%6ben=hunter2=&y=2#z", "/a?room=1&to%6ben=[redacted]&y=2#z"),
            ("/a?token=hunter2&token=hunter2", "/a?token=[redacted]&token=[redacted]"),
            ("/a?token", "/a?token"),
            ("/a?Token=1&b=token=1", "/a?Token=1&b=token=1"),
        ] {
            assert_eq!(parameter_of(text, "token"), shown);
        }
        assert_eq!(parameter_of("/a?a+b=hunter2&c=1", "a b"), "/a?a+b=[redacted]&c=1");
    }

    #[test]
    fn a_target_with_an_authority_is_shown_by_its_path() {
        for text in ["http://host/a/b?c=1", "WSS://u:p@host:1/a/b?c=1", "//host/a/b?c=1#d"] {
            assert_eq!(target(text), "/a/b?c=[redacted]", "{text}");
        }
        assert_eq!(target("http://u:p@host"), "/");
    }

    #[test]
    fn an_origin_is_shown_as_scheme_host_and_port() {
        for text in ["https://a.example", "http://[::1]:3000", "null", "file://", "chrome-extension://abcdef"]
        {
            assert_eq!(origin(text), text);
        }
        for (text, shown) in [
            ("https://user:hunter2@a.example", "https://[redacted]@a.example"),
            ("https://a.example/?token=hunter2", "https://a.example/[redacted]"),
            ("https://a.example#hunter2", "https://a.example/[redacted]"),
            ("https://a.example;hunter2", "https://[redacted]"),
            ("Bearer hunter2", "[redacted]"),
            ("user:hunter2", "[redacted]"),
            ("token=hunter2", "[redacted]"),
        ] {
            assert_eq!(origin(text), shown);
        }
    }
}
