use std::collections::HashMap;

use codes::close::ClosedBy;

use super::*;
use crate::worker::handle::Peer;
use crate::worker::inbox::Inbox;

const MAX_BYTES: usize = 256 * 1024;

fn handle(id: u64) -> Arc<Handle> {
    Arc::new(Handle::new(id, "u".into(), Peer::default(), Arc::new(Inbox::of_test(1))))
}

fn handles(count: u64) -> Vec<Arc<Handle>> {
    (0..count).map(handle).collect()
}

fn text(handle: &Arc<Handle>, text: &str) -> Event {
    Event::Text { handle: handle.clone(), text: text.into() }
}

fn push(flows: &mut Flows, handle: &Arc<Handle>, count: usize) {
    (0..count).for_each(|_| flows.push(text(handle, "")));
}

/// The connections of a batch's events.
fn take(flows: &mut Flows, max: usize) -> Vec<u64> {
    let mut batch = VecDeque::new();
    flows.take(max, &mut batch);
    batch.iter().filter_map(Event::connection).map(|handle| handle.id).collect()
}

#[test]
fn a_drain_behind_a_drain_is_left_out() {
    let mut flows = Flows::new(usize::MAX, MAX_BYTES);
    let handle = handle(1);
    let drain = || Event::Drain { handle: handle.clone() };
    (0..1000).for_each(|_| flows.push(drain()));
    flows.push(text(&handle, "x"));
    (0..1000).for_each(|_| flows.push(drain()));
    assert_eq!(flows.len(), 3);
    take(&mut flows, 256);
    assert_eq!(flows.bytes(), 0);
    flows.push(drain());
    assert_eq!(flows.len(), 1, "the one before was taken");
}

#[test]
fn who_newly_has_something_comes_before_all_who_have_more_than_their_turn_takes() {
    let mut flows = Flows::new(usize::MAX, MAX_BYTES);
    let (floods, quiet) = (handles(16), handle(16));
    floods.iter().for_each(|flood| push(&mut flows, flood, 500));
    // Newcomers are served in the order in which they came.
    let batch = take(&mut flows, 256);
    assert_eq!((batch[0], batch[TURN], batch[255]), (0, 1, 15));
    push(&mut flows, &quiet, 1);
    let batch = take(&mut flows, 256);
    assert_eq!(batch[..2], [quiet.id, 0]);
    for flood in &floods {
        let share = batch.iter().filter(|id| **id == flood.id).count();
        assert!((TURN - 1..=TURN).contains(&share), "{share}");
    }
}

#[test]
fn who_asks_again_in_one_round_waits_for_one_turn_of_each_other_at_most() {
    let mut flows = Flows::new(usize::MAX, MAX_BYTES);
    let (floods, quiet) = (handles(8), handle(8));
    floods.iter().for_each(|flood| push(&mut flows, flood, 500));
    // Each batch has one event, and so has each turn.
    let next = |flows: &mut Flows, count: usize| (0..count).flat_map(|_| take(flows, 1)).collect::<Vec<_>>();
    next(&mut flows, 8);
    push(&mut flows, &quiet, 1);
    assert_eq!(next(&mut flows, 1), [quiet.id]);
    // The round begins here.
    assert_eq!(next(&mut flows, 3), [0, 1, 2]);
    push(&mut flows, &quiet, 1);
    assert_eq!(next(&mut flows, 2), [quiet.id, 3]);
    push(&mut flows, &quiet, 1);
    assert_eq!(next(&mut flows, 10), [4, 5, 6, 7, 0, 1, 2, 3, quiet.id, 4]);
}

#[test]
fn turns_get_shorter_where_a_round_would_be_long() {
    for (count, max, turn) in [(2, 256, 16), (64, 256, 16), (256, 256, 4), (2000, 256, 1), (16, 4, 1)] {
        let mut flows = Flows::new(usize::MAX, MAX_BYTES);
        let all = handles(count);
        all.iter().for_each(|handle| push(&mut flows, handle, 20));
        let batch = take(&mut flows, max);
        assert_eq!(batch.iter().take_while(|id| **id == 0).count(), turn, "{count} {max}");
    }
}

