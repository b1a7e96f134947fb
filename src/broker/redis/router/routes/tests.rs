#![allow(clippy::unwrap_used)]

use parking_lot::Mutex;

use super::*;
use crate::broker::redis::asker::Asker;
use crate::broker::redis::config::{RedisConfig, Server};
use crate::broker::redis::connection::command::Command;
use crate::broker::redis::router::SubscriptionRouter;
use crate::broker::redis::router::counts::Counts;
use crate::events::broker_status::BrokerStatus;
use crate::registry::gathered::Gathered;
use crate::worker::heartbeat::Heartbeat;
use crate::worker::limits::Limits;
use crate::worker::memory::Memory;
use crate::worker::quota::Quota;
use crate::worker::thread::WorkerThread;
use codes::error::Error;
use history::position::Position;

/// Remembers which publishes came to what.
#[derive(Debug, Default)]
struct Statuses(Mutex<Vec<(u64, bool)>>);

impl Sink for Statuses {
    fn message(&self, _: &str, _: &[u8], _: Option<Position>, _: &mut Gathered) {}
    fn ignored(&self, _: &str) {}
    fn settle(&self, asker: Asker, outcome: CommandOutcome, publish: Option<(&str, &[u8])>) {
        let Asker::Receivers { ticket } = asker else { return };
        self.0.lock().push((ticket, matches!(outcome, CommandOutcome::Unsent) && publish.is_some()));
    }
    fn status(&self, _: BrokerStatus) {}
    fn ready(&self, _: Vec<u64>, _: Result<(), Error>) {}
    fn in_use(&self, _: &str) -> bool {
        true
    }
    fn largest(&self) -> usize {
        1 << 20
    }
}

#[test]
fn all_publishes_that_wait_for_their_partitions_share_one_bound_and_leave_in_order() {
    let mut worker = WorkerThread::start(
        0,
        tracing::Span::none(),
        0,
        Heartbeat::default(),
        Limits::default(),
        Memory::new(usize::MAX),
    )
    .unwrap();
    let config = RedisConfig {
        pending_bytes: 1 << 20,
        ..RedisConfig::new(vec![Server::parse("redis://127.0.0.1:1").unwrap()])
    };
    let sink = Arc::new(Statuses::default());
    let workers = std::slice::from_ref(&worker);
    let counts = Arc::<Counts>::default();
    let quota = Arc::new(Quota::new(config.pending_bytes));
    let router = SubscriptionRouter::new(
        config.clone(),
        "app:".into(),
        "node".into(),
        sink.clone(),
        counts,
        quota,
        workers,
    );
    router.partitions.set_sharded(true);
    let inbox = || worker.inbox.clone();
    let link = |number| Link::new(number, config.servers[0].clone(), inbox(), router.routes.quota.clone());
    let (old, new) = (link(0), link(1));
    for link in [&old, &new] {
        link.pipeline.begin();
        link.pipeline.open();
    }
    let index = router.partitions.home("user:ada");
    router.assign(index, Some(old.clone()));
    let mut ticket = 0;
    let mut publish = || {
        ticket += 1;
        router
            .routes
            .publish(["user:", "ada"], &[&[b'x'; 1000]], Asker::Receivers { ticket })
            .map(|()| ticket)
    };
    publish().unwrap();
    // The slot moves while one is under way.
    router.assign(index, Some(new.clone()));
    let mut waiting = Vec::new();
    let full = loop {
        match publish() {
            Ok(ticket) => waiting.push(ticket),
            Err(error) => break error,
        }
    };
    assert!(matches!(full, NotAdded::Full(_)));
    assert!((950..1100).contains(&waiting.len()), "{} of 1,048 bytes fill 1 MiB", waiting.len());
    let counts = router.read_counts();
    assert!(counts.pending_bytes > 1 << 20, "{counts:?}");
    assert_eq!(counts.pending, waiting.len() as u64 + 1, "and the one under way");
    // That one is answered, and the new link is up: they may go.
    old.pipeline.close(|_| router.routes.landed(index));
    router.link_up(&new);
    worker.runtime.block_on(router.routes.unpark());
    assert_eq!((router.routes.is_parked(index), sink.0.lock().len()), (false, 0));
    let mut left = Vec::new();
    new.pipeline.close(|batch| {
        left.extend(batch.pending.into_iter().map(|pending| match pending.command {
            Command::Ask(Asker::Receivers { ticket }) => ticket,
            other => panic!("{other:?}"),
        }));
    });
    assert_eq!(left, waiting);
    // Publishes that wait when all is over are told that they never left.
    left.iter().for_each(|_| router.routes.landed(index));
    router.routes.park(
        Asked { asker: Asker::Receivers { ticket: 7 }, partition: index, since: None },
        b"*3\r\n$8\r\nSPUBLISH\r\n$12\r\napp:user:ada\r\n$1\r\nx\r\n",
        &old,
    );
    router.close();
    assert_eq!(*sink.0.lock(), [(7, true)]);
    assert_eq!(router.read_counts().pending_bytes, 0);
    worker.stop();
}
