#![allow(clippy::unwrap_used)]

use super::*;
use crate::worker::Worker;
use crate::worker::handle::Peer;
use crate::worker::inbox::Inbox;

fn handles(many: usize) -> Vec<Arc<Handle>> {
    handles_of(&Arc::new(Inbox::of_test(0)), many)
}

fn handles_of(inbox: &Arc<Inbox>, many: usize) -> Vec<Arc<Handle>> {
    let new = |id| Arc::new(Handle::new(id as u64, "ada".into(), Peer::default(), inbox.clone()));
    (0..many).map(new).collect()
}

/// Relays as much as the connection may, of messages that cost so much. Answers how many units that was.
fn relay(intake: &Intake, handle: &Arc<Handle>, cost: u32) -> u32 {
    let mut units = 0;
    while !intake.must_wait(handle) {
        _ = intake.count_in(handle, cost, false);
        units += cost;
    }
    units
}

#[test]
fn windows_share_the_room_and_those_beyond_them_are_called_in_line() {
    let intake = Intake::default();
    let handles = handles(300);
    let first: Vec<u32> = handles.iter().map(|handle| relay(&intake, handle, 1)).collect();
    assert_eq!((first[0], first[299]), (227, LEAST as u32));
    assert!(first.is_sorted_by(|a, b| a >= b), "{first:?}");
    assert!(handles.iter().all(|handle| handle.is_held()));
    let called = || handles.iter().filter(|handle| !handle.is_held()).count();
    // Answers that leave no room call one at most.
    intake.end(&handles[299], 8, false);
    let call = || (0..=handles.len() / GLANCES).for_each(|_| intake.call());
    call();
    assert_eq!((called(), handles[299].is_held()), (1, false), "all others have something in flight");
    for (handle, units) in handles.iter().zip(&first).take(299) {
        intake.end(handle, *units, false);
    }
    intake.call();
    assert!((ROOM / MOST..=ROOM / LEAST).contains(&called()), "{}", called());
    assert!(handles[0].is_held(), "it relayed most");
    // Room is kept for them until they come.
    let kept = intake.in_flight.load(Ordering::SeqCst);
    assert!((ROOM..ROOM + MOST).contains(&kept), "{kept}");
    handles.iter().for_each(|handle| _ = intake.arrive(handle));
    assert_eq!(intake.in_flight.load(Ordering::SeqCst), 0);
}

#[test]
fn a_crowd_that_stays_within_the_least_does_not_keep_those_in_line_waiting() {
    let intake = Intake::default();
    let handles = handles(1001);
    let (other, crowd) = handles.split_last().unwrap();
    let least = LEAST as u32 - 1;
    let relay_all = |handle: &Arc<Handle>| {
        for _ in 0..least {
            assert!(!intake.must_wait(handle), "nobody asks it to wait");
            intake.count_in(handle, 1, false);
        }
    };
    crowd.iter().for_each(relay_all);
    for _ in 0..100 {
        let units = relay(&intake, other, 1);
        assert_eq!(units, LEAST as u32);
        // Each answer to one of the crowd is followed by its next messages.
        for handle in &crowd[..100] {
            intake.end(handle, least, false);
            relay_all(handle);
        }
        intake.call();
        assert!(other.is_held(), "its own are not answered");
        intake.end(other, units, false);
        intake.call();
        assert!(!other.is_held());
    }
}

#[test]
fn a_message_that_is_larger_than_its_window_passes_and_others_wait_for_it() {
    let intake = Intake::default();
    let handles = handles(3);
    assert_eq!(relay(&intake, &handles[0], 5000), 5000);
    // A quiet one's message passes all the same, and so does a large one.
    assert_eq!(relay(&intake, &handles[1], 1), LEAST as u32);
    assert_eq!(relay(&intake, &handles[2], 60), 60);
    intake.end(&handles[2], 60, false);
    intake.call();
    assert!(handles.iter().all(|handle| handle.is_held()), "the room is used up, and its messages are large");
    intake.end(&handles[1], LEAST as u32, false);
    intake.call();
    assert_eq!(handles.iter().map(|handle| handle.is_held()).collect::<Vec<_>>(), [true, false, true]);
    intake.end(&handles[0], 5000, false);
    intake.call();
    assert_eq!(handles.iter().map(|handle| handle.is_held()).collect::<Vec<_>>(), [false; 3]);
}