#[test]
fn no_number_of_quiet_connections_keeps_a_busy_one_from_its_turn() {
    let mut flows = Flows::new(usize::MAX, MAX_BYTES);
    let (quiet, busy) = (handles(100), handle(100));
    push(&mut flows, &busy, 500);
    let mut served = 0;
    for _ in 0..1000 {
        // Each has one message on its way at any time.
        for handle in quiet.iter().filter(|handle| handle.flow().is_none()) {
            flows.push(text(handle, ""));
        }
        served += take(&mut flows, 10).iter().filter(|id| **id == busy.id).count();
    }
    assert!((90..=110).contains(&served), "{served}");
}

#[test]
fn connections_that_come_and_go_without_end_keep_no_busy_one_from_its_turn() {
    const NEW: usize = 50;
    for count in [1, 10, 100] {
        let mut flows = Flows::new(usize::MAX, MAX_BYTES);
        let busy = handles(count);
        busy.iter().for_each(|handle| push(&mut flows, handle, 100));
        (0..busy.len()).for_each(|_| _ = take(&mut flows, 1));
        let mut next_id = count;
        let mut waiting = VecDeque::new();
        let mut served = HashMap::new();
        let round = NEW + 2 * busy.len();
        for _ in 0..4 * round {
            while waiting.len() < NEW {
                let newcomer = handle(next_id);
                next_id += 1;
                flows.push(Event::Open { handle: newcomer.clone(), ticket: 0 });
                waiting.push_back(newcomer);
            }
            for id in take(&mut flows, 1) {
                *served.entry(id).or_insert(0) += 1;
                waiting.retain(|newcomer| newcomer.id != id);
            }
        }
        let turns = |handle: &Arc<Handle>| served.get(&handle.id).copied().unwrap_or(0);
        assert!(busy.iter().all(|handle| turns(handle) >= 2), "{count}");
        let of_busy: usize = busy.iter().map(turns).sum();
        assert!(4 * round - of_busy >= 2 * round, "newcomers have half of the turns");
    }
}

#[test]
fn a_turn_and_a_batch_end_after_so_many_bytes() {
    let mut flows = Flows::new(usize::MAX, usize::MAX);
    let all = handles(2);
    for handle in &all {
        (0..100).for_each(|_| flows.push(text(handle, &"x".repeat(10_000))));
    }
    let batch = take(&mut flows, 256);
    assert_eq!(batch[..8], [0, 0, 1, 1, 0, 0, 1, 1]);
    assert!(batch.len() <= BATCH_BYTES / 10_000 + 2, "{}", batch.len());
    // One of any size passes.
    let mut flows = Flows::new(usize::MAX, MAX_BYTES);
    let all = handles(1);
    flows.push(text(&all[0], &"x".repeat(2 * BATCH_BYTES)));
    assert!(all[0].is_paused());
    assert_eq!(take(&mut flows, 256), [0]);
}

#[test]
fn a_connection_is_paused_at_its_share_and_relieved_at_half_of_it() {
    for (len, share) in [(0, MAX_MESSAGES), (10_000 - MESSAGE_OVERHEAD, MAX_BYTES / 10_000 + 1)] {
        let mut flows = Flows::new(usize::MAX, MAX_BYTES);
        let all = handles(1);
        for at in 1..=share {
            assert!(!all[0].is_paused(), "{at}");
            flows.push(text(&all[0], &"x".repeat(len)));
        }
        assert!(all[0].is_paused());
        let mut left = share;
        let relieved = loop {
            let mut batch = VecDeque::new();
            let taken = flows.take(1, &mut batch);
            left -= batch.len();
            if !taken.relieved.is_empty() {
                break taken.relieved;
            }
        };
        assert_eq!((relieved.len(), left), (1, share / 2));
    }
}

