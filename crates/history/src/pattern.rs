//! Patterns of names. A name has segments between colons: `*` stands for one segment, `**` for any number of them, none included.

/// Most bytes of a pattern.
pub const MAX_PATTERN_BYTES: usize = 1024;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Exactly(Box<str>),
    One,
    Many,
}

/// A text that is no pattern: empty, too long, or with a star beside other characters of its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPattern;

impl Pattern {
    /// The pattern that every name fits.
    pub fn all() -> Pattern {
        Pattern { segments: vec![Segment::Many] }
    }

    /// # Errors
    /// See [`NoPattern`].
    pub fn parse(text: &str) -> Result<Pattern, NoPattern> {
        if text.is_empty() || text.len() > MAX_PATTERN_BYTES {
            return Err(NoPattern);
        }
        let segments = text.split(':').map(|segment| match segment {
            "*" => Ok(Segment::One),
            "**" => Ok(Segment::Many),
            exactly if exactly.contains('*') => Err(NoPattern),
            exactly => Ok(Segment::Exactly(exactly.into())),
        });
        Ok(Pattern { segments: segments.collect::<Result<_, _>>()? })
    }

    /// True if a name fits. Takes time in proportion to the name's length times the pattern's.
    pub fn fits(&self, name: &str) -> bool {
        // The pattern's segments up to `at` fit the name's so far; on a misfit the last `**` takes one more.
        let (mut at, mut rest) = (0, Some(name));
        let mut retry: Option<(usize, Option<&str>)> = None;
        loop {
            let (segment, behind) = match rest {
                Some(text) => match text.split_once(':') {
                    Some((segment, behind)) => (segment, Some(behind)),
                    None => (text, None),
                },
                None => match self.segments.get(at) {
                    None => return true,
                    Some(Segment::Many) => {
                        at += 1;
                        continue;
                    }
                    Some(_) => return false,
                },
            };
            match self.segments.get(at) {
                Some(Segment::Many) => {
                    at += 1;
                    retry = Some((at, behind));
                    continue;
                }
                Some(Segment::One) => {}
                Some(Segment::Exactly(exactly)) if **exactly == *segment => {}
                _ => {
                    let Some((after, skipped)) = retry else { return false };
                    // The name's next segment is the first that the `**` does not take.
                    (at, rest) = (after, skipped);
                    let Some(text) = skipped else {
                        retry = None;
                        continue;
                    };
                    retry = Some((after, text.split_once(':').map(|(_, behind)| behind)));
                    continue;
                }
            }
            at += 1;
            rest = behind;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// The same, in the plainest way.
    fn fits(segments: &[Segment], name: &[&str]) -> bool {
        match (segments, name) {
            ([], []) => true,
            ([Segment::Many, rest @ ..], name) => (0..=name.len()).any(|n| fits(rest, &name[n..])),
            ([Segment::One, rest @ ..], [_, name @ ..]) => fits(rest, name),
            ([Segment::Exactly(text), rest @ ..], [first, name @ ..]) => {
                **text == **first && fits(rest, name)
            }
            _ => false,
        }
    }

    #[test]
    fn a_star_is_one_segment_and_two_are_any_number() {
        for (pattern, yes, no) in [
            ("chat:*", &["chat:1", "chat:"][..], &["chat", "chat:1:2", "chats:1", ""][..]),
            ("**", &["", "a", "a:b:c"], &[]),
            ("chat:**", &["chat", "chat:1", "chat:1:2"], &["cha", "x:chat"]),
            ("*:log", &["a:log", ":log"], &["log", "a:b:log", "a:logs"]),
            ("**:log", &["log", "a:b:log", "log:log"], &["a:log:b"]),
            ("lobby", &["lobby"], &["lobby:", "Lobby"]),
        ] {
            let pattern = Pattern::parse(pattern).unwrap();
            assert!(yes.iter().all(|name| pattern.fits(name)), "{pattern:?}");
            assert!(no.iter().all(|name| !pattern.fits(name)), "{pattern:?}");
        }
        for wrong in ["", "chat*", "a:b*:c", "***", &"x".repeat(MAX_PATTERN_BYTES + 1)] {
            assert_eq!(Pattern::parse(wrong), Err(NoPattern), "{wrong:?}");
        }
    }

    #[test]
    fn all_short_patterns_fit_the_names_that_they_should() {
        let words = ["a", "b", "*", "**"];
        let texts = |letters: &[&str], most: usize| -> Vec<String> {
            let mut all = vec![String::new()];
            for _ in 0..most {
                let longer: Vec<String> = all
                    .iter()
                    .flat_map(|text| letters.iter().map(move |word| format!("{text}:{word}")))
                    .collect();
                all.extend(longer);
            }
            all.sort();
            all.dedup();
            all.into_iter().filter_map(|text| text.strip_prefix(':').map(str::to_owned)).collect()
        };
        let names = texts(&["a", "b", ""], 4);
        for text in texts(&words, 4) {
            let pattern = Pattern::parse(&text).unwrap();
            for name in &names {
                let expected = fits(&pattern.segments, &name.split(':').collect::<Vec<_>>());
                assert_eq!(pattern.fits(name), expected, "{text} {name}");
            }
        }
    }
}