#[test]
fn one_that_relays_little_does_not_wait_for_all_who_relay_much() {
    let intake = Intake::default();
    let handles = handles(201);
    let (many, one) = handles.split_at(200);
    let one = &one[0];
    many.iter().for_each(|handle| _ = relay(&intake, handle, 60));
    let mut called = 0;
    for _ in 0..20 {
        let units = relay(&intake, one, 1);
        assert_eq!(units, LEAST as u32);
        intake.end(one, units, false);
        // Others go on in turn as long as it stands in line.
        while one.is_held() {
            if let Some(handle) = many.iter().find(|handle| !handle.is_held()) {
                called += relay(&intake, handle, 60) / 60;
            } else if let Some(handle) = many.iter().find(|handle| handle.window().in_flight() > 0) {
                intake.end(handle, handle.window().in_flight() as u32, false);
                intake.call();
            }
        }
    }
    assert!(called < 800, "{called} others went on meanwhile, of 200 that waited each time");
}

#[test]
fn one_that_is_asked_again_while_it_stands_in_line_stands_there_once() {
    let intake = Intake::default();
    let handles = handles(2);
    let units = relay(&intake, &handles[0], 1);
    assert!((0..5).all(|_| intake.must_wait(&handles[0])));
    assert_eq!(intake.waiting.load(Ordering::SeqCst), 1);
    intake.end(&handles[0], units, false);
    intake.call();
    assert!(!handles[0].is_held() && !intake.must_wait(&handles[0]));
    assert_eq!((intake.in_flight.load(Ordering::SeqCst), intake.waiting.load(Ordering::SeqCst)), (0, 0));
}

#[test]
fn one_that_relayed_much_while_there_was_room_has_nothing_to_make_up_for() {
    let intake = Intake::default();
    let handles = handles(100);
    let (heavy, light) = handles.split_first().unwrap();
    let relay = |handle: &Arc<Handle>| {
        let cost = if std::ptr::eq(handle, heavy) { ROOM as u32 } else { 60 };
        _ = intake.count_in(handle, cost, false);
        _ = intake.must_wait(handle);
    };
    let answer = |handle: &Arc<Handle>| intake.end(handle, handle.window().in_flight() as u32, false);
    for _ in 0..1000 {
        handles.iter().for_each(relay);
        handles.iter().for_each(answer);
        // All go on before any relays again.
        while handles.iter().any(|handle| handle.is_held()) {
            intake.call();
            handles.iter().filter(|handle| !handle.is_held()).for_each(|handle| _ = intake.must_wait(handle));
        }
    }
    handles.iter().for_each(relay);
    answer(heavy);
    let mut turns = 0;
    while heavy.is_held() {
        let called: Vec<_> = light.iter().filter(|handle| !handle.is_held()).collect();
        turns += called.len();
        called.iter().for_each(|handle| _ = intake.must_wait(handle));
        called.into_iter().for_each(relay);
        light.iter().filter(|handle| handle.is_held()).for_each(answer);
        intake.call();
        // As many units as it had, of each of the others.
        assert!(turns < handles.len() * ROOM / 60, "it waits for ever");
    }
}

#[test]
fn those_whose_answers_do_not_come_stand_in_nobodys_way() {
    let intake = Intake::default();
    let handles = handles(GLANCES + 21);
    let (filler, rest) = handles.split_first().unwrap();
    _ = intake.count_in(filler, ROOM as u32, false);
    for handle in rest {
        _ = intake.count_in(handle, 24, false);
        assert!(intake.must_wait(handle));
    }
    intake.end(filler, ROOM as u32, false);
    let (stuck, others) = rest.split_at(GLANCES + 10);
    others.iter().for_each(|handle| intake.end(handle, 24, false));
    // Those that have come first have more than half of their windows unanswered.
    (0..2).for_each(|_| intake.call());
    assert!(stuck.iter().all(|handle| handle.is_held()));
    assert!(others.iter().all(|handle| !handle.is_held()));
    // Each answer is followed by a call, which looks everywhere.
    others.iter().for_each(|handle| assert!(!intake.must_wait(handle)));
    for handle in stuck {
        intake.end(handle, 24, false);
        intake.call();
    }
    assert!(stuck.iter().all(|handle| !handle.is_held()));
}