#[test]
fn no_connection_has_more_waiting_than_is_left_free_and_one_message_fits_always() {
    const LIMIT: usize = 100_000;
    for count in [1, 9, 99, 999] {
        let mut flows = Flows::new(LIMIT, usize::MAX);
        let floods = handles(count);
        let message = "x".repeat(1000 - MESSAGE_OVERHEAD);
        // Each in turn, as long as it is read.
        while let Some(flood) = floods
            .iter()
            .filter(|flood| !flood.is_paused() && flows.has_room(flood))
            .min_by_key(|flood| flows.bytes_of(flood))
        {
            flows.push(text(flood, &message));
        }
        let each = (LIMIT / 1000 / (floods.len() + 1)).max(1);
        let most = flows.flows.iter().map(|(_, flow)| flow.messages).max();
        assert!(most.is_some_and(|most| (each..=each + 1).contains(&most)), "{count}: {most:?}");
        assert!(flows.bytes() <= LIMIT.max(floods.len() * 1000), "{count}: {}", flows.bytes());
        // A connection with nothing waiting is heard, and again once that is taken.
        let quiet = handle(count);
        for _ in 0..3 {
            assert!(!quiet.is_paused());
            flows.push(text(&quiet, &message));
            while quiet.flow().is_some() {
                flows.take(1, &mut VecDeque::new()).relieved.iter().for_each(Handle::resume);
            }
        }
        while flows.len() > 0 {
            flows.take(256, &mut VecDeque::new()).relieved.iter().for_each(Handle::resume);
        }
        assert_eq!(flows.bytes(), 0);
        assert!(floods.iter().all(|flood| !flood.is_paused()));
    }
}

#[test]
fn small_messages_go_on_while_large_ones_leave_nothing_free() {
    const LIMIT: usize = 32 << 20;
    for (count, len, small) in [(40, 1 << 20, 100), (5000, 4000, 20), (16_000, 1000, 20)] {
        let mut flows = Flows::new(LIMIT, MAX_BYTES);
        let floods = handles(count);
        let message = "x".repeat(len);
        for flood in floods.iter().cycle().take(10 * floods.len()) {
            if !flood.is_paused() && flows.has_room(flood) {
                flows.push(text(flood, &message));
            }
        }
        assert!(floods.iter().all(|flood| flood.is_paused() || !flows.has_room(flood)));
        assert!((LIMIT..2 * LIMIT).contains(&flows.bytes()), "{count}: {}", flows.bytes());
        let quiet = handle(count);
        for at in 0..small {
            assert!(!quiet.is_paused() && flows.has_room(&quiet), "{count}: {at}");
            flows.push(text(&quiet, "small"));
        }
    }
}

#[test]
fn each_connections_events_come_once_and_in_their_order_whatever_the_batches() {
    let mut flows = Flows::new(usize::MAX, MAX_BYTES);
    let all = handles(40);
    let mut random = 1u64;
    let mut next = move |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) as usize % below
    };
    let (mut pushed, mut seen) = (HashMap::new(), HashMap::new());
    for round in 0..3000 {
        for _ in 0..next(40) {
            // Some are busier than others.
            let handle = &all[next(40).min(next(40))];
            let number: &mut usize = pushed.entry(handle.id).or_default();
            let event = match number {
                0 => Event::Open { handle: handle.clone(), ticket: 0 },
                _ => text(handle, &format!("{number} {}", "x".repeat(next(3000)))),
            };
            flows.push(event);
            *number += 1;
        }
        let mut batch = VecDeque::new();
        flows.take(if round == 2999 { usize::MAX } else { next(60) }, &mut batch);
        while round == 2999 && flows.len() > 0 {
            flows.take(usize::MAX, &mut batch);
        }
        for event in batch {
            let Some(handle) = event.connection() else { panic!("{event:?}") };
            let due = seen.entry(handle.id).or_insert(0);
            match event {
                Event::Open { .. } => assert_eq!(*due, 0),
                Event::Text { text, .. } => assert_eq!(text.split(' ').next(), Some(&*due.to_string())),
                other => panic!("{other:?}"),
            }
            *due += 1;
        }
    }
    assert_eq!(pushed, seen);
    assert!(all.iter().all(|handle| handle.flow().is_none()));
    assert!(flows.flows.is_empty() && flows.fresh.is_empty() && flows.busy.is_empty() && flows.left == 0);
}

#[test]
fn what_a_flood_took_is_given_back() {
    let mut flows = Flows::new(usize::MAX, usize::MAX);
    let all = handles(100);
    all.iter().for_each(|handle| push(&mut flows, handle, 500));
    assert!(flows.items.capacity() >= 50_000);
    while flows.len() > 0 {
        take(&mut flows, 256);
    }
    assert!(flows.items.capacity() + flows.flows.capacity() + flows.busy.capacity() <= SPARE);
    let close = |handle: &Arc<Handle>| Event::Close {
        handle: handle.clone(),
        code: 1000,
        reason: "".into(),
        by: ClosedBy::Peer,
    };
    flows.push(close(&all[0]));
    assert_eq!(take(&mut flows, 256), [0]);
}
