use super::names::{at, meta, term};
use crate::follower::{Ask, Follower, Missed, Outlet, Verdict};
use crate::meta::Meta;
use crate::position::Position;
use crate::waiting::{MAX_WAITING, WAITING};

/// The messages that were handed on, as text: `ea5`, `!trimmed ea2 ea4`.
#[derive(Default)]
struct Told(Vec<String>);

fn short(position: Option<Position>) -> String {
    position.map_or("-".to_owned(), |position| {
        let letter = |text: &str| text.chars().next().unwrap();
        format!("{}{}{}", letter(position.epoch.as_str()), letter(position.term.as_str()), position.offset)
    })
}

impl Outlet for Told {
    fn deliver(&mut self, position: Position, _: &[u8]) {
        self.0.push(short(Some(position)));
    }

    fn missed(&mut self, missed: Missed) {
        let Missed { reason, after, to } = missed;
        self.0.push(format!("!{} {} {}", format!("{reason:?}").to_lowercase(), short(after), short(to)));
    }
}

impl Told {
    fn take(&mut self) -> String {
        std::mem::take(&mut self.0).join(", ")
    }
}

/// A follower that was told how far the topic is, over a link under term `a`.
fn placed(now: Option<&Meta>) -> Follower {
    let mut follower = Follower::new(false);
    assert_eq!(follower.on_subscribed(Some(term('a'))), Ask::Meta);
    assert_eq!(follower.on_meta(now, &mut Told::default()), None);
    assert!(follower.is_settled());
    follower
}

fn page(offsets: impl IntoIterator<Item = u64>) -> Vec<(u64, Option<&'static [u8]>)> {
    offsets.into_iter().map(|offset| (offset, Some(&b"payload"[..]))).collect()
}

#[test]
fn what_came_before_the_subscription_is_not_read() {
    let mut follower = Follower::new(false);
    follower.on_subscribed(Some(term('a')));
    assert!(!follower.is_placed(), "a message that it loses in a cut now is one that it never knew of");
    let mut told = Told::default();
    assert_eq!(follower.on_meta(Some(&meta("e 7 a@1")), &mut told), None);
    assert!(follower.is_placed() && follower.is_settled());
    assert_eq!((follower.position(), told.take().as_str()), (Some(at("ea7")), ""));
}

#[test]
fn a_message_that_comes_before_the_answer_is_handed_on_at_once() {
    let mut follower = Follower::new(false);
    follower.on_subscribed(Some(term('a')));
    assert_eq!(follower.on_message(at("ea8"), b""), Verdict::Deliver);
    assert!(follower.is_placed());
    assert_eq!(follower.on_meta(Some(&meta("e 8 a@1")), &mut Told::default()), None);
    assert_eq!(follower.on_message(at("ea9"), b""), Verdict::Deliver);
}

#[test]
fn messages_are_handed_on_in_their_order_and_once() {
    let mut follower = placed(Some(&meta("e 1 a@1")));
    assert_eq!(follower.on_message(at("ea2"), b""), Verdict::Deliver);
    assert_eq!(follower.on_message(at("ea2"), b""), Verdict::Drop);
    assert_eq!(follower.on_message(at("ea1"), b""), Verdict::Drop);
    assert_eq!(follower.on_message(at("ea5"), b""), Verdict::Wait(Some(Ask::Messages { from: 3 })));
    assert_eq!(follower.on_message(at("ea6"), b""), Verdict::Wait(None));
    let mut told = Told::default();
    let now = meta("e 6 a@1");
    let ask = follower.on_messages(Some(&now), page(3..=4), false, &mut told);
    assert_eq!(ask, Some(Ask::Messages { from: 5 }));
    assert_eq!(follower.on_messages(Some(&now), page(5..=6), true, &mut told), None);
    assert_eq!((told.take().as_str(), follower.is_settled()), ("ea3, ea4, ea5, ea6", true));
}

#[test]
fn what_is_not_kept_any_more_is_told_where_it_is_missing() {
    let mut follower = placed(Some(&meta("e 2 a@1")));
    let mut told = Told::default();
    follower.on_message(at("ea6"), b"");
    let now = meta("e 8 a@1");
    assert_eq!(follower.on_messages(Some(&now), page([4, 5, 7]), true, &mut told), None);
    let expected = "!trimmed ea2 ea3, ea4, ea5, !trimmed ea5 ea6, ea7, !trimmed ea7 ea8";
    assert_eq!(told.take(), expected);
}

