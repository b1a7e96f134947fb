use std::sync::Arc as Shared;
use std::task::Waker;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use protocol::frame::{self, Message};

use super::inbox::Inbox;
use super::memory::Memory;
use super::model;
use super::outgoing::{Encoding, Outgoing, Stamps};
use super::remote_queue::RemoteQueue;
use super::socket::Socket;
use super::writer::{Flushed, Push, Writer};

/// A writer, and what other threads reach its worker by.
struct Recipient {
    writer: Writer,
    memory: Shared<Memory>,
    /// Its worker is told here that something waits.
    remote_queue: RemoteQueue<bool>,
}

impl Recipient {
    /// One that is written to, of the only connection of its user.
    fn open(inbox: &Inbox) -> Arc<Recipient> {
        let (writer, memory) = (Writer::new(), inbox.memory.clone());
        let recipient = Recipient { writer, memory, remote_queue: RemoteQueue::default() };
        recipient.writer.unblock();
        recipient.writer.set_sole(true);
        assert_eq!(recipient.writer.flush(&Socket::default(), inbox), Flushed::Done);
        assert!(recipient.writer.may_write_directly());
        Arc::new(recipient)
    }

    /// Returns whether the worker has to be told.
    fn push_own(&self, text: &str) -> bool {
        match self.writer.push(
            Outgoing::new(Message::Text(text), Stamps::default()).frames(Encoding::Plain),
            usize::MAX,
            &self.memory,
        ) {
            Push::Queued { wake, .. } => wake,
            Push::Full | Push::Shut => panic!("nobody shut it"),
        }
    }

    /// By another thread than the worker.
    fn push(&self, text: &str) {
        if self.push_own(text) {
            self.remote_queue.post(|told| *told = true, || false);
        }
    }
}

/// The worker's side.
#[derive(Default)]
struct Worker {
    socket: Socket,
    inbox: Inbox,
    /// The socket took no more: it will be writable.
    waits: bool,
}

impl Worker {
    /// A turn in which the connection says something to its user, as in `connection.rs`.
    fn turn(&mut self, recipient: &Recipient, text: &str) {
        let mut reflected = Vec::new();
        if recipient.writer.may_write_directly() {
            frame::append(&mut reflected, Message::Text(text));
        } else {
            // Its own, and it looks at its send queue last.
            recipient.push_own(text);
        }
        if recipient.writer.is_clear() {
            // After the turns of others.
            thread::yield_now();
            self.send_back(recipient, &reflected);
        } else {
            self.send_back(recipient, &reflected);
            self.flush(recipient);
        }
    }

    fn send_back(&mut self, recipient: &Recipient, frames: &[u8]) {
        if !frames.is_empty() {
            let flushed = recipient.writer.write_directly(frames, 1, &self.socket, &self.inbox);
            self.wait_or_go_on(recipient, flushed);
        }
    }

    fn flush(&mut self, recipient: &Recipient) {
        let flushed = recipient.writer.flush(&self.socket, &self.inbox);
        self.wait_or_go_on(recipient, flushed);
    }

    fn wait_or_go_on(&mut self, recipient: &Recipient, flushed: Flushed) {
        match flushed {
            Flushed::Done | Flushed::Drained => {}
            Flushed::Blocked => self.waits = true,
            Flushed::More => self.flush(recipient),
            Flushed::Lost => panic!("the peer is there"),
        }
    }

    /// Does as it was told, and gives room.
    fn look(&mut self, recipient: &Recipient) {
        if recipient.remote_queue.take(Waker::noop()) == Some(true) {
            self.flush(recipient);
        }
        if self.waits {
            self.waits = false;
            self.socket.give_room(usize::MAX);
            recipient.writer.unblock();
            self.flush(recipient);
        }
    }

    /// The messages that its client got, of one letter each.
    fn got(&self) -> String {
        let written = self.socket.written();
        let mut rest = &written[..];
        let mut texts = String::new();
        while let Some((len, _)) = frame::first_frame(rest) {
            texts.push(char::from(rest[len - 1]));
            rest = &rest[len..];
        }
        texts
    }
}

