//! Threads meet each other in the remote queue and in the writer, in every order: by loom, which runs threads step by step
//! and tries all interleavings, and all values that the memory model lets a load see.
//!
//! It is the files themselves that are tried: compiled a second time here, where [`sync`] has loom's types, and the socket is one
//! that takes as much as a test says.

#![allow(dead_code, reason = "the models need a part of the two files")]
#![allow(clippy::duplicate_mod, reason = "that is how they get loom's types")]

use crate::worker::{memory, outgoing, progress, send_queue};

#[allow(clippy::duplicate_mod, reason = "a second time, with loom's types")]
#[path = "../remote_queue.rs"]
mod remote_queue;
#[allow(clippy::duplicate_mod, reason = "as above")]
#[path = "../writer.rs"]
mod writer;

mod remote_queue_model;
mod writer_model;

/// Tries all orders in which threads are interrupted at most so often where they need not wait. Faults that take more are
/// rare (Musuvathi and Qadeer 2007), and orders many.
fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(check);
}

/// Loom's types, with the methods of those that they stand for.
mod sync {
    pub(super) use loom::sync::MutexGuard;
    pub(super) use loom::sync::atomic::{AtomicBool, Ordering};

    #[derive(Debug, Default)]
    pub(super) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(super) fn new(value: T) -> Self {
            Mutex(loom::sync::Mutex::new(value))
        }

        pub(super) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }
}

/// A socket whose peer gets what [`Socket::give_room`] lets through. Of the worker alone.
mod socket {
    use std::cell::{Cell, RefCell};
    use std::io::{self, IoSlice};

    #[derive(Default)]
    pub(super) struct Socket {
        room: Cell<usize>,
        written: RefCell<Vec<u8>>,
    }

    impl Socket {
        pub(super) fn give_room(&self, bytes: usize) {
            self.room.set(bytes);
        }

        pub(super) fn written(&self) -> Vec<u8> {
            self.written.borrow().clone()
        }

        pub(super) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let bytes = slices.iter().flat_map(|slice| slice.iter().copied());
            let mut written = self.written.borrow_mut();
            let before = written.len();
            written.extend(bytes.take(self.room.get()));
            let taken = written.len() - before;
            self.room.set(self.room.get() - taken);
            if taken == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken) }
        }
    }
}

/// The writer's part of an inbox.
mod inbox {
    use std::sync::Arc;

    use super::memory::Memory;
    use crate::worker::counters::WorkerCounters;

    pub(super) struct Inbox {
        pub(super) counters: WorkerCounters,
        pub(super) memory: Arc<Memory>,
    }

    impl Default for Inbox {
        fn default() -> Self {
            Inbox { counters: WorkerCounters::default(), memory: Memory::new(usize::MAX) }
        }
    }
}
