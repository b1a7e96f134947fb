//! Workers. Each is a thread with a single-threaded runtime, and owns the connections that were given to it.
//!
//! One runtime per thread, first in, first out, so that a busy connection can't starve another: tokio's shared
//! scheduler looks at its global queue only now and then, and its tail latency shows that. Messages that other
//! threads push to a worker's connections go through its inbox, which wakes it once per batch.
//!
//! A [`Worker`] is an object, whose parts own what they have. A function that is called without it, such as a push from wherever,
//! asks for [the one of its thread](with).

pub(crate) mod account;
pub(crate) mod application;
pub(crate) mod bridge;
pub(crate) mod client_session;
pub(crate) mod connection;
pub(crate) mod connections;
pub(crate) mod counters;
pub(crate) mod group;
pub(crate) mod handle;
pub(crate) mod heartbeat;
pub(crate) mod inbox;
pub(crate) mod incomplete;
pub(crate) mod intake;
pub(crate) mod lag;
pub(crate) mod limiter;
pub(crate) mod limits;
pub(crate) mod memory;
pub(crate) mod outgoing;
#[cfg(unix)]
pub(crate) mod poller;
pub(crate) mod progress;
pub(crate) mod quota;
pub(crate) mod receipts;
pub(crate) mod refusal;
pub(crate) mod registration;
pub(crate) mod relaying;
mod remote_queue;
pub(crate) mod respite;
pub(crate) mod rooms;
pub(crate) mod run_queue;
pub(crate) mod scheduler;
pub(crate) mod send_queue;
pub(crate) mod shared_buffer;
pub(crate) mod socket;
mod sync;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
pub(crate) mod thread;
pub(crate) mod token;
pub(crate) mod turnstile;
pub(crate) mod writer;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use connections::{Care, Connections};
use handle::Handle;
use inbox::Inbox;
#[cfg(unix)]
use poller::Watch;
use protocol::assembler::Spares;
use scheduler::Scheduler;
use send_queue::SpareQueues;
use shared_buffer::SharedBuffer;
use turnstile::Turnstile;

/// All that a worker has on its thread.
pub(crate) struct Worker {
    inbox: Arc<Inbox>,
    connections: Connections,
    scheduler: Scheduler,
    buffer: SharedBuffer,
    /// Boxes for unfinished messages.
    spares: RefCell<Spares<incomplete::Kept>>,
    /// Boxes for what waits to be written.
    queues: SpareQueues,
    turnstile: Turnstile,
    #[cfg(unix)]
    watch: Watch,
    /// The connection that has its turn: it looks at its send queue last, so that its own pushes need not wake it.
    running: Cell<*const Handle>,
}

impl Worker {
    /// A worker without connections.
    fn new(inbox: Arc<Inbox>, care: Care) -> Rc<Worker> {
        Rc::new(Worker {
            inbox,
            connections: Connections::new(care),
            scheduler: Scheduler::new(),
            buffer: SharedBuffer::default(),
            spares: RefCell::new(Spares::NONE),
            queues: SpareQueues::default(),
            turnstile: Turnstile::default(),
            #[cfg(unix)]
            watch: Watch::default(),
            running: Cell::new(std::ptr::null()),
        })
    }

    /// One with all defaults.
    #[cfg(test)]
    pub(crate) fn of_test() -> Rc<Worker> {
        let care = Care { heartbeat: Default::default(), message_timeout: Default::default() };
        Worker::new(Arc::new(Inbox::of_test(usize::MAX)), care)
    }

    /// Has the calling thread be this worker until the answer is dropped.
    pub(crate) fn enter(self: &Rc<Self>) -> Entered {
        Entered(HERE.with(|here| here.worker.replace(Some(self.clone()))))
    }

    /// Begins a connection's turn, which ends when the answer is dropped: until then its own pushes don't wake it.
    fn run(&self, handle: &Handle) -> Running<'_> {
        self.running.set(handle);
        Running(self)
    }

    /// True while this connection has its turn.
    fn runs(&self, handle: &Handle) -> bool {
        std::ptr::eq(self.running.get(), handle)
    }
}

/// See [`Worker::run`].
struct Running<'a>(&'a Worker);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.set(std::ptr::null());
    }
}

/// See [`Worker::enter`].
pub(crate) struct Entered(Option<Rc<Worker>>);

impl Drop for Entered {
    fn drop(&mut self) {
        let _ = HERE.try_with(|here| drop(here.worker.replace(self.0.take())));
    }
}

/// A thread's knowledge of workers.
struct Here {
    /// The one that it is.
    worker: RefCell<Option<Rc<Worker>>>,
    /// The engine whose workers it doesn't wake for now; 0: it wakes all.
    corked: Cell<usize>,
}

thread_local! {
    static HERE: Here = const { Here { worker: RefCell::new(None), corked: Cell::new(0) } };
}

/// Calls with the worker that this thread is. None if it is none.
#[inline]
fn with<R>(call: impl FnOnce(&Worker) -> R) -> Option<R> {
    HERE.try_with(|here| here.worker.borrow().as_deref().map(call)).ok().flatten()
}

/// True if this thread holds back wake-ups of this engine's workers.
fn corked(engine: usize) -> bool {
    HERE.try_with(|here| here.corked.get() == engine).unwrap_or(false)
}

/// Holds back the wake-ups that this thread causes at an engine's workers, so that a batch of sends becomes one
/// wake-up per worker. Other engines' workers are woken as ever: nobody would let out what was held back for them.
pub(crate) fn cork(engine: usize) {
    HERE.with(|here| here.corked.set(engine));
}

/// Ends [`cork`] and lets out what was held back.
pub(crate) fn uncork<'a>(engine: usize, inboxes: impl Iterator<Item = &'a Arc<Inbox>>) {
    HERE.with(|here| {
        if here.corked.get() == engine {
            here.corked.set(0);
        }
    });
    // Also if another engine's cork has come in between.
    inboxes.for_each(|inbox| inbox.uncork());
}