#[test]
fn a_new_term_is_told_where_the_old_one_ends() {
    for (now, [from, to], expected) in [
        // The replica got all: nobody can know that.
        ("e 7 b@6 a@1", [5, 7], "ea5, !failover ea5 eb5, eb6, eb7"),
        // It lacks what was handed on.
        ("e 7 b@4 a@1", [4, 7], "!failover ea4 eb3, eb4, eb5, eb6, eb7"),
        // Nothing was published since: the link knows the term.
        ("e 5 a@1", [5, 5], "ea5, !failover ea5 eb5"),
        ("e 4 a@1", [1, 0], "!failover ea4 eb4"),
        ("e 2 a@1", [1, 0], "!failover ea4 eb2"),
        ("e 6 b@6 c@5 a@1", [5, 6], "!failover ea4 ec4, ec5, !failover ec5 eb5, eb6"),
        // A store that knows nothing of the term: only what is new for certain.
        ("e 6 b@6 c@1", [6, 6], "!failover ea4 eb5, eb6"),
        // Another life.
        ("f 2 b@1", [1, 2], "!emptied ea4 fb0, fb1, fb2"),
    ] {
        let mut follower = placed(Some(&meta("e 3 a@1")));
        follower.on_message(at("ea4"), b"");
        follower.on_cut();
        follower.on_subscribed(Some(term('b')));
        let mut told = Told::default();
        let now = meta(now);
        if let Some(ask) = follower.on_meta(Some(&now), &mut told) {
            assert_eq!(ask, Ask::Messages { from }, "{now}");
            assert_eq!(follower.on_messages(Some(&now), page(from..=to), true, &mut told), None, "{now}");
        }
        assert_eq!(told.take(), expected, "{now}");
        assert!(follower.is_settled(), "{now}");
        assert_eq!(follower.position().map(|position| position.offset), Some(now.offset), "{now}");
        // Told once.
        follower.recheck();
        assert_eq!((follower.on_meta(Some(&now), &mut told), told.take().as_str()), (None, ""), "{now}");
    }
}

#[test]
fn a_store_that_is_trusted_is_believed_unless_it_lacks_what_was_handed_on() {
    for (now, expected) in [("e 4 b@4 a@1", "eb4"), ("e 3 b@3 a@1", "!failover ea3 eb2, eb3")] {
        let mut follower = Follower::new(true);
        follower.on_subscribed(Some(term('a')));
        follower.on_meta(Some(&meta("e 3 a@1")), &mut Told::default());
        follower.on_cut();
        follower.on_subscribed(Some(term('b')));
        let (now, mut told) = (meta(now), Told::default());
        follower.on_meta(Some(&now), &mut told);
        follower.on_messages(Some(&now), page(1..=now.offset), true, &mut told);
        assert_eq!(told.take(), expected);
    }
}

#[test]
fn a_server_that_comes_back_to_a_former_master_gets_nothing_twice() {
    let mut follower = placed(Some(&meta("e 4 a@1")));
    let mut told = Told::default();
    follower.on_message(at("ea5"), b"");
    for (link, now, expected) in [
        ('b', "e 6 b@5 a@1", "!failover ea5 eb4, eb5, eb6"),
        ('a', "e 7 a@1", "!failover eb6 ea5, ea6, ea7"),
        ('b', "e 7 b@5 a@1", "!failover ea7 eb6, eb7"),
    ] {
        follower.on_cut();
        follower.on_subscribed(Some(term(link)));
        let now = meta(now);
        follower.on_meta(Some(&now), &mut told);
        follower.on_messages(Some(&now), page(1..=now.offset), true, &mut told);
        assert_eq!(told.take(), expected);
    }
}

#[test]
fn a_topic_that_is_gone_is_told_after_a_cut_and_not_without_one() {
    let mut follower = placed(Some(&meta("e 2 a@1")));
    let mut told = Told::default();
    follower.recheck();
    assert_eq!((follower.on_meta(None, &mut told), told.take().as_str()), (None, ""));
    assert_eq!(follower.on_message(at("fa1"), b""), Verdict::Deliver);
    follower.on_cut();
    follower.on_subscribed(Some(term('a')));
    assert_eq!(follower.on_meta(None, &mut told), None);
    assert_eq!(told.take(), "!emptied fa1 -");
    // A restart may have taken what came in between.
    follower.on_cut();
    follower.on_subscribed(Some(term('b')));
    assert_eq!(follower.on_meta(None, &mut told), None);
    assert_eq!(told.take(), "!failover fa1 -");
    // An earlier life comes back.
    follower.on_cut();
    follower.on_subscribed(Some(term('b')));
    let now = meta("e 3 a@1");
    assert_eq!(follower.on_meta(Some(&now), &mut told), Some(Ask::Messages { from: 3 }));
}

