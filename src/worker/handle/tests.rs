//! When a connection is not read, and what the heartbeat makes of that.

use protocol::endpoint::Commands;
use protocol::frame::Message;

use super::*;
use crate::worker::outgoing::{Encoding, Outgoing, Stamps};

#[test]
fn a_connection_that_waits_for_the_broker_is_not_overdue_and_is_read_only_if_javascript_keeps_up() {
    let inbox = Arc::new(Inbox::of_test(1));
    let handle = Arc::new(Handle::new(1, "ada".into(), Peer::default(), inbox));
    handle.on_ping(1000);
    handle.set_held();
    assert!(handle.is_stopped() && !handle.is_overdue(5000, 100), "the clock stands still");
    handle.set_paused(true);
    handle.call();
    assert!(handle.is_stopped() && !handle.is_overdue(5100, 100));
    assert!(handle.was_called() && !handle.was_called());
    handle.set_held();
    handle.resume();
    assert!(handle.is_stopped(), "each for its own reason");
    handle.call();
    assert!(!handle.is_stopped());
}

#[test]
fn a_connection_that_is_read_again_has_time_to_be_heard_before_it_is_overdue() {
    let inbox = Arc::new(Inbox::of_test(1));
    let handle = Arc::new(Handle::new(1, "ada".into(), Peer::default(), inbox));
    handle.on_ping(1000);
    handle.set_paused(true);
    assert!(!handle.is_overdue(5000, 100), "the clock stands still");
    handle.resume();
    // The heartbeat comes by before the connection has read what lies there.
    assert!(!handle.is_overdue(5100, 100));
    handle.on_ping(6000);
    assert!(!handle.is_overdue(6099, 100));
    assert!(handle.is_overdue(6100, 100));
    handle.mark_alive();
    assert!(!handle.is_overdue(6100, 100));
}

#[test]
fn a_peer_keeps_its_request_only_where_there_is_one() {
    let peer = |remote: &str, request| Peer::new("chat".into(), remote.into(), request, None);
    let plain = peer("10.0.0.1", None);
    assert_eq!((plain.remote(), plain.request()), ("10.0.0.1", None));
    let kept = peer("10.0.0.1", Some("/a\nx-tag\nb"));
    assert_eq!((kept.remote(), kept.request()), ("10.0.0.1", Some("/a\nx-tag\nb")));
    let nowhere = peer("", Some("/"));
    assert_eq!((nowhere.remote(), nowhere.request()), ("", Some("/")));
    let odd = peer("10.0.0.1\nforged", None);
    assert_eq!((odd.remote(), odd.request()), ("10.0.0.1", None), "an embedder's socket may say anything");
    assert_eq!(size_of::<Peer>(), 3 * size_of::<Box<str>>(), "no room for what is not kept");
}

#[test]
fn a_connection_that_the_application_has_paused_is_not_overdue_whatever_else_lets_it_be_read() {
    let inbox = Arc::new(Inbox::of_test(1));
    let handle = Arc::new(Handle::new(1, "ada".into(), Peer::default(), inbox));
    handle.on_ping(1000);
    handle.halt();
    handle.set_paused(true);
    handle.resume();
    handle.on_ping(2000);
    assert!(handle.is_stopped() && !handle.is_overdue(5000, 100), "the clock stands still");
    handle.go_on();
    assert!(!handle.is_stopped() && !handle.is_overdue(5100, 100), "it has time to be heard");
}

#[test]
fn a_connection_is_open_until_its_end_is_asked_for_and_counts_until_then() {
    let inbox = Arc::new(Inbox::of_test(1));
    for ends in [Handle::declare_slow as fn(&Arc<Handle>), Handle::terminate] {
        let handle = Arc::new(Handle::new(1, "ada".into(), Peer::default(), inbox.clone()));
        assert!(handle.is_open() && inbox.open.load(Ordering::Relaxed) == 1);
        ends(&handle);
        ends(&handle);
        assert!(!handle.is_open() && inbox.open.load(Ordering::Relaxed) == 0);
        assert!(handle.shut(), "it has yet to leave");
        assert!(!handle.is_open() && inbox.open.load(Ordering::Relaxed) == 0);
    }
}

#[test]
fn a_ping_among_what_the_client_was_not_yet_offered_finds_it_no_slower_than_a_message_does() {
    let inbox = Arc::new(Inbox::of_test(1));
    let handle = Arc::new(Handle::new(1, "ada".into(), Peer::default(), inbox));
    let text = "x".repeat(100_000);
    let push = || {
        handle.push(Outgoing::new(Message::Text(&text), Stamps::default()).frames(Encoding::Plain), 1 << 20)
    };
    assert!((0..20).all(|_| push() == Pushed::Queued && handle.ping(b"", 1 << 20)));
    assert!(handle.is_open() && !handle.commands().has(Commands::SLOW));
    let pings = (0..1 << 20).take_while(|_| handle.ping(&[0; 125], 1 << 20)).count();
    assert!((50_000..100_000).contains(&pings), "{pings}: pings are bounded too");
    assert!(handle.commands().has(Commands::SLOW));
    assert_eq!((handle.is_open(), push()), (false, Pushed::Closed), "what is closed for that takes no more");
}
