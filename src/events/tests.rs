use codes::close::ClosedBy;
use protocol::endpoint::Commands;

use super::*;
use crate::worker::handle::Peer;
use crate::worker::inbox::Inbox;

fn events() -> Events {
    let events = Events::new(Box::new(|| {}), 1 << 30, 1 << 20);
    events.set_interest(Interest::ALL);
    events
}

fn handle(id: u64) -> Arc<Handle> {
    Arc::new(Handle::new(id, "u".into(), Peer::default(), Arc::new(Inbox::of_test(1))))
}

/// An event in one letter, and its number.
fn name(event: &Event) -> String {
    match event {
        Event::Text { text, .. } => format!("t{text}"),
        Event::Settled { ticket, .. } => format!("s{ticket}"),
        Event::Close { .. } => "end".into(),
        Event::Closed => "closed".into(),
        other => format!("{other:?}"),
    }
}

fn names(batch: &VecDeque<Event>) -> Vec<String> {
    batch.iter().map(name).collect()
}

fn settled(ticket: u64) -> Event {
    Event::Settled { ticket, result: Ok(Answer::Done) }
}

#[test]
fn answers_wait_for_no_flood_keep_their_order_and_leave_a_quarter_of_a_batch_to_messages() {
    let events = events();
    let flood = handle(1);
    (0..20).for_each(|number| events.push_message(&flood, Message::Text(&number.to_string())));
    events.push(settled(1));
    events.push(settled(2));
    assert_eq!(names(&events.drain(4)), ["s1", "s2", "t0", "t1"]);
    (3..20).for_each(|ticket| events.push(settled(ticket)));
    assert_eq!(names(&events.drain(4)), ["s3", "s4", "s5", "t2"]);
    assert_eq!(names(&events.drain(1)), ["s6"]);
}

#[test]
fn a_line_of_answers_goes_away_while_each_message_makes_another() {
    let events = events();
    let flood = handle(1);
    let mut ticket = 0;
    let mut call = || {
        ticket += 1;
        events.push(settled(ticket));
    };
    (0..1000).for_each(|_| call());
    for _ in 0..20 {
        (0..256).for_each(|_| events.push_message(&flood, Message::Text("")));
        let batch = events.drain(256);
        assert_eq!(batch.len(), 256);
        batch.iter().filter(|event| event.connection().is_some()).for_each(|_| call());
    }
    let waiting = events.queue.lock().others.len();
    assert!(waiting <= 256, "{waiting}");
}

#[test]
fn the_engines_end_comes_last_whenever_it_is_told() {
    let events = events();
    let ada = handle(1);
    events.push_message(&ada, Message::Text("1"));
    events.push(Event::Closed);
    let end = Event::Close { handle: ada.clone(), code: 1006, reason: "".into(), by: ClosedBy::Network };
    events.push(end);
    events.push(settled(1));
    assert_eq!(names(&events.drain(2)), ["s1", "t1"]);
    assert_eq!(names(&events.drain(1)), ["end"]);
    assert_eq!(names(&events.drain(256)), ["closed"]);
    assert!(events.drain(256).is_empty());
}

#[test]
fn whoever_is_woken_is_let_go_of_with_the_engines_end() {
    let woken = Arc::new(());
    let held = woken.clone();
    let events = Events::new(Box::new(move || drop(held.clone())), 1 << 10, 1 << 10);
    events.push(settled(1));
    events.drain(256);
    assert_eq!(Arc::strong_count(&woken), 2);
    events.push(Event::Closed);
    events.drain(256);
    assert_eq!(Arc::strong_count(&woken), 1);
    events.push(settled(2));
    assert_eq!(names(&events.drain(256)), ["s2"]);
}

#[test]
fn at_twice_the_limit_connections_wait_in_line_and_are_called_as_others_leave() {
    let events = Events::new(Box::new(|| {}), 1 << 10, 1 << 20);
    events.set_interest(Interest::ALL);
    let all: Vec<_> = (0..10).map(handle).collect();
    let text = "x".repeat(1 << 9);
    let (speakers, line) = all.split_at(4);
    for speaker in speakers {
        assert!(!events.must_pause(speaker), "one message of each fits");
        events.push_message(speaker, Message::Text(&text));
    }
    assert!(speakers.iter().all(|handle| handle.is_paused() || handle.id == 0));
    assert!(line.iter().all(|handle| events.must_pause(handle)));
    assert!(events.must_pause(&speakers[0]));
    let paused =
        || all.iter().filter(|handle| handle.is_paused()).map(|handle| handle.id).collect::<Vec<_>>();
    assert_eq!(paused().len(), 10);
    for left in [&[1, 2, 3, 5, 6, 7, 8, 9][..], &[2, 3, 6, 7, 8, 9], &[3]] {
        events.drain(1);
        assert_eq!(paused(), left);
    }
}

#[test]
fn an_end_waits_until_the_batch_with_the_connections_last_message_is_dealt_with() {
    let events = events();
    let (ada, bob) = (handle(1), handle(2));
    let is_settled = |handle: &Arc<Handle>| handle.commands().has(Commands::SETTLED);
    assert!(!events.must_settle(&ada), "there is nothing to wait for");
    (0..3).for_each(|_| events.push_message(&ada, Message::Text("a")));
    (0..30).for_each(|_| events.push_message(&bob, Message::Text("b")));
    assert!(events.must_settle(&ada));
    for batch in [["ta", "ta"], ["tb", "tb"]] {
        assert_eq!(names(&events.drain(2)), batch);
        events.settle();
        assert!(!is_settled(&ada), "one of its messages still waits");
    }
    assert_eq!(names(&events.drain(2)), ["ta", "tb"]);
    assert!(!is_settled(&ada), "the embedder has it in its hands");
    events.settle();
    assert!(is_settled(&ada));
    // Events in the embedder's hands by then are waited for as well.
    assert!(!events.must_settle(&ada));
    events.push_message(&ada, Message::Text("1"));
    events.drain(256);
    assert!(events.must_settle(&ada));
    events.settle();
    assert!(!events.must_settle(&ada));
}