#[test]
fn one_that_was_called_passes_though_others_were_called_after_it() {
    let intake = Intake::default();
    let handles = handles(100);
    let units: Vec<u32> = handles.iter().map(|handle| relay(&intake, handle, 60)).collect();
    handles.iter().zip(units).for_each(|(handle, units)| intake.end(handle, units, false));
    intake.call();
    let called: Vec<_> = handles.iter().filter(|handle| !handle.is_held()).collect();
    assert!(called.len() > 10 && intake.in_flight.load(Ordering::SeqCst) >= ROOM);
    for handle in called {
        assert!(!intake.must_wait(handle));
        _ = intake.count_in(handle, 60, false);
    }
}

#[test]
fn one_that_has_ended_in_line_or_when_it_is_called_keeps_no_room() {
    let intake = Intake::default();
    let handles = handles(2);
    let units = handles.iter().map(|handle| relay(&intake, handle, 1)).collect::<Vec<_>>();
    handles[0].shut();
    handles.iter().zip(units).for_each(|(handle, units)| intake.end(handle, units, false));
    intake.call();
    handles[1].shut();
    handles.iter().for_each(|handle| _ = intake.arrive(handle));
    assert_eq!(intake.in_flight.load(Ordering::SeqCst), 0);
    // One that nobody calls leaves the line at once.
    let held = Arc::strong_count(&handles[0]);
    relay(&intake, &handles[0], 5000);
    assert_eq!(intake.waiting.load(Ordering::SeqCst), 1);
    intake.leave(&handles[0]);
    assert_eq!((intake.waiting.load(Ordering::SeqCst), Arc::strong_count(&handles[0])), (0, held));
    assert_eq!(intake.waiting.load(Ordering::SeqCst), 0);
}

#[test]
fn room_that_was_kept_for_one_that_does_not_use_it_goes_to_the_next_in_line() {
    let intake = Intake::default();
    let handles = handles(300);
    let units: Vec<u32> = handles.iter().map(|handle| relay(&intake, handle, 1)).collect();
    handles.iter().zip(units).for_each(|(handle, units)| intake.end(handle, units, false));
    // The last call there is for a while: no more answers come.
    intake.call();
    let mut passed = 0;
    let mut waiting: Vec<_> = handles.iter().collect();
    while let Some(called) = waiting.iter().position(|handle| !handle.is_held()) {
        assert!(!intake.must_wait(waiting.remove(called)));
        passed += 1;
    }
    assert_eq!((passed, intake.in_flight.load(Ordering::SeqCst)), (300, 0));
}

#[test]
fn short_bursts_go_first_and_overtake_nothing_of_their_own() {
    let intake = Intake::default();
    let handle = &handles(1)[0];
    let begin = |quiet| intake.count_in(handle, 1, quiet);
    // So many of so many messages go first, and then all are answered.
    let burst = |messages: usize| {
        let first: Vec<bool> = (0..messages).map(|_| begin(true)).collect();
        first.iter().for_each(|first| intake.end(handle, 1, *first));
        assert!(first.is_sorted_by(|a, b| a >= b), "{first:?}");
        first.iter().filter(|first| **first).count()
    };
    assert_eq!(burst(LEAST), LEAST);
    assert_eq!(burst(1), 0, "its last burst was long");
    assert_eq!(burst(LEAST - 1), LEAST - 1);
    assert_eq!(burst(3 * LEAST), LEAST);
    assert_eq!(burst(1), 0);
    // A short one whose answers are late stays first; one that went behind is followed by others behind it.
    assert!(begin(true) && begin(true));
    assert!(!begin(false) && !begin(true));
    intake.end(handle, 1, false);
    assert!(!begin(true));
    (0..2).for_each(|_| intake.end(handle, 1, false));
    assert!(begin(true));
    intake.end(handle, 1, true);
    assert!(!intake.count_in(handle, LEAST as u32 + 1, true), "others would wait for a large one");
}

