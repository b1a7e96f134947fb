#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::os::unix::net::UnixStream;

use super::*;
use crate::events::Events;
use crate::worker::Worker;
use crate::worker::bridge::Bridge;
use crate::worker::bridge::Carrier;
use crate::worker::poller::Poller;

#[test]
fn bytes_that_lie_unread_are_seen_in_the_kernel_and_in_a_bridge() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let _entered = runtime.enter();
    let worker = Worker::of_test();
    let _is_worker = worker.enter();
    drop(Poller::new().unwrap().watch_for(&worker));
    let (mut peer, ours) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let native = Taken::Native(ours.into()).register(0).unwrap();
    let events: Arc<dyn Carrier> = Arc::new(Events::new(Box::new(|| {}), 1, 1));
    let bridge = Bridge::new(1, Arc::downgrade(&events));
    let bridged = Taken::bridge(bridge.clone()).register(1).unwrap();
    for socket in [&native, &bridged] {
        assert!(!socket.has_unread());
    }
    peer.write_all(b"x").unwrap();
    bridge.feed(b"x");
    for socket in [&native, &bridged] {
        assert!(socket.has_unread());
        assert_eq!(socket.try_read(&mut [0; 8]).unwrap(), 1);
        assert!(!socket.has_unread());
    }
}
