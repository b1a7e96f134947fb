use crate::meta::Meta;
use crate::position::{Epoch, Position, Term};

/// `a` is `aaaaaaaa`.
pub(crate) fn term(letter: char) -> Term {
    Term::new(letter.to_string().repeat(8).as_bytes()).unwrap()
}

pub(crate) fn epoch(letter: char) -> Epoch {
    Epoch::new(letter.to_string().repeat(8).as_bytes()).unwrap()
}

/// `ea5`: epoch, term, offset.
pub(crate) fn at(text: &str) -> Position {
    let mut letters = text.chars();
    let (epoch, term) = (epoch(letters.next().unwrap()), term(letters.next().unwrap()));
    Position { epoch, term, offset: letters.as_str().parse().unwrap() }
}

/// `e 7 b@5 a@1`: epoch, offset, terms with their first offsets.
pub(crate) fn meta(text: &str) -> Meta {
    let mut words = text.split(' ');
    let epoch = epoch(words.next().unwrap().chars().next().unwrap());
    let offset = words.next().unwrap().parse().unwrap();
    let terms = words.map(|word| {
        let (name, first) = word.split_once('@').unwrap();
        (term(name.chars().next().unwrap()), first.parse().unwrap())
    });
    Meta { epoch, offset, terms: terms.collect() }
}
