//! The head of a request.

use crate::syntax::{parse_digits, trim};

/// Request line and headers of an upgrade, as they came.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// The method, such as `GET`.
    pub method: String,
    /// The request target: path and query.
    pub target: String,
    /// Major and minor HTTP version.
    pub version: (u8, u8),
    /// Name and value of each header line; repeated headers stay separate.
    pub headers: Vec<(String, String)>,
}

impl RequestHead {
    /// Parses `method\nurl\nhttpVersion\nname\nvalue\nname\nvalue…`; `None` if it is not of that form.
    pub fn parse_joined(joined: &str) -> Option<Self> {
        let mut lines = joined.split('\n');
        let (method, target, version) = (lines.next()?, lines.next()?, lines.next()?);
        let (major, minor) = version.split_once('.')?;
        let mut headers = Vec::new();
        while let Some(name) = lines.next() {
            headers.push((name.to_owned(), lines.next()?.to_owned()));
        }
        Some(Self {
            method: method.to_owned(),
            target: target.to_owned(),
            version: (parse_digits(major)?, parse_digits(minor)?),
            headers,
        })
    }

    /// The value of the first header of this name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers_all(name).next()
    }

    /// The values of all headers of this name, in order, without white space around them.
    pub fn headers_all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let named = self.headers.iter().filter(move |(header, _)| header.eq_ignore_ascii_case(name));
        named.map(|(_, value)| trim(value))
    }

    /// The elements of a comma-separated header over all its lines. Empty ones mean nothing (RFC 9110 section 5.6.1.2).
    pub fn list<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let elements = self.headers_all(name).flat_map(|value| value.split(',')).map(trim);
        elements.filter(|element| !element.is_empty())
    }

    /// True if a body follows the head, be it an empty one in chunks. Its bytes would be taken for frames.
    pub(crate) fn has_body(&self) -> bool {
        let is_zero = |length: &str| length.bytes().all(|digit| digit == b'0');
        self.header("transfer-encoding").is_some() || !self.list("content-length").all(is_zero)
    }

    /// The value of a header that must come exactly once.
    pub(crate) fn single(&self, name: &str) -> Option<&str> {
        let mut values = self.headers_all(name);
        values.next().filter(|_| values.next().is_none())
    }

    pub(crate) fn header_bytes(&self) -> usize {
        // ": " and CRLF are four bytes a line.
        self.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum()
    }
}