#[test]
fn more_than_may_wait_is_read_from_the_store() {
    let payload = vec![0; MAX_WAITING.0 / 4 - WAITING];
    for (payload, held) in [(&payload[..], 4), (&[], MAX_WAITING.1 as u64)] {
        let mut follower = placed(Some(&meta("e 1 a@1")));
        let last = 3 + held;
        let verdicts: Vec<Verdict> =
            (3..=last).map(|offset| follower.on_message(Position { offset, ..at("ea1") }, payload)).collect();
        assert_eq!(verdicts[0], Verdict::Wait(Some(Ask::Messages { from: 2 })));
        let mut told = Told::default();
        // The answer is older than they are.
        let ask = follower.on_messages(Some(&meta("e 2 a@1")), page([2]), true, &mut told);
        assert_eq!((ask, told.0.len() as u64), (Some(Ask::Meta), 1 + held));
        assert!(!follower.is_settled());
        let now = Meta { offset: last, ..meta("e 1 a@1") };
        assert_eq!(follower.on_meta(Some(&now), &mut told), Some(Ask::Messages { from: last }));
        assert_eq!(follower.on_messages(Some(&now), page([last]), true, &mut told), None);
        let expected: Vec<String> = (2..=last).map(|offset| format!("ea{offset}")).collect();
        assert_eq!(told.0, expected);
    }
}

#[test]
fn what_waits_is_handed_on_when_the_store_refuses_to_be_read() {
    let mut follower = placed(Some(&meta("e 1 a@1")));
    let mut told = Told::default();
    for offset in [3, 4] {
        follower.on_message(Position { offset, ..at("ea1") }, b"");
    }
    assert_eq!(follower.on_refused(&mut told), None);
    assert_eq!(told.take(), "!unreadable ea1 ea2, ea3, ea4");
    assert!(follower.is_settled());
    assert_eq!(follower.on_message(at("ea5"), b""), Verdict::Deliver);
    // After a cut nobody knows.
    follower.on_cut();
    follower.on_subscribed(Some(term('a')));
    follower.on_refused(&mut told);
    assert_eq!(told.take(), "!unreadable ea5 -");
    // A refusal that nobody waits for.
    assert_eq!((follower.on_refused(&mut told), told.take().as_str()), (None, ""));
}

#[test]
fn a_follower_that_is_refused_from_the_start_goes_on_with_what_comes() {
    let mut follower = Follower::new(false);
    follower.on_subscribed(Some(term('a')));
    let mut told = Told::default();
    follower.on_refused(&mut told);
    assert!(follower.is_placed() && follower.is_settled());
    follower.on_cut();
    follower.on_subscribed(Some(term('a')));
    assert_eq!(follower.on_message(at("ea9"), b""), Verdict::Wait(None));
    assert_eq!(follower.on_meta(Some(&meta("e 9 a@1")), &mut told), Some(Ask::Messages { from: 9 }));
    assert_eq!(told.take(), "!unreadable - ea8");
}

#[test]
fn what_comes_over_no_subscription_is_dropped() {
    let mut follower = placed(None);
    follower.on_cut();
    assert_eq!(follower.on_message(at("ea1"), b""), Verdict::Drop);
    assert_eq!(follower.recheck(), None);
    let mut told = Told::default();
    let answers = [
        follower.on_meta(Some(&meta("e 1 a@1")), &mut told),
        follower.on_messages(Some(&meta("e 1 a@1")), page([1]), true, &mut told),
        follower.on_refused(&mut told),
    ];
    assert_eq!((answers, told.take().as_str()), ([None; 3], ""));
    // It is not lost: the subscription was told to be empty, and is not.
    follower.on_subscribed(Some(term('a')));
    assert_eq!(follower.on_meta(Some(&meta("e 1 a@1")), &mut told), Some(Ask::Messages { from: 1 }));
}

#[test]
fn a_page_that_is_empty_ends_the_questions() {
    let mut follower = placed(Some(&meta("e 1 a@1")));
    follower.on_message(at("ea3"), b"");
    let mut told = Told::default();
    assert_eq!(follower.on_messages(Some(&meta("e 3 a@1")), page([]), false, &mut told), None);
    assert_eq!(told.take(), "!trimmed ea1 ea3");
}

#[test]
fn what_was_too_much_to_wait_is_told_if_the_topic_goes_before_it_is_read() {
    let mut follower = placed(Some(&meta("e 1 a@1")));
    let mut told = Told::default();
    follower.on_message(at("ea3"), b"");
    follower.on_message(at("ea4"), &vec![0; MAX_WAITING.0]);
    let ask = follower.on_messages(Some(&meta("e 4 a@1")), page([2, 3]), false, &mut told);
    assert_eq!((ask, told.take().as_str()), (Some(Ask::Messages { from: 4 }), "ea2, ea3"));
    assert_eq!(follower.on_messages(None, page([]), true, &mut told), Some(Ask::Meta));
    assert_eq!(follower.on_meta(None, &mut told), None);
    assert_eq!(told.take(), "!emptied ea3 -");
}