/// Another thread pushes `a` and `b`, while the worker takes turns in which the connection says `v` and `w` to itself, and there
/// is room for `room` bytes until the worker looks for more, which it may also do between the turns.
fn push_during_turns(room: usize, looks: bool) {
    model(move || {
        let mut worker = Worker::default();
        worker.socket.give_room(room);
        let recipient = Recipient::open(&worker.inbox);
        let pushed = Arc::new(AtomicBool::new(false));
        let other = thread::spawn({
            let (recipient, pushed) = (recipient.clone(), pushed.clone());
            move || {
                recipient.push("a");
                pushed.store(true, Ordering::Release);
                recipient.push("b");
            }
        });
        worker.turn(&recipient, "v");
        if looks {
            worker.look(&recipient);
        }
        let is_pushed = pushed.load(Ordering::Acquire);
        worker.turn(&recipient, "w");
        other.join().unwrap();
        worker.look(&recipient);
        worker.look(&recipient);

        assert_eq!(recipient.writer.queued(), 0, "left, behind {}", worker.got());
        assert!(recipient.writer.is_clear(), "and the next message goes past the recipient");
        let got = worker.got();
        let at = |letter| got.find(letter).unwrap();
        assert_eq!(got.len(), 4, "{got}");
        assert!(at('a') < at('b') && at('v') < at('w'), "{got}");
        assert!(!is_pushed || at('a') < at('w'), "{got}: overtaken");
    });
}

#[test]
fn no_push_is_overtaken_or_left_while_the_socket_takes_all() {
    push_during_turns(usize::MAX, true);
}

#[test]
fn no_push_is_overtaken_or_left_while_the_socket_takes_a_part() {
    // Nothing, the middle of the first frame, and of the second.
    [(0, true), (2, false), (4, true)].into_iter().for_each(|(room, looks)| push_during_turns(room, looks));
}

#[test]
fn pushes_of_two_threads_are_written_with_one_of_them_having_told_the_worker() {
    model(|| {
        let mut worker = Worker::default();
        worker.socket.give_room(usize::MAX);
        let recipient = Recipient::open(&worker.inbox);
        let others = ["a", "b"].map(|text| {
            let recipient = recipient.clone();
            thread::spawn(move || recipient.push(text))
        });
        worker.look(&recipient);
        worker.turn(&recipient, "v");
        others.into_iter().for_each(|other| other.join().unwrap());
        worker.look(&recipient);
        assert_eq!(worker.got().len(), 3, "{}", worker.got());
        assert!(recipient.writer.is_clear());
    });
}

#[test]
fn who_knows_of_a_second_connection_knows_that_no_message_goes_past_it() {
    model(|| {
        let worker = Worker::default();
        let recipient = Recipient::open(&worker.inbox);
        let connected = Arc::new(AtomicBool::new(false));
        let second = thread::spawn({
            let (recipient, connected) = (recipient.clone(), connected.clone());
            move || {
                recipient.writer.set_sole(false);
                connected.store(true, Ordering::Release);
            }
        });
        if connected.load(Ordering::Acquire) {
            assert!(!recipient.writer.may_write_directly());
        }
        second.join().unwrap();
    });
}

#[test]
fn nothing_goes_past_the_outbox_of_one_that_takes_no_more_messages() {
    model(|| {
        let mut worker = Worker::default();
        worker.socket.give_room(usize::MAX);
        let recipient = Recipient::open(&worker.inbox);
        recipient.push("a");
        let shut = Arc::new(AtomicBool::new(false));
        let other = thread::spawn({
            let (recipient, shut) = (recipient.clone(), shut.clone());
            move || {
                recipient.writer.shut();
                shut.store(true, Ordering::Release);
            }
        });
        worker.look(&recipient);
        if shut.load(Ordering::Acquire) {
            assert!(!recipient.writer.may_write_directly());
        }
        other.join().unwrap();
        assert!(!recipient.writer.may_write_directly());
        assert_eq!(worker.got(), "a");
    });
}
