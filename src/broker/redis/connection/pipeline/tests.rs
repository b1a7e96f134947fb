use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::*;
use crate::broker::redis::connection::command::Pending;
use crate::worker::handle::{Handle, Peer};

#[test]
fn the_embedder_and_quiet_clients_go_before_the_rest_which_waits_while_redis_is_busy() {
    let inbox = Arc::new(Inbox::of_test(0));
    let pipeline = Pipeline::new(inbox.clone(), Arc::new(Quota::new(usize::MAX)));
    pipeline.begin();
    pipeline.open();
    let sender = Arc::new(Handle::new(1, "ada".into(), Peer::default(), inbox));
    let client = |first| Asker::Sender {
        sender: sender.clone(),
        cost: 1,
        first,
        epoch: 0,
        kept: false,
        receipt: None,
    };
    let nobody = || Asker::Nobody;
    let add = |byte: u8, asker| pipeline.add(0, asker, None, |out| out.push(byte)).is_ok();
    let take = |also_rest: bool| {
        let batches = pipeline.take(Waker::noop(), Batch::default(), also_rest.then_some(PORTION));
        batches.map(|batch| batch.bytes).concat()
    };
    assert!(add(b'a', client(false)) && add(b'b', nobody()) && add(b'c', client(true)));
    assert!(add(b'd', client(false)));
    assert_eq!(take(false), b"bc");
    assert_eq!(take(false), b"");
    assert!(add(b'e', nobody()));
    assert_eq!(take(true), b"ead", "in one go, so that nothing of the same client's comes in between");
    // Not before all that goes first.
    (0..PORTION.commands).for_each(|_| assert!(add(b'f', nobody())));
    assert!(add(b'r', client(false)) && add(b'f', nobody()));
    assert_eq!(take(true), [b'f'].repeat(PORTION.commands));
    assert_eq!(take(true), b"fr");
    // Given up in the same order, and none is left.
    assert!(add(b'a', client(false)) && add(b'b', nobody()));
    let mut given_up = Vec::new();
    pipeline.close(|batch| given_up.extend(batch.bytes));
    assert_eq!(given_up, b"ba");
}

#[test]
fn a_backlog_is_given_up_in_the_order_in_which_it_would_have_gone() {
    let inbox = Arc::new(Inbox::of_test(0));
    let pipeline = Pipeline::new(inbox.clone(), Arc::new(Quota::new(usize::MAX)));
    pipeline.begin();
    pipeline.open();
    let sender = Arc::new(Handle::new(1, "ada".into(), Peer::default(), inbox));
    let add = |first, byte: u8, len: usize| {
        let asker =
            Asker::Sender { sender: sender.clone(), cost: 1, first, epoch: 0, kept: false, receipt: None };
        pipeline.add(0, asker, None, |out| out.resize(out.len() + len, byte)).is_ok()
    };
    assert!(add(true, b'a', 1) && add(false, b'b', PORTION.bytes) && add(false, b'c', LITTLE));
    pipeline.end();
    let mut given_up = Vec::new();
    while let Some(batch) = pipeline.drain(false) {
        given_up.push(batch.bytes[0]);
    }
    pipeline.close(|batch| given_up.push(batch.bytes[0]));
    assert_eq!(given_up, b"abc");
}

#[test]
fn publishes_wait_for_subscriptions_that_were_asked_for_before_and_for_no_ends_of_them() {
    let inbox = Arc::new(Inbox::of_test(0));
    let pipeline = Pipeline::new(inbox, Arc::new(Quota::new(usize::MAX)));
    let channel = |n: usize| RedisChannel { name: format!("{n}").into(), sharded: false };
    let many = 0..2 * CHANNELS_PER_TAKE;
    let take = || {
        let batches = pipeline.take(Waker::noop(), Batch::default(), Some(PORTION));
        let kind = |pending: &Pending| match pending.command {
            Command::Subscribe { left, .. } => ("subscribe", left),
            Command::Unsubscribe { left } => ("unsubscribe", left),
            _ => ("publish", 1),
        };
        batches.iter().flat_map(|batch| batch.pending.iter().map(kind)).collect::<Vec<_>>()
    };
    let publish = || pipeline.add(0, Asker::Nobody, None, |out| out.push(b'x')).is_ok();
    pipeline.begin();
    pipeline.open();
    for n in many.clone() {
        let _ = pipeline.subscribe(0, channel(n));
    }
    // The last word counts.
    pipeline.unsubscribe(0, channel(0));
    assert!(publish());
    assert_eq!(take(), [("subscribe", CHANNELS_PER_TAKE)]);
    assert_eq!(take(), [("subscribe", CHANNELS_PER_TAKE - 1)]);
    assert_eq!(take(), [("unsubscribe", 1), ("publish", 1)]);
    pipeline.dropped();
    many.for_each(|n| pipeline.unsubscribe(0, channel(n)));
    assert!(publish());
    assert_eq!(take(), [("unsubscribe", CHANNELS_PER_TAKE), ("publish", 1)]);
    assert_eq!(take(), [], "until these are dropped");
    assert!(publish());
    assert_eq!(take(), [("publish", 1)]);
    pipeline.dropped();
    assert_eq!(take(), [("unsubscribe", CHANNELS_PER_TAKE)]);
}

