use std::io::Read;
use std::os::unix::net::UnixStream;

use protocol::frame::Message;

use crate::worker::Worker;
use crate::worker::inbox::Inbox;
use crate::worker::outgoing::{Encoding, Outgoing, Stamps};
use crate::worker::poller::Poller;
use crate::worker::scheduler;
use crate::worker::socket::{Socket, Taken};
use crate::worker::writer::{Flushed, Push, Writer};

/// Runs a test with a socket, as on a worker of its own, and the socket's peer.
fn with_socket(test: impl FnOnce(&Socket, UnixStream)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let _entered = runtime.enter();
    let (peer, stream) = UnixStream::pair().unwrap();
    stream.set_nonblocking(true).unwrap();
    let worker = Worker::of_test();
    let _is_worker = worker.enter();
    drop(Poller::new().unwrap().watch_for(&worker));
    let socket = Taken::Native(stream.into()).register(0).unwrap();
    test(&socket, peer);
}

#[test]
fn what_is_written_past_the_outbox_or_taken_twice_goes_out_in_order() {
    with_socket(|socket, mut peer| {
        let writer = Writer::new();
        let inbox = Inbox::of_test(1);
        let push = |text| {
            writer.push(
                Outgoing::new(Message::Text(text), Stamps::default()).frames(Encoding::Plain),
                usize::MAX,
                &inbox.memory,
            )
        };
        assert!(!writer.may_write_directly(), "it gathers");
        writer.unblock();
        assert_eq!(writer.flush(socket, &inbox), Flushed::Done);
        assert!(!writer.may_write_directly(), "there may be others");
        writer.set_sole(true);
        assert!(writer.may_write_directly());
        assert_eq!(push("x"), Push::Queued { wake: true, press: false }, "comes behind, and is looked after");
        assert_eq!(writer.write_directly(b"\x81\x01w", 1, socket, &inbox), Flushed::Done);
        assert!(!writer.may_write_directly(), "something waits");
        assert_eq!(writer.flush(socket, &inbox), Flushed::Done);
        assert!(writer.may_write_directly());
        let mut got = [0; 6];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"\x81\x01w\x81\x01x");

        push("a");
        let (first, _) = writer.take().unwrap();
        assert_eq!(push("b"), Push::Queued { wake: true, press: false });
        // The connection was noted once more, and comes up in the same portion.
        assert_eq!(writer.take().unwrap_err(), Flushed::Done);
        assert_eq!(push("c"), Push::Queued { wake: false, press: false });
        assert_eq!(writer.write(first, socket, &inbox), Flushed::Done);
        assert_eq!(writer.queued(), 0);
        assert_eq!(push("d"), Push::Queued { wake: true, press: false });
        assert_eq!(writer.flush(socket, &inbox), Flushed::Done);

        let mut got = [0; 12];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"\x81\x01a\x81\x01b\x81\x01c\x81\x01d");
    });
}

#[test]
fn that_all_is_written_is_told_if_something_was_seen_to_wait_or_the_client_was_behind() {
    with_socket(|socket, mut peer| {
        let writer = Writer::new();
        let inbox = Inbox::of_test(1);
        let push = |text: &str| {
            writer.push(
                Outgoing::new(Message::Text(text), Stamps::default()).frames(Encoding::Plain),
                usize::MAX,
                &inbox.memory,
            )
        };
        writer.unblock();
        assert_eq!(writer.watch(), 0);
        push("x");
        assert_eq!(writer.flush(socket, &inbox), Flushed::Done, "nothing was seen to wait");
        push("x");
        assert_eq!(writer.watch(), 3);
        assert_eq!(writer.flush(socket, &inbox), Flushed::Drained);
        push("x");
        // Seen while it is being written.
        let (send_queue, _) = writer.take().unwrap();
        assert_eq!(writer.watch(), 3);
        assert_eq!(writer.write(send_queue, socket, &inbox), Flushed::Drained);
        push("x");
        assert_eq!(writer.flush(socket, &inbox), Flushed::Done, "once");

        push(&"x".repeat(4 << 20));
        let mut flushed = writer.flush(socket, &inbox);
        let mut was_behind = false;
        peer.set_nonblocking(true).unwrap();
        while flushed == Flushed::Blocked || flushed == Flushed::More {
            was_behind |= flushed == Flushed::Blocked;
            while peer.read(&mut [0; 64 * 1024]).is_ok_and(|len| len > 0) {}
            writer.unblock();
            flushed = writer.flush(socket, &inbox);
        }
        assert!(was_behind);
        assert_eq!(flushed, Flushed::Drained);
    });
}

#[test]
fn what_waits_is_stuck_if_the_kernel_takes_none_of_it_for_a_second() {
    with_socket(|socket, mut peer| {
        let writer = Writer::new();
        let inbox = Inbox::of_test(1);
        let message = "x".repeat(4 << 20);
        writer.push(
            Outgoing::new(Message::Text(&message), Stamps::default()).frames(Encoding::Plain),
            usize::MAX,
            &inbox.memory,
        );
        writer.unblock();
        scheduler::let_pass(1000);
        assert_eq!(writer.stuck(), 0, "it was not offered yet");
        let flush = || while writer.flush(socket, &inbox) == Flushed::More {};
        flush();
        assert!(writer.queued() > 0);
        assert_eq!(writer.stuck(), 0, "it waits from now on");
        scheduler::let_pass(1000);
        assert_eq!(writer.stuck(), writer.queued());
        writer.unblock();
        flush();
        assert_eq!(writer.stuck(), writer.queued(), "none of it was taken");
        peer.read_exact(&mut [0; 64 * 1024]).unwrap();
        writer.unblock();
        flush();
        assert!(writer.queued() > 0);
        assert_eq!(writer.stuck(), 0, "some of it was");
    });
}
