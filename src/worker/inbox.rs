//! Inboxes: how other threads reach a worker, and what becomes of what they post in its [mailbox](Mailbox).

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use super::account::Account;
use super::connections::{self, Token};
use super::counters::WorkerCounters;
use super::handle::Handle;
use super::intake::Intake;
use super::limits::Limits;
use super::mailbox::Mailbox;
use super::memory::Memory;
use super::scheduler;

/// How other threads reach a worker.
#[derive(Debug)]
pub struct Inbox {
    id: usize,
    /// Number of the engine that the worker belongs to.
    engine: usize,
    mailbox: Mailbox<Mail>,
    /// See [`WorkerCounters`].
    pub counters: WorkerCounters,
    /// How many of the worker's connections are [open](Handle::is_open).
    pub(crate) open: AtomicUsize,
    /// Where the outboxes of its engine are counted.
    pub(super) memory: Arc<Memory>,
    /// Those of its connections.
    pub(super) limits: Limits,
    /// What says when its connections are read. None if nobody relays, or no one waits for a broker.
    intake: OnceLock<Arc<Intake>>,
}

#[derive(Debug, Default)]
struct Mail {
    /// Connections that are to have a turn.
    wakes: Vec<Arc<Handle>>,
    /// Connections that have something to write.
    flushes: Vec<Token>,
    /// Other tasks of the worker that are to run.
    tasks: Vec<Waker>,
}

thread_local! {
    /// The inbox of the worker that this thread is; 0: it is none.
    static HERE: Cell<usize> = const { Cell::new(0) };
    /// The engine whose workers this thread does not wake for now; 0: it wakes all.
    static CORKED: Cell<usize> = const { Cell::new(0) };
}

impl Inbox {
    /// An inbox of a worker of the engine with this number.
    pub(super) fn new(engine: usize, memory: Arc<Memory>, limits: Limits) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        Inbox {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            engine,
            mailbox: Mailbox::default(),
            counters: WorkerCounters::default(),
            open: AtomicUsize::new(0),
            memory,
            limits,
            intake: OnceLock::new(),
        }
    }

    /// One with all defaults, whose memory has no limit.
    #[cfg(test)]
    pub(crate) fn of_test(engine: usize) -> Self {
        Inbox::new(engine, Memory::new(usize::MAX), Limits::default())
    }

    /// Before it has connections.
    pub(crate) fn set_intake(&self, intake: Arc<Intake>) {
        let _ = self.intake.set(intake);
    }

    /// See [`Inbox::set_intake`].
    pub(crate) fn intake(&self) -> Option<&Arc<Intake>> {
        self.intake.get()
    }

    /// The calling thread is the worker.
    pub(super) fn live_here(&self) {
        HERE.set(self.id);
    }

    /// Gives a connection a turn, from any thread.
    pub(super) fn wake(&self, handle: &Arc<Handle>) {
        if HERE.get() == self.id {
            handle.wake_here();
        } else {
            self.post(|mail| mail.wakes.push(handle.clone()));
        }
    }

    /// Wakes another task of the worker, from any thread.
    pub(crate) fn wake_task(&self, waker: Waker) {
        if HERE.get() == self.id {
            waker.wake();
        } else {
            self.post(|mail| mail.tasks.push(waker));
        }
    }

    /// Has a connection's outbox written, from any thread.
    pub(super) fn flush(&self, token: Token, account: &Account) {
        if HERE.get() == self.id {
            scheduler::flush(token, account);
        } else {
            self.post(|mail| mail.flushes.push(token));
        }
    }

    fn post(&self, put: impl FnOnce(&mut Mail)) {
        self.mailbox.post(put, || CORKED.get() == self.engine);
    }

    /// Wakes the worker if mail was held back.
    pub(super) fn uncork(&self) {
        self.mailbox.let_out();
    }

    /// The worker is to end.
    pub(super) fn stop(&self) {
        self.mailbox.stop();
    }

    /// For the worker: hands out what was posted. Ready when it is to end.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(Mail { wakes, flushes, tasks }) = self.mailbox.take(cx.waker()) else {
            return Poll::Ready(());
        };
        scheduler::look_at_clock();
        tasks.into_iter().for_each(Waker::wake);
        wakes.iter().for_each(|handle| handle.wake_here());
        connections::flush_soon(flushes);
        Poll::Pending
    }
}

/// Holds back the wake-ups that this thread causes at an engine's workers, so that a batch of sends becomes one
/// wake-up per worker. Other engines' workers are woken as ever: nobody would let out what was held back for them.
pub(crate) fn cork(engine: usize) {
    CORKED.set(engine);
}

/// Ends [`cork`] and lets out what was held back.
pub(crate) fn uncork<'a>(engine: usize, inboxes: impl Iterator<Item = &'a Arc<Inbox>>) {
    if CORKED.get() == engine {
        CORKED.set(0);
    }
    // Also if another engine's cork has come in between.
    inboxes.for_each(|inbox| inbox.uncork());
}