#[test]
fn whoever_adds_while_much_is_given_up_waits_for_nobody_and_comes_after_it() {
    let quota = Arc::new(Quota::new(usize::MAX));
    let pipeline = Pipeline::new(Arc::new(Inbox::of_test(0)), quota.clone());
    let add = |byte: u8, len: usize| {
        pipeline.add(0, Asker::Nobody, None, |out| out.resize(out.len() + len, byte)).is_ok()
    };
    pipeline.begin();
    pipeline.open();
    assert!(add(b'a', 1 << 20));
    pipeline.end();
    assert!(quota.is_giving_up());
    let mut given_up = Vec::new();
    thread::scope(|scope| {
        pipeline.close(|batch| {
            if given_up.is_empty() {
                let (tell, told) = mpsc::channel();
                scope.spawn(move || tell.send(add(b'b', 10)));
                assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(true));
            }
            given_up.push((batch.bytes[0], batch.bytes.len(), batch.pending.len()));
        });
    });
    assert_eq!(given_up, [(b'a', 1 << 20, 1), (b'b', 10, 1)]);
    assert!(!add(b'c', 1), "it is down");
    assert_eq!((quota.used(), quota.is_giving_up()), (0, false));
}

/// A pipeline whose session has not begun, and the quota that it counts in.
fn pipeline() -> (Arc<Quota>, Pipeline) {
    let quota = Arc::new(Quota::new(usize::MAX));
    (quota.clone(), Pipeline::new(Arc::new(Inbox::of_test(0)), quota))
}

fn add(pipeline: &Pipeline) -> Result<(), NotAdded> {
    pipeline.add(0, Asker::Nobody, None, |out| out.push(b'x'))
}

fn close(pipeline: &Pipeline) {
    pipeline.close(|batch| assert!(!batch.pending.is_empty()));
}

#[test]
fn a_session_that_never_opened_has_nothing_to_give_up_and_one_that_did_ends_that_once() {
    let (quota, pipeline) = pipeline();
    let (add, close) = (|| add(&pipeline), || close(&pipeline));
    pipeline.begin();
    pipeline.end();
    assert!(!quota.is_giving_up() && matches!(add(), Err(NotAdded::Down(_))));
    close();
    // Also where the task is dropped, which ends nothing before it closes.
    for ends in [2, 0] {
        pipeline.begin();
        pipeline.open();
        assert!(add().is_ok());
        (0..ends).for_each(|_| pipeline.end());
        assert_eq!(quota.is_giving_up(), ends > 0);
        assert!(add().is_ok(), "behind what is given up");
        close();
        assert!(!quota.is_giving_up() && matches!(add(), Err(NotAdded::Down(_))));
    }
}

#[test]
fn a_session_shuts_only_what_was_open_and_opens_only_what_has_begun() {
    let (quota, pipeline) = pipeline();
    let (add, close) = (|| add(&pipeline), || close(&pipeline));
    // It never opened: nothing is given up, and the end of that is not counted.
    pipeline.begin();
    pipeline.end();
    assert!(pipeline.drain(true).is_none() && matches!(add(), Err(NotAdded::Down(_))));
    close();
    assert!(!quota.is_giving_up());
    pipeline.open();
    assert!(matches!(add(), Err(NotAdded::Down(_))), "no session has begun");
    // It was open, and ever more came.
    pipeline.begin();
    pipeline.open();
    pipeline.end();
    assert!(add().is_ok() && pipeline.drain(true).is_none());
    assert!(matches!(add(), Err(NotAdded::Full(_))));
    pipeline.open();
    assert!(matches!(add(), Err(NotAdded::Full(_))), "it ends");
    close();
    assert!(!quota.is_giving_up() && matches!(add(), Err(NotAdded::Down(_))));
}
