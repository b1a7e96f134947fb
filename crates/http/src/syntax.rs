//! The syntax of header fields (RFC 9110, section 5.6).

/// True if this is a token (RFC 9110 section 5.6.2).
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Without the optional white space around it (RFC 9110 section 5.6.3).
pub fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// A decimal number of nothing but digits; `str::parse` would take a sign as well.
pub fn parse_digits<N: std::str::FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