#[test]
fn large_messages_follow_each_other_only_while_there_is_room() {
    let intake = Intake::default();
    let handles = handles(100);
    let large = LEAST as u32 * 10;
    let held = handles.iter().filter(|handle| {
        _ = intake.count_in(handle, large, false);
        intake.end(handle, large, false);
        // Nothing of its own is unanswered, so that a small one would pass.
        let waits = intake.must_wait(handle);
        if !waits {
            _ = intake.count_in(handle, large, false);
        }
        waits
    });
    assert_eq!(held.count(), 100 - ROOM.div_ceil(large as usize));
}

#[test]
fn clients_wait_while_half_of_the_budget_is_used() {
    let quota = Arc::new(Quota::new(1000));
    let intake = Intake::new(quota.clone());
    let handles = handles(1);
    quota.take(499);
    assert!(!intake.must_wait(&handles[0]));
    quota.take(1);
    assert!(intake.must_wait(&handles[0]));
    quota.give_back(1);
    intake.call();
    assert!(!handles[0].is_held() && !intake.must_wait(&handles[0]));
    assert_eq!(intake.in_flight.load(Ordering::SeqCst), 0, "no room is kept for who has come");
}

#[test]
fn clients_add_one_message_each_while_a_backlog_is_given_up() {
    let quota = Arc::new(Quota::new(usize::MAX));
    let intake = Intake::new(quota.clone());
    let handles = handles(2);
    assert_eq!(relay(&intake, &handles[0], 1), 227);
    quota.begin_giving_up();
    intake.end(&handles[0], 227, false);
    intake.call();
    assert!(handles[0].is_held(), "what it would add, it would add for ever");
    assert_eq!(relay(&intake, &handles[1], 1), 1);
    intake.end(&handles[1], 1, false);
    quota.end_giving_up();
    intake.call();
    assert!(!handles[0].is_held() && !handles[1].is_held());
    assert!(relay(&intake, &handles[1], 1) > 1);
}

#[test]
fn a_crowd_of_which_each_waits_for_an_answer_goes_behind_one_that_relays_less() {
    const ROUNDS: u32 = 2000;
    let worker = Worker::of_test();
    let _is_worker = worker.enter();
    let intake = Intake::default();
    let handles = handles(101);
    let (quiet, crowd) = handles.split_last().unwrap();
    let mut firsts = [0; 2];
    for round in 0..ROUNDS {
        // Ten milliseconds in which each of the crowd gets an answer, and the quiet one every other time.
        scheduler::let_pass(10);
        let of_crowd = crowd.iter().map(|handle| (handle, 7, intake.begin(handle, 7)));
        let of_quiet = (round % 2 == 0).then(|| (quiet, 1, intake.begin(quiet, 1)));
        let under_way: Vec<_> = of_crowd.chain(of_quiet).collect();
        let first: u32 = under_way.iter().filter(|(_, _, first)| *first).map(|(_, cost, _)| cost).sum();
        if first > 64 {
            intake.pace.lower(round * 10);
        } else {
            intake.pace.rise(round * 10);
        }
        for (handle, cost, first) in under_way {
            intake.end(handle, cost, first);
            if round >= ROUNDS / 2 {
                firsts[usize::from(std::ptr::eq(handle, quiet))] += u32::from(first);
            }
        }
    }
    assert_eq!(firsts[1], ROUNDS / 4, "all of the quiet one's");
    assert!(firsts[0] < 100 * ROUNDS / 2 / 20, "{} of the crowd's {}", firsts[0], 100 * ROUNDS / 2);
    assert!(intake.pace.is_low());
}

#[test]
fn who_still_stands_in_line_when_the_workers_have_ended_keeps_nothing() {
    let (intake, inbox) = (Arc::new(Intake::default()), Arc::new(Inbox::of_test(0)));
    inbox.set_intake(intake.clone());
    let handles = handles_of(&inbox, 300);
    handles.iter().for_each(|handle| _ = relay(&intake, handle, 1));
    assert!(handles.iter().any(|handle| handle.is_held()));
    drop(handles);
    intake.disband();
    let (weak_intake, weak_inbox) = (Arc::downgrade(&intake), Arc::downgrade(&inbox));
    drop((intake, inbox));
    assert!(weak_intake.upgrade().is_none() && weak_inbox.upgrade().is_none());
}
