use std::sync::Barrier;

use history::meta::Reason;

use super::*;

const BOUNDS: Bounds = Bounds { size: 5, ttl_ms: 60_000 };
const ROOM: Topic<'_> = Topic::Room("lobby");
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

fn publish(logs: &Logs, bounds: Bounds, text: &str) -> Position {
    logs.publish(ROOM, bounds, None, Message::Text(text), |_| ()).unwrap().0
}

/// Publishes the numbers from 1 on.
fn publish_all(logs: &Logs, last: u32) -> Vec<Position> {
    (1..=last).map(|n| publish(logs, BOUNDS, &n.to_string())).collect()
}

fn texts(page: &HistoryPage) -> Vec<&str> {
    page.messages.iter().map(|message| str::from_utf8(&message.payload).unwrap()).collect()
}

#[test]
fn threads_publish_and_deliver_in_the_order_that_is_kept() {
    const THREADS: usize = 4;
    const EACH: usize = 500;
    let logs = Logs::new();
    let bounds = Bounds { size: (THREADS * EACH) as u32, ..BOUNDS };
    let delivered = Mutex::new(Vec::new());
    let start = Barrier::new(THREADS);
    let positions: Vec<Vec<u64>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (logs, delivered, start) = (&logs, &delivered, &start);
                scope.spawn(move || {
                    start.wait();
                    let publish = |n| {
                        let text = format!("{thread}.{n}");
                        let deliver = |_| delivered.lock().push(text.clone());
                        let (position, _) =
                            logs.publish(ROOM, bounds, None, Message::Text(&text), deliver).unwrap();
                        position.offset
                    };
                    (0..EACH).map(publish).collect()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(positions.iter().all(|offsets| offsets.is_sorted()), "each thread's own order");
    let mut all = positions.concat();
    all.sort_unstable();
    assert!(all.into_iter().eq(1..=(THREADS * EACH) as u64), "each offset is given once");
    let page = logs.read(ROOM, PageRequest::new(None, u32::MAX));
    assert_eq!(texts(&page), *delivered.lock());
}

#[test]
fn a_key_is_published_once_also_by_threads_at_once() {
    let logs = Logs::new();
    let start = Barrier::new(4);
    let publish = |topic, key| logs.publish(topic, BOUNDS, Some(key), Message::Binary(b"x"), |_| ()).unwrap();
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let threads = [(); 4].map(|()| {
            scope.spawn(|| {
                start.wait();
                publish(ROOM, "key")
            })
        });
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(outcomes.iter().all(|(position, _)| *position == outcomes[0].0));
    assert_eq!(outcomes.iter().filter(|(_, delivered)| delivered.is_some()).count(), 1);
    assert!(publish(ROOM, "other").1.is_some());
    assert!(publish(Topic::User("lobby"), "key").1.is_some(), "a key is its topic's own");
    let kinds: Vec<bool> =
        logs.read(ROOM, PageRequest::new(None, 10)).messages.iter().map(|kept| kept.is_text).collect();
    assert_eq!(kinds, [false, false]);
}

#[test]
fn pages_follow_each_other_without_a_gap() {
    let logs = Logs::new();
    let positions = publish_all(&logs, 5);
    let first = logs.read(ROOM, PageRequest::new(None, 2));
    assert_eq!((texts(&first), first.has_more, first.lost), (vec!["1", "2"], true, None));
    assert_eq!(first.position, Some(positions[1]));
    let second = logs.read(ROOM, PageRequest::new(first.position, 3));
    assert_eq!((texts(&second), second.has_more, second.lost), (vec!["3", "4", "5"], false, None));
    assert_eq!(second.position, Some(positions[4]));
    let third = logs.read(ROOM, PageRequest::new(second.position, 3));
    assert_eq!((texts(&third), third.has_more, third.lost), (vec![], false, None));
    assert_eq!(third.position, Some(positions[4]));
    assert_eq!(
        texts(&logs.read(ROOM, PageRequest::new(first.position, 0))),
        ["3"],
        "a page is never empty while there is more"
    );
}

#[test]
fn a_page_tells_what_is_not_kept_any_more() {
    let logs = Logs::new();
    let positions = publish_all(&logs, 8);
    let all = ["4", "5", "6", "7", "8"];
    let page = logs.read(ROOM, PageRequest::new(Some(positions[1]), 10));
    assert_eq!((texts(&page), page.lost), (all.to_vec(), Some(Reason::Trimmed)));
    let page = logs.read(ROOM, PageRequest::new(Some(positions[2]), 10));
    assert_eq!((texts(&page), page.lost), (all.to_vec(), None));
    let page = logs.read(ROOM, PageRequest::new(None, 10));
    assert_eq!((texts(&page), page.lost), (all.to_vec(), None), "nobody missed anything");
    let stranger = Position { epoch: logs.epochs.next_epoch().unwrap(), ..positions[7] };
    let page = logs.read(ROOM, PageRequest::new(Some(stranger), 10));
    assert_eq!((texts(&page), page.lost), (all.to_vec(), Some(Reason::Emptied)));
    let future = Position { offset: 9, ..positions[7] };
    assert_eq!(logs.read(ROOM, PageRequest::new(Some(future), 10)).lost, Some(Reason::Failover));
}

#[test]
fn a_topic_without_messages_has_no_position() {
    let logs = Logs::new();
    let page = logs.read(ROOM, PageRequest::new(None, 10));
    assert_eq!((page.messages.len(), page.position, page.lost, page.has_more), (0, None, None, false));
    let after = publish(&Logs::new(), BOUNDS, "elsewhere");
    assert_eq!(logs.read(ROOM, PageRequest::new(Some(after), 10)).lost, Some(Reason::Emptied));
}

#[test]
fn messages_that_passed_their_time_are_not_read_and_their_offsets_not_given_again() {
    let logs = Logs::new();
    let at_once = Bounds { ttl_ms: 0, ..BOUNDS };
    let positions = [publish(&logs, at_once, "1"), publish(&logs, at_once, "2")];
    let page = logs.read(ROOM, PageRequest::new(Some(positions[0]), 10));
    assert_eq!((texts(&page), page.lost, page.has_more), (vec![], Some(Reason::Trimmed), false));
    assert_eq!(page.position, Some(positions[1]));
    assert_eq!(logs.read(ROOM, PageRequest::new(Some(positions[1]), 10)).lost, None);
    assert_eq!(publish(&logs, BOUNDS, "3"), Position { offset: 3, ..positions[0] });
}

#[test]
fn a_sweep_frees_what_is_too_old() {
    let logs = Logs::new();
    let names: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    for name in &names {
        logs.publish(Topic::User(name), BOUNDS, Some("key"), Message::Text(name), |_| ()).unwrap();
    }
    let sweep = |now| (0..SHARDS).for_each(|shard| logs.sweep(shard, now));
    let count = || logs.shards.iter().map(|shard| shard.lock().len()).sum::<usize>();
    let room = || logs.shards.iter().map(|shard| shard.lock().capacity()).sum::<usize>();
    let kept = || {
        names
            .iter()
            .filter(|name| !logs.read(Topic::User(name), PageRequest::new(None, 1)).messages.is_empty())
            .count()
    };
    assert!(room() >= 1000);
    let now = unix_ms();
    sweep(now);
    assert_eq!((count(), kept()), (1000, 1000));
    // The messages go first, the topics a day after the last one.
    sweep(now + 2 * BOUNDS.ttl_ms);
    assert_eq!((count(), kept()), (1000, 0));
    sweep(now + DAY_MS + BOUNDS.ttl_ms);
    assert_eq!(count(), 0);
    // A table of a few entries may stay.
    assert!(room() <= 7 * SHARDS, "{}", room());
}
