//! Numbered messages while something happens, and what must hold of each of them afterwards.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use protocol::frame::Message;

use crate::broker::redis::clock;
use crate::outcome::{Delivery, Status};
use crate::registry::recipients::Channel;
use crate::tests::client::Client;
use crate::tests::harness::{Server, SetOnDrop};

/// A message of the traffic.
#[derive(Debug)]
pub(crate) struct Sent {
    /// Unix milliseconds between which it was published, if it was.
    began: u64,
    ended: u64,
    pub delivery: Delivery,
}

/// Messages from one server to a user on two, and their arrivals.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub sent: Vec<Sent>,
    /// Numbers that reached the user's connection on the server that published.
    pub here: Vec<usize>,
    /// Those that reached the other server's.
    pub there: Vec<usize>,
}

/// It began then, in Unix milliseconds, and took a fraction of a second, or a little longer on a machine that is busy.
pub(crate) fn expect_soon(begun: u64) {
    let took = unix_ms() - begun;
    assert!(took < 2000, "{took} ms");
}

/// Now, as gaps are told: by their own clock, which does not go back by the milliseconds by which the time of day may.
pub(crate) fn unix_ms() -> u64 {
    clock::until_now(0).1
}

/// Publishes from `one`, all the time that `fault` takes and some more after it. Both servers' brokers have to be up at
/// the end of `fault`. No connection may drop.
pub(crate) fn during(one: &Server, two: &Server, fault: impl FnOnce()) -> Traffic {
    during_for("traveller", one, two, fault)
}

/// The same for a user of this name. `nodes` are not looked at under routing `shared`.
pub(crate) fn during_for(user: &str, one: &Server, two: &Server, fault: impl FnOnce()) -> Traffic {
    let (mut here, mut there) = (one.connect_as(user), two.connect_as(user));
    let over = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let over = &over;
        scope.spawn(move || {
            let mut left = 50;
            for number in 0.. {
                let text = number.to_string();
                let began = unix_ms();
                let reply = one.engine.publish(Channel::User(user), Message::Text(&text), false);
                tell.send((began, reply)).unwrap();
                thread::park_timeout(Duration::from_millis(1));
                left -= usize::from(over.load(Ordering::Acquire));
                if left == 0 {
                    break;
                }
            }
        });
        let settler = scope.spawn(move || {
            let settle = |(began, reply)| {
                let delivery = one.delivery(reply);
                Sent { began, ended: unix_ms(), delivery }
            };
            told.into_iter().map(settle).collect::<Vec<_>>()
        });
        let done = SetOnDrop(over);
        fault();
        drop(done);
        settler.join().unwrap()
    });
    let end = one.tell(user, "end");
    assert_eq!((end.status, end.nodes.unwrap_or(2)), (Status::Published, 2), "both are back");
    let (here_got, there_got) = (until_end(&mut here), until_end(&mut there));
    here.expect_alive();
    there.expect_alive();
    Traffic { sent, here: here_got, there: there_got }
}

fn until_end(client: &mut Client) -> Vec<usize> {
    let texts = std::iter::from_fn(|| Some(client.next_text()).filter(|text| text != "end"));
    texts.map(|text| text.parse().unwrap()).collect()
}

impl Traffic {
    /// The number of messages with this outcome.
    pub(crate) fn count(&self, status: Status) -> usize {
        self.sent.iter().filter(|sent| sent.delivery.status == status).count()
    }

    /// Everything was published and came to both servers.
    pub(crate) fn expect_untouched(&self) {
        let all: Vec<usize> = (0..self.sent.len()).collect();
        assert_eq!(self.count(Status::Published), all.len());
        assert_eq!(self.here, all);
        assert_eq!(self.there, all);
    }

    /// Forgets second arrivals of what was being published in the moment in which a cluster's master
    /// froze: it may have handed a message to its clients and not yet to its replica, to which that goes over the cluster's
    /// bus. When it wakes the replica is the master, has our subscriptions, and hands the message out again.
    pub(crate) fn forgive_repeats_of(&mut self, frozen: u64) {
        const MOMENT: u64 = 100;
        // Its answer may not have come in that moment.
        let last = |number: usize| {
            let Sent { began, ended, .. } = self.sent[number];
            began <= frozen + MOMENT && ended >= frozen - MOMENT
        };
        for got in [&mut self.here, &mut self.there] {
            let mut seen = HashSet::new();
            got.retain(|number| seen.insert(*number) || !last(*number));
        }
    }

    /// The outcome of each message is true; only those in `gaps`, which the other server told of, may be missing there.
    pub(crate) fn expect_true(&self, gaps: &[(u64, u64)]) {
        self.expect_true_but_for(&[], gaps);
    }

    /// The same where both servers told of gaps.
    pub(crate) fn expect_true_but_for(&self, gaps_here: &[(u64, u64)], gaps_there: &[(u64, u64)]) {
        for got in [&self.here, &self.there] {
            // One of which nobody knew may lie with a master that froze, and come when that one wakes.
            let certain = |number: &&usize| self.sent[**number].delivery.status != Status::Uncertain;
            let certain: Vec<usize> = got.iter().filter(certain).copied().collect();
            if let Some(pair) = certain.windows(2).find(|pair| pair[0] >= pair[1]) {
                let sent = [&self.sent[pair[0]], &self.sent[pair[1]]];
                panic!("twice, or out of order: {pair:?}, which were {sent:?}");
            }
            let mut seen = HashSet::new();
            let twice = got.iter().find(|number| !seen.insert(**number));
            assert_eq!(twice, None, "twice");
        }
        let here: HashSet<_> = self.here.iter().copied().collect();
        let there: HashSet<_> = self.there.iter().copied().collect();
        for (number, sent) in self.sent.iter().enumerate() {
            assert_eq!(sent.delivery.local, 1, "{number}");
            let excused = |gaps: &[(u64, u64)]| {
                gaps.iter().any(|(since, until)| sent.began <= *until && sent.ended >= *since)
            };
            match sent.delivery.status {
                Status::Published => {
                    assert!(
                        here.contains(&number) || excused(gaps_here),
                        "{number} was published and is missing here: {sent:?}, {gaps_here:?}"
                    );
                    assert!(
                        there.contains(&number) || excused(gaps_there),
                        "{number} was published and is missing there: {sent:?}, {gaps_there:?}"
                    );
                }
                Status::Local => {
                    assert!(here.contains(&number), "{number} was to be served here");
                    assert!(!there.contains(&number), "{number} was to be served here only");
                }
                Status::Uncertain => {}
            }
        }
    }
}
